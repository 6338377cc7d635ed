"""Which column of a file becomes which field of feedback."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final

from harken.domain.rules import MAX_CONTEXT_NAME_LENGTH, name_problem
from harken.domain.texts import listed
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import CONTEXT, FIELDS, ImportOptions, field_problem

#: How many names an error lists.
_LISTED: Final = 20
#: Columns that name a row, for files without sessions; without spaces and the like.
_IDS: Final = (
    "id",
    "rowid",
    "reviewid",
    "responseid",
    "respondentid",
    "feedbackid",
    "recordid",
    "surveyid",
    "uuid",
    "guid",
)
#: Columns that may hold a field, although they have another name.
_LIKELY: Final = {
    "rating": ("score", "stars", "star", "rate", "thumb", "thumbs", "vote", "liked", "reaction", "label", "value"),
    "comment": ("text", "review", "reviewtext", "content", "body", "message", "feedback", "comments", "note", "remark"),
    "created_at": ("date", "time", "timestamp", "datetime", "created", "submittedat", "submitted", "at", "updatedat"),
}


def check_fields(options: ImportOptions) -> None:
    """Check the names of the fields.

    Raises:
        UnusableFile: one is unknown.
    """
    for name in (*options.columns, *options.constants):
        if problem := field_problem(name):
            raise UnusableFile(problem)


def alternatives(columns: str | Sequence[str]) -> tuple[str, ...]:
    """The columns of a field, of which a row takes the first with a value."""
    return (columns,) if isinstance(columns, str) else tuple(columns)


def columns_of_fields(names: Iterable[str], options: ImportOptions) -> dict[str, tuple[str, ...]]:
    """The columns of each field that has one: those of the options, and columns that have its name.

    Upper and lower case, spaces, ``_``, ``-`` and ``.`` make no difference to a name.

    Args:
        names: the names of columns.
        options: what the user says.
    """
    found = {name: alternatives(columns) for name, columns in options.columns.items()}
    taken = {column for columns in found.values() for column in columns}
    free = [name for name in names if name not in taken and name not in options.drop]
    by_name: dict[str, str] = {}
    for name in sorted(free, key=lambda name: name not in FIELDS):
        by_name.setdefault(simplified(name), name)
    for name in FIELDS:
        if name not in found and (column := by_name.get(simplified(name))):
            found[name] = (column,)
    for name in free:
        if name.startswith(CONTEXT) and name not in found and not name_problem("", name.removeprefix(CONTEXT)):
            found[name] = (name,)
    return found


def columns_named(field: str, names: Iterable[str], options: ImportOptions) -> list[str]:
    """The columns that have the name of a field and are not mapped or left out; none for a field that is mapped."""
    if field in options.columns:
        return []
    taken = {column for columns in options.columns.values() for column in alternatives(columns)}
    wanted = simplified(field)
    return [name for name in names if simplified(name) == wanted and name not in taken and name not in options.drop]


def simplified(name: str) -> str:
    """The name in lower case, without spaces, ``_``, ``-`` and ``.``."""
    return "".join(letter for letter in name.lower() if letter not in " _-.")


def id_column(names: Iterable[str]) -> str | None:
    """The column whose values name the rows; ``None`` if no name says so."""
    found = {simplified(name): name for name in reversed([*names])}
    return next((found[name] for name in _IDS if name in found), None)


def likely_columns(field: str, names: Iterable[str]) -> list[str]:
    """Columns that may hold the field, although they have another name."""
    return [name for name in names if simplified(name.rpartition(".")[2]) in _LIKELY[field]]


def list_of(names: Sequence[str]) -> str:
    """The names of the columns, for the end of an error."""
    return f"the columns are {listed([*map(repr, names)], _LISTED)}"


def context_name(column: str) -> str:
    """The context name of a column: invalid characters become ``_``."""
    name = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in column)
    return name[:MAX_CONTEXT_NAME_LENGTH] or "unnamed"


class FreeNames:
    """Numbers names that are taken.

    Args:
        taken: the names that are taken. The caller may add names, but removes none.
    """

    def __init__(self, taken: Container[str]) -> None:
        self._taken = taken
        # Of each name, the last number that was tried: thousands of columns may have the same context name.
        self._numbers: dict[str, int] = {}

    def free(self, name: str) -> str:
        """The name, with a number added if it is taken."""
        if name not in self._taken:
            return name
        stem = name[: MAX_CONTEXT_NAME_LENGTH - 7]
        number = self._numbers.get(stem, 1)
        while (candidate := f"{stem}_{(number := number + 1)}") in self._taken:
            pass
        # The caller may not take this one, so that it is tried again.
        self._numbers[stem] = number - 1
        return candidate


def with_session(row: Mapping[str, Any], session_id: str) -> dict[str, Any]:
    """The row with this session. Another session in it gets another name, and so goes into the context."""
    found = {**row, "session_id": session_id}
    other = row.get("session_id")
    if other not in (None, session_id):
        found[FreeNames(found).free("session_id")] = other
    return found


def lookup(row: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, such as ``meta.tags.0``; ``None`` if there is none. A name may have dots itself."""
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def without(row: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A copy of the row without the member at a dotted path. Objects that are empty then are left out as well.

    An element of a list is kept.
    """
    if path in row:
        return {name: value for name, value in row.items() if name != path}
    first, _, rest = path.partition(".")
    inner = row.get(first)
    if not rest or not isinstance(inner, Mapping):
        return dict(row)
    remaining = without(inner, rest)
    return {name: remaining if name == first else value for name, value in row.items() if name != first or remaining}

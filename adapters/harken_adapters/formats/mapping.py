"""Maps the columns of a file from another program to submissions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from attrs import field, frozen

from harken import Sentiment, Submission, Target
from harken.domain.rules import MAX_CONTEXT_NAME_LENGTH, name_problem
from harken_adapters.formats.errors import BadRow, UnusableFile
from harken_adapters.formats.record import moment, sentiment
from harken_adapters.formats.strict_json import RepeatedMember, parse

#: The fields that columns are mapped to, besides ``context.NAME``. Columns with the name of a field need no mapping.
FIELDS: Final = (
    "session_id",
    "message_id",
    "agent_id",
    "author",
    "rating",
    "comment",
    "created_at",
    "sentiment_polarity",
    "sentiment_subjectivity",
    "tags",
)
_IDS: Final = frozenset({"session_id", "message_id", "agent_id", "author"})
_CONTEXT: Final = "context."
#: The reason why a row without a session is rejected.
NO_SESSION: Final = (
    "no session_id; map a column to it with --map session_id=COLUMN, or set a value with --set session_id=VALUE"
)


def _check_fields(fields: Iterable[str]) -> None:
    for name in fields:
        if name.startswith(_CONTEXT):
            if problem := name_problem("context", name.removeprefix(_CONTEXT)):
                raise UnusableFile(problem.message)
        elif name not in FIELDS:
            raise UnusableFile(f"Unknown field {name!r}; the fields are {', '.join(FIELDS)} and context.NAME")


@frozen
class Columns:
    """The mapping of columns to fields, where their names differ.

    Attributes:
        mapped: the column of a field, such as ``{"comment": "text"}``.
        constants: the value of a field in rows without one, such as ``{"session_id": "reviews"}``.

    Raises:
        UnusableFile: a field is unknown.
    """

    mapped: Mapping[str, str] = field(factory=dict)
    constants: Mapping[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        _check_fields(self.mapped)
        _check_fields(self.constants)


@frozen
class _Plan:
    """Where the parts of a submission come from: :class:`Columns`, resolved once per file.

    Attributes:
        fields: the name, column and constant of each of :data:`FIELDS` except the tags, in that order.
        tags: the column of the tags.
        constant_tags: the tags of rows without any.
        context: the columns that were mapped to the context, by context name.
        constant_context: the context values of rows without them.
        columns: all columns above. Any other column of a file goes into the context.
    """

    fields: Sequence[tuple[str, str, str | None]]
    tags: str
    constant_tags: Sequence[str]
    context: Mapping[str, str]
    constant_context: Mapping[str, str]
    columns: frozenset[str]

    @classmethod
    def of(cls, columns: Columns) -> _Plan:
        sources = {name: columns.mapped.get(name, name) for name in FIELDS}
        constant_tags = columns.constants.get("tags")
        return cls(
            fields=[(name, sources[name], columns.constants.get(name) or None) for name in FIELDS if name != "tags"],
            tags=sources["tags"],
            constant_tags=parse_tags(constant_tags) if constant_tags else (),
            context=_context_part(columns.mapped),
            constant_context=_context_part(columns.constants),
            columns=frozenset({*sources.values(), *columns.mapped.values()}),
        )


def _context_part(fields: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(_CONTEXT): value for name, value in fields.items() if name.startswith(_CONTEXT)}


def context_name(column: str, taken: Iterable[str]) -> str:
    """The context name of a column: invalid characters become ``_``, and a number is added if the name is taken."""
    name = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in column)
    name = name[:MAX_CONTEXT_NAME_LENGTH] or "unnamed"
    return unique(name, taken)


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, with a number added if it is taken."""
    known, number, candidate = set(taken), 1, name
    while candidate in known:
        number += 1
        candidate = f"{name[: MAX_CONTEXT_NAME_LENGTH - 7]}_{number}"
    return candidate


def parse_tags(value: object) -> Sequence[Any]:
    """The tags in a value: a list, the text of a JSON list, or any other text as the only tag.

    Raises:
        BadRow: the value is not one of these.
    """
    if isinstance(value, str) and value.startswith("["):
        value = _decode("tags", value)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(value)
    raise BadRow(f"tags must be a string or a list of strings, got {value!r}")


def _decode(name: str, value: str) -> Any:
    try:
        return parse(value)
    except RepeatedMember as error:
        raise BadRow(f"{name}: {error}") from None
    except (ValueError, RecursionError):
        raise BadRow(f"{name} is not valid JSON: {value[:100]!r}") from None


class CellMapping:
    """Maps the cells of CSV rows. The position of each column is resolved once, from the header.

    Raises:
        UnusableFile: a mapped column is missing, or no row can have a session.
    """

    def __init__(self, header: Sequence[str], columns: Columns) -> None:
        plan = _Plan.of(columns)
        _check_header(header, columns, plan)
        position = {column: header.index(column) for column in header}
        # Columns that are missing are read from an empty cell, which is added to every row.
        missing = len(header)
        others = [column for column in header if column not in plan.columns]
        self._fields = [(position.get(column, missing), constant) for _, column, constant in plan.fields]
        self._tags = position.get(plan.tags, missing)
        self._constant_tags = plan.constant_tags
        self._reason = position["reason"] if "reason" in others and plan.tags not in position else missing
        self._context = position["context"] if "context" in others else missing
        self._context_values = {name: position[column] for name, column in plan.context.items()}
        for column in others:
            if position[column] not in (self._reason, self._context):
                self._context_values[context_name(column, self._context_values)] = position[column]
        self._constant_context = plan.constant_context

    def values(self, cells: Sequence[str]) -> tuple[list[str | None], Sequence[str], dict[str, Any]]:
        """The values of :data:`FIELDS` except the tags, the tags, and the context of a row.

        Raises:
            BadRow: the tags or the context are not valid JSON.
        """
        cells = [*cells, ""]
        values = [cells[index] or constant for index, constant in self._fields]
        context: dict[str, Any] = {name: cell for name, index in self._context_values.items() if (cell := cells[index])}
        if self._constant_context:
            context = {**self._constant_context, **context}
        if text := cells[self._context]:
            context = {**(_decode("context", text) if text.startswith("{") else {"context": text}), **context}
        return values, self._tags_of(cells), context

    def _tags_of(self, cells: Sequence[str]) -> Sequence[str]:
        if reason := cells[self._reason]:
            return (reason,)
        if cell := cells[self._tags]:
            return parse_tags(cell)
        return self._constant_tags


def _check_header(header: Sequence[str], columns: Columns, plan: _Plan) -> None:
    found = f"the columns are {', '.join(map(repr, header))}"
    for name, column in columns.mapped.items():
        if column not in header:
            raise UnusableFile(f"Column {column!r}, which is mapped to {name}, is missing; {found}")
    _, column, constant = plan.fields[0]
    if column not in header and constant is None:
        raise UnusableFile(f"The rows have {NO_SESSION}; {found}")


class KeyMapping:
    """Maps the values of JSON objects. Objects in one file may have different keys."""

    def __init__(self, columns: Columns) -> None:
        self._plan = _Plan.of(columns)

    def values(self, row: Mapping[str, Any]) -> tuple[list[Any], Sequence[Any], dict[str, Any]]:
        """The values of :data:`FIELDS` except the tags, the tags, and the context of a row.

        Raises:
            BadRow: the tags are invalid.
        """
        row = {key: value for key, value in row.items() if value is not None and value != ""}
        values = [_field_value(name, row.get(key), constant) for name, key, constant in self._plan.fields]
        tags = self._take_tags(row)
        self._take_sentiment(row, values)
        return values, tags, self._context(row)

    def _take_tags(self, row: dict[str, Any]) -> Sequence[Any]:
        if self._plan.tags in row:
            return parse_tags(row[self._plan.tags])
        if "reason" in row and "reason" not in self._plan.columns:
            return (row.pop("reason"),)
        return self._plan.constant_tags

    def _take_sentiment(self, row: dict[str, Any], values: list[Any]) -> None:
        found = row.get("sentiment")
        if (
            isinstance(found, dict)
            and found.keys() == {"polarity", "subjectivity"}
            and "sentiment" not in self._plan.columns
        ):
            del row["sentiment"]
            values[-2:] = found["polarity"], found["subjectivity"]

    def _context(self, row: dict[str, Any]) -> dict[str, Any]:
        context: dict[str, Any] = dict(self._plan.constant_context)
        if isinstance(row.get("context"), dict) and "context" not in self._plan.columns:
            context.update(row.pop("context"))
        context.update({name: _context_value(row[key]) for name, key in self._plan.context.items() if key in row})
        names = set(self._plan.context)
        for key, value in row.items():
            if key not in self._plan.columns:
                name = context_name(key, names)
                names.add(name)
                context[name] = _context_value(value)
        return context


def _field_value(name: str, value: object, constant: str | None) -> object:
    if value is None:
        return constant
    # Ids are text, but many programs store them as numbers.
    return str(value) if name in _IDS and type(value) is int else value


def _context_value(value: object) -> object:
    """A value for the context; lists and objects become JSON text."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


class Submissions:
    """Builds submissions whose idempotency keys depend on their content and on the number of equal earlier ones.

    So a repeated import adds nothing, while equal rows in one file are all kept.
    """

    def __init__(self, application: str) -> None:
        self._application = application
        self._occurrences: dict[int, int] = {}

    def make(self, values: Sequence[Any], tags: Sequence[Any], context: Mapping[str, Any]) -> Submission:
        """The submission of the next row.

        Raises:
            BadRow: the session is missing, or the date or the sentiment is invalid.
        """
        session_id, message_id, agent_id, author, rating, comment, created_at, polarity, subjectivity = values
        if session_id is None:
            raise BadRow(NO_SESSION)
        return Submission(
            target=Target(session_id, message_id, agent_id),
            rating=rating,
            comment="" if comment is None else comment,
            author=author,
            tags=tags,
            context=context,
            sentiment=None if polarity is subjectivity is None else _sentiment(polarity, subjectivity),
            created_at=None if created_at is None else moment("created_at", created_at),
            application=self._application,
            idempotency_key=self._key(values, tags, context),
        )

    def _key(self, values: Sequence[Any], tags: Sequence[Any], context: Mapping[str, Any]) -> str:
        # NUL separates the values, as valid values do not contain it. The number of tags separates them from the rest.
        parts = [*values, str(len(tags)), *tags]
        for name in sorted(context):
            parts += name, context[name]
        text = "\0".join([part if type(part) is str else _canonical(part) for part in parts])
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        # Half of the digest is enough for counting: if two contents share it, their keys still differ.
        content = int.from_bytes(digest[:8], "big")
        self._occurrences[content] = occurrence = self._occurrences.get(content, 0) + 1
        return f"import-{digest.hex()}-{occurrence}"


def _canonical(value: object) -> str:
    """A text for a value that is not text; different values have different texts."""
    return "" if value is None else f"\1{json.dumps(value, sort_keys=True)}"


def _sentiment(polarity: object, subjectivity: object) -> Sentiment:
    return sentiment(_number(polarity), _number(subjectivity))


def _number(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value

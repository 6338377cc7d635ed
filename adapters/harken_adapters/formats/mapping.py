"""From the columns of somebody else's file to submissions."""

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

#: What a column can be mapped to, besides ``context.NAME``; a column of such a name is mapped to it anyway.
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
#: Why a row without a session is rejected.
NO_SESSION: Final = (
    "no session_id: say which column has it with --map session_id=COLUMN, "
    "or give one to every row that lacks it with --set session_id=VALUE"
)


def _only_known(fields: Iterable[str]) -> None:
    for name in fields:
        if name.startswith(_CONTEXT):
            if problem := name_problem("context", name.removeprefix(_CONTEXT)):
                raise UnusableFile(problem.message)
        elif name not in FIELDS:
            raise UnusableFile(f"There is no field {name!r}; the fields are {', '.join(FIELDS)} and context.NAME")


@frozen
class Columns:
    """What the columns of a file mean, where their names do not say it.

    Attributes:
        mapped: the column of a field, such as ``{"comment": "text"}``.
        constants: the value of a field in rows that have none, such as ``{"session_id": "reviews"}``.

    Raises:
        UnusableFile: there is no such field.
    """

    mapped: Mapping[str, str] = field(factory=dict)
    constants: Mapping[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        _only_known(self.mapped)
        _only_known(self.constants)

    def column_of(self, name: str) -> str:
        """The column that a field is read from."""
        return self.mapped.get(name, name)

    @property
    def constant_context(self) -> dict[str, str]:
        """The constants of the context."""
        return _facts(self.constants)

    @property
    def mapped_context(self) -> dict[str, str]:
        """By name of the context, the columns that were mapped to it."""
        return _facts(self.mapped)


def _facts(fields: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(_CONTEXT): value for name, value in fields.items() if name.startswith(_CONTEXT)}


def context_name(column: str, taken: Iterable[str]) -> str:
    """What a column is called in the context: characters that such a name may not have become ``_``."""
    name = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in column)
    name = name[:MAX_CONTEXT_NAME_LENGTH] or "unnamed"
    return unique(name, taken)


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, or with a number behind it, so that it is none of the taken ones."""
    known, number, candidate = set(taken), 1, name
    while candidate in known:
        number += 1
        candidate = f"{name[: MAX_CONTEXT_NAME_LENGTH - 7]}_{number}"
    return candidate


def tags_of(value: object) -> Sequence[Any]:
    """The tags in a value: a list, a text that is a JSON list, or any other text as the only tag.

    Raises:
        BadRow: it is none of these.
    """
    if isinstance(value, str) and value.startswith("["):
        value = _decoded("tags", value)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(value)
    raise BadRow(f"tags must be a text or a list of texts, got {value!r}")


def _decoded(name: str, value: str) -> Any:
    try:
        return parse(value)
    except RepeatedMember as error:
        raise BadRow(f"{name}: {error}") from None
    except (ValueError, RecursionError):
        raise BadRow(f"{name} begins like JSON, but is none: {value[:100]!r}") from None


class CellMapping:
    """What each cell of a CSV row becomes; worked out once, from the header."""

    def __init__(self, header: Sequence[str], columns: Columns) -> None:
        """Raises ``UnusableFile`` where a mapped column is absent, or no row can have a session."""
        for name, column in columns.mapped.items():
            if column not in header:
                raise UnusableFile(f"There is no column {column!r} to read {name} from; {_there_are(header)}")
        index = {column: header.index(column) for column in header}
        sources = {name: columns.column_of(name) for name in FIELDS}
        self._reason = self._context = -1
        used = {column for column in (*sources.values(), *columns.mapped.values()) if column in index}
        if sources["tags"] not in index and "reason" in index and "reason" not in used:
            self._reason = index["reason"]
            used.add("reason")
        if "context" in index and "context" not in used:
            self._context = index["context"]
            used.add("context")
        if sources["session_id"] not in index and not columns.constants.get("session_id"):
            raise UnusableFile(
                "No row has a session_id. Say which column has it, with --map session_id=COLUMN, "
                f"or give one to all rows, with --set session_id=VALUE; {_there_are(header)}"
            )
        # Absent columns are read from one empty cell that is put behind every row.
        absent = len(header)
        self._fields = [
            (index.get(sources[name], absent), columns.constants.get(name) or None) for name in FIELDS if name != "tags"
        ]
        self._tags = index.get(sources["tags"], absent)
        constant_tags = columns.constants.get("tags")
        self._constant_tags = tags_of(constant_tags) if constant_tags else ()
        self._facts = {name: index[column] for name, column in columns.mapped_context.items()}
        for column in header:
            if column not in used:
                self._facts[context_name(column, self._facts)] = index[column]
        self._constant_context = columns.constant_context

    def values(self, cells: Sequence[str]) -> tuple[list[str | None], Sequence[str], dict[str, Any]]:
        """The values of :data:`FIELDS` but the tags, the tags, and the context of a row.

        Raises:
            BadRow: tags or context are broken JSON.
        """
        cells = [*cells, ""]
        values = [cells[index] or constant for index, constant in self._fields]
        context: dict[str, Any] = {name: cell for name, index in self._facts.items() if (cell := cells[index])}
        if self._constant_context:
            context = {**self._constant_context, **context}
        if self._context >= 0 and (text := cells[self._context]):
            context = {**(_decoded("context", text) if text.startswith("{") else {"context": text}), **context}
        return values, self._tags_in(cells), context

    def _tags_in(self, cells: Sequence[str]) -> Sequence[str]:
        if self._reason >= 0 and (reason := cells[self._reason]):
            return (reason,)
        if cell := cells[self._tags]:
            return tags_of(cell)
        return self._constant_tags


def _there_are(header: Sequence[str]) -> str:
    return f"the columns are {', '.join(map(repr, header))}"


class KeyMapping:
    """What each value of a JSON object becomes; objects of one file may have different keys."""

    def __init__(self, columns: Columns) -> None:
        self._fields = [
            (name, columns.column_of(name), columns.constants.get(name) or None) for name in FIELDS if name != "tags"
        ]
        self._tags = columns.column_of("tags")
        constant_tags = columns.constants.get("tags")
        self._constant_tags = tags_of(constant_tags) if constant_tags else ()
        self._mapped_context = columns.mapped_context
        self._constant_context = columns.constant_context
        self._used = {columns.column_of(name) for name in FIELDS} | set(columns.mapped.values())

    def values(self, row: Mapping[str, Any]) -> tuple[list[Any], Sequence[Any], dict[str, Any]]:
        """The values of :data:`FIELDS` but the tags, the tags, and the context of a row.

        Raises:
            BadRow: tags or context are broken.
        """
        row = {key: value for key, value in row.items() if value is not None and value != ""}
        values = [self._value(name, row.get(key), constant) for name, key, constant in self._fields]
        tags = self._take_tags(row)
        self._take_sentiment(row, values)
        return values, tags, self._facts(row)

    def _value(self, name: str, value: object, constant: str | None) -> object:
        if value is None:
            return constant
        # An id is text, but plenty of programs number what they keep.
        return str(value) if name in _IDS and type(value) is int else value

    def _take_tags(self, row: dict[str, Any]) -> Sequence[Any]:
        if self._tags in row:
            return tags_of(row[self._tags])
        if "reason" in row and "reason" not in self._used:
            return (row.pop("reason"),)
        return self._constant_tags

    def _take_sentiment(self, row: dict[str, Any], values: list[Any]) -> None:
        found = row.get("sentiment")
        if isinstance(found, dict) and found.keys() == {"polarity", "subjectivity"} and "sentiment" not in self._used:
            del row["sentiment"]
            values[-2:] = found["polarity"], found["subjectivity"]

    def _facts(self, row: Mapping[str, Any]) -> dict[str, Any]:
        context: dict[str, Any] = dict(self._constant_context)
        for key, value in row.items():
            if key == "context" and isinstance(value, dict) and key not in self._used:
                context.update(value)
        context.update({name: _fact(row[key]) for name, key in self._mapped_context.items() if key in row})
        rest = [key for key in row if key not in self._used and not (key == "context" and isinstance(row[key], dict))]
        named: set[str] = set(self._mapped_context)
        for key in rest:
            name = context_name(key, named)
            named.add(name)
            context[name] = _fact(row[key])
        return context


def _fact(value: object) -> object:
    """A value as the context takes it: what is nested becomes JSON text, so that nothing is lost."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


class Submissions:
    """Makes submissions, each with an idempotency key of what it says and how often that was said before.

    So importing the same file again adds nothing, while rows that are repeated in it are all kept.
    """

    def __init__(self, application: str) -> None:
        self._application = application
        self._said: dict[int, int] = {}

    def make(self, values: Sequence[Any], tags: Sequence[Any], context: Mapping[str, Any]) -> Submission:
        """The submission of a row; its key says how often this content came up so far.

        Raises:
            BadRow: it has no session, or a date or a sentiment makes no sense.
        """
        session_id, message_id, agent_id, author, rating, comment, created_at, polarity, subjectivity = values
        if session_id is None:
            raise BadRow(NO_SESSION)
        felt = None if polarity is subjectivity is None else _sentiment(polarity, subjectivity)
        return Submission(
            target=Target(session_id, message_id, agent_id),
            rating=rating,
            comment="" if comment is None else comment,
            author=author,
            tags=tags,
            context=context,
            sentiment=felt,
            created_at=None if created_at is None else moment("created_at", created_at),
            application=self._application,
            idempotency_key=self._key(values, tags, context),
        )

    def _key(self, values: Sequence[Any], tags: Sequence[Any], context: Mapping[str, Any]) -> str:
        # NUL parts the values: no valid one has it. The number of tags tells them from what follows.
        parts = [*values, str(len(tags)), *tags]
        for name in sorted(context):
            parts += name, context[name]
        text = "\0".join([part if type(part) is str else _canonical(part) for part in parts])
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        # Half of the digest is enough for counting: should two contents ever share it, their keys still differ.
        content = int.from_bytes(digest[:8], "big")
        self._said[content] = occurrence = self._said.get(content, 0) + 1
        return f"import-{digest.hex()}-{occurrence}"


def _canonical(value: object) -> str:
    """Text for a value that is none, such that different values have different texts."""
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

"""Builds a submission from each row of a file, as a plan says."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import reduce
from hashlib import blake2b
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from harken import Rating, Sentiment, Submission, Target
from harken.domain.idempotency import IMPORT_ID, IMPORT_KEY
from harken.domain.rules import (
    MAX_CONTEXT_KEYS,
    MAX_CONTEXT_VALUE_LENGTH,
    MAX_TAG_LENGTH,
    number_problem,
)
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.import_options import CONTEXT, FIELDS
from harken_adapters.formats.importing.columns import FreeNames, context_name, lookup, without
from harken_adapters.formats.importing.plan import Plan, Sessions, goes_into_context, source_name
from harken_adapters.formats.record import sentiment
from harken_adapters.formats.spreadsheet_csv import ID
from harken_adapters.formats.strict_json import RepeatedMember, parse
from harken_adapters.formats.tables.table import Origin
from harken_adapters.formats.values import canonical_text, is_empty, to_json

#: The context name of a rating as it was in the file, if it was translated.
RATING_GIVEN: Final = "rating_given"
#: How many context values a row has at most, besides the two that an import adds.
MOST_VALUES: Final = MAX_CONTEXT_KEYS - 2
#: What no storage can store in a text: NUL, and lone surrogates.
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
SINGLE_FIELDS: Final = tuple(name for name in FIELDS if name != "tags")
_SESSION: Final = SINGLE_FIELDS.index("session_id")
#: The other fields by which equal rows are the same one.
_UNIQUE: Final = (SINGLE_FIELDS.index("message_id"), SINGLE_FIELDS.index("created_at"))
_TEXTS: Final = frozenset({"session_id", "message_id", "agent_id", "author", "comment"})


class Parts(NamedTuple):
    """What a row says: the values of ``SINGLE_FIELDS``, its tags and its context."""

    values: list[Any]
    tags: Sequence[Any]
    context: dict[str, Any]


class SubmissionBuilder(ABC):
    """Builds the submissions of the rows of a file.

    Their idempotency keys depend on their content and on the number of equal rows before them. So a repeated import
    adds nothing, while equal rows in one file are all kept. The key of a row without a session, an id and a date also
    depends on the name of the file: an equal row of another file is another one.

    Args:
        plan: what the columns mean.
        application: the application of the feedback.
        import_id: the id of the import, which goes into the context.

    Attributes:
        cut: the number of rows whose context was shortened so far.
    """

    def __init__(self, plan: Plan, application: Any, import_id: str | None = None) -> None:
        self._application = application
        self._import_id = import_id
        self._read_rating = plan.ratings.read
        self._read_date = plan.dates.read
        constants = plan.options.constants
        self._constants = [constants.get(name) or None for name in SINGLE_FIELDS]
        self._constant_tags = parse_tags(constants["tags"]) if constants.get("tags") else ()
        self._constant_context = {
            name.removeprefix(CONTEXT): value for name, value in constants.items() if name.startswith(CONTEXT)
        }
        self._source = plan.source
        self._session_is_row_id = plan.sessions is Sessions.ID
        self._occurrences: dict[int, int] = {}
        self.cut = 0

    def submission(self, row: Any, origin: Origin | None = None) -> Submission:
        """The submission of the next row.

        Args:
            row: its values.
            origin: where it is from, if it is a rejected row of an earlier import. If it has neither an id nor a date,
                its key depends on that, as a row of that file may be equal to the corrected one.

        Raises:
            BadRow: the rating, the date, the sentiment, the tags or the context are invalid.
        """
        values, tags, context = self.parts(row)
        session_id, message_id, agent_id, author, rating, comment, created_at, polarity, subjectivity = values
        if rating is None:
            rating = Rating.NEUTRAL
        else:
            rating, given = self._read_rating(rating)
            if given is not None and not _UNSTORABLE.search(given):
                context.setdefault(RATING_GIVEN, given)
        if created_at is not None:
            created_at = self._read_date(created_at)
        content = (session_id, message_id, agent_id, author, rating.value, comment, created_at, polarity, subjectivity)
        key = self._key(content, tags, context, self._source_of(values, origin))
        if self._import_id is not None:
            context[IMPORT_ID] = self._import_id
        return Submission(
            target=Target(f"row-{key}" if session_id is None else session_id, message_id, agent_id),
            rating=rating,
            comment="" if comment is None else comment,
            author=author,
            tags=tags,
            context=context,
            sentiment=sentiment_of(polarity, subjectivity),
            created_at=created_at,
            application=self._application,
            idempotency_key=f"{IMPORT_KEY}{key}",
        )

    @abstractmethod
    def parts(self, row: Any) -> Parts:
        """The parts of a row.

        Raises:
            BadRow: the tags or the context are not valid JSON.
        """

    def _source_of(self, values: Sequence[Any], origin: Origin | None) -> str:
        """What distinguishes the row from equal ones: its file, or its place; empty if equal rows are the same one."""
        constants = self._constants
        for index in _UNIQUE:
            if values[index] is not None and values[index] != constants[index]:
                return ""
        has_session = values[_SESSION] is not None and values[_SESSION] != constants[_SESSION]
        if has_session and (origin is None or self._session_is_row_id):
            return ""
        return self._source if origin is None else f"{source_name(origin.container)}:{origin.position}"

    def _key(self, values: Sequence[Any], tags: Sequence[Any], context: Mapping[str, Any], source: str) -> str:
        # NUL separates the values, as valid values do not contain it. The number of tags separates them from the rest.
        parts = [*values, str(len(tags)), *tags]
        for name in sorted(context):
            parts += name, context[name]
        if source:
            parts.append(source)
        text = "\0".join([part if type(part) is str else _part_of_key(part) for part in parts])
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        # Half of the digest is enough for counting: if two contents share it, their keys still differ.
        content = int.from_bytes(digest[:8], "big")
        self._occurrences[content] = occurrence = self._occurrences.get(content, 0) + 1
        return f"{digest.hex()}-{occurrence}"

    def _shortened(self, context: dict[str, Any]) -> dict[str, Any]:
        """The context, with at most as many values, and values of at most as many characters, as can be stored.

        Values with characters that cannot be stored are left out.
        """
        longest = MAX_CONTEXT_VALUE_LENGTH
        texts = [value for value in context.values() if type(value) is str]
        has_invalid = _UNSTORABLE.search("".join(texts)) is not None
        if not has_invalid and len(context) <= MOST_VALUES and max(map(len, texts), default=0) <= longest:
            return context
        self.cut += 1
        found: dict[str, Any] = {}
        for name, value in context.items():
            if type(value) is not str:
                found[name] = value
            elif not _UNSTORABLE.search(value):
                found[name] = f"{value[: longest - 1]}…" if len(value) > longest else value
        return dict(islice(found.items(), MOST_VALUES))


def builder_for(plan: Plan, application: Any, import_id: str | None = None) -> SubmissionBuilder:
    """The fastest way to build the submissions of a file of this plan."""
    single = all(len(columns) == 1 for columns in plan.fields.values())
    if plan.columns is None:
        return _ObjectRows(plan, application, import_id)
    return (_TextRows if plan.is_text and single else _CellRows)(plan, application, import_id)


class _TextRows(SubmissionBuilder):
    """SubmissionBuilder of CSV: all cells are text. The position of each column is resolved once."""

    def __init__(self, plan: Plan, application: Any, import_id: str | None) -> None:
        super().__init__(plan, application, import_id)
        columns = plan.columns or ()
        position = {column: number for number, column in enumerate(columns)}
        # Fields without a column are read from an empty cell, which is added to every row.
        none = len(columns)

        def of(column: str | None) -> int:
            return none if column is None else position.get(column, none)

        first = {name: columns[0] for name, columns in plan.fields.items()}
        if plan.id_column:
            first["session_id"] = plan.id_column
        self._fields = [
            (of(first.get(name)), constant) for name, constant in zip(SINGLE_FIELDS, self._constants, strict=True)
        ]
        self._tags, self._reason = of(first.get("tags")), of(plan.reason)
        mapped = {name.removeprefix(CONTEXT): of(column) for name, column in first.items() if name.startswith(CONTEXT)}
        self._columns = [*mapped.items(), *((name, of(column)) for column, name in plan.context.items())]
        self._own = of("context") if plan.has_context else none

    def parts(self, row: Sequence[str]) -> Parts:
        cells = [*row, ""]
        values = [cells[index] or constant for index, constant in self._fields]
        context: dict[str, Any] = {name: cell for name, index in self._columns if (cell := cells[index])}
        if self._constant_context:
            context = {**self._constant_context, **context}
        if own := cells[self._own]:
            context = {**own_context(own), **context}
        if reason := cells[self._reason]:
            if len(reason) > MAX_TAG_LENGTH:
                context["reason"] = reason
            else:
                return Parts(values, (reason,), self._shortened(context))
        tag = cells[self._tags]
        return Parts(values, parse_tags(tag) if tag else self._constant_tags, self._shortened(context))


class _ObjectRows(SubmissionBuilder):
    """SubmissionBuilder that are objects, each with its own names, and values of any type."""

    def __init__(self, plan: Plan, application: Any, import_id: str | None) -> None:
        super().__init__(plan, application, import_id)
        self._plan = plan
        fields: dict[str, Sequence[str]] = dict(plan.fields)
        if plan.id_column:
            fields["session_id"] = (plan.id_column,)
        self._fields = [
            (name, fields.get(name, ()), constant)
            for name, constant in zip(SINGLE_FIELDS, self._constants, strict=True)
        ]
        self._tags = fields.get("tags", ())
        self._mapped = [
            (name.removeprefix(CONTEXT), columns) for name, columns in fields.items() if name.startswith(CONTEXT)
        ]
        self._left_out = [path for path in plan.options.drop if "." in path]
        self._has_sentiment = "sentiment" not in {*plan.options.drop, *chain.from_iterable(fields.values())}

    def parts(self, row: Any) -> Parts:
        rest = {name: value for name, value in row.items() if name != ID and not is_empty(value)}
        for path in self._left_out:
            rest = without(rest, path)
        taken: list[str] = []
        values = [field_value(name, _take(rest, columns, taken), constant) for name, columns, constant in self._fields]
        tag = _take(rest, self._tags, taken)
        tags = self._constant_tags if tag is None else parse_tags(to_json(tag))
        mapped = {name: _context_value(_take(rest, columns, taken)) for name, columns in self._mapped}
        rest = _without_all(rest, taken)
        if self._has_sentiment and _is_sentiment(found := rest.get("sentiment", {})):
            del rest["sentiment"]
            values[-2:] = found["polarity"], found["subjectivity"]
        reason = self._plan.reason and rest.get(self._plan.reason)
        if isinstance(reason, str) and len(reason) <= MAX_TAG_LENGTH:
            del rest["reason"]
            tags = (reason,)
        return Parts(values, tags, self._shortened(self._context(rest, mapped)))

    def _context(self, rest: dict[str, Any], mapped: dict[str, Any]) -> dict[str, Any]:
        context: dict[str, Any] = dict(self._constant_context)
        if self._plan.has_context and "context" in rest:
            context.update(own_context(rest.pop("context")))
        context.update({name: value for name, value in mapped.items() if value is not None})
        known, free = self._plan.context, FreeNames(context).free
        for name, value in rest.items():
            if name in known:
                context[known[name]] = _context_value(value)
            elif goes_into_context(name, self._plan.options):
                context[free(context_name(name))] = _context_value(value)
        return context


class _CellRows(_ObjectRows):
    """SubmissionBuilder whose cells have values of any type, as in a spreadsheet."""

    def parts(self, row: Any) -> Parts:
        return super().parts(dict(zip(self._plan.columns or (), row, strict=True)))


def _take(row: Mapping[str, Any], columns: Sequence[str], taken: list[str]) -> Any:
    """The first value in these columns, which is added to the taken ones."""
    for column in columns:
        value = row[column] if column in row else lookup(row, column) if "." in column else None
        if not is_empty(value):
            taken.append(column)
            return value
    return None


def _without_all(row: dict[str, Any], paths: Collection[str]) -> dict[str, Any]:
    """The row without the members at these paths."""
    names = row.keys() & paths
    # In one go, as each may be a member of a long row.
    rest = {name: value for name, value in row.items() if name not in names} if names else row
    return reduce(without, (path for path in paths if path not in names), rest)


# --- values -----------------------------------------------------------------------------------------------------------


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


def own_context(value: object) -> dict[str, Any]:
    """The values of a column named ``context``: an object, its JSON text, or any other value.

    Raises:
        BadRow: a text that begins like an object is not valid JSON.
    """
    if isinstance(value, str) and value.startswith("{"):
        value = _decode("context", value)
    if not isinstance(value, Mapping):
        return {"context": _context_value(value)}
    return {context_name(name): _context_value(one) for name, one in value.items()}


def _decode(name: str, value: str) -> Any:
    try:
        return parse(value)
    except RepeatedMember as error:
        raise BadRow(f"{name}: {error}") from None
    except (ValueError, RecursionError):
        raise BadRow(f"{name} is not valid JSON: {value[:100]!r}") from None


def field_value(name: str, value: Any, constant: str | None = None) -> Any:
    """The value of a field; ``None`` or the constant if it is empty. An id is text, unless its value cannot be one."""
    if value is None:
        return constant
    if name not in _TEXTS:
        return value
    if isinstance(value, Mapping) and value.keys() == {"$oid"}:
        return value["$oid"]
    # Ids are text, but many programs store them as numbers, and spreadsheets do so with comments as well.
    return value if isinstance(value, str | bool | list | Mapping) else canonical_text(value)


def _context_value(value: Any) -> Any:
    """A value for the context; lists and objects become JSON text, and numbers that cannot be stored text."""
    if type(value) is str:
        return value
    value = to_json(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value) if not isinstance(value, str) and number_problem("", value) else value


def _is_sentiment(value: object) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"polarity", "subjectivity"}


def _part_of_key(value: object) -> str:
    """A text for a value that is not text; different values have different texts, which no valid text is."""
    if value is None:
        return "\2"
    return value.isoformat() if isinstance(value, datetime) else f"\1{json.dumps(value, sort_keys=True, default=str)}"


def sentiment_of(polarity: object, subjectivity: object) -> Sentiment | None:
    """The sentiment with these values, which may be texts; ``None`` if there is neither.

    Raises:
        BadRow: the values are not numbers, or are out of range.
    """
    return None if polarity is subjectivity is None else sentiment(_number(polarity), _number(subjectivity))


def _number(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value

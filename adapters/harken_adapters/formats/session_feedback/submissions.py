"""Converts dictionaries to submissions, and finds the values that :mod:`.dictionaries` would not return equal."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, reduce
from itertools import chain, islice
from typing import Any, Final, NamedTuple, TypeGuard

from attrs import evolve

from harken import FeedbackRejected, Sentiment, Submission, Target, Violation
from harken.domain.feedback import NO_CONTEXT, Scalar
from harken.domain.idempotency import IMPORT_ID
from harken.domain.instants import parse_instant
from harken.domain.rules import (
    MAX_CONTEXT_NAME_LENGTH,
    MAX_TAG_LENGTH,
    MAX_TAGS,
    context_problems,
    label_problem,
    name_problem,
)
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.import_options import CONTEXT
from harken_adapters.formats.import_options import FIELDS as IMPORTED_FIELDS
from harken_adapters.formats.importing.columns import alternatives, context_name, simplified, with_session, without
from harken_adapters.formats.importing.plan import Plan, goes_into_context, plan_of_names
from harken_adapters.formats.importing.submissions import (
    MOST_VALUES,
    RATING_GIVEN,
    SubmissionBuilder,
    builder_for,
    field_value,
    own_context,
    parse_tags,
    sentiment_of,
)
from harken_adapters.formats.session_feedback.dictionaries import (
    ALWAYS,
    FIELDS,
    HIDDEN,
    NOTHING,
    is_of_import,
    shown_values,
)
from harken_adapters.formats.spreadsheet_csv import ID
from harken_adapters.formats.value_encoding import check_text, encode_exactly
from harken_adapters.formats.values import is_empty, plain, to_json

#: The target of feedback by its message, which may be the number of one, and its agent.
TargetOf = Callable[[str | int | None, str | None], Target]

_IDS: Final = ("message_id", "agent_id", "author")
#: What feedback on the latest answer has without being asked for.
_OF_ANSWER: Final = ("message_id", "agent_id")
_EXACT_FIELDS: Final = FIELDS - {"sentiment"}
#: Simplified names of what an import does not read as a context value of the same name.
_READ: Final = frozenset(map(simplified, (*IMPORTED_FIELDS, "reason", "context", "sentiment", ID)))
_SCALARS: Final = (str, int, float, bool)
#: How many names, and sets of names, are remembered.
_NAMES: Final = 1_000
_READERS: Final = 100
_LONGEST_NAMES: Final = 2_000


class _Parts(NamedTuple):
    """What becomes of a dictionary, besides its rating, comment, time and idempotency key."""

    message_id: str | None = None
    agent_id: str | None = None
    author: str | None = None
    tags: Sequence[str] = ()
    sentiment: Sentiment | None = None
    context: Mapping[str, Scalar] = NO_CONTEXT
    enrichment: Mapping[str, Scalar] = NO_CONTEXT


def to_submission(entry: Mapping[str, Any], session_id: str, target_of: TargetOf, application: str) -> Submission:
    """Convert a dictionary to a submission.

    Text, numbers, booleans and ``None`` under names that begin with an underscore are enrichment.

    Args:
        entry: the dictionary, which is not changed. A ``created_at`` that is not a time is ignored.
        session_id: the session.
        target_of: called with the message and the agent that the dictionary names, if any.
        application: the application of the feedback.

    Raises:
        FeedbackRejected: a name is not text, or a value cannot be stored.
    """
    exact = _exact_parts(entry)
    # Before anything is converted, as this refuses the values that cannot be.
    encoded = {} if exact else _encode(entry, strict=True)
    parts = exact or _imported_parts(entry, session_id)
    message_id = entry.get("message_id")
    # A number that is too long for an id is kept in the extras only.
    is_linked = _is_number(message_id) and parts.message_id is not None
    about = target_of(message_id if is_linked else parts.message_id, parts.agent_id)
    submission = Submission(
        target=about,
        rating=entry.get("rating"),
        comment=entry.get("comment") or "",
        author=parts.author,
        tags=parts.tags,
        context=parts.context,
        enrichment=parts.enrichment,
        sentiment=parts.sentiment,
        idempotency_key=entry.get("idempotency_key"),
        application=application,
        created_at=_moment(entry.get("created_at")),
    )
    if exact:
        return submission
    of_answer = [name for name in _OF_ANSWER if getattr(parts, name) is None]
    # Not asked for, but shown.
    shown = {name for name in _OF_ANSWER if name in entry and getattr(about, name) is not None}
    kept = {name: value for name, value in encoded.items() if value is not None or name not in shown}
    return evolve(submission, extras=_extras(kept, submission, {*entry, *of_answer}))


def with_extras(submission: Submission, entry: Mapping[str, Any], plan: Plan) -> Submission:
    """The submission that was imported from a dictionary, with what would not be returned equal from it.

    Args:
        submission: what the plan made of the dictionary.
        entry: the dictionary. Values that cannot be encoded are stored as text.
        plan: what its members mean. Those that are left out, and those that the user mapped to a field, are not stored.
    """
    options = plan.options
    mapped = {column for columns in options.columns.values() for column in alternatives(columns)}
    fields = {*chain.from_iterable(plan.fields.values())}
    kept = {
        name: value
        for name, value in reduce(without, options.drop, entry).items()
        if name not in mapped and (name in fields or goes_into_context(name, options))
    }
    # What a mapping or a constant made is shown under its own name.
    named = {name.removeprefix(CONTEXT) for name in (*options.columns, *options.constants)}
    if not any(context_name(name) == RATING_GIVEN and not is_empty(value) for name, value in kept.items()):
        # Made of a translated rating.
        named.add(RATING_GIVEN)
    extras = _extras(_encode(kept, strict=False), submission, {*entry, *named})
    return evolve(submission, extras=extras) if extras else submission


def without_invalid_fields(row: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The members of an object, without those that are read as a field which cannot have their value.

    An import refuses such an object. Its values are JSON values.
    """
    fields: list[tuple[str, str]] = [(field, column) for field, columns in plan.fields.items() for column in columns]
    fields += (("sentiment", "sentiment"), ("context", "context"), *([("reason", plan.reason)] if plan.reason else ()))
    wrong = {column for field, column in fields if column in row and not _fits(field, row[column])}
    return {name: value for name, value in row.items() if name not in wrong}


def copy_of(entry: object) -> dict[str, Any]:
    """A copy of a dictionary, which hooks may change.

    Raises:
        FeedbackRejected: it is not a dictionary.
    """
    if isinstance(entry, Mapping):
        return dict(entry)
    message = f"feedback must be a dictionary with a rating and a comment, got {type(entry).__name__}"
    raise FeedbackRejected([Violation("feedback", "type", message)])


def _exact_parts(entry: Mapping[str, Any]) -> _Parts | None:
    """The parts of a dictionary that fields and context return equal, as most do; ``None`` for others."""
    ids = [entry[name] for name in _IDS if name in entry]
    if any(type(value) is not str or label_problem("id", value) for value in ids):
        return None
    if "tags" in entry and not _are_tags(entry["tags"]):
        return None
    if is_of_import(entry.get("idempotency_key")):
        return None
    others = {name: value for name, value in entry.items() if name not in _EXACT_FIELDS}
    if len(others) > MOST_VALUES or not all(_is_exact(name, value) for name, value in others.items()):
        return None
    enrichment = {name: others.pop(name) for name in [*others] if name.startswith("_")}
    return _Parts(
        entry.get("message_id"),
        entry.get("agent_id"),
        entry.get("author"),
        entry.get("tags", ()),
        context=others or NO_CONTEXT,
        enrichment=enrichment or NO_CONTEXT,
    )


def _is_exact(name: object, value: object) -> bool:
    """Whether an import stores a value unchanged in the context, under the same name."""
    if type(name) is not str or len(name) > MAX_CONTEXT_NAME_LENGTH or not _is_context_name(name):
        return False
    return type(value) in _SCALARS and not is_empty(value) and not any(context_problems({name: value}))


@lru_cache(_NAMES)
def _is_context_name(name: str) -> bool:
    return name not in HIDDEN and simplified(name) not in _READ and name_problem("context", name) is None


def _are_tags(value: object) -> bool:
    return (
        type(value) in (list, tuple)
        and isinstance(value, Sequence)
        and 0 < len(value) <= MAX_TAGS
        and all(type(tag) is str and label_problem("tag", tag, MAX_TAG_LENGTH) is None for tag in value)
        and len(set(value)) == len(value)
    )


def _imported_parts(entry: Mapping[str, Any], session_id: str) -> _Parts:
    """The parts of a dictionary as an import reads them. A field stays empty if it cannot have its value.

    Raises:
        FeedbackRejected: an integer has more than 4,300 digits.
    """
    enrichment = dict(islice(_enrichment(entry), MOST_VALUES))
    given = {name: plain(value) for name, value in entry.items() if name not in enrichment}
    row = with_session({**given, **dict.fromkeys((*ALWAYS, "idempotency_key"))}, session_id)
    plan, builder = _reader(tuple(row))
    try:
        values, tags, context = builder.parts(without_invalid_fields(row, plan))
    except ValueError as error:
        # Python converts only integers of up to 4,300 digits to text.
        message = f"feedback has a value that cannot be stored: {error}"
        raise FeedbackRejected([Violation("feedback", "range", message)]) from error
    _, message_id, agent_id, author, *_, polarity, subjectivity = values
    sentiment = None
    with suppress(BadRow):
        sentiment = sentiment_of(polarity, subjectivity)
    # Otherwise it would be erased with the import that it names.
    context.pop(IMPORT_ID, None)
    kept = dict(islice(context.items(), MOST_VALUES - len(enrichment)))
    enrichment |= {name: kept.pop(name) for name in [*kept] if name.startswith("_")}
    return _Parts(message_id, agent_id, author, tags, sentiment, kept, enrichment)


def _enrichment(entry: Mapping[str, Any]) -> Iterable[tuple[str, Scalar]]:
    for name, value in entry.items():
        if name.startswith("_") and not any(context_problems({name: value})):
            yield name, value


def _reader(names: tuple[str, ...]) -> tuple[Plan, SubmissionBuilder]:
    if sum(map(len, names)) > _LONGEST_NAMES:
        return _new_reader(names)
    return _known_reader(names)


def _new_reader(names: tuple[str, ...]) -> tuple[Plan, SubmissionBuilder]:
    plan = plan_of_names(names)
    return plan, builder_for(plan, "")


_known_reader: Final = lru_cache(_READERS)(_new_reader)


def _fits(field: str, value: Any) -> bool:
    """Whether a field can have what an import makes of a JSON value."""
    try:
        match field:
            case _ if is_empty(value):
                return True
            case "message_id" | "agent_id" | "author":
                return label_problem(field, field_value(field, value)) is None
            case "tags":
                return _are_valid(parse_tags(to_json(value)))
            case "reason" if isinstance(value, str) and len(value) <= MAX_TAG_LENGTH:
                return _are_valid([value])
            case "context":
                own_context(value)
            case "sentiment" if isinstance(value, Mapping) and value.keys() == {"polarity", "subjectivity"}:
                sentiment_of(value["polarity"], value["subjectivity"])
    except BadRow:
        return False
    return True


def _are_valid(tags: Sequence[object]) -> bool:
    return len(tags) <= MAX_TAGS and not any(label_problem("tag", tag, MAX_TAG_LENGTH) for tag in tags)


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _moment(value: object) -> datetime | None:
    """The time of a valid ``created_at``; as the program may pass anything, others mean the current time."""
    if not isinstance(value, str | datetime):
        return None
    try:
        return parse_instant(str(value))
    except ValueError:
        return None


def _encode(entry: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    return {name: _encoded(name, value, strict=strict) for name, value in entry.items() if name not in ALWAYS}


def _encoded(name: object, value: object, *, strict: bool) -> Any:
    if not isinstance(name, str):
        raise FeedbackRejected([Violation("feedback", "type", f"feedback must have text as names, got {name!r}")])
    if value is None or type(value) is bool:
        return value
    try:
        check_text(name, f"the name {name!a}")
        return encode_exactly(value, name)
    except (TypeError, ValueError) as error:
        if strict:
            raise FeedbackRejected([Violation(name, "type", str(error))]) from error
        return plain(value)


def _extras(encoded: Mapping[str, Any], submission: Submission, names: Collection[str]) -> str:
    """The values that are not returned equal from fields and context, and what was derived from them, as JSON.

    Args:
        encoded: the values, encoded.
        submission: what was made of them.
        names: the names under which something may be returned. Others were derived from values with similar names.
    """
    target = submission.target
    shown = shown_values(
        {
            "message_id": target.message_id,
            "agent_id": target.agent_id,
            "author": submission.author,
            "tags": list(dict.fromkeys(submission.tags)) or None,
            "sentiment": submission.sentiment and submission.sentiment.to_dict(),
            "idempotency_key": submission.idempotency_key,
            "context": {**submission.context, **submission.enrichment},
        }
    )
    values = {name: value for name, value in encoded.items() if not _is_same(value, shown.get(name, NOTHING))}
    derived = {name: value for name, value in shown.items() if name in values or name not in names}
    return _json({"values": values, "derived": derived}) if values or derived else ""


def _is_same(value: object, shown: object) -> bool:
    # 1, 1.0 and True are equal in Python, but not the same.
    return type(value) is type(shown) and value == shown and (type(value) is str or repr(value) == repr(shown))


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        # Lone surrogates, which no storage can store.
        return json.dumps(value, separators=(",", ":"))
    return text

"""Feedback as a record of JSON values, and back: for exports, imports and the hosts.

A record has no application: an export can be imported into any.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import asdict

from harken import (
    Content,
    Context,
    Cursor,
    DecisionConflict,
    Erased,
    Feedback,
    Moderation,
    ModerationStatus,
    Page,
    Rating,
    Revision,
    RuleMatch,
    Sentiment,
    Target,
)
from harken.domain.instants import parse_instant, stamp_or_none, utc
from harken.domain.rules import restore_violations
from harken_adapters.formats.errors import BadRow

Record = dict[str, Any]

#: ``id``, ``version`` and one of these identify a Harken export.
_EXPORT_FIELDS = frozenset({"fingerprint", "revisions", "withdrawn_at"})
_INT64 = 2**63
#: Fields for imports and repeated submissions, which readers do not need.
INTERNAL: Final = ("idempotency_key", "fingerprint", "later_keys")


def is_export(names: Collection[str]) -> bool:
    """Whether these columns or keys are those of a Harken export."""
    return "id" in names and "version" in names and any(name in names for name in _EXPORT_FIELDS)


# --- out --------------------------------------------------------------------------------------------------------------


def erasure_record(erased: Erased) -> Record:
    """An erasure: ``erased`` (the number of entries), ``removed`` (the counts by kind) and ``kept_sessions``."""
    removed = asdict(erased)
    kept = removed.pop("kept_sessions")
    return {"erased": erased.feedback, "removed": removed, "kept_sessions": list(kept)}


def to_record(feedback: Feedback) -> Record:
    """All fields of feedback, except its application."""
    return {
        **feedback.to_dict(),
        "idempotency_key": feedback.idempotency_key,
        "fingerprint": feedback.fingerprint,
        "later_keys": [list(pair) for pair in feedback.later_keys],
    }


def author_record(feedback: Feedback) -> Record:
    """The fields that the author may see: with the status, but without the moderation decision."""
    return {**feedback.to_dict(), "moderation": None}


def current_record(conflict: DecisionConflict) -> Record:
    """The current state of feedback that another moderator has decided on."""
    return {
        "version": conflict.version,
        "status": conflict.status.value,
        "moderator": conflict.moderator,
        "decided_at": stamp_or_none(conflict.decided_at),
    }


# --- in ---------------------------------------------------------------------------------------------------------------


def moment(name: str, value: Any) -> datetime:
    """Parse a time in ISO 8601; UTC if it has no time zone.

    Raises:
        BadRow: the value is not such a time.
    """
    try:
        return utc(parse_instant(value))
    except (TypeError, ValueError):
        raise BadRow(f"{name} is not an ISO 8601 date: {value!r}; expected one such as 2026-01-31T12:00:00Z") from None


def sentiment(polarity: object, subjectivity: object) -> Sentiment:
    """Build a sentiment.

    Raises:
        BadRow: the values are not numbers, or are out of range.
    """
    for name, value in (("polarity", polarity), ("subjectivity", subjectivity)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRow(f"sentiment {name} must be a number, got {value!r}")
    try:
        return Sentiment(polarity, subjectivity)  # type: ignore[arg-type] # both are numbers
    except (ValueError, OverflowError) as error:
        raise BadRow(f"sentiment: {error}") from None


def from_record(record: Mapping[str, Any], application: str) -> Feedback:
    """The inverse of :func:`to_record`, for this application.

    The rating rules are not applied again, but the feedback is well-formed and can be restored.

    Raises:
        BadRow: the record is invalid.
    """
    for name in ("id", "session_id", "created_at", "updated_at", "version"):
        if record.get(name) is None:
            raise BadRow(f"The row of a Harken export has no {name}")
    feedback = Feedback(
        id=record["id"],
        application=application,
        target=Target(record["session_id"], record.get("message_id"), record.get("agent_id")),
        content=_content(record),
        author=record.get("author"),
        moderation=_moderation(record),
        reply=record.get("reply"),
        created_at=moment("created_at", record["created_at"]),
        updated_at=moment("updated_at", record["updated_at"]),
        withdrawn_at=_moment_or_none("withdrawn_at", record.get("withdrawn_at")),
        version=_version(record["version"]),
        revisions=tuple(_revision(revision) for revision in _revisions(record)),
        idempotency_key=record.get("idempotency_key"),
        fingerprint=_text(record.get("fingerprint")),
        vote=_truth("vote", record.get("vote", False)),
        later_keys=_later_keys(record),
    )
    # Each revision repeats the problems of the feedback.
    if problems := dict.fromkeys(violation.message for violation in restore_violations(feedback)):
        raise BadRow("; ".join(problems))
    return feedback


def page_from(document: Mapping[str, Any], application: str) -> Page:
    """The inverse of :meth:`.Page.to_dict`, without what is only in exports.

    Raises:
        BadRow, KeyError, InvalidQuery: it is not the record of a page.
    """
    items = tuple(from_record(one, application) for one in document["feedbacks"])
    return Page(items, Cursor.parse(document["next"]) if document["next"] else None)


def _text(value: Any) -> Any:
    """``None`` as an empty text. Other types are reported with the other problems."""
    return "" if value is None else value


def _moment_or_none(name: str, value: object) -> datetime | None:
    return None if value is None else moment(name, value)


def _content(record: Mapping[str, Any]) -> Content:
    return Content(
        _rating(record.get("rating")),
        _text(record.get("comment")),
        _tags(record),
        _context(record),
        _sentiment(record),
    )


def _rating(value: object) -> Rating:
    try:
        return Rating.parse(value)
    except ValueError as error:
        raise BadRow(str(error)) from None


def _tags(record: Mapping[str, Any]) -> tuple[str, ...]:
    tags = record.get("tags") or []
    if not isinstance(tags, list):
        raise BadRow(f"tags must be a list of strings, got {tags!r}")
    return tuple(tags)


def _context(record: Mapping[str, Any]) -> Context:
    context = record.get("context") or {}
    if not isinstance(context, dict):
        raise BadRow(f"context must map names to values, got {context!r}")
    return Context(context)


def _sentiment(record: Mapping[str, Any]) -> Sentiment | None:
    parts = record.get("sentiment")
    if parts is None:
        return None
    if not isinstance(parts, dict):
        raise BadRow(f"sentiment must have polarity and subjectivity, got {parts!r}")
    return sentiment(parts.get("polarity"), parts.get("subjectivity"))


def _status(name: str, value: object) -> ModerationStatus:
    try:
        return ModerationStatus(value)
    except ValueError:
        known = ", ".join(status.value for status in ModerationStatus)
        raise BadRow(f"{name} must be one of {known}; got {value!r}") from None


def _moderation(record: Mapping[str, Any]) -> Moderation:
    status = _status("status", record.get("status", "approved"))
    details = record.get("moderation") or {}
    if not isinstance(details, dict):
        raise BadRow(f"moderation must have reason, moderator, decided_at and previous; got {details!r}")
    previous = details.get("previous")
    return Moderation(
        status=status,
        reason=_text(details.get("reason")),
        moderator=details.get("moderator"),
        decided_at=_moment_or_none("decided_at", details.get("decided_at")),
        previous=None if previous is None else _status("previous", previous),
        previous_reason=_text(details.get("previous_reason")),
        is_undo=_truth("undo", details.get("undo", False)),
        held_by=_held_by(details.get("held_by")),
    )


def _held_by(value: object) -> tuple[RuleMatch, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadRow(f"held_by must be a list of rules with their spans, got {value!r}")
    return tuple(map(_rule_match, value))


def _rule_match(value: object) -> RuleMatch:
    spans = value.get("spans") if isinstance(value, dict) else None
    if not (isinstance(value, dict) and isinstance(spans, list) and all(map(_is_span, spans))):
        raise BadRow(f'held_by must have entries such as {{"rule": "spam phrases", "spans": [[0, 6]]}}, got {value!r}')
    return RuleMatch(value.get("rule", ""), tuple((start, end) for start, end in spans))


def _is_span(value: object) -> bool:
    # Not isinstance, as bool is a subclass of int.
    return isinstance(value, list) and len(value) == 2 and all(type(place) is int for place in value)


def _version(value: object) -> int:
    # Not isinstance, as bool is a subclass of int.
    if type(value) is not int or not 1 <= value < _INT64:
        raise BadRow(f"version must be a positive integer, got {value!r}")
    return value


def _truth(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadRow(f"{name} must be true or false, got {value!r}")
    return value


def _later_keys(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    pairs = record.get("later_keys") or []
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise BadRow("later_keys must be a list of pairs of an idempotency key and a fingerprint")
    return tuple((key, fingerprint) for key, fingerprint in pairs)


def _revisions(record: Mapping[str, Any]) -> list[Any]:
    revisions = record.get("revisions") or []
    if not isinstance(revisions, list):
        raise BadRow(f"revisions must be a list, got {revisions!r}")
    return revisions


def _revision(record: object) -> Revision:
    if not isinstance(record, dict):
        raise BadRow(f"A revision must be an object, got {record!r}")
    return Revision(
        version=_version(record.get("version")),
        content=_content(record),
        reply=record.get("reply"),
        replaced_at=moment("replaced_at", record.get("replaced_at")),
    )

"""The conversion of feedback to rows of the table and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harken.domain.feedback import NO_CONTEXT, Content, Context, Feedback, Rating, Revision, Scalar, Sentiment, Target
from harken.domain.instants import (
    from_microseconds,
    from_microseconds_or_none,
    to_microseconds,
    to_microseconds_or_none,
)
from harken.domain.moderation import APPROVED, Moderation, ModerationStatus, RuleMatch

COLUMNS: Final = (
    "application",
    "id",
    "session_id",
    "message_id",
    "agent_id",
    "author",
    "rating",
    "comment",
    "tags",
    "context",
    "polarity",
    "subjectivity",
    "status",
    "decision",
    "reply",
    "created_at",
    "updated_at",
    "withdrawn_at",
    "version",
    "revisions",
    "idempotency_key",
    "fingerprint",
    "vote",
    "later_keys",
)

#: The columns of :func:`from_row`.
SELECTED: Final = ", ".join(f"feedback.{column}" for column in COLUMNS)

Row = tuple[Any, ...]

#: Stored JSON is compact, and not escaped to ASCII.
dump: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_NUMBERS: Final = {Rating.UP: 1, Rating.DOWN: -1, Rating.NEUTRAL: 0}
_RATINGS: Final = {number: rating for rating, number in _NUMBERS.items()}
_STATUSES: Final = {status.value: status for status in ModerationStatus}


def decode_tags(stored: str) -> Sequence[str]:
    """The tags of a row."""
    return () if stored == "[]" else json.loads(stored)


def rating_number(rating: Rating) -> int:
    """Return the stored number of a rating: 1, -1 or 0."""
    return _NUMBERS[rating]


def to_rating(number: int) -> Rating:
    """Return the rating with this stored number."""
    return _RATINGS[number]


def to_row(feedback: Feedback) -> Row:
    """Return the values of :data:`COLUMNS`."""
    rating, comment, tags, context, polarity, subjectivity = _encode_content(feedback.content)
    return (
        feedback.application,
        feedback.id,
        feedback.target.session_id,
        feedback.target.message_id,
        feedback.target.agent_id,
        feedback.author,
        rating,
        comment,
        dump(tags) if tags else "[]",
        dump(context) if context else "{}",
        polarity,
        subjectivity,
        feedback.moderation.status.value,
        _encode_decision(feedback.moderation),
        feedback.reply,
        to_microseconds(feedback.created_at),
        to_microseconds(feedback.updated_at),
        to_microseconds_or_none(feedback.withdrawn_at),
        feedback.version,
        dump([_encode_revision(revision) for revision in feedback.revisions]) if feedback.revisions else None,
        feedback.idempotency_key,
        feedback.fingerprint,
        int(feedback.vote),
        dump(feedback.later_keys) if feedback.later_keys else None,
    )


def from_row(row: Row) -> Feedback:
    """Return the feedback of a row with the values of :data:`COLUMNS`."""
    (application, feedback_id, session_id, message_id, agent_id, author, rating, comment, tags, context, *rest) = row
    (polarity, subjectivity, status, decision, reply, created_at, updated_at, withdrawn_at, *rest) = rest
    (version, revisions, idempotency_key, fingerprint, vote, later_keys) = rest
    return Feedback(
        id=feedback_id,
        application=application,
        target=Target(session_id, message_id, agent_id),
        content=_decode_content(
            rating,
            comment,
            decode_tags(tags),
            None if context == "{}" else json.loads(context),
            None if polarity is None else (polarity, subjectivity),
        ),
        author=author,
        moderation=_decode_moderation(status, decision),
        reply=reply,
        created_at=from_microseconds(created_at),
        updated_at=from_microseconds(updated_at),
        withdrawn_at=from_microseconds_or_none(withdrawn_at),
        version=version,
        revisions=() if revisions is None else tuple(map(_decode_revision, json.loads(revisions))),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        vote=bool(vote),
        later_keys=() if later_keys is None else tuple(map(tuple, json.loads(later_keys))),
    )


def select_feedback(connection: sqlite3.Connection, rest: str, parameters: Row) -> list[Feedback]:
    """Return the feedback that a ``WHERE`` clause, with ordering and limit, selects."""
    rows = connection.execute(f"SELECT {SELECTED} FROM feedback {rest}", parameters).fetchall()  # noqa: S608
    return [from_row(row) for row in rows]


def by_id(connection: sqlite3.Connection, application: str, feedback_id: str) -> Feedback | None:
    """Return the feedback with this id, or ``None``."""
    found = select_feedback(connection, "WHERE application = ? AND id = ?", (application, feedback_id))
    return found[0] if found else None


def _encode_decision(moderation: Moderation) -> str | None:
    # Identical for nearly all feedback, and a comparison takes longer.
    if moderation is APPROVED or moderation == APPROVED:
        return None
    decision: dict[str, object] = {
        "reason": moderation.reason,
        "moderator": moderation.moderator,
        "decided_at": to_microseconds_or_none(moderation.decided_at),
        "previous": moderation.previous.value if moderation.previous else None,
    }
    if moderation.previous_reason:
        decision["previous_reason"] = moderation.previous_reason
    if moderation.is_undo:
        decision["undo"] = True
    if moderation.held_by:
        decision["held_by"] = [[match.rule, match.spans] for match in moderation.held_by]
    return dump(decision)


def _decode_moderation(status: str, decision: str | None) -> Moderation:
    if decision is None:
        return APPROVED
    parts = json.loads(decision)
    return Moderation(
        status=_STATUSES[status],
        reason=parts["reason"],
        moderator=parts["moderator"],
        decided_at=from_microseconds_or_none(parts["decided_at"]),
        previous=_STATUSES[parts["previous"]] if parts["previous"] else None,
        previous_reason=parts.get("previous_reason", ""),
        is_undo=parts.get("undo", False),
        held_by=tuple(RuleMatch(rule, tuple(map(tuple, spans))) for rule, spans in parts.get("held_by", ())),
    )


def _encode_content(content: Content) -> tuple[int, str, tuple[str, ...], dict[str, Scalar], int | None, int | None]:
    """Return the values of content: rating, comment, tags, context, polarity and subjectivity in millionths."""
    sentiment = content.sentiment
    return (
        _NUMBERS[content.rating],
        content.comment,
        content.tags,
        dict(content.context.items()),
        sentiment.polarity_millionths if sentiment else None,
        sentiment.subjectivity_millionths if sentiment else None,
    )


def _decode_content(
    rating: int,
    comment: str,
    tags: Sequence[str],
    context: Mapping[str, Scalar] | None,
    millionths: Sequence[int] | None,
) -> Content:
    return Content(
        _RATINGS[rating],
        comment,
        tuple(tags),
        Context(context) if context else NO_CONTEXT,
        Sentiment.from_millionths(*millionths) if millionths else None,
    )


def _encode_revision(revision: Revision) -> dict[str, object]:
    rating, comment, tags, context, polarity, subjectivity = _encode_content(revision.content)
    return {
        "version": revision.version,
        "rating": rating,
        "comment": comment,
        "tags": tags,
        "context": context,
        "sentiment": None if polarity is None else [polarity, subjectivity],
        "reply": revision.reply,
        "replaced_at": to_microseconds(revision.replaced_at),
    }


def _decode_revision(parts: dict[str, Any]) -> Revision:
    return Revision(
        version=parts["version"],
        content=_decode_content(*(parts[name] for name in ("rating", "comment", "tags", "context", "sentiment"))),
        reply=parts["reply"],
        replaced_at=from_microseconds(parts["replaced_at"]),
    )

"""Feedback as a row, and a row as feedback."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Any, Final

from harken.domain.feedback import NO_CONTEXT, Context, Feedback, Rating, Revision, Sentiment, Target
from harken.domain.instants import from_microseconds, to_microseconds
from harken.domain.moderation import APPROVED, Moderation, ModerationStatus

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

_SELECTED: Final = ", ".join(f"feedback.{column}" for column in COLUMNS)

Row = tuple[Any, ...]

#: JSON as it is kept: compact, and readable in any language.
dump: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_NUMBERS: Final = {Rating.UP: 1, Rating.DOWN: -1, Rating.NEUTRAL: 0}
_RATINGS: Final = {number: rating for rating, number in _NUMBERS.items()}
_STATUSES: Final = {status.value: status for status in ModerationStatus}


def rating_number(rating: Rating) -> int:
    """How a rating stands in the table."""
    return _NUMBERS[rating]


def to_rating(number: int) -> Rating:
    """The inverse of :func:`rating_number`."""
    return _RATINGS[number]


def to_row(feedback: Feedback) -> Row:
    """The values of :data:`COLUMNS`."""
    sentiment = feedback.sentiment
    return (
        feedback.application,
        feedback.id,
        feedback.target.session_id,
        feedback.target.message_id,
        feedback.target.agent_id,
        feedback.author,
        _NUMBERS[feedback.rating],
        feedback.comment,
        dump(feedback.tags) if feedback.tags else "[]",
        dump(dict(feedback.context)) if feedback.context else "{}",
        sentiment.polarity_millionths if sentiment else None,
        sentiment.subjectivity_millionths if sentiment else None,
        feedback.moderation.status.value,
        _decision(feedback.moderation),
        feedback.reply,
        to_microseconds(feedback.created_at),
        to_microseconds(feedback.updated_at),
        _microseconds(feedback.withdrawn_at),
        feedback.version,
        dump([_from_revision(revision) for revision in feedback.revisions]) if feedback.revisions else None,
        feedback.idempotency_key,
        feedback.fingerprint,
        int(feedback.vote),
        dump(feedback.later_keys) if feedback.later_keys else None,
    )


def from_row(row: Row) -> Feedback:
    """The inverse of :func:`to_row`."""
    (application, feedback_id, session_id, message_id, agent_id, author, rating, comment, tags, context, *rest) = row
    (polarity, subjectivity, status, decision, reply, created_at, updated_at, withdrawn_at, *rest) = rest
    (version, revisions, idempotency_key, fingerprint, vote, later_keys) = rest
    return Feedback(
        id=feedback_id,
        application=application,
        target=Target(session_id, message_id, agent_id),
        rating=_RATINGS[rating],
        comment=comment,
        author=author,
        tags=() if tags == "[]" else tuple(json.loads(tags)),
        context=NO_CONTEXT if context == "{}" else Context(json.loads(context)),
        sentiment=None if polarity is None else Sentiment.from_millionths(polarity, subjectivity),
        moderation=_moderation(status, decision),
        reply=reply,
        created_at=from_microseconds(created_at),
        updated_at=from_microseconds(updated_at),
        withdrawn_at=_moment(withdrawn_at),
        version=version,
        revisions=() if revisions is None else tuple(map(_to_revision, json.loads(revisions))),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        vote=bool(vote),
        later_keys=() if later_keys is None else tuple(map(tuple, json.loads(later_keys))),
    )


def select_feedback(connection: sqlite3.Connection, rest: str, parameters: Row) -> list[Feedback]:
    """The feedback that a ``WHERE`` finds."""
    rows = connection.execute(f"SELECT {_SELECTED} FROM feedback {rest}", parameters).fetchall()  # noqa: S608
    return [from_row(row) for row in rows]


def by_id(connection: sqlite3.Connection, application: str, feedback_id: str) -> Feedback | None:
    """That feedback, if it is there."""
    found = select_feedback(connection, "WHERE application = ? AND id = ?", (application, feedback_id))
    return found[0] if found else None


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else to_microseconds(moment)


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_microseconds(microseconds)


def _decision(moderation: Moderation) -> str | None:
    if moderation == APPROVED:
        return None
    return dump(
        {
            "reason": moderation.reason,
            "moderator": moderation.moderator,
            "decided_at": _microseconds(moderation.decided_at),
            "previous": moderation.previous.value if moderation.previous else None,
        }
    )


def _moderation(status: str, decision: str | None) -> Moderation:
    if decision is None:
        return APPROVED
    parts = json.loads(decision)
    return Moderation(
        status=_STATUSES[status],
        reason=parts["reason"],
        moderator=parts["moderator"],
        decided_at=_moment(parts["decided_at"]),
        previous=_STATUSES[parts["previous"]] if parts["previous"] else None,
    )


def _from_revision(revision: Revision) -> dict[str, object]:
    sentiment = revision.sentiment
    return {
        "version": revision.version,
        "rating": _NUMBERS[revision.rating],
        "comment": revision.comment,
        "tags": revision.tags,
        "context": dict(revision.context),
        "sentiment": [sentiment.polarity_millionths, sentiment.subjectivity_millionths] if sentiment else None,
        "reply": revision.reply,
        "replaced_at": to_microseconds(revision.replaced_at),
    }


def _to_revision(parts: dict[str, Any]) -> Revision:
    return Revision(
        version=parts["version"],
        rating=_RATINGS[parts["rating"]],
        comment=parts["comment"],
        tags=tuple(parts["tags"]),
        context=Context(parts["context"]),
        sentiment=Sentiment.from_millionths(*parts["sentiment"]) if parts["sentiment"] else None,
        reply=parts["reply"],
        replaced_at=from_microseconds(parts["replaced_at"]),
    )

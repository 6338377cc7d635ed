"""Feedback as a document, and a document as feedback.

A BSON date holds milliseconds, so each ``..._at`` has a ``..._us`` beside it: the microseconds that it loses, 0 to 999.
What feedback does not have is left out. Three fields are there only to be counted by: ``slot``, the quarter of an hour
since 1970 in UTC; ``comment_length`` in code points; ``labels``, what context values other than text are called.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from harken.domain.events import Event, EventType, Traits
from harken.domain.feedback import NO_CONTEXT, Context, Feedback, Rating, Revision, Sentiment, Target
from harken.domain.instants import slot_number
from harken.domain.moderation import APPROVED, Moderation, ModerationStatus
from harken.domain.query import label

Document = dict[str, Any]

_RATINGS: Final = {rating.value: rating for rating in Rating}
_ITS_OWN_LABEL: Final = (str, type(None))
_STATUSES: Final = {status.value: status for status in ModerationStatus}

#: The fields that are not in every document.
OPTIONAL: Final = (
    "message_id",
    "agent_id",
    "author",
    "tags",
    "context",
    "labels",
    "polarity",
    "subjectivity",
    "decision",
    "reply",
    "withdrawn_at",
    "withdrawn_us",
    "revisions",
    "idempotency_key",
    "vote",
    "later_keys",
)


def identity(application: str, subject_id: str) -> Document:
    """The ``_id`` of the document of a feedback or an alert; the order of its fields is part of it."""
    return {"application": application, "id": subject_id}


def milliseconds(moment: datetime) -> datetime:
    """What a BSON date keeps of a moment, in UTC and, as the driver gives it back, without a zone."""
    return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000, tzinfo=None)


def lost_microseconds(moment: datetime) -> int:
    """What a BSON date loses of a moment."""
    return moment.microsecond % 1_000


def moment(kept: datetime, lost: int) -> datetime:
    """The moment that was taken apart."""
    return kept.replace(microsecond=kept.microsecond + lost, tzinfo=UTC)


def to_document(feedback: Feedback, events: Iterable[Event] = ()) -> Document:
    """The document of a feedback and of the events that wait to be passed on."""
    target = feedback.target
    document: Document = {
        "_id": identity(feedback.application, feedback.id),
        "application": feedback.application,
        "id": feedback.id,
        "session_id": target.session_id,
        "rating": feedback.rating.value,
        "comment": feedback.comment,
        "comment_length": len(feedback.comment),
        "status": feedback.moderation.status.value,
        "created_at": milliseconds(feedback.created_at),
        "created_us": lost_microseconds(feedback.created_at),
        "slot": slot_number(feedback.created_at),
        "updated_at": milliseconds(feedback.updated_at),
        "updated_us": lost_microseconds(feedback.updated_at),
        "version": feedback.version,
        "fingerprint": feedback.fingerprint,
    }
    perhaps = (
        ("message_id", target.message_id),
        ("agent_id", target.agent_id),
        ("author", feedback.author),
        ("idempotency_key", feedback.idempotency_key),
        ("reply", feedback.reply),
        ("decision", _decision(feedback.moderation)),
    )
    document.update((name, value) for name, value in perhaps if value is not None)
    _add_content(document, feedback)
    _add_later(document, feedback)
    if waiting := [event_document(event) for event in events]:
        document["events"] = waiting
    return document


def from_document(document: Document) -> Feedback:
    """The inverse of :func:`to_document`, without the events."""
    get = document.get
    return Feedback(
        id=document["id"],
        application=document["application"],
        target=Target(document["session_id"], get("message_id"), get("agent_id")),
        rating=_RATINGS[document["rating"]],
        comment=document["comment"],
        author=get("author"),
        tags=tuple(get("tags", ())),
        context=Context(document["context"]) if "context" in document else NO_CONTEXT,
        sentiment=sentiment_of(document),
        moderation=_moderation(document),
        reply=get("reply"),
        created_at=moment(document["created_at"], document["created_us"]),
        updated_at=moment(document["updated_at"], document["updated_us"]),
        withdrawn_at=moment_or_none(document, "withdrawn"),
        version=document["version"],
        revisions=tuple(map(_revision, get("revisions", ()))),
        idempotency_key=get("idempotency_key"),
        fingerprint=document["fingerprint"],
        vote=get("vote", False),
        later_keys=tuple(map(tuple, get("later_keys", ()))),
    )


def event_document(event: Event) -> Document:
    """An event as it waits in the document of its feedback or its alert; ``order`` sorts as events do."""
    document: Document = {
        "order": _order(event),
        "id": event.id,
        "type": event.type.value,
        "version": event.version,
        "occurred_at": milliseconds(event.occurred_at),
        "occurred_us": lost_microseconds(event.occurred_at),
    }
    if event.before is not None:
        document["before"] = _traits_document(event.before)
    if event.session_id is not None:
        document["session_id"] = event.session_id
    return document


def event_of(application: str, subject_id: str, document: Document) -> Event:
    """The inverse of :func:`event_document`."""
    return Event(
        id=document["id"],
        type=EventType(document["type"]),
        application=application,
        subject_id=subject_id,
        version=document["version"],
        occurred_at=moment(document["occurred_at"], document["occurred_us"]),
        before=_traits(document["before"]) if "before" in document else None,
        session_id=document.get("session_id"),
    )


def _traits_document(traits: Traits) -> Document:
    return {
        "rating": traits.rating.value,
        "status": traits.status.value,
        "withdrawn": traits.withdrawn,
        "agent_id": traits.agent_id,
        "tags": list(traits.tags),
    }


def _traits(document: Document) -> Traits:
    return Traits(
        rating=_RATINGS[document["rating"]],
        status=_STATUSES[document["status"]],
        withdrawn=document["withdrawn"],
        agent_id=document["agent_id"],
        tags=tuple(document["tags"]),
    )


def _order(event: Event) -> str:
    """One text for what events are sorted by.

    No id has a NUL, so that an id sorts before the longer ones that begin with it.
    """
    at = event.occurred_at.isoformat(timespec="microseconds")
    return f"{at}\0{event.subject_id}\0{event.version:09}\0{event.id}"


def _add_content(document: Document, feedback: Feedback) -> None:
    """Add what feedback often has."""
    if feedback.tags:
        document["tags"] = list(feedback.tags)
    if feedback.context:
        document["context"] = context = dict(feedback.context)
        if labels := {name: label(value) for name, value in context.items() if not isinstance(value, _ITS_OWN_LABEL)}:
            document["labels"] = labels
    if feedback.sentiment:
        document["polarity"] = feedback.sentiment.polarity_millionths
        document["subjectivity"] = feedback.sentiment.subjectivity_millionths
    if feedback.vote:
        document["vote"] = True


def _add_later(document: Document, feedback: Feedback) -> None:
    """Add what feedback rarely has at first."""
    if feedback.withdrawn_at is not None:
        document["withdrawn_at"] = milliseconds(feedback.withdrawn_at)
        document["withdrawn_us"] = lost_microseconds(feedback.withdrawn_at)
    if feedback.revisions:
        document["revisions"] = [_revision_document(revision) for revision in feedback.revisions]
    if feedback.later_keys:
        document["later_keys"] = [list(pair) for pair in feedback.later_keys]


def _decision(moderation: Moderation) -> Document | None:
    if moderation is APPROVED or moderation == APPROVED:
        return None
    document: Document = {
        "reason": moderation.reason,
        "moderator": moderation.moderator,
        "previous": moderation.previous.value if moderation.previous else None,
    }
    if moderation.decided_at is not None:
        document["decided_at"] = milliseconds(moderation.decided_at)
        document["decided_us"] = lost_microseconds(moderation.decided_at)
    return document


def _moderation(document: Document) -> Moderation:
    decision = document.get("decision")
    if decision is None:
        return APPROVED
    return Moderation(
        status=_STATUSES[document["status"]],
        reason=decision["reason"],
        moderator=decision["moderator"],
        decided_at=moment_or_none(decision, "decided"),
        previous=_STATUSES[decision["previous"]] if decision["previous"] else None,
    )


def moment_or_none(document: Document, name: str) -> datetime | None:
    """The moment of that name, taken apart in two fields; nothing, if they are not there."""
    kept = document.get(f"{name}_at")
    return None if kept is None else moment(kept, document[f"{name}_us"])


def sentiment_of(document: Document) -> Sentiment | None:
    """The sentiment that a document of feedback or of a revision has."""
    if "polarity" not in document:
        return None
    return Sentiment.from_millionths(document["polarity"], document["subjectivity"])


def _revision_document(revision: Revision) -> Document:
    document: Document = {
        "version": revision.version,
        "rating": revision.rating.value,
        "comment": revision.comment,
        "tags": list(revision.tags),
        "context": dict(revision.context),
        "reply": revision.reply,
        "replaced_at": milliseconds(revision.replaced_at),
        "replaced_us": lost_microseconds(revision.replaced_at),
    }
    if revision.sentiment:
        document["polarity"] = revision.sentiment.polarity_millionths
        document["subjectivity"] = revision.sentiment.subjectivity_millionths
    return document


def _revision(document: Document) -> Revision:
    return Revision(
        version=document["version"],
        rating=_RATINGS[document["rating"]],
        comment=document["comment"],
        tags=tuple(document["tags"]),
        context=Context(document["context"]),
        sentiment=sentiment_of(document),
        reply=document["reply"],
        replaced_at=moment(document["replaced_at"], document["replaced_us"]),
    )

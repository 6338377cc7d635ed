"""The conversion of feedback and events to documents and back.

A BSON date has milliseconds, so each field ``..._at`` has a field ``..._us`` with the remaining microseconds, 0 to 999.
Empty and missing values are omitted. Three fields are for statistics only: ``slot``, the number of quarter hours since
1970 in UTC; ``comment_length`` in code points; ``labels``, the labels of context values that are not text.
``events`` and ``extras`` are stored with feedback, but no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from harken.domain.events import Event, EventType, Traits
from harken.domain.feedback import NO_CONTEXT, Content, Context, Feedback, Rating, Revision, Sentiment, Target
from harken.domain.instants import slot_number
from harken.domain.moderation import APPROVED, Moderation, ModerationStatus, RuleMatch
from harken.domain.query import label
from harken.ports.repository import SessionEntry

Document = dict[str, Any]

_RATINGS: Final = {rating.value: rating for rating in Rating}
#: The types of context values that are their own label.
_ITS_OWN_LABEL: Final = (str, type(None))
_STATUSES: Final = {status.value: status for status in ModerationStatus}

#: The projection that reads feedback: without what else is in its document.
FEEDBACK_ONLY: Final = {"events": 0, "extras": 0}
#: The projection of :func:`session_entry`.
SESSION_ENTRY: Final = {
    "_id": 0,
    **dict.fromkeys(("rating", "comment", "created_at", "created_us"), 1),
    **dict.fromkeys(("message_id", "agent_id", "author", "tags", "polarity", "subjectivity"), 1),
    **dict.fromkeys(("idempotency_key", "context", "extras"), 1),
}

#: The fields of feedback that documents may lack.
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
    """Return the ``_id`` of the document of feedback or an alert. The order of its fields matters."""
    return {"application": application, "id": subject_id}


def milliseconds(moment: datetime) -> datetime:
    """Return a time in UTC rounded down to milliseconds, without a time zone, as the driver returns it."""
    # Of its parts, as replacing two of them takes three times as long, and every stored time comes through here.
    microsecond = moment.microsecond // 1_000 * 1_000
    parts = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, microsecond)
    return datetime(*parts)  # noqa: DTZ001 - without a time zone


def lost_microseconds(moment: datetime) -> int:
    """Return the microseconds of a time that a BSON date cannot store, 0 to 999."""
    return moment.microsecond % 1_000


def split_time(name: str, at: datetime) -> Document:
    """Return the fields ``<name>_at`` and ``<name>_us`` of a time."""
    return {f"{name}_at": milliseconds(at), f"{name}_us": lost_microseconds(at)}


def join_time(document: Document, name: str) -> datetime:
    """Return the time in the fields ``<name>_at`` and ``<name>_us``."""
    kept: datetime = document[f"{name}_at"]
    return kept.replace(microsecond=kept.microsecond + document[f"{name}_us"], tzinfo=UTC)


def join_time_or_none(document: Document, name: str) -> datetime | None:
    """Like :func:`join_time`; ``None`` if the document lacks the fields."""
    return None if document.get(f"{name}_at") is None else join_time(document, name)


def to_document(feedback: Feedback, events: Iterable[Event] = ()) -> Document:
    """Return the document of feedback with its events that were not fanned out yet."""
    target, content, sentiment = feedback.target, feedback.content, feedback.content.sentiment
    context = dict(content.context.items())
    created_at, updated_at = feedback.created_at, feedback.updated_at
    document: Document = {
        "_id": identity(feedback.application, feedback.id),
        "application": feedback.application,
        "id": feedback.id,
        "session_id": target.session_id,
        "rating": content.rating.value,
        "comment": content.comment,
        "comment_length": len(content.comment),
        "status": feedback.moderation.status.value,
        "created_at": milliseconds(created_at),
        "created_us": lost_microseconds(created_at),
        "slot": slot_number(created_at),
        "updated_at": milliseconds(updated_at),
        "updated_us": lost_microseconds(updated_at),
        "version": feedback.version,
        "fingerprint": feedback.fingerprint,
    }
    for name, value in (
        ("message_id", target.message_id),
        ("agent_id", target.agent_id),
        ("author", feedback.author),
        ("idempotency_key", feedback.idempotency_key),
        ("reply", feedback.reply),
        ("decision", _encode_decision(feedback.moderation)),
        ("tags", list(content.tags) or None),
        ("context", context or None),
        ("labels", _labels(context) or None),
        ("polarity", sentiment and sentiment.polarity_millionths),
        ("subjectivity", sentiment and sentiment.subjectivity_millionths),
        ("vote", feedback.vote or None),
    ):
        if value is not None:
            document[name] = value
    if feedback.withdrawn_at is not None:
        document |= split_time("withdrawn", feedback.withdrawn_at)
    if feedback.revisions:
        document["revisions"] = [_encode_revision(revision) for revision in feedback.revisions]
    if feedback.later_keys:
        document["later_keys"] = [list(pair) for pair in feedback.later_keys]
    if waiting := [event_document(event) for event in events]:
        document["events"] = waiting
    return document


def from_document(document: Document) -> Feedback:
    """Return the feedback of a document."""
    get = document.get
    return Feedback(
        id=document["id"],
        application=document["application"],
        target=Target(document["session_id"], get("message_id"), get("agent_id")),
        content=decode_content(document),
        author=get("author"),
        moderation=_decode_moderation(document),
        reply=get("reply"),
        created_at=join_time(document, "created"),
        updated_at=join_time(document, "updated"),
        withdrawn_at=join_time_or_none(document, "withdrawn"),
        version=document["version"],
        revisions=tuple(map(_decode_revision, get("revisions", ()))),
        idempotency_key=get("idempotency_key"),
        fingerprint=document["fingerprint"],
        vote=get("vote", False),
        later_keys=tuple(map(tuple, get("later_keys", ()))),
    )


_SHOWN: Final[tuple[str, ...]] = (
    "message_id",
    "agent_id",
    "author",
    "tags",
    "sentiment",
    "idempotency_key",
    "context",
    "extras",
)


def session_entry(document: Document) -> SessionEntry:
    """Return what a session shows of a document with the fields of :data:`SESSION_ENTRY`, which is changed."""
    take = document.pop
    created_at = f"{take('created_at').isoformat(timespec='milliseconds')}{take('created_us'):03}"
    rating, comment = take("rating"), take("comment")
    if "polarity" in document:
        document["sentiment"] = Sentiment.from_millionths(take("polarity"), take("subjectivity")).to_dict()
    # The order of names in a document depends on its changes.
    rest = {name: document[name] for name in _SHOWN if name in document} if document else None
    return SessionEntry(rating, comment, created_at, rest)


def event_document(event: Event) -> Document:
    """Return an event as it is stored in the document of its feedback or alert; ``order`` sorts like events."""
    document: Document = {
        "order": _order(event),
        "id": event.id,
        "type": event.type.value,
        "version": event.version,
        **split_time("occurred", event.occurred_at),
    }
    if event.before is not None:
        document["before"] = _encode_traits(event.before)
    if event.session_id is not None:
        document["session_id"] = event.session_id
    return document


def event_of(application: str, subject_id: str, document: Document) -> Event:
    """Return the event of a document from :func:`event_document`."""
    return Event(
        id=document["id"],
        type=EventType(document["type"]),
        application=application,
        subject_id=subject_id,
        version=document["version"],
        occurred_at=join_time(document, "occurred"),
        before=_decode_traits(document["before"]) if "before" in document else None,
        session_id=document.get("session_id"),
    )


def _encode_traits(traits: Traits) -> Document:
    return {
        "rating": traits.rating.value,
        "status": traits.status.value,
        "withdrawn": traits.withdrawn,
        "agent_id": traits.agent_id,
        "tags": list(traits.tags),
    }


def _decode_traits(document: Document) -> Traits:
    return Traits(
        rating=_RATINGS[document["rating"]],
        status=_STATUSES[document["status"]],
        withdrawn=document["withdrawn"],
        agent_id=document["agent_id"],
        tags=tuple(document["tags"]),
    )


def _order(event: Event) -> str:
    """Return a text that sorts like events.

    Ids have no NUL, so an id sorts before a longer id with the same beginning.
    """
    at = event.occurred_at.isoformat(timespec="microseconds")
    return f"{at}\0{event.subject_id}\0{event.version:09}\0{event.id}"


def _encode_decision(moderation: Moderation) -> Document | None:
    if moderation is APPROVED or moderation == APPROVED:
        return None
    document: Document = {
        "reason": moderation.reason,
        "moderator": moderation.moderator,
        "previous": moderation.previous.value if moderation.previous else None,
    }
    if moderation.previous_reason:
        document["previous_reason"] = moderation.previous_reason
    if moderation.is_undo:
        document["undo"] = True
    if moderation.held_by:
        document["held_by"] = [
            {"rule": match.rule, "spans": [list(span) for span in match.spans]} for match in moderation.held_by
        ]
    if moderation.decided_at is not None:
        document |= split_time("decided", moderation.decided_at)
    return document


def _decode_moderation(document: Document) -> Moderation:
    decision = document.get("decision")
    if decision is None:
        return APPROVED
    return Moderation(
        status=_STATUSES[document["status"]],
        reason=decision["reason"],
        moderator=decision["moderator"],
        decided_at=join_time_or_none(decision, "decided"),
        previous=_STATUSES[decision["previous"]] if decision["previous"] else None,
        previous_reason=decision.get("previous_reason", ""),
        is_undo=decision.get("undo", False),
        held_by=tuple(RuleMatch(one["rule"], tuple(map(tuple, one["spans"]))) for one in decision.get("held_by", ())),
    )


def _encode_content(content: Content) -> Document:
    """Return the fields of content without the sentiment, which comes last in a document."""
    return {
        "rating": content.rating.value,
        "comment": content.comment,
        "tags": list(content.tags),
        "context": dict(content.context),
    }


def _encode_sentiment(sentiment: Sentiment | None) -> Document:
    if sentiment is None:
        return {}
    return {"polarity": sentiment.polarity_millionths, "subjectivity": sentiment.subjectivity_millionths}


def _labels(context: Document) -> Document:
    return {name: label(value) for name, value in context.items() if not isinstance(value, _ITS_OWN_LABEL)}


def decode_content(document: Document) -> Content:
    """Return the content of a document of feedback, or of a revision."""
    get = document.get
    polarity = get("polarity")
    return Content(
        _RATINGS[document["rating"]],
        document["comment"],
        tuple(get("tags", ())),
        Context(get("context")) if get("context") else NO_CONTEXT,
        None if polarity is None else Sentiment.from_millionths(polarity, document["subjectivity"]),
    )


def _encode_revision(revision: Revision) -> Document:
    return {
        "version": revision.version,
        **_encode_content(revision.content),
        "reply": revision.reply,
        **split_time("replaced", revision.replaced_at),
        **_encode_sentiment(revision.sentiment),
    }


def _decode_revision(document: Document) -> Revision:
    return Revision(
        version=document["version"],
        content=decode_content(document),
        reply=document["reply"],
        replaced_at=join_time(document, "replaced"),
    )

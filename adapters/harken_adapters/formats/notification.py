"""A notification as JSON: what webhooks send, and what templates are filled with."""

from __future__ import annotations

from bisect import bisect_right
from json import JSONEncoder
from typing import Any, Final

from harken.domain.alerts.alert import Alert
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.ports.notifier import Notification
from harken_adapters.formats.record import Record, feedback_record, stamp

#: Receivers may refuse what is larger.
BODY_LIMIT: Final = 20_000

#: What is told of feedback that its author took back: that it was there, and nothing of what it said.
_LEFT_WHEN_WITHDRAWN: Final = (
    "id",
    "application",
    "session_id",
    "message_id",
    "agent_id",
    "author",
    "rating",
    "version",
    "created_at",
    "updated_at",
    "withdrawn_at",
)
#: What may be cut: what people wrote, or templates and rules made.
_TEXTS: Final = frozenset({"text", "comment", "reply", "message"})
_ENCODER: Final = JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def notification_record(notification: Notification) -> Record:
    """The notification as JSON values: ``type``, ``timestamp`` and ``data``.

    ``data`` is what a reader may know of the feedback, or the alert. What feedback said before it was changed is not in
    it; of feedback that was withdrawn neither is what it said last, and of feedback that was erased there are only ids.
    Where the words of feedback are withheld, so is a moderator's reason, which may quote them.
    """
    data = _data(notification)
    if notification.text is not None:
        data["text"] = notification.text
    return {"type": notification.type.value, "timestamp": stamp(notification.occurred_at), "data": data}


def body(notification: Notification, limit: int = BODY_LIMIT) -> bytes:
    """The notification as compact JSON in UTF-8, shorter than ``limit`` bytes.

    Where it would be longer, ``data`` has ``"truncated": true``: it goes without the context and, if that is not
    enough, its texts and lists are cut, as far as needed. Ids are never cut.
    """
    record = notification_record(notification)
    encoded = _encoded(record)
    return encoded if len(encoded) < limit else _shortened(record, limit)


def _data(notification: Notification) -> Record:
    if notification.alert is not None:
        return alert_record(notification.alert)
    if notification.feedback is not None:
        return _feedback(notification.feedback, notification.type)
    if notification.erased is not None:
        return {
            "id": notification.erased.id,
            "application": notification.application,
            "session_id": notification.erased.session_id,
        }
    return {"application": notification.application}


def _feedback(feedback: Feedback, type: EventType) -> Record:  # noqa: A002 - the field's name
    record: Record = {"id": feedback.id, "application": feedback.application} | feedback_record(feedback)
    if feedback.withdrawn or type is EventType.DELETED:
        return {name: record[name] for name in _LEFT_WHEN_WITHDRAWN}
    del record["revisions"]
    if record["moderation"] and feedback == feedback.without_words():
        # A reason may quote what the feedback says, which this channel does not get.
        record["moderation"]["reason"] = ""
    return record


def alert_record(alert: Alert) -> Record:
    """An alert as JSON values, in notifications and in the HTTP API."""
    return {
        "id": alert.id,
        "application": alert.application,
        "rule": alert.rule,
        "kind": alert.kind.value,
        "subject": {"by": alert.subject.by, "value": alert.subject.value},
        "message": alert.message,
        "figures": dict(alert.figures),
        "feedback_ids": list(alert.feedback_ids),
        "began_at": stamp(alert.began_at),
        "raised_at": stamp(alert.raised_at),
        "resolved_at": None if alert.resolved_at is None else stamp(alert.resolved_at),
    }


def _encoded(record: Record) -> bytes:
    # Half a character may be in a template's text; no JSON reader takes it.
    return _ENCODER.encode(record).encode(errors="replace")


def _shortened(record: Record, limit: int) -> bytes:
    data = record["data"] | {"truncated": True}
    if "context" in data:
        data["context"] = {}

    def cut(longest: int) -> bytes:
        return _encoded(record | {"data": {name: _cut(name, value, longest) for name, value in data.items()}})

    # One step more always adds bytes, or none: the longest that fits is found by halving.
    fitting = bisect_right(range(limit), limit - 1, key=lambda longest: len(cut(longest)))
    return cut(max(fitting - 1, 0))


def _cut(name: str, value: Any, longest: int) -> Any:
    """What is left of a value if texts may have that many characters, and lists that many items."""
    if isinstance(value, list) or (name in _TEXTS and isinstance(value, str)):
        return value[:longest]
    if name == "moderation" and value is not None:
        return value | {"reason": value["reason"][:longest]}
    return value

"""Notifications as JSON: the payload of webhooks, and the values of templates."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from json import JSONEncoder
from typing import Any, Final

from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.instants import parse_instant, stamp, stamp_or_none
from harken.domain.moderation import ModerationStatus
from harken.domain.query import FeedbackQuery
from harken.domain.session_change import SessionChange
from harken.ports.notifier import Notification
from harken_adapters.formats.digest import digest_record
from harken_adapters.formats.record import Record

#: Receivers may reject larger bodies.
BODY_LIMIT: Final = 20_000

#: The fields of withdrawn feedback: its ids, times and rating, without its content.
_WITHDRAWN_FIELDS: Final = (
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
#: The texts that may be truncated.
_TEXTS: Final = frozenset({"text", "comment", "reply", "message"})
#: The objects that are left out first.
_DROPPED: Final = frozenset({"context", "metadata"})
_REASONS: Final = ("reason", "previous_reason")
_ENCODER: Final = JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def notification_record(notification: Notification) -> Record:
    """The notification as a JSON value: ``type``, ``timestamp`` and ``data``.

    ``data`` is the alert, the digest, the change of a session's metadata with the values of the changed names, or the
    feedback as readers may see it, without its earlier versions. Withdrawn feedback has no content, and erased feedback
    only ids. If the content is withheld from the channel, so is the moderator's reason, which may quote it.
    """
    data = _data(notification)
    if notification.text is not None:
        data["text"] = notification.text
    return {"type": notification.type.value, "timestamp": stamp(notification.occurred_at), "data": data}


def body(notification: Notification, limit: int = BODY_LIMIT) -> bytes:
    """The notification as compact JSON in UTF-8, shorter than ``limit`` bytes.

    A longer one is truncated, and ``data`` has ``"truncated": true``: first without the context or the largest values
    of the metadata, then with texts and lists cut as far as needed. Ids are never cut.
    """
    record = notification_record(notification)
    encoded = _encode(record)
    return encoded if len(encoded) < limit else _shorten(record, limit)


def smallest_values(values: Mapping[str, Any], room: int, encode: Callable[[Any], bytes]) -> dict[str, Any]:
    """The smallest of these values, as many as fit into a JSON object of this many bytes more than an empty one."""
    # Each with a comma instead of the braces; the first needs none.
    sizes = {name: len(encode({name: value})) - 1 for name, value in values.items()}
    in_order = sorted(sizes, key=sizes.__getitem__)
    totals = list(accumulate(sizes[name] for name in in_order))
    fitting = set(in_order[: bisect_right(totals, room + 1)])
    return {name: value for name, value in values.items() if name in fitting}


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
    if notification.digest is not None:
        return digest_record(notification.digest)
    if notification.session is not None:
        return {"application": notification.application} | _session_change(notification.session)
    return {"application": notification.application}


def _feedback(feedback: Feedback, type: EventType) -> Record:  # noqa: A002 - the field's name
    record: Record = {"id": feedback.id, "application": feedback.application} | feedback.to_dict()
    if feedback.withdrawn or type is EventType.WITHDRAWN:
        return {name: record[name] for name in _WITHDRAWN_FIELDS}
    del record["revisions"]
    if record["moderation"] and feedback == feedback.without_words():
        # The reasons may quote the content, which is withheld from this channel.
        record["moderation"] |= dict.fromkeys(_REASONS, "")
    return record


def _session_change(change: SessionChange) -> Record:
    return {
        "session_id": change.session_id,
        "operation": change.operation,
        "names": list(change.names),
        "metadata": dict(change.metadata),
    }


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
        "resolved_at": stamp_or_none(alert.resolved_at),
        "version": alert.version,
    }


def alert_details(alert: Alert, selection: FeedbackQuery | None) -> Record:
    """An alert with its satisfaction and the feedback that it is about, in the HTTP API and for the command line."""
    summary = alert.summary
    interval = summary.interval if summary else None
    return alert_record(alert) | {
        "satisfaction": None if summary is None else round(summary.satisfaction, 1),
        "interval": None if interval is None else {"low": round(interval.low, 1), "high": round(interval.high, 1)},
        "thumbs": None if summary is None else summary.decided,
        "selection": None if selection is None else _filters(selection),
    }


def _filters(query: FeedbackQuery) -> dict[str, str]:
    """The filters of a query as query parameters, as far as that of an alert has them: it is of one agent or rating."""
    filters: dict[str, str] = {}
    if query.session_id is not None:
        filters["session_id"] = query.session_id
    if query.agent_id is not None:
        (filters["agent_id"],) = query.agent_id
    if query.rating is not None:
        (rating,) = query.rating
        filters["rating"] = rating.word
    if query.statuses == {ModerationStatus.PENDING}:
        filters["status"] = "pending"
    moments = {"since": query.since, "until": query.until}
    return filters | {name: stamp(moment) for name, moment in moments.items() if moment is not None}


def alert_from(record: Mapping[str, Any]) -> Alert:
    """The inverse of :func:`alert_record`.

    Raises:
        KeyError, TypeError, ValueError: it is not the record of an alert.
    """
    subject, resolved_at = record["subject"], record["resolved_at"]
    return Alert(
        id=record["id"],
        application=record["application"],
        rule=record["rule"],
        kind=AlertKind(record["kind"]),
        subject=Subject(subject["by"], subject["value"]),
        message=record["message"],
        figures=record["figures"],
        feedback_ids=tuple(record["feedback_ids"]),
        began_at=parse_instant(record["began_at"]),
        raised_at=parse_instant(record["raised_at"]),
        resolved_at=None if resolved_at is None else parse_instant(resolved_at),
        version=record["version"],
    )


def _encode(record: Record) -> bytes:
    # The text of a template may contain a lone surrogate, which is not valid JSON.
    return _ENCODER.encode(record).encode(errors="replace")


def _shorten(record: Record, limit: int) -> bytes:
    data = record["data"] | {"truncated": True}
    for name in _DROPPED & data.keys():
        data[name] = {}

    def cut(longest: int, **values: Any) -> bytes:
        shorter = {name: _cut(name, value, longest) for name, value in data.items()}
        return _encode(record | {"data": shorter | values})

    # The size grows with the length, so the longest that fits is found by bisection.
    fitting = bisect_right(range(limit), limit - 1, key=lambda longest: len(cut(longest)))
    longest = max(fitting - 1, 0)
    shortened = cut(longest)
    if metadata := record["data"].get("metadata"):
        kept = smallest_values(metadata, limit - 1 - len(shortened), _encode)
        return cut(longest, metadata=kept)
    return shortened


def _cut(name: str, value: Any, longest: int) -> Any:
    """The value with texts cut to ``longest`` characters, and lists to ``longest`` items."""
    if isinstance(value, list) or (name in _TEXTS and isinstance(value, str)):
        return value[:longest]
    if name == "moderation" and value is not None:
        kept = {part: value[part] for part in value if part != "held_by"}
        return kept | {reason: value[reason][:longest] for reason in _REASONS}
    return value

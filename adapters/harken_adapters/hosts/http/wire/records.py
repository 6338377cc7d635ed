"""Feedback, alerts and what tells of them, as the wire has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harken import Feedback, ModerationStatus, Page, Receipt
from harken.domain.alerts.alert import Alert
from harken.domain.events import Delivery
from harken.ports.notifier import Notification
from harken.services.notifications.channels import ChannelState
from harken_adapters.formats import record
from harken_adapters.formats.notification import notification_record
from harken_adapters.formats.record import stamp

if TYPE_CHECKING:
    # The command line presents things too, and has nothing of what access needs.
    from harken_adapters.hosts.http.guards.access import Principal

__all__ = [
    "alert_event_record",
    "alert_record",
    "author_record",
    "channel_record",
    "delivery_record",
    "etag",
    "feedback_record",
    "page_record",
    "receipt_record",
    "vote_record",
]


def feedback_record(principal: Principal, feedback: Feedback) -> dict[str, Any]:
    """Everything that they may know of feedback."""
    return record.feedback_record(principal.seen(feedback))


def etag(feedback: Feedback) -> tuple[tuple[str, str]]:
    """The header that names the version of feedback."""
    return (("etag", f'"{feedback.version}"'),)


def author_record(principal: Principal, feedback: Feedback) -> dict[str, Any]:
    """The same for its author: its status, but not who decided on that, when or why."""
    return record.author_record(principal.seen(feedback))


def receipt_record(principal: Principal, receipt: Receipt) -> dict[str, Any]:
    """What the author is told: the reply, and that it is held, where that is so and they may see it."""
    feedback = receipt.feedback
    record = {"status": "success", "message": "Feedback recorded successfully", "feedback_id": feedback.id}
    # A vote that is sent again may have been replaced since, by one about another agent.
    if not principal.may_see(feedback.agent_id):
        return record
    if receipt.reply is not None:
        record["reply"] = receipt.reply
    if feedback.moderation.status is ModerationStatus.PENDING and not feedback.withdrawn:
        record["moderation"] = ModerationStatus.PENDING.value
    return record


def page_record(principal: Principal, page: Page) -> dict[str, Any]:
    """A page of feedback, and the cursor behind it."""
    shown = [feedback_record(principal, feedback) for feedback in page.items]
    return {"feedbacks": shown, "next": str(page.next) if page.next else None}


def vote_record(feedback: Feedback) -> dict[str, Any]:
    """A vote as who gave it needs to see it."""
    known = record.feedback_record(feedback)
    shown = ("message_id", "rating", "comment", "tags", "reply", "version", "updated_at")
    return {"feedback_id": feedback.id} | {name: known[name] for name in shown}


def alert_event_record(alert: Alert) -> dict[str, Any]:
    """What happened to an alert last, with the alert, as channels are told of it."""
    event = alert.event()
    notification = Notification(
        id=event.id,
        type=event.type,
        application=event.application,
        occurred_at=event.occurred_at,
        sent_at=event.occurred_at,
        alert=alert,
    )
    return notification_record(notification)


def alert_record(alert: Alert) -> dict[str, Any]:
    """An alert."""
    shown: dict[str, Any] = alert_event_record(alert)["data"]
    return shown


def delivery_record(delivery: Delivery) -> dict[str, Any]:
    """An event on its way to a channel."""
    event = delivery.event
    return {
        "id": delivery.id,
        "state": delivery.state.value,
        "channel": delivery.channel,
        "event": {
            "id": event.id,
            "type": event.type.value,
            "application": event.application,
            "subject_id": event.subject_id,
            "version": event.version,
            "occurred_at": stamp(event.occurred_at),
        },
        "attempts": delivery.attempts,
        "tries": delivery.tries,
        "due_at": stamp(delivery.due_at),
        "leased_until": None if delivery.leased_until is None else stamp(delivery.leased_until),
        "error": delivery.error,
    }


def channel_record(state: ChannelState) -> dict[str, Any]:
    """How a channel fares."""
    return {
        "name": state.name,
        "on": state.on,
        "failing_since": None if state.failing_since is None else stamp(state.failing_since),
        "off_since": None if state.off_since is None else stamp(state.off_since),
        "reason": state.reason,
    }

"""JSON records of feedback, alerts, deliveries and channels."""

from __future__ import annotations

from typing import Any, Protocol

from harken import Feedback, ModerationStatus, Page, Receipt
from harken.domain.alerts.alert import Alert
from harken.domain.events import Delivery
from harken.services.notifications.channels import ChannelState
from harken_adapters.formats import record
from harken_adapters.formats.notification import alert_record
from harken_adapters.formats.record import stamp, stamp_or_none

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


class Viewer(Protocol):
    """The reader of a record, who may not be allowed to see all of it. A principal is one."""

    def may_see(self, agent_id: str | None) -> bool:
        """Whether the reader may see feedback about that agent; ``None`` for feedback without an agent."""

    def redact(self, feedback: Feedback) -> Feedback:
        """The feedback without the parts that the reader may not see."""


def feedback_record(viewer: Viewer, feedback: Feedback) -> dict[str, Any]:
    """Feedback, with everything that the viewer may see."""
    return record.feedback_record(viewer.redact(feedback))


def etag(feedback: Feedback) -> tuple[tuple[str, str]]:
    """The ETag header: the version of the feedback."""
    return (("etag", f'"{feedback.version}"'),)


def author_record(viewer: Viewer, feedback: Feedback) -> dict[str, Any]:
    """Feedback for its author: with its moderation status, but without the moderator, time and reason."""
    return record.author_record(viewer.redact(feedback))


def receipt_record(viewer: Viewer, receipt: Receipt) -> dict[str, Any]:
    """The receipt of a submission, with the reply and ``"moderation": "pending"`` where they apply."""
    feedback = receipt.feedback
    record = {"status": "success", "message": "Feedback recorded successfully", "feedback_id": feedback.id}
    # In the meantime, a vote that is sent again may have been replaced by one about another agent.
    if not viewer.may_see(feedback.agent_id):
        return record
    if receipt.reply is not None:
        record["reply"] = receipt.reply
    if feedback.moderation.status is ModerationStatus.PENDING and not feedback.withdrawn:
        record["moderation"] = ModerationStatus.PENDING.value
    return record


def page_record(viewer: Viewer, page: Page) -> dict[str, Any]:
    """A page of feedback, and the cursor of the next page."""
    records = [feedback_record(viewer, feedback) for feedback in page.items]
    return {"feedbacks": records, "next": str(page.next) if page.next else None}


def vote_record(feedback: Feedback) -> dict[str, Any]:
    """A vote, for its author."""
    known = record.feedback_record(feedback)
    fields = ("message_id", "rating", "comment", "tags", "reply", "version", "updated_at")
    return {"feedback_id": feedback.id} | {name: known[name] for name in fields}


def alert_event_record(alert: Alert) -> dict[str, Any]:
    """The latest event of an alert (raised or resolved), with the same fields as a notification."""
    event = alert.event()
    return {"type": event.type.value, "timestamp": stamp(event.occurred_at), "data": alert_record(alert)}


def delivery_record(delivery: Delivery) -> dict[str, Any]:
    """The delivery of an event to a channel."""
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
        "leased_until": stamp_or_none(delivery.leased_until),
        "error": delivery.error,
    }


def channel_record(state: ChannelState) -> dict[str, Any]:
    """The status of a channel."""
    return {
        "name": state.name,
        "on": state.on,
        "failing_since": stamp_or_none(state.failing_since),
        "off_since": stamp_or_none(state.off_since),
        "reason": state.reason,
    }

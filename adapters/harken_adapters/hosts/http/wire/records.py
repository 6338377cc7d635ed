"""The JSON records of responses and event streams: of feedback, with what the reader may see, and of alert events."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import evolve

from harken import Feedback, FeedbackQuery, ModerationStatus, Page, Receipt
from harken.domain.alerts.alert import Alert
from harken.domain.instants import stamp
from harken_adapters.formats.notification import alert_details
from harken_adapters.formats.record import author_record


class Viewer(Protocol):
    """The reader of a record, who may not be allowed to see all of it. A principal is one."""

    @property
    def reads_all(self) -> bool:
        """Whether the reader sees more than the author of feedback."""

    def may_see(self, agent_id: str | None) -> bool:
        """Whether the reader may see feedback about that agent; ``None`` for feedback without an agent."""

    def redact(self, feedback: Feedback) -> Feedback:
        """The feedback without the parts that the reader may not see."""


def visible_record(viewer: Viewer, feedback: Feedback) -> dict[str, Any]:
    """Feedback, with everything that the viewer may see."""
    return viewer.redact(feedback).to_dict()


def etag(feedback: Feedback) -> tuple[tuple[str, str]]:
    """The ETag header: the version of the feedback."""
    return (("etag", f'"{feedback.version}"'),)


def visible_author_record(viewer: Viewer, feedback: Feedback) -> dict[str, Any]:
    """Feedback for its author: with its moderation status, but without the moderator, time and reason."""
    return author_record(viewer.redact(feedback))


def own_record(viewer: Viewer, feedback: Feedback) -> dict[str, Any]:
    """Feedback for a viewer who may change it: as for any reader, or as for its author."""
    return (visible_record if viewer.reads_all else visible_author_record)(viewer, feedback)


def receipt_record(viewer: Viewer, receipt: Receipt, *, whole: bool = False) -> dict[str, Any]:
    """The receipt of a submission, with the version, the reply and ``"moderation": "pending"`` where they apply.

    With ``whole``, also with the feedback, and whether it was stored before.
    """
    feedback = receipt.feedback
    document: dict[str, Any] = {
        "status": "success",
        "message": "Feedback recorded successfully",
        "feedback_id": feedback.id,
    }
    # In the meantime, a vote that is sent again may have been replaced by one about another agent.
    if not viewer.may_see(feedback.agent_id):
        return document
    document["version"] = feedback.version
    if receipt.reply is not None:
        document["reply"] = receipt.reply
    if feedback.moderation.status is ModerationStatus.PENDING and not feedback.withdrawn:
        document["moderation"] = ModerationStatus.PENDING.value
    if whole:
        document["duplicate"] = receipt.duplicate
        document["feedback"] = own_record(viewer, feedback)
    return document


def visible_page(viewer: Viewer, page: Page) -> dict[str, Any]:
    """A page of feedback, and the cursor of the next page."""
    return evolve(page, items=tuple(map(viewer.redact, page.items))).to_dict()


def vote_record(feedback: Feedback) -> dict[str, Any]:
    """A vote, for its author."""
    known = feedback.to_dict()
    fields = ("message_id", "rating", "comment", "tags", "reply", "version", "updated_at")
    return {"feedback_id": feedback.id} | {name: known[name] for name in fields}


def alert_event_record(alert: Alert, selection: FeedbackQuery | None) -> dict[str, Any]:
    """The latest event of an alert (raised or resolved), with the alert as elsewhere in the API."""
    event = alert.event()
    data = alert_details(alert, selection)
    return {"type": event.type.value, "timestamp": stamp(event.occurred_at), "data": data}

"""What happened, and what is on its way to whom."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from hashlib import blake2b

from attrs import frozen

from harken.domain.feedback import Feedback


class EventType(Enum):
    """The kinds of event that whoever listens can be told of."""

    CREATED = "feedback.created"
    UPDATED = "feedback.updated"
    DELETED = "feedback.deleted"
    MODERATED = "feedback.moderated"
    ALERT_RAISED = "alert.raised"
    ALERT_RESOLVED = "alert.resolved"

    @property
    def about_alert(self) -> bool:
        """Whether it tells of an alert; all others tell of feedback."""
        return self in {EventType.ALERT_RAISED, EventType.ALERT_RESOLVED}


@frozen(kw_only=True)
class Event:
    """Something that happened to one version of its subject: of one feedback, or of one alert.

    Its id is made of these two (and the application), so the same happening always has the same id.
    """

    id: str
    type: EventType
    application: str
    subject_id: str
    version: int
    occurred_at: datetime

    @classmethod
    def about(cls, feedback: Feedback, type: EventType) -> Event:  # noqa: A002 - the field's name
        """The event that made ``feedback`` what it is now."""
        return cls(
            id=blake2b(
                f"{feedback.application}\0{feedback.id}\0{feedback.version}".encode(), digest_size=16
            ).hexdigest(),
            type=type,
            application=feedback.application,
            subject_id=feedback.id,
            version=feedback.version,
            occurred_at=feedback.updated_at,
        )


def event_order(event: Event) -> tuple[datetime, str, int, str]:
    """The order in which events happened; those of one subject stay in order even if the clock stood still."""
    return event.occurred_at, event.subject_id, event.version, event.id


class DeliveryState(Enum):
    """How far a delivery has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@frozen(kw_only=True)
class Delivery:
    """One event on its way to one channel.

    Its id is ``<event id>:<channel>``, so a receiver that keeps ids sees each delivery once. ``attempts`` counts the
    claims so far and marks the lease: only who holds the latest claim may settle it. ``attempts_before`` is how many of
    them were before it was last replayed.
    """

    id: str
    event: Event
    channel: str
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    attempts_before: int = 0
    due_at: datetime
    leased_until: datetime | None = None
    error: str = ""

    @property
    def tries(self) -> int:
        """The attempts since it was made, or last replayed: how far it has come in its schedule."""
        return self.attempts - self.attempts_before

    @classmethod
    def of(cls, event: Event, channel: str, *, due_at: datetime) -> Delivery:
        """This event on its way to this channel, not tried yet."""
        return cls(id=f"{event.id}:{channel}", event=event, channel=channel, due_at=due_at)

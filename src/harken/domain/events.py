"""Events about feedback and alerts, and their deliveries to channels."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import Enum
from hashlib import blake2b

from attrs import evolve, frozen

from harken.domain.errors import LeaseLost
from harken.domain.feedback import Feedback, Rating
from harken.domain.moderation import ModerationStatus


class EventType(Enum):
    """The types of events that notifications report."""

    CREATED = "feedback.created"
    UPDATED = "feedback.updated"
    WITHDRAWN = "feedback.withdrawn"
    MODERATED = "feedback.moderated"
    ERASED = "feedback.erased"
    ALERT_RAISED = "alert.raised"
    ALERT_RESOLVED = "alert.resolved"

    @classmethod
    def _missing_(cls, value: object) -> EventType | None:
        # The former name, in stored events, deliveries and routes, and in settings.
        return cls.WITHDRAWN if value == "feedback.deleted" else None

    @property
    def about_alert(self) -> bool:
        """Whether the event is about an alert; all others are about feedback."""
        return self in {EventType.ALERT_RAISED, EventType.ALERT_RESOLVED}

    @property
    def about_feedback(self) -> bool:
        """Whether the event is about feedback that is stored: not about an alert, and not about an erasure."""
        return not self.about_alert and self is not EventType.ERASED


@frozen(kw_only=True)
class Traits:
    """The attributes of feedback that routes filter by."""

    rating: Rating
    status: ModerationStatus
    withdrawn: bool = False
    agent_id: str | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, feedback: Feedback) -> Traits:
        """Return the traits of this feedback."""
        return cls(
            rating=feedback.rating,
            status=feedback.moderation.status,
            withdrawn=feedback.withdrawn,
            agent_id=feedback.agent_id,
            tags=feedback.tags,
        )


@frozen(kw_only=True)
class Event:
    """An event that created one version of its subject, which is feedback or an alert.

    The id is derived from the application, the subject and the version, so it is the same wherever the event is
    created. ``before`` has the traits before a change, so that routes can tell whether a filter began to match.
    ``session_id`` is set for an erasure only, as the feedback is not stored any more.
    """

    id: str
    type: EventType
    application: str
    subject_id: str
    version: int
    occurred_at: datetime
    before: Traits | None = None
    session_id: str | None = None

    @classmethod
    def about(
        cls,
        feedback: Feedback,
        type: EventType,  # noqa: A002 - the field's name
        *,
        before: Feedback | None = None,
    ) -> Event:
        """Return the event that created this version of ``feedback``; ``before`` is the version that it replaced."""
        return cls(
            id=_event_id(feedback, feedback.version),
            type=type,
            application=feedback.application,
            subject_id=feedback.id,
            version=feedback.version,
            occurred_at=feedback.updated_at,
            before=None if before is None else Traits.of(before),
        )

    @classmethod
    def erasure(cls, feedback: Feedback, *, at: datetime) -> Event:
        """Return the event of the erasure of ``feedback``, with ids only. It is the last event about it."""
        version = feedback.version + 1
        return cls(
            # Differs from the id of the next version, which feedback that is restored from a backup may reach.
            id=_event_id(feedback, f"{version} erased"),
            type=EventType.ERASED,
            application=feedback.application,
            subject_id=feedback.id,
            version=version,
            occurred_at=at,
            session_id=feedback.session_id,
        )


def _event_id(feedback: Feedback, version: object) -> str:
    return blake2b(f"{feedback.application}\0{feedback.id}\0{version}".encode(), digest_size=16).hexdigest()


def event_order(event: Event) -> tuple[datetime, str, int, str]:
    """Return the sort key of events: by time, and by version for one subject at the same time."""
    return event.occurred_at, event.subject_id, event.version, event.id


class DeliveryState(Enum):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@frozen(kw_only=True)
class Delivery:
    """The delivery of one event to one channel.

    The id is ``<event id>:<channel>``, so that receivers can discard duplicates. ``attempts`` counts the claims and
    identifies the lease: only the latest claim can be settled. ``attempts_before`` is the number of attempts before the
    last replay.

    The delivery of an erasure may wait for a delivery that was claimed when the feedback was erased: ``awaits`` is the
    name of that claim. ``certain`` is ``False`` if that claim is the only evidence that the channel was notified of the
    feedback.
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
    awaits: str | None = None
    certain: bool = True

    @property
    def tries(self) -> int:
        """The number of attempts since the delivery was created or last replayed, which determines the next delay."""
        return self.attempts - self.attempts_before

    @classmethod
    def of(cls, event: Event, channel: str, *, due_at: datetime) -> Delivery:
        """Return a pending delivery of this event to this channel."""
        event = event if event.before is None else evolve(event, before=None)
        return cls(id=f"{event.id}:{channel}", event=event, channel=channel, due_at=due_at)

    @property
    def claim(self) -> str:
        """The name of the latest claim."""
        return f"{self.id}#{self.attempts}"

    def claimed(self, *, until: datetime) -> Delivery:
        """Return the delivery with one more attempt, leased until this time."""
        return evolve(self, leased_until=until, attempts=self.attempts + 1, awaits=None, certain=True)

    def lost(self) -> LeaseLost:
        """Return the error to raise if this claim has been lost."""
        return LeaseLost(f"The claim on delivery {self.id!r} is no longer the latest")

    def handed_over(self, *, sent: bool) -> Delivery | None:
        """Return this delivery of an erasure after the claim that it awaits has ended; ``None`` if it is not needed.

        Args:
            sent: whether the claimed delivery was sent, or may have been sent.
        """
        if not sent and not self.certain:
            return None
        return evolve(self, leased_until=None, awaits=None, certain=True)


def erasure_deliveries(event: Event, deliveries: Collection[Delivery], notified: Collection[str]) -> list[Delivery]:
    """Return the deliveries of the erasure of feedback: one to each channel that was, or may have been, notified of it.

    They replace stored deliveries with the same ids, which exist if the feedback was erased before and then restored
    from a backup.

    Args:
        event: the erasure, see :meth:`Event.erasure`.
        deliveries: all deliveries about the feedback, in any state.
        notified: the channels that were notified of the feedback by deliveries that are no longer stored.
    """
    about_it = [delivery for delivery in deliveries if delivery.event.type.about_feedback]
    earlier = {delivery.id: delivery for delivery in deliveries if delivery.event.type is EventType.ERASED}
    attempted = {delivery.channel for delivery in about_it if delivery.attempts}
    created = [
        _erasure_delivery(event, channel, [one for one in about_it if one.channel == channel], channel in notified)
        for channel in sorted({*notified, *attempted})
    ]
    return [_replace_earlier(earlier.get(delivery.id), delivery) for delivery in created]


def _erasure_delivery(event: Event, channel: str, deliveries: Collection[Delivery], notified: bool) -> Delivery:
    delivery = Delivery.of(event, channel, due_at=event.occurred_at)
    claimed = [one for one in deliveries if one.leased_until is not None and one.leased_until > event.occurred_at]
    if not claimed:
        return delivery
    leased_until = max(one.leased_until for one in claimed if one.leased_until is not None)
    if len(claimed) > 1:
        # One claim may end while another delivery is still being sent, so it waits until all leases have expired.
        return evolve(delivery, leased_until=leased_until)
    (claim,) = claimed
    # An earlier attempt may have arrived even if its worker got an error.
    certain = notified or claim.attempts > 1 or any(one.attempts for one in deliveries if one is not claim)
    return evolve(delivery, leased_until=leased_until, awaits=claim.claim, certain=certain)


def _replace_earlier(earlier: Delivery | None, delivery: Delivery) -> Delivery:
    """Return the delivery to store in place of an earlier one with the same id.

    The same event means the same erasure; another event means that the feedback was restored and erased again.
    """
    if earlier is None:
        return delivery
    if earlier.event == delivery.event:
        return earlier
    if earlier.state is DeliveryState.PENDING:
        return evolve(earlier, certain=True)
    return evolve(delivery, attempts=earlier.attempts, attempts_before=earlier.attempts)

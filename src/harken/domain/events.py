"""What happened, and what is on its way to whom."""

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
    """The kinds of event that whoever listens can be told of."""

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
        """Whether it tells of an alert; all others tell of feedback."""
        return self in {EventType.ALERT_RAISED, EventType.ALERT_RESOLVED}

    @property
    def about_feedback(self) -> bool:
        """Whether it tells of feedback that is there: neither of an alert, nor of what was erased."""
        return not self.about_alert and self is not EventType.ERASED


@frozen(kw_only=True)
class Traits:
    """What routes look at in feedback."""

    rating: Rating
    status: ModerationStatus
    withdrawn: bool = False
    agent_id: str | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, feedback: Feedback) -> Traits:
        """Those of that feedback."""
        return cls(
            rating=feedback.rating,
            status=feedback.moderation.status,
            withdrawn=feedback.withdrawn,
            agent_id=feedback.agent_id,
            tags=feedback.tags,
        )


@frozen(kw_only=True)
class Event:
    """Something that happened to one version of its subject: of one feedback, or of one alert.

    Its id is made of these two (and the application), so the same happening always has the same id. ``before`` is what
    routes looked at before a change: whether a filter became true can be told only from both sides. ``session_id`` is
    there where the feedback no longer is: when it was erased.
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
        """The event that made ``feedback`` what it is now; ``before`` is the version that it changed."""
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
        """The event that ends ``feedback``: its last, and with nothing of it but ids."""
        version = feedback.version + 1
        return cls(
            # Not the id that the next version would have: feedback that is restored from a backup may get that far.
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

    A delivery that reports an erasure may wait for the end of another one, which was claimed when its feedback was
    erased: ``awaits`` names that claim. It is ``certain`` unless that claim is the only reason to believe that the
    channel knows of the feedback.
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
        """The attempts since it was made, or last replayed: how far it has come in its schedule."""
        return self.attempts - self.attempts_before

    @classmethod
    def of(cls, event: Event, channel: str, *, due_at: datetime) -> Delivery:
        """This event on its way to this channel, not tried yet."""
        event = event if event.before is None else evolve(event, before=None)
        return cls(id=f"{event.id}:{channel}", event=event, channel=channel, due_at=due_at)

    @property
    def claim(self) -> str:
        """The name of the latest claim on it."""
        return f"{self.id}#{self.attempts}"

    def claimed(self, *, until: datetime) -> Delivery:
        """This delivery with one attempt more, leased until then."""
        return evolve(self, leased_until=until, attempts=self.attempts + 1, awaits=None, certain=True)

    def lost(self) -> LeaseLost:
        """The error that this claim is not held any more."""
        return LeaseLost(f"The claim on delivery {self.id!r} is no longer the latest")

    def handed_over(self, *, sent: bool) -> Delivery | None:
        """This delivery of an erasure when the claim that it awaits has ended.

        Released, or ``None`` if no notification is needed.

        Args:
            sent: whether what was claimed was sent, or may have been.
        """
        if not sent and not self.certain:
            return None
        return evolve(self, leased_until=None, awaits=None, certain=True)


def erasure_deliveries(
    feedback: Feedback, deliveries: Collection[Delivery], told: Collection[str], *, at: datetime
) -> list[Delivery]:
    """What notifies of the erasure of feedback: one delivery to each channel that knows, or may know, of it.

    They are to be stored in the place of those with the same ids, where there are any: feedback that was erased, and
    restored from a backup, may be erased again.

    Args:
        feedback: what is erased.
        deliveries: all deliveries about it, in any state.
        told: the channels to which something about it was delivered that is no longer stored.
        at: when it is erased.
    """
    return deliveries_of_erasure(Event.erasure(feedback, at=at), deliveries, told)


def deliveries_of_erasure(event: Event, deliveries: Collection[Delivery], told: Collection[str]) -> list[Delivery]:
    """Like :func:`erasure_deliveries`, where only the event of the erasure is left of the feedback."""
    about_it = [delivery for delivery in deliveries if delivery.event.type.about_feedback]
    earlier = {delivery.id: delivery for delivery in deliveries if delivery.event.type is EventType.ERASED}
    tried = {delivery.channel for delivery in about_it if delivery.attempts}
    made = [
        _of_erasure(event, channel, [one for one in about_it if one.channel == channel], told=channel in told)
        for channel in sorted({*told, *tried})
    ]
    return [_in_place_of(earlier.get(delivery.id), delivery) for delivery in made]


def _of_erasure(event: Event, channel: str, deliveries: Collection[Delivery], *, told: bool) -> Delivery:
    made = Delivery.of(event, channel, due_at=event.occurred_at)
    claimed = [one for one in deliveries if one.leased_until is not None and one.leased_until > event.occurred_at]
    if not claimed:
        return made
    leased_until = max(one.leased_until for one in claimed if one.leased_until is not None)
    if len(claimed) > 1:
        # One may end while another is still being sent, so only time frees it.
        return evolve(made, leased_until=leased_until)
    (claim,) = claimed
    # An earlier attempt may have arrived, whatever its worker was told.
    certain = told or claim.attempts > 1 or any(one.attempts for one in deliveries if one is not claim)
    return evolve(made, leased_until=leased_until, awaits=claim.claim, certain=certain)


def _in_place_of(earlier: Delivery | None, delivery: Delivery) -> Delivery:
    """What becomes of an earlier notice: the same event is the same erasure, any other one came after a restore."""
    if earlier is None:
        return delivery
    if earlier.event == delivery.event:
        return earlier
    if earlier.state is DeliveryState.PENDING:
        return evolve(earlier, certain=True)
    return evolve(delivery, attempts=earlier.attempts, attempts_before=earlier.attempts)

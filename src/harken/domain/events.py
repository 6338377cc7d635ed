"""Events about feedback and alerts, and their deliveries to channels."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from enum import Enum
from hashlib import blake2b
from typing import Final

from attrs import evolve, field, frozen

from harken.domain.errors import InvalidQuery, LeaseLost
from harken.domain.feedback import Feedback, Rating
from harken.domain.moderation import ModerationStatus

_FORMER_WITHDRAWN: Final = "feedback.deleted"


class EventType(Enum):
    """The types of events that notifications report."""

    CREATED = "feedback.created"
    UPDATED = "feedback.updated"
    WITHDRAWN = "feedback.withdrawn"
    MODERATED = "feedback.moderated"
    ERASED = "feedback.erased"
    ALERT_RAISED = "alert.raised"
    ALERT_RESOLVED = "alert.resolved"
    DIGEST = "digest"
    SESSION_UPDATED = "session.metadata_updated"

    @classmethod
    def _missing_(cls, value: object) -> EventType | None:
        # The former name, in stored events, deliveries and routes, and in settings.
        return cls.WITHDRAWN if value == _FORMER_WITHDRAWN else None

    @property
    def stored(self) -> tuple[str, ...]:
        """The names that stored events of this type may have."""
        return (self.value, _FORMER_WITHDRAWN) if self is EventType.WITHDRAWN else (self.value,)

    @property
    def about_alert(self) -> bool:
        """Whether the event is about an alert."""
        return self in {EventType.ALERT_RAISED, EventType.ALERT_RESOLVED}

    @property
    def about_feedback(self) -> bool:
        """Whether the event is about feedback that is stored: not about an alert, an erasure, a digest or a session."""
        return not self.about_alert and self.about_stored

    @property
    def about_stored(self) -> bool:
        """Whether the subject of the event is stored under its id: not that of an erasure, a digest or a session."""
        return self not in {EventType.ERASED, EventType.DIGEST, EventType.SESSION_UPDATED}

    @property
    def is_routable(self) -> bool:
        """Whether routes can select the event: not an erasure or a digest, which have their own channels."""
        return self not in {EventType.ERASED, EventType.DIGEST}


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

    Or a digest that became due, or a change of a session's metadata: these are not stored, only their deliveries are.

    The id is derived from the application, the subject and the version, so it is the same wherever the event is
    created; that of a change of metadata is new. ``before`` has the traits before a change, so that routes can tell
    whether a filter began to match. ``session_id`` is set for an erasure, as the feedback is not stored any more, and
    for a change of metadata.
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


class AttemptOutcome(Enum):
    """How an attempt to send a delivery ended."""

    ARRIVED = "arrived"
    #: The receiver accepted it, but needs it once more.
    ACCEPTED = "accepted"
    FAILED = "failed"
    #: Nothing was sent, because the channel is switched off.
    CHANNEL_OFF = "channel_off"
    #: Nothing was sent, for example because the channel was removed.
    NOT_SENT = "not_sent"

    @property
    def was_sent(self) -> bool:
        """Whether something was sent, or may have been."""
        return self not in {AttemptOutcome.CHANNEL_OFF, AttemptOutcome.NOT_SENT}


def is_answer(status: str) -> bool:
    """Whether the status of an attempt, or a cause, is the status of an answer, such as ``410 Gone``."""
    return status[:3].isdigit()


#: How many attempts of a delivery are stored: the latest ones.
MAX_HISTORY: Final = 10
#: The maximum number of characters of the texts of an attempt.
MAX_STATUS: Final = 100
MAX_WORDS: Final = 200


@frozen(kw_only=True)
class Attempt:
    """One attempt to send a delivery.

    Attributes:
        at: when it began.
        duration: how long it took.
        outcome: how it ended.
        status: the status that the receiver answered with, such as ``410 Gone``, or in a few words why there is none,
            such as ``timed out``; if nothing was sent, why not. Empty if the channel reports none.
        words: the receiver's own words, in one line; empty if there are none.
        error: why it failed, as one sentence of Harken; empty if it did not.
    """

    at: datetime
    duration: timedelta = timedelta()
    outcome: AttemptOutcome
    status: str = ""
    words: str = ""
    error: str = ""


@frozen(kw_only=True)
class Delivery:
    """The delivery of one event to one channel.

    The id is ``<event id>:<channel>``, so that receivers can discard duplicates. ``attempts`` counts the claims and
    identifies the lease: only the latest claim can be settled. ``attempts_before`` is the number of attempts before the
    last replay.

    The delivery of an erasure may wait for a delivery that was claimed when the feedback was erased: ``awaits`` is the
    name of that claim. ``certain`` is ``False`` if that claim is the only evidence that the channel was notified of the
    feedback.

    ``history`` has the latest attempts, oldest first. It is empty if they were made by a version of Harken that did not
    store them.
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
    history: tuple[Attempt, ...] = ()

    @property
    def cause(self) -> str:
        """Why a dead delivery is dead, in a few words, the same for all that failed alike; empty in other states."""
        if self.state is not DeliveryState.DEAD:
            return ""
        last = self.history[-1].status if self.history else ""
        return last or self.error[:MAX_STATUS]

    @property
    def last_attempt(self) -> Attempt | None:
        """The latest attempt; ``None`` if none is stored."""
        return self.history[-1] if self.history else None

    def after(self, attempt: Attempt) -> Delivery:
        """Return the delivery with one more attempt in its history."""
        return evolve(self, history=(*self.history, attempt)[-MAX_HISTORY:])

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


@frozen
class DeliveryQuery:
    """The deliveries that match all filters; ``None`` matches any.

    Attributes:
        state: their state.
        application: the application of their events.
        channel: their channel.
        type: the type of their events.
        feedback_id: the feedback that their events are about; needs ``application``.
        alert_id: the alert that their events are about; needs ``application``.
        cause: their cause, see :attr:`Delivery.cause`; only dead deliveries have one.
        due_since: only those that were due at this time or later, which is when they were last attempted, at the
            earliest.

    Raises:
        InvalidQuery: the application is missing, or there is both ``feedback_id`` and ``alert_id``.
    """

    state: DeliveryState | None = None
    application: str | None = field(default=None, kw_only=True)
    channel: str | None = field(default=None, kw_only=True)
    type: EventType | None = field(default=None, kw_only=True)
    feedback_id: str | None = field(default=None, kw_only=True)
    alert_id: str | None = field(default=None, kw_only=True)
    cause: str | None = field(default=None, kw_only=True)
    due_since: datetime | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        subjects = [one for one in (self.feedback_id, self.alert_id) if one is not None]
        if len(subjects) > 1:
            raise InvalidQuery("Deliveries are about feedback or about an alert; give feedback_id or alert_id")
        if subjects and self.application is None:
            raise InvalidQuery("Ids of feedback and alerts are unique in an application only; name the application")

    @property
    def states(self) -> tuple[DeliveryState, ...]:
        """The states that match."""
        if self.cause is not None:
            return (DeliveryState.DEAD,) if self.state in (None, DeliveryState.DEAD) else ()
        return tuple(DeliveryState) if self.state is None else (self.state,)

    def matches(self, delivery: Delivery) -> bool:
        """Whether a delivery matches."""
        event = delivery.event
        about_alert = event.type.about_alert
        return (
            delivery.state in self.states
            and self.application in (None, event.application)
            and self.channel in (None, delivery.channel)
            and self.type in (None, event.type)
            and (self.feedback_id is None or (self.feedback_id == event.subject_id and not about_alert))
            and (self.alert_id is None or (self.alert_id == event.subject_id and about_alert))
            and self.cause in (None, delivery.cause)
            and (self.due_since is None or self.due_since <= delivery.due_at)
        )


@frozen(kw_only=True)
class CauseCount:
    """Dead deliveries to one channel with the same cause.

    Attributes:
        channel: the channel.
        cause: the cause, see :attr:`Delivery.cause`.
        count: their number.
        first_at: when the first of them was due for its last attempt.
        last_at: when the last of them was.
    """

    channel: str
    cause: str
    count: int
    first_at: datetime
    last_at: datetime


def group_by_cause(deliveries: Iterable[Delivery]) -> list[CauseCount]:
    """Return the dead ones among these by channel and cause: the most first, then by channel and cause."""
    due: dict[tuple[str, str], list[datetime]] = {}
    for one in deliveries:
        if one.state is DeliveryState.DEAD:
            due.setdefault((one.channel, one.cause), []).append(one.due_at)
    counts = [
        CauseCount(channel=channel, cause=cause, count=len(times), first_at=min(times), last_at=max(times))
        for (channel, cause), times in due.items()
    ]
    return sorted(counts, key=most_first)


def most_first(one: CauseCount) -> tuple[int, str, str]:
    """Return the sort key of causes."""
    return -one.count, one.channel, one.cause


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

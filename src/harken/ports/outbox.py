"""Where events wait until everybody has been told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from harken.domain.events import Delivery, DeliveryState, Event


class Outbox(ABC):
    """Moves on the events that were stored with the feedback, or the alerts, that caused them.

    Any number of workers in any number of processes may use it at once. Erasing feedback removes its events and
    deliveries. All methods may be called by any thread at any time, and raise ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def events(self, *, limit: int) -> Sequence[Event]:
        """Events that were not fanned out yet, oldest first: by ``occurred_at``, ``subject_id`` and ``version``."""

    @abstractmethod
    def events_about(self, application: str, feedback_ids: Collection[str]) -> Sequence[Event]:
        """The events that were not fanned out yet about this feedback, by ``subject_id`` and ``version``.

        Of a few hundred ids at most.
        """

    @abstractmethod
    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        """Make a pending delivery for each event and each of its channels, and take the events off the list.

        An event leaves the list exactly when its deliveries are there, durably. Gives the deliveries in the order of
        the plan, those of one event in the order of the channels' names. An event that is not on the list (any more)
        gives none: another worker was faster, or its feedback was erased.

        An event may come several times, each time with another type and other channels: the deliveries have that type.
        """

    @abstractmethod
    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """Lease a channel's pending deliveries that are due and not leased, earliest due first, then by ``id``.

        Each comes with ``leased_until=until`` and one attempt more, and awaits nothing any more. Two callers never get
        the same one, until its lease has run out: a lease is over when ``now`` has reached ``leased_until``.

        What happened to one subject arrives in order: while a delivery is pending, due or not, no later one about the
        same subject (application, ``subject_id``, and whether it is an alert) to the same channel is claimed; later is
        what has a higher version.
        """

    @abstractmethod
    def release(self, claimed: Sequence[Delivery]) -> None:
        """Give claims back unused: the leases end, and the attempts are not counted. What is no longer held is left.

        A delivery of an erasure that awaits one of these, see :meth:`FeedbackRepository.erase`, is removed if nothing
        else says that its channel knows of the feedback; otherwise it is free to be claimed.
        """

    @abstractmethod
    def discard(self, claimed: Sequence[Delivery]) -> None:
        """Remove claims that shall not be sent, as they are not true any more. What is no longer held is left.

        A delivery of an erasure that awaits one of these is removed, or free, as in :meth:`release`. Where there were
        attempts before this one, the channel counts as notified of the feedback, see :meth:`forget`.
        """

    @abstractmethod
    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        """They have arrived: their state becomes ``DELIVERED``. Durable on return. None may be there twice.

        Gives those that could not be settled, in order: the claim is no longer the latest, the delivery is settled or
        dead, or it was erased. A delivery of an erasure that awaits one of these is free.
        """

    @abstractmethod
    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """It did not arrive and shall be tried again at ``due_at``; the lease ends.

        Raises:
            LeaseLost: this claim is no longer the latest, the delivery is settled or dead, or it was erased. A delivery
                of an erasure that awaits it is free.
        """

    @abstractmethod
    def bury(self, delivery: Delivery, *, error: str, sent: bool = True) -> None:
        """It did not arrive and shall not be tried again: its state becomes ``DEAD``. Raises ``LeaseLost`` likewise.

        One that was not sent at all is not counted as an attempt, so the channel does not count as notified by it; an
        erasure that awaits it is free only if something else says that the channel may know, as in :meth:`release`.
        """

    @abstractmethod
    def move(self, delivery: Delivery, channel: str) -> None:
        """Discard this claim, and put a pending delivery to another channel in its place: due as it is, not tried yet.

        Where there is one to that channel already, in whatever state, that one stays as it is.

        Raises:
            LeaseLost: as for :meth:`back_off`; nothing is made. An erasure that awaits the claim ends as in
                :meth:`discard`.
        """

    @abstractmethod
    def delivery(self, delivery_id: str) -> Delivery:
        """That delivery, in whatever state.

        Raises:
            DeliveryNotFound: there is none.
        """

    @abstractmethod
    def deliveries(
        self,
        state: DeliveryState,
        *,
        limit: int,
        after: Delivery | None = None,
        application: str | None = None,
        channel: str | None = None,
    ) -> Sequence[Delivery]:
        """Deliveries in that state, earliest due first, then by ``id``; ``after`` goes on behind that place."""

    @abstractmethod
    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        """Make a delivery pending, under its old id, at the beginning of its schedule and without its error.

        It may be in any state. ``attempts`` go on counting, and ``attempts_before`` becomes what they are now. A lease
        stays as it is: its holder decides its outcome.

        Raises:
            DeliveryNotFound: there is none.
        """

    @abstractmethod
    def forget(self, *, before: datetime) -> int:
        """Remove delivered deliveries that were due before then, for good; and say how many. Others stay.

        Which channels were told of feedback is kept as long as that feedback: they are told of its erasure.
        """

    @abstractmethod
    def pending(self) -> Mapping[str, int]:
        """How many deliveries are pending for each channel that has any, sorted by channel."""

    def watching(self, nudge: Callable[[], object]) -> AbstractContextManager[object]:  # noqa: ARG002 - for overriding
        """While the context lasts, call ``nudge`` soon after any process has stored an event; it must not block.

        A storage that cannot tell does nothing, as this one: whoever moves events on looks now and then anyway.
        """
        return nullcontext()

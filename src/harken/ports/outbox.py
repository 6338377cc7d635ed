"""Where events wait until everybody has been told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
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
    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        """Make a pending delivery for each event and each of its channels, and take the events off the list.

        An event leaves the list exactly when its deliveries are there, durably. Gives the deliveries in the order of
        the plan, those of one event in the order of the channels' names. An event that is not on the list (any more)
        gives none: another worker was faster, or its feedback was erased.
        """

    @abstractmethod
    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """Lease a channel's pending deliveries that are due and not leased, earliest due first, then by ``id``.

        Each comes with ``leased_until=until`` and one attempt more. Two callers never get the same one, until its lease
        has run out: a lease is over when ``now`` has reached ``leased_until``.
        """

    @abstractmethod
    def release(self, claimed: Sequence[Delivery]) -> None:
        """Give claims back unused: the leases end, and the attempts are not counted. What is no longer held is left."""

    @abstractmethod
    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        """They have arrived: their state becomes ``DELIVERED``. Durable on return. None may be there twice.

        Gives those that could not be settled, in order: the claim is no longer the latest, the delivery is settled or
        dead, or it was erased.
        """

    @abstractmethod
    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """It did not arrive and shall be tried again at ``due_at``; the lease ends.

        Raises:
            LeaseLost: this claim is no longer the latest, the delivery is settled or dead, or it was erased.
        """

    @abstractmethod
    def bury(self, delivery: Delivery, *, error: str) -> None:
        """It did not arrive and shall not be tried again: its state becomes ``DEAD``. Raises ``LeaseLost`` likewise."""

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
        """Make a dead delivery pending again, under its old id, at the beginning of its schedule and without its error.

        ``attempts`` go on counting, and ``attempts_before`` becomes what they are now.

        Raises:
            DeliveryNotFound: no dead delivery has that id.
        """

    @abstractmethod
    def forget(self, *, before: datetime) -> int:
        """Remove delivered deliveries that were due before then, for good; and say how many. Others stay."""

    def watching(self, nudge: Callable[[], object]) -> AbstractContextManager[object]:  # noqa: ARG002 - for overriding
        """While the context lasts, call ``nudge`` soon after any process has stored an event; it must not block.

        A storage that cannot tell does nothing, as this one: whoever moves events on looks now and then anyway.
        """
        return nullcontext()

"""Where events wait until everybody has been told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime

from harken.domain.events import Delivery, DeliveryState, Event


class Outbox(ABC):
    """Moves on the events that were stored with the feedback that caused them.

    Any number of workers in any number of processes may use it at once. Erasing feedback removes its events and
    deliveries. All methods may be called by any thread at any time, and raise ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def events(self, *, limit: int) -> Sequence[Event]:
        """Events that were not fanned out yet, oldest first: by ``occurred_at``, ``feedback_id`` and ``version``."""

    @abstractmethod
    def fan_out(self, event: Event, channels: Collection[str], *, due_at: datetime) -> Sequence[Delivery]:
        """Make a pending delivery for each channel and take the event off the list, atomically.

        Gives the deliveries in the order of the channels' names. An event that is not on the list (any more) gives
        none: another worker was faster, or its feedback was erased.
        """

    @abstractmethod
    def claim(self, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """Lease pending deliveries that are due and not leased by anyone else, earliest due first, then by ``id``.

        Each comes with ``leased_until=until`` and one attempt more. Two callers never get the same one, until its lease
        has run out: a lease is over when ``now`` has reached ``leased_until``.
        """

    @abstractmethod
    def settle(self, delivery: Delivery) -> None:
        """It has arrived: its state becomes ``DELIVERED``.

        Raises:
            LeaseLost: this claim is no longer the latest, the delivery is settled or dead, or it was erased.
        """

    @abstractmethod
    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """It did not arrive and shall be tried again at ``due_at``; the lease ends. Raises ``LeaseLost`` likewise."""

    @abstractmethod
    def bury(self, delivery: Delivery, *, error: str) -> None:
        """It did not arrive and shall not be tried again: its state becomes ``DEAD``. Raises ``LeaseLost`` likewise."""

    @abstractmethod
    def deliveries(self, state: DeliveryState, *, limit: int) -> Sequence[Delivery]:
        """Deliveries in that state, earliest due first, then by ``id``."""

    @abstractmethod
    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        """Make a dead delivery pending again, under its old id, with its attempts kept and its error cleared.

        Raises:
            DeliveryNotFound: no dead delivery has that id.
        """

"""The port for stored events and deliveries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from harken.domain.events import CauseCount, Delivery, DeliveryQuery, Event


class Outbox(ABC):
    """Turns the events that were stored with feedback and alerts into deliveries, and keeps the state of deliveries.

    Any number of workers in any number of processes may use it at the same time. Erasing feedback removes its events
    and deliveries. Any thread may call any method at any time. All methods raise ``StorageError`` when the storage
    fails.
    """

    @abstractmethod
    def events(self, *, limit: int) -> Sequence[Event]:
        """Events that are not fanned out yet, oldest first: by ``occurred_at``, ``subject_id`` and ``version``."""

    @abstractmethod
    def events_about(self, application: str, feedback_ids: Collection[str]) -> Sequence[Event]:
        """The events about this feedback that are not fanned out yet, by ``subject_id`` and ``version``.

        Takes a few hundred ids at most.
        """

    @abstractmethod
    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        """Create a pending delivery for each event and each of its channels, and remove the events.

        An event is removed in the same durable write that creates its deliveries. Returns the deliveries in the order
        of the plan, those of one event in the order of the channels' names. An event that is not stored any more has no
        deliveries: another worker was faster, or its feedback was erased.

        The plan may contain an event several times, with different types and channels: the deliveries have that type.
        """

    @abstractmethod
    def add(self, delivery: Delivery) -> bool:
        """Store a pending delivery of an event that is not stored: a digest, a change of metadata, or an erasure again.

        It may be leased, see :meth:`.Delivery.claimed`: the caller then holds a claim like one of :meth:`claim`.

        Returns ``False``, and stores nothing, if there is a delivery with that id, in any state.
        """

    @abstractmethod
    def record_notified(self, application: str, feedback_ids: Collection[str], channel: str) -> None:
        """Record durably that a channel is notified of feedback, by a delivery that is about something else.

        The channel is notified of its erasure, as after a delivery about it. Ignores feedback that is not stored. Takes
        a few ids.
        """

    @abstractmethod
    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """Lease a channel's pending deliveries that are due and not leased, earliest due first, then by ``id``.

        Each is returned with ``leased_until=until`` and one more attempt, and no longer awaits a claim. No two callers
        get the same delivery until its lease has expired: when ``now`` has reached ``leased_until``.

        The events of one subject arrive in order: while a delivery is pending, due or not, no delivery with a higher
        version about the same subject (application, ``subject_id``, and whether it is an alert) to the same channel is
        claimed.
        """

    @abstractmethod
    def release(self, claimed: Sequence[Delivery]) -> None:
        """Give claims back unused: the leases end, and the attempts are not counted. Ignores claims that are lost.

        A delivery of an erasure that awaits one of these claims, see :meth:`FeedbackRepository.erase`, is removed if
        nothing else shows that its channel knows of the feedback; otherwise it can be claimed.
        """

    @abstractmethod
    def discard(self, claimed: Sequence[Delivery]) -> None:
        """Remove claimed deliveries that are obsolete and must not be sent. Ignores claims that are lost.

        A delivery of an erasure that awaits one of these claims is removed, or can be claimed, as in :meth:`release`.
        If there were attempts before this one, the channel counts as notified of the feedback, see :meth:`forget`.
        """

    @abstractmethod
    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        """Mark claimed deliveries as ``DELIVERED``, durably. None may be in the argument twice.

        Returns those that could not be settled, in order: the claim is no longer the latest, the delivery is settled or
        dead, or it was erased. A delivery of an erasure that awaits one of these claims can then be claimed.

        ``settle``, :meth:`back_off` and :meth:`bury` store the ``history`` of the deliveries that they are given.
        """

    @abstractmethod
    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """Schedule a failed delivery for another attempt at ``due_at``; the lease ends.

        Raises:
            LeaseLost: this claim is no longer the latest, the delivery is settled or dead, or it was erased. A delivery
                of an erasure that awaits the claim can then be claimed.
        """

    @abstractmethod
    def bury(self, delivery: Delivery, *, error: str, sent: bool = True) -> None:
        """Mark a failed delivery as ``DEAD``: there is no further attempt. Raises ``LeaseLost`` as :meth:`back_off`.

        With ``sent=False`` the claim does not count as an attempt, so the channel does not count as notified by it; an
        erasure that awaits the claim can be claimed only if something else shows that the channel may know of the
        feedback, as in :meth:`release`.
        """

    @abstractmethod
    def move(self, delivery: Delivery, channel: str) -> None:
        """Replace a claimed delivery by a pending one to another channel, due at the same time and without attempts.

        An existing delivery of the event to that channel, in any state, is not changed.

        Raises:
            LeaseLost: as for :meth:`back_off`; nothing is created. A delivery of an erasure that awaits the claim is
                treated as in :meth:`discard`.
        """

    @abstractmethod
    def delivery(self, delivery_id: str) -> Delivery:
        """The delivery with that id, in any state.

        Raises:
            DeliveryNotFound: the delivery does not exist.
        """

    @abstractmethod
    def deliveries(
        self, query: DeliveryQuery, *, limit: int, after: Delivery | None = None, newest_first: bool = False
    ) -> Sequence[Delivery]:
        """The deliveries that match, earliest due first, then by ``id``; or in the reverse order.

        Continues after ``after``, which need not exist any more, if it is given.
        """

    @abstractmethod
    def counts(self, query: DeliveryQuery) -> Mapping[str, int]:
        """The number of deliveries that match, by channel, sorted by channel; channels without any are left out."""

    @abstractmethod
    def causes(self, query: DeliveryQuery) -> Sequence[CauseCount]:
        """The dead deliveries that match, by channel and cause: the most first, then by channel and cause."""

    @abstractmethod
    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        """Make a delivery in any state pending again: with its id, at the start of its schedule and without its error.

        ``attempts`` continues to count, and ``attempts_before`` becomes its current value. A lease is not changed: its
        holder decides its outcome.

        Raises:
            DeliveryNotFound: the delivery does not exist.
        """

    @abstractmethod
    def forget(self, *, before: datetime) -> int:
        """Remove the delivered deliveries that were due before then, permanently; returns how many. Others stay.

        It stays stored which channels were notified of feedback, as long as the feedback: they are notified of its
        erasure.
        """

    def watching(self, nudge: Callable[[], object]) -> AbstractContextManager[object]:  # noqa: ARG002 - for overriding
        """Inside the context, call ``nudge`` soon after any process has stored an event; ``nudge`` must not block.

        The default does nothing, for storages that cannot detect that: relays also poll.
        """
        return nullcontext()

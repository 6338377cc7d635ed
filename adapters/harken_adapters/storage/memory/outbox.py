"""The outbox in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice, takewhile
from typing import Any

from attrs import evolve

from harken.domain.errors import DeliveryNotFound
from harken.domain.events import CauseCount, Delivery, DeliveryQuery, DeliveryState, Event, group_by_cause
from harken.ports.outbox import Outbox
from harken_adapters.storage.memory.data import Data


class MemoryOutbox(Outbox):
    """Events and deliveries in dictionaries and sorted lists."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def events(self, *, limit: int) -> Sequence[Event]:
        with self._data.locked():
            events = self._data.events
            return [events.by_id[event_id] for *_, event_id in events.order[:limit]]

    def events_about(self, application: str, feedback_ids: Collection[str]) -> Sequence[Event]:
        wanted = set(feedback_ids)
        with self._data.locked():
            found = [
                event
                for event in self._data.events.by_id.values()
                if event.application == application and event.subject_id in wanted and not event.type.about_alert
            ]
        return sorted(found, key=lambda event: (event.subject_id, event.version))

    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        with self._data.locked():
            taken = {one for one in {event.id for event, _ in plan} if self._data.events.take(one) is not None}
            created = [
                Delivery.of(event, channel, due_at=due_at)
                for event, channels in plan
                if event.id in taken
                for channel in sorted(set(channels))
            ]
            for delivery in created:
                self._data.deliveries.put(delivery)
            return created

    def add(self, delivery: Delivery) -> bool:
        with self._data.locked():
            if delivery.id in self._data.deliveries.by_id:
                return False
            self._data.deliveries.put(delivery)
            return True

    def record_notified(self, application: str, feedback_ids: Collection[str], channel: str) -> None:
        with self._data.locked():
            feedback = self._data.applications[application].feedback
            for feedback_id in feedback_ids:
                if feedback_id in feedback:
                    self._data.deliveries.notified[application, feedback_id] |= {channel: None}

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        with self._data.locked():
            pending = self._data.deliveries.among(DeliveryQuery(DeliveryState.PENDING, channel=channel))
            due = takewhile(lambda delivery: delivery.due_at <= now, pending)
            free = (d for d in due if (d.leased_until is None or d.leased_until <= now) and self._is_next(d))
            claimed = [delivery.claimed(until=until) for delivery in islice(free, limit)]
            for delivery in claimed:
                self._data.deliveries.put(delivery)
            return claimed

    def release(self, claimed: Sequence[Delivery]) -> None:
        with self._data.locked():
            for claim in claimed:
                if not self._end(claim, attempts=claim.attempts - 1):
                    self._hand_over(claim, sent=False)

    def discard(self, claimed: Sequence[Delivery]) -> None:
        with self._data.locked():
            for claim in claimed:
                if (held := self._held(claim)) is None:
                    self._hand_over(claim, sent=False)
                    continue
                if claim.attempts > 1:
                    self._data.deliveries.record_notified(held)
                self._data.deliveries.remove(held)

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        with self._data.locked():
            lost = [claim for claim in claimed if not self._settle(claim)]
            for claim in lost:
                self._hand_over(claim, sent=True)
            return lost

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        self._must_end(delivery, due_at=due_at, error=error, history=delivery.history)

    def bury(self, delivery: Delivery, *, error: str, sent: bool = True) -> None:
        attempts = delivery.attempts if sent else delivery.attempts - 1
        dead = {"state": DeliveryState.DEAD, "error": error, "attempts": attempts, "history": delivery.history}
        self._must_end(delivery, sent=sent, **dead)

    def move(self, delivery: Delivery, channel: str) -> None:
        with self._data.locked():
            if self._held(delivery) is None:
                self._hand_over(delivery, sent=False)
                raise delivery.lost()
            moved = Delivery.of(delivery.event, channel, due_at=delivery.due_at)
            if moved.id == delivery.id:
                return
            if moved.id not in self._data.deliveries.by_id:
                self._data.deliveries.put(moved)
            self.discard([delivery])

    def delivery(self, delivery_id: str) -> Delivery:
        with self._data.locked():
            stored = self._data.deliveries.by_id.get(delivery_id)
        if stored is None:
            raise DeliveryNotFound(f"No delivery with id {delivery_id!r}")
        return stored

    def deliveries(
        self, query: DeliveryQuery, *, limit: int, after: Delivery | None = None, newest_first: bool = False
    ) -> Sequence[Delivery]:
        with self._data.locked():
            found = self._data.deliveries.among(query, after=after, newest_first=newest_first)
            return list(islice(filter(query.matches, found), limit))

    def counts(self, query: DeliveryQuery) -> Mapping[str, int]:
        with self._data.locked():
            found = Counter(delivery.channel for delivery in self._matching(query))
        return dict(sorted(found.items()))

    def causes(self, query: DeliveryQuery) -> Sequence[CauseCount]:
        with self._data.locked():
            return group_by_cause(self._matching(query))

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        with self._data.locked():
            stored = self._data.deliveries.by_id.get(delivery_id)
            if stored is None:
                raise DeliveryNotFound(f"No delivery with id {delivery_id!r}")
            pending = evolve(stored, state=DeliveryState.PENDING, due_at=due_at, error="")
            revived = evolve(pending, attempts_before=stored.attempts)
            self._data.deliveries.put(revived)
            return revived

    def forget(self, *, before: datetime) -> int:
        with self._data.locked():
            delivered = self._data.deliveries.among(DeliveryQuery(DeliveryState.DELIVERED))
            old = list(takewhile(lambda delivery: delivery.due_at < before, delivered))
            for delivery in old:
                self._data.deliveries.record_notified(delivery)
                self._data.deliveries.remove(delivery)
            return len(old)

    def _matching(self, query: DeliveryQuery) -> Iterator[Delivery]:
        return filter(query.matches, self._data.deliveries.among(query))

    def _is_next(self, delivery: Delivery) -> bool:
        """Whether no earlier event of the same subject is pending for the channel."""
        return delivery.event.version == self._data.deliveries.next_version(delivery)

    def _settle(self, claim: Delivery) -> bool:
        return self._end(claim, state=DeliveryState.DELIVERED, error="", history=claim.history)

    def _must_end(self, claim: Delivery, *, sent: bool = True, **changes: Any) -> None:
        with self._data.locked():
            if not self._end(claim, **changes):
                self._hand_over(claim, sent=sent)
                raise claim.lost()

    def _held(self, claim: Delivery) -> Delivery | None:
        """Return the stored delivery if the claim is still held, or ``None``."""
        stored = self._data.deliveries.by_id.get(claim.id)
        held = stored is not None and stored.state is DeliveryState.PENDING and stored.leased_until is not None
        return stored if stored is not None and held and stored.attempts == claim.attempts else None

    def _end(self, claim: Delivery, **changes: Any) -> bool:
        """End the lease of a claim and apply the changes; returns whether the claim was held."""
        if (stored := self._held(claim)) is None:
            return False
        self._data.deliveries.put(evolve(stored, leased_until=None, **changes))
        return True

    def _hand_over(self, claim: Delivery, *, sent: bool) -> None:
        """Release the delivery of an erasure that awaits this claim, if any."""
        for waiting in self._data.deliveries.about(claim.event):
            if waiting.awaits != claim.claim:
                continue
            if (free := waiting.handed_over(sent=sent)) is None:
                self._data.deliveries.remove(waiting)
            else:
                self._data.deliveries.put(free)

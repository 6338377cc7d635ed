"""What every outbox has to keep."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from harken.domain.errors import DeliveryNotFound, LeaseLost
from harken.domain.events import Delivery, DeliveryState, Event, EventType
from harken.ports.storage import Storage
from harken.testing.builders import NOON, a_feedback, a_series, accepted
from harken.testing.checks import at_once, check_raises, check_same
from harken.testing.fresh import FreshStorage

MINUTE = timedelta(minutes=1)


class OutboxContract(FreshStorage):
    """Events wait in order, deliveries are leased, and what fails is tried again or dies."""

    def test_events_wait_in_order_until_they_are_fanned_out(self) -> None:
        """An event is there with its feedback, oldest first, and is fanned out once."""
        series = a_series(3)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series[::-1]))
            events = storage.outbox.events(limit=9)
            check_same(list(events), [Event.about(one, EventType.CREATED) for one in series])
            check_same(len(storage.outbox.events(limit=2)), 2)
            made = storage.outbox.fan_out(events[0], ["webhook", "log"], due_at=NOON)
            check_same([one.id for one in made], [f"{events[0].id}/log", f"{events[0].id}/webhook"])
            check_same(list(storage.outbox.fan_out(events[0], ["log"], due_at=NOON)), [])
            check_same(list(storage.outbox.events(limit=9)), list(events[1:]))
            check_same(list(storage.outbox.deliveries(DeliveryState.PENDING, limit=9)), list(made))

    def test_events_of_one_instant_keep_the_order_of_versions(self) -> None:
        """Where a clock is coarse, what happened to one feedback is still told in order."""
        versions = [a_feedback()]
        for number in range(8):
            versions.append(versions[-1].answered(str(number), at=NOON))
        with self.open_storage() as storage:
            storage.feedback.add(accepted(versions[0]))
            for version in versions[1:]:
                storage.feedback.replace(version, [Event.about(version, EventType.UPDATED)])
            check_same([event.version for event in storage.outbox.events(limit=20)], list(range(1, 10)))

    def test_a_delivery_is_leased_to_one_worker(self) -> None:
        """What is claimed is claimed by nobody else until the lease ends; then the earlier claim is worth nothing."""
        with self.open_storage() as storage:
            delivery = _a_delivery(storage)
            check_same(list(storage.outbox.claim(now=NOON - MINUTE, until=NOON, limit=9)), [])
            (claim,) = storage.outbox.claim(now=NOON, until=NOON + MINUTE, limit=9)
            check_same(claim, evolve(delivery, leased_until=NOON + MINUTE, attempts=1))
            check_same(list(storage.outbox.claim(now=NOON, until=NOON + MINUTE, limit=9)), [])
            (second,) = storage.outbox.claim(now=NOON + MINUTE, until=NOON + 2 * MINUTE, limit=9)
            check_same(second.attempts, 2)
            check_raises(LeaseLost, lambda: storage.outbox.settle(claim))
            check_raises(LeaseLost, lambda: storage.outbox.back_off(claim, due_at=NOON, error="late"))
            check_raises(LeaseLost, lambda: storage.outbox.bury(claim, error="late"))
            storage.outbox.settle(second)
            check_raises(LeaseLost, lambda: storage.outbox.settle(second))
            (settled,) = storage.outbox.deliveries(DeliveryState.DELIVERED, limit=9)
            check_same(settled, evolve(second, state=DeliveryState.DELIVERED, leased_until=None))

    def test_racing_workers_share_the_deliveries(self) -> None:
        """Workers that claim at once get different deliveries, and together all."""
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*a_series(12)))
            for event in storage.outbox.events(limit=12):
                storage.outbox.fan_out(event, ["log"], due_at=NOON)
            claims = at_once([lambda: storage.outbox.claim(now=NOON, until=NOON + MINUTE, limit=5)] * 4)
        ids = [delivery.id for claim in claims for delivery in claim]
        check_same((len(ids), len(set(ids))), (12, 12))

    def test_a_failed_delivery_backs_off_or_dies_and_can_be_replayed(self) -> None:
        """A delivery is tried again when it is due; a dead one comes back under its old id when it is replayed."""
        with self.open_storage() as storage:
            delivery = _a_delivery(storage)
            (claim,) = storage.outbox.claim(now=NOON, until=NOON + MINUTE, limit=9)
            storage.outbox.back_off(claim, due_at=NOON + 2 * MINUTE, error="refused")
            check_raises(LeaseLost, lambda: storage.outbox.settle(claim))
            check_same(list(storage.outbox.claim(now=NOON + MINUTE, until=NOON + 9 * MINUTE, limit=9)), [])
            (claim,) = storage.outbox.claim(now=NOON + 2 * MINUTE, until=NOON + 9 * MINUTE, limit=9)
            check_same((claim.id, claim.attempts, claim.error), (delivery.id, 2, "refused"))
            check_raises(DeliveryNotFound, lambda: storage.outbox.replay(delivery.id, due_at=NOON))
            storage.outbox.bury(claim, error="gone")
            (dead,) = storage.outbox.deliveries(DeliveryState.DEAD, limit=9)
            check_same((dead.id, dead.error, dead.leased_until), (delivery.id, "gone", None))
            revived = storage.outbox.replay(delivery.id, due_at=NOON)
            check_same(revived, evolve(dead, state=DeliveryState.PENDING, due_at=NOON, error=""))
            check_same(list(storage.outbox.deliveries(DeliveryState.PENDING, limit=9)), [revived])


def _a_delivery(storage: Storage) -> Delivery:
    storage.feedback.add(accepted(a_feedback()))
    (event,) = storage.outbox.events(limit=1)
    (delivery,) = storage.outbox.fan_out(event, ["log"], due_at=NOON)
    return delivery

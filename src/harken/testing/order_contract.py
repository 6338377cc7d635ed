"""Contract tests for the order in which an outbox hands out deliveries."""

from __future__ import annotations

from threading import Lock

from attrs import evolve

from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.query import FeedbackQuery
from harken.testing.assertions import at_once, check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, accepted, an_alert
from harken.testing.deliveries import MINUTE, add_and_fan_out, claim_due, events_of, fan_out, versions


class OrderContract(FreshStorage):
    """Events of one subject reach a channel in order, and do not delay other subjects."""

    def test_a_later_event_is_claimed_later(self) -> None:
        """A later event waits until the earlier one is settled or dead, even if it is due first."""
        with self.open_storage() as storage:
            first, second, third = versions(storage, due=[NOON + MINUTE, NOON, NOON])
            check_same(claim_due(storage), [])
            (claim,) = claim_due(storage, now=NOON + MINUTE)
            check_same(claim.id, first.id)
            check_same(claim_due(storage, now=NOON + MINUTE), [])
            storage.outbox.back_off(claim, due_at=NOON + 5 * MINUTE, error="refused")
            check_same(claim_due(storage, now=NOON + 4 * MINUTE), [])
            (claim,) = claim_due(storage, now=NOON + 5 * MINUTE)
            storage.outbox.release([claim])
            (claim,) = claim_due(storage, now=NOON + 5 * MINUTE)
            # The lease ends, and another worker claims the delivery.
            (again,) = claim_due(storage, now=NOON + 6 * MINUTE)
            check_same([claim.id, again.id], [first.id] * 2)
            storage.outbox.settle([again])
            (claim,) = claim_due(storage, now=NOON + 6 * MINUTE)
            check_same(claim.id, second.id)
            storage.outbox.bury(claim, error="gone")
            (claim,) = claim_due(storage, now=NOON + 6 * MINUTE)
            check_same(claim.id, third.id)
            storage.outbox.settle([claim])
            check_same(claim_due(storage, now=NOON + 9 * MINUTE), [])

    def test_replayed_events_keep_their_order(self) -> None:
        """Replayed events are delivered in order, before those that have not been sent yet."""
        with self.open_storage() as storage:
            made = versions(storage, due=[NOON, NOON, NOON])
            (first,) = claim_due(storage)
            storage.outbox.settle([first])
            (second,) = claim_due(storage)
            storage.outbox.bury(second, error="gone")
            storage.outbox.replay(second.id, due_at=NOON)
            storage.outbox.replay(first.id, due_at=NOON + MINUTE)
            check_same(claim_due(storage), [])
            arrived = []
            while claimed := claim_due(storage, now=NOON + MINUTE):
                arrived += [one.id for one in claimed]
                storage.outbox.settle(claimed)
            check_same(arrived, [one.id for one in made])

    def test_a_discarded_or_moved_delivery_delays_nothing(self) -> None:
        """The next event of the same feedback can be claimed at once; in the other channel it has its own place."""
        with self.open_storage() as storage:
            _, second, third = versions(storage, due=[NOON, NOON, NOON])
            storage.outbox.discard(claim_due(storage))
            (claim,) = claim_due(storage)
            check_same(claim.id, second.id)
            storage.outbox.move(claim, "new")
            (claim,) = claim_due(storage)
            check_same(claim.id, third.id)
            storage.outbox.move(claim, "new")
            (moved,) = claim_due(storage, "new")
            check_same(moved.event, second.event)
            storage.outbox.settle([moved])
            check_same([one.event for one in claim_due(storage, "new")], [third.event])

    def test_order_is_kept_per_subject_and_channel(self) -> None:
        """Other channels, other feedback, the same id in another application and an alert of that id do not wait."""
        one = a_feedback("session", id="same")
        twins = [evolve(one, application="other"), a_feedback(id="same-2"), a_feedback(id="sam")]
        alert = an_alert("same")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            fan_out(storage, "slow", due_at=NOON + 9 * MINUTE)
            changed = one.answered("Thanks", at=NOON)
            storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED)])
            storage.feedback.add(accepted(*twins))
            resolved = alert.resolved(at=NOON)
            storage.alerts.add(alert, alert.event())
            storage.alerts.replace(resolved, resolved.event())
            fan_out(storage, "slow", "fast")
            about = [
                (event.application, event.subject_id, event.type.value)
                for event in events_of(claim_due(storage, "fast"))
            ]
            everyone = [(twin.application, twin.id, "feedback.created") for twin in twins]
            raised = ("default", "same", "alert.raised")
            check_same(sorted(about), sorted([*everyone, ("default", "same", "feedback.updated"), raised]))
            about = [
                (event.application, event.subject_id, event.type.value)
                for event in events_of(claim_due(storage, "slow"))
            ]
            check_same(sorted(about), sorted([*everyone, raised]))

    def test_waiting_deliveries_do_not_hide_others(self) -> None:
        """However many deliveries wait for earlier ones, ``claim`` finds those that can be sent, up to its limit."""
        waiting = [a_feedback() for _ in range(120)]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*waiting))
            fan_out(storage, "log", due_at=NOON + 9 * MINUTE)
            for one in waiting:
                changed = one.answered("Thanks", at=NOON)
                storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED)])
            fan_out(storage, "log", due_at=NOON - MINUTE)
            fresh = add_and_fan_out(storage, 3)
            claimed = [[one.id for one in claim_due(storage, limit=2)] for _ in range(3)]
            in_order = sorted(one.id for one in fresh)
            check_same(claimed, [in_order[:2], in_order[2:], []])
            check_same(storage.outbox.counts(DeliveryQuery(DeliveryState.PENDING)), {"log": 243})

    def test_many_events_about_one_entry_arrive_in_order(self) -> None:
        """Hundreds of waiting events are claimed one at a time, replayed ones before later ones."""
        one, size = a_feedback(), 300
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            for _ in range(size - 1):
                one = one.answered("Thanks", at=NOON)
                storage.feedback.replace(one, [Event.about(one, EventType.UPDATED)])
            made = [delivery.id for delivery in fan_out(storage, "log")]
            check_same(len(made), size)
            (first,) = claim_due(storage)
            storage.outbox.bury(first, error="gone")
            (second,) = claim_due(storage)
            storage.outbox.replay(first.id, due_at=NOON)
            check_same(list(storage.outbox.settle([second])), [])
            arrived = [second.id]
            while claimed := claim_due(storage):
                arrived += [claim.id for claim in claimed]
                storage.outbox.settle(claimed)
            check_same(arrived, [second.id, first.id, *made[2:]])

    def test_events_of_one_version_do_not_wait_for_each_other(self) -> None:
        """Feedback restored from a backup may repeat a version; both events precede later versions."""
        one = a_feedback()
        erasure = Event.erasure(one, at=NOON)
        changed = one.answered("Thanks", at=NOON)
        again = changed.answered("Thanks", at=NOON)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            fan_out(storage, "log")
            storage.outbox.settle(claim_due(storage))
            storage.feedback.erase(FeedbackQuery(feedback_id=one.id).in_any_state(), at=NOON)
            storage.feedback.add(accepted(one))
            storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED)])
            storage.feedback.replace(again, [Event.about(again, EventType.UPDATED)])
            fan_out(storage, "log")
            (claim,) = claim_due(storage)
            check_same(claim.event, Event.about(one, EventType.CREATED))
            storage.outbox.settle([claim])
            claimed = claim_due(storage)
            second = Event.about(changed, EventType.UPDATED)
            check_same(sorted(events_of(claimed), key=repr), sorted([erasure, second], key=repr))
            storage.outbox.settle(claimed[:1])
            check_same(claim_due(storage), [])
            storage.outbox.discard(claimed[1:])
            check_same(events_of(claim_due(storage)), [Event.about(again, EventType.UPDATED)])

    def test_racing_workers_keep_the_order(self) -> None:
        """Concurrent workers that claim and settle deliver the events of each feedback entry in order."""
        with self.open_storage() as storage:
            made = [versions(storage, due=[NOON, NOON, NOON]) for _ in range(3)]
            arrived: list[Delivery] = []
            in_hand: list[str] = []
            lock = Lock()

            def work() -> None:
                for _ in range(12):
                    claimed = claim_due(storage, limit=2)
                    subjects = [claim.event.subject_id for claim in claimed]
                    with lock:
                        arrived.extend(claimed)
                        in_hand.extend(subjects)
                        # While a worker sends an event of an entry, no other event of that entry can be claimed.
                        check_same(len(in_hand), len(set(in_hand)))
                    with lock:
                        storage.outbox.settle(claimed)
                        for subject in subjects:
                            in_hand.remove(subject)

            at_once([work] * 3)
            for about_one in made:
                ours = [one.id for one in arrived if one.event.subject_id == about_one[0].event.subject_id]
                check_same(ours, [one.id for one in about_one])

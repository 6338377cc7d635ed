"""In which order every outbox has to give deliveries away."""

from __future__ import annotations

from threading import Lock

from attrs import evolve

from harken.domain.events import Delivery, Event, EventType
from harken.domain.query import FeedbackQuery
from harken.testing.assertions import at_once, check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, accepted, an_alert
from harken.testing.deliveries import MINUTE, claim_due, events_of, fan_out, fanned_out, versions


class OrderContract(FreshStorage):
    """What happened to one subject arrives at a channel in order, and holds nothing else up."""

    def test_what_happened_later_is_claimed_later(self) -> None:
        """A later event waits for the earlier one however that fares, even where it is due before it."""
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
            # The lease runs out, and another worker has it.
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

    def test_what_is_replayed_takes_its_place_in_the_order(self) -> None:
        """Events that are sent again come in their order too, before those that have not been sent yet."""
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

    def test_what_is_discarded_or_moved_holds_nothing_up(self) -> None:
        """The next event of the same feedback follows at once, and has a place of its own in another channel."""
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

    def test_order_is_kept_for_each_subject_and_channel(self) -> None:
        """Another channel, another feedback, its twin in another application and an alert of its id wait for nobody."""
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

    def test_what_is_late_hides_nothing_behind_it(self) -> None:
        """However many wait for earlier ones, what can be sent is found, and as much of it as was asked for."""
        waiting = [a_feedback() for _ in range(120)]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*waiting))
            fan_out(storage, "log", due_at=NOON + 9 * MINUTE)
            for one in waiting:
                changed = one.answered("Thanks", at=NOON)
                storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED)])
            fan_out(storage, "log", due_at=NOON - MINUTE)
            fresh = fanned_out(storage, 3)
            claimed = [[one.id for one in claim_due(storage, limit=2)] for _ in range(3)]
            in_order = sorted(one.id for one in fresh)
            check_same(claimed, [in_order[:2], in_order[2:], []])
            check_same(storage.outbox.pending(), {"log": 243})

    def test_many_events_about_one_feedback_arrive_in_order(self) -> None:
        """Hundreds that waited for a channel are claimed one by one, what is replayed before what comes later."""
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

    def test_events_of_one_version_wait_for_none_of_each_other(self) -> None:
        """Feedback that is restored from a backup may have had its version before: both come before what is later."""
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
        """Many that claim and settle at once send the events of each feedback in order."""
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
                        # Nothing about a feedback is claimed while another worker sends what is about it.
                        check_same(len(in_hand), len(set(in_hand)))
                    with lock:
                        storage.outbox.settle(claimed)
                        for subject in subjects:
                            in_hand.remove(subject)

            at_once([work] * 3)
            for about_one in made:
                ours = [one.id for one in arrived if one.event.subject_id == about_one[0].event.subject_id]
                check_same(ours, [one.id for one in about_one])

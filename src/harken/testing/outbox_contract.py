"""Contract tests for outboxes."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Final

from attrs import evolve

from harken.domain.errors import DeliveryNotFound, LeaseLost
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.instants import MICROSECOND
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.query import FeedbackQuery
from harken.testing.assertions import at_once, check_raises, check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, a_series, accepted, an_alert
from harken.testing.deliveries import MINUTE, add_and_fan_out, claim_due, fan_out

#: The event of a digest, which has no stored subject.
_DIGEST: Final = Event(
    id="event-of-a-digest",
    type=EventType.DIGEST,
    application="default",
    subject_id="digest:weekly:2026-01-01",
    version=1,
    occurred_at=NOON,
)


class OutboxContract(FreshStorage):
    """Events wait in order, deliveries are leased, and failed deliveries are retried or become dead letters."""

    # --- deliveries without stored events ----------------------------------------------------------------------------

    def test_a_digest_is_an_ordinary_delivery(self) -> None:
        """It is stored once, in any state, claimed when it is due, and needs no stored subject."""
        delivery = Delivery.of(_DIGEST, "log", due_at=NOON)
        with self.open_storage() as storage:
            check_same(at_once([partial(storage.outbox.add, delivery)] * 4).count(True), 1)
            check_same(storage.outbox.delivery(delivery.id), delivery)
            check_same(claim_due(storage, now=NOON - MICROSECOND), [])
            (claim,) = claim_due(storage)
            check_same(claim.event, _DIGEST)
            check_same(storage.outbox.add(delivery), False)
            storage.outbox.back_off(claim, due_at=NOON + MINUTE, error="refused")
            (claim,) = claim_due(storage, now=NOON + MINUTE)
            check_same(list(storage.outbox.settle([claim])), [])
            check_same(storage.outbox.add(delivery), False)
            check_same(storage.outbox.delivery(delivery.id).state, DeliveryState.DELIVERED)
            query = DeliveryQuery(type=EventType.DIGEST, application="default")
            check_same([one.id for one in storage.outbox.deliveries(query, limit=9)], [delivery.id])
            check_same(storage.outbox.forget(before=NOON + 9 * MINUTE), 1)
            check_same(storage.outbox.add(delivery), True)

    def test_a_change_of_session_metadata_is_an_ordinary_delivery(self) -> None:
        """It keeps its session and a long subject, waits until it is due, and can be made due earlier."""
        event = Event(
            id="event-of-a-session",
            type=EventType.SESSION_UPDATED,
            application="default",
            subject_id=json.dumps({"operation": "update", "names": [f"{n} ß".ljust(1_000, "n") for n in range(100)]}),
            version=1,
            occurred_at=NOON,
            session_id="session",
        )
        deliveries = [
            Delivery.of(event, "log", due_at=NOON + MINUTE),
            Delivery.of(evolve(event, id="another", session_id="other"), "log", due_at=NOON + 2 * MINUTE),
        ]
        with self.open_storage() as storage:
            for delivery in deliveries:
                check_same(storage.outbox.add(delivery), True)
            check_same(claim_due(storage), [])
            check_same(storage.outbox.replay(deliveries[1].id, due_at=NOON), evolve(deliveries[1], due_at=NOON))
            (claim,) = claim_due(storage)
            check_same(claim.event, deliveries[1].event)
            # Erasing feedback of the session does not concern it.
            storage.feedback.add(accepted(a_feedback("session")))
            storage.feedback.erase(FeedbackQuery(session_id="session").in_any_state(), at=NOON)
            check_same(list(storage.outbox.settle([claim])), [])
            query = DeliveryQuery(type=EventType.SESSION_UPDATED)
            check_same(
                [one.event for one in storage.outbox.deliveries(query, limit=9)],
                [one.event for one in (deliveries[1], deliveries[0])],
            )
            storage.outbox.discard(claim_due(storage, now=NOON + MINUTE))
            check_same([one.id for one in storage.outbox.deliveries(query, limit=9)], [deliveries[1].id])
            check_same(storage.outbox.forget(before=NOON + MINUTE), 1)

    def test_a_delivery_can_be_leased_when_it_is_added(self) -> None:
        """It is claimed by nobody else until it is released or the lease ends, and can be discarded."""
        released, discarded, lost = (
            Delivery.of(evolve(_DIGEST, id=name, subject_id=f"digest:{name}"), "log", due_at=NOON)
            for name in ("released", "discarded", "lost")
        )
        claims = [one.claimed(until=NOON + MINUTE) for one in (released, discarded, lost)]
        with self.open_storage() as storage:
            for claim in claims:
                check_same(storage.outbox.add(claim), True)
                check_same(storage.outbox.delivery(claim.id), claim)
            check_same(claim_due(storage), [])
            storage.outbox.release(claims[:1])
            storage.outbox.discard(claims[1:2])
            check_same(storage.outbox.delivery(released.id), released)
            check_raises(DeliveryNotFound, partial(storage.outbox.delivery, discarded.id))
            found = claim_due(storage, now=NOON + MINUTE)
            check_same([(one.id, one.attempts) for one in found], [(lost.id, 2), (released.id, 1)])
            storage.outbox.discard(claims[1:])
            check_same(list(storage.outbox.settle(found)), [])

    # --- fan-out ---------------------------------------------------------------------------------------------------

    def test_events_wait_in_order_until_they_are_fanned_out(self) -> None:
        """An event is stored with its feedback, listed oldest first, and fanned out once."""
        series = a_series(3)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series[::-1]))
            events = storage.outbox.events(limit=9)
            check_same(list(events), [Event.about(one, EventType.CREATED) for one in series])
            check_same(len(storage.outbox.events(limit=2)), 2)
            made = storage.outbox.fan_out([(events[0], ["webhook", "log"])], due_at=NOON)
            check_same([one.id for one in made], [f"{events[0].id}:log", f"{events[0].id}:webhook"])
            check_same(list(storage.outbox.fan_out([(events[0], ["log"])], due_at=NOON)), [])
            check_same(list(storage.outbox.events(limit=9)), list(events[1:]))
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)), list(made))

    def test_a_plan_is_executed_in_order(self) -> None:
        """Each event of a plan gets its own channels; an event that is no longer waiting gets none."""
        series = a_series(6)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            first, second, third, fourth, erased, last = storage.outbox.events(limit=9)
            storage.outbox.fan_out([(second, ["log"])], due_at=NOON)
            storage.feedback.erase(_only(series[4].id), at=NOON)
            plan = [
                (third, ["b", "a", "b"]),
                (second, ["b"]),
                (first, ["a"]),
                (fourth, []),
                (erased, ["a"]),
                (first, ["b"]),
            ]
            made = list(storage.outbox.fan_out(plan, due_at=NOON + MINUTE))
            expected = [(third, "a"), (third, "b"), (first, "a"), (first, "b")]
            check_same(made, [Delivery.of(event, name, due_at=NOON + MINUTE) for event, name in expected])
            check_same(list(storage.outbox.events(limit=9)), [last])
            check_same(list(storage.outbox.fan_out([], due_at=NOON)), [])
            check_same([storage.outbox.delivery(one.id) for one in made], made)
            check_same(len(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)), 5)

    def test_one_event_is_fanned_out_with_several_types(self) -> None:
        """Each delivery has the type that the plan gives for its channel, and the id of the event."""
        (feedback,) = a_series(1)
        rejected = feedback.moderated(Moderation(status=ModerationStatus.REJECTED), at=NOON + MINUTE)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(feedback))
            storage.feedback.replace(rejected, [Event.about(rejected, EventType.MODERATED, before=feedback)])
            created, moderated = storage.outbox.events(limit=9)
            as_created = evolve(moderated, type=EventType.CREATED)
            plan = [(created, []), (moderated, ["b"]), (as_created, ["a", "c"])]
            made = list(storage.outbox.fan_out(plan, due_at=NOON))
            expected = [(moderated, "b"), (as_created, "a"), (as_created, "c")]
            check_same(made, [Delivery.of(event, name, due_at=NOON) for event, name in expected])
            check_same(
                [storage.outbox.delivery(f"{moderated.id}:{name}").event.type for name in "abc"],
                [EventType.CREATED, EventType.MODERATED, EventType.CREATED],
            )
            check_same(list(storage.outbox.events(limit=9)), [])

    def test_a_large_plan_behaves_like_a_small_one(self) -> None:
        """Hundreds of events are fanned out, claimed and settled like one event."""
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*a_series(300)))
            events = storage.outbox.events(limit=300)
            made = list(storage.outbox.fan_out([(event, ["a", "b"]) for event in events], due_at=NOON))
            check_same(made, [Delivery.of(event, name, due_at=NOON) for event in events for name in "ab"])
            check_same(list(storage.outbox.events(limit=9)), [])
            claimed = list(storage.outbox.claim("a", now=NOON, until=NOON + MINUTE, limit=300))
            expected = sorted((one for one in made if one.channel == "a"), key=lambda one: one.id)
            check_same(claimed, [evolve(one, attempts=1, leased_until=NOON + MINUTE) for one in expected])
            check_same(list(storage.outbox.settle(claimed)), [])
            check_same(len(storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=999)), 300)

    def test_racing_workers_fan_out_an_event_once(self) -> None:
        """Workers that execute the same plan concurrently create each delivery once in total."""
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*a_series(12)))
            plan = [(event, ["log"]) for event in storage.outbox.events(limit=12)]
            answers = at_once([lambda: storage.outbox.fan_out(plan, due_at=NOON)] * 4)
            made = sorted(delivery.id for answer in answers for delivery in answer)
            check_same(made, sorted(f"{event.id}:log" for event, _ in plan))
            check_same(len(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=99)), 12)

    def test_events_of_one_instant_keep_the_order_of_versions(self) -> None:
        """If clock readings are equal, the events of one feedback entry are ordered by version."""
        versions = [a_feedback()]
        for number in range(8):
            versions.append(versions[-1].answered(str(number), at=NOON))
        with self.open_storage() as storage:
            storage.feedback.add(accepted(versions[0]))
            for version in versions[1:]:
                storage.feedback.replace(version, [Event.about(version, EventType.UPDATED)])
            check_same([event.version for event in storage.outbox.events(limit=20)], list(range(1, 10)))

    def test_clock_differences_do_not_reorder_versions(self) -> None:
        """The events of one entry are listed by version, also page by page, even if the writers' clocks differ."""
        one, other = a_feedback(id="one", created_at=NOON), a_feedback(id="two", created_at=NOON - timedelta(seconds=1))
        late = one.answered("Thanks", at=NOON - timedelta(seconds=2))
        later = late.withdraw(at=NOON - timedelta(hours=1))
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one, other))
            storage.feedback.replace(late, [Event.about(late, EventType.UPDATED)])
            storage.feedback.replace(later, [Event.about(later, EventType.WITHDRAWN)])
            seen: list[tuple[str, int]] = []
            while events := storage.outbox.events(limit=1):
                seen += [(event.subject_id, event.version) for event in events]
                storage.outbox.fan_out([(event, []) for event in events], due_at=NOON)
            check_same(seen, [("two", 1), ("one", 1), ("one", 2), ("one", 3)])

    def test_waiting_events_are_found_by_feedback(self) -> None:
        """``events_about`` returns all events of these entries by version, and none of a twin or an alert."""
        one, other = a_series(2)
        twin = evolve(one, application="other")
        alert = an_alert(one.id, feedback_ids=(one.id,))
        changed = one.answered("Thanks", at=NOON)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one, other, twin))
            storage.alerts.add(alert, alert.event())
            storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED, before=one)])
            expected = [Event.about(one, EventType.CREATED), Event.about(changed, EventType.UPDATED, before=one)]
            check_same(list(storage.outbox.events_about("default", [one.id, "unknown"])), expected)
            storage.outbox.fan_out([(expected[0], ["log"])], due_at=NOON)
            check_same(list(storage.outbox.events_about("default", {one.id})), expected[1:])
            check_same(list(storage.outbox.events_about("default", [])), [])
            check_same(list(storage.outbox.events_about("nobody", [one.id])), [])

    # --- leases ----------------------------------------------------------------------------------------------------

    def test_a_delivery_is_leased_to_one_worker(self) -> None:
        """A claimed delivery cannot be claimed again until its lease ends; then the earlier claim is invalid."""
        with self.open_storage() as storage:
            (delivery,) = add_and_fan_out(storage, 1)
            check_same(claim_due(storage, now=NOON - MINUTE), [])
            (claim,) = claim_due(storage)
            check_same(claim, evolve(delivery, leased_until=NOON + MINUTE, attempts=1))
            check_same(storage.outbox.delivery(delivery.id), claim)
            check_same(claim_due(storage), [])
            (second,) = claim_due(storage, now=NOON + MINUTE)
            check_same(second.attempts, 2)
            check_same(list(storage.outbox.settle([claim])), [claim])
            storage.outbox.release([claim])
            check_raises(LeaseLost, lambda: storage.outbox.back_off(claim, due_at=NOON, error="late"))
            check_raises(LeaseLost, lambda: storage.outbox.bury(claim, error="late"))
            check_same(storage.outbox.delivery(delivery.id), second)
            check_same(list(storage.outbox.settle([second])), [])
            check_same(list(storage.outbox.settle([second])), [second])
            settled = evolve(second, state=DeliveryState.DELIVERED, leased_until=None)
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=9)), [settled])

    def test_racing_workers_share_the_deliveries(self) -> None:
        """Workers that claim concurrently get different deliveries, and together they get all of them."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 12)
            claims = at_once([partial(claim_due, storage, limit=5)] * 4)
        ids = [delivery.id for claim in claims for delivery in claim]
        check_same((len(ids), len(set(ids))), (12, 12))

    def test_claims_are_separate_per_channel(self) -> None:
        """Claiming for a channel does not affect other channels, even if their names have a common prefix."""
        names = ["log", "Log", "log2", "größe"]
        with self.open_storage() as storage:
            made = add_and_fan_out(storage, 2, *names)
            for name in names:
                claimed = claim_due(storage, name)
                check_same(sorted(one.id for one in claimed), sorted(one.id for one in made if one.channel == name))
                check_same(claim_due(storage, name), [])
            check_same(claim_due(storage, "lo"), [])

    def test_deliveries_are_claimed_by_due_time(self) -> None:
        """A channel's deliveries are ordered by due time, then by id, and limited to the requested number."""
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*a_series(6)))
            made: list[Delivery] = []
            for number, event in enumerate(storage.outbox.events(limit=6)):
                made += storage.outbox.fan_out([(event, ["log"])], due_at=NOON - number // 2 * MINUTE)
            first_due_first = sorted(made, key=lambda one: (one.due_at, one.id))
            claimed = [*claim_due(storage, limit=4), *claim_due(storage, limit=4)]
            check_same([one.id for one in claimed], [one.id for one in first_due_first])

    def test_a_released_claim_is_not_an_attempt(self) -> None:
        """A released delivery can be claimed at once, with its previous attempts; a lost claim changes nothing."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 4)
            old = claim_due(storage)
            first, second, third, fourth = claim_due(storage, now=NOON + MINUTE)
            storage.outbox.settle([second])
            storage.outbox.release([old[2], first, second, fourth])
            storage.outbox.release([])
            given_back = [evolve(one, attempts=1, leased_until=None) for one in (first, fourth)]
            check_same(
                list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)),
                [given_back[0], third, given_back[1]],
            )
            again = claim_due(storage, now=NOON + MINUTE)
            check_same(again, [first, fourth])

    # --- ends of leases --------------------------------------------------------------------------------------------

    def test_a_lost_claim_affects_no_other(self) -> None:
        """When several claims are settled, the lost ones are returned in order, and all others are settled."""
        series = a_series(6)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            plan = [(event, ["log"]) for event in storage.outbox.events(limit=6)]
            storage.outbox.fan_out(plan, due_at=NOON)
            backed_off, settled, good, buried, erased, last = claimed = claim_due(storage)
            storage.outbox.back_off(backed_off, due_at=NOON + MINUTE, error="refused")
            storage.outbox.settle([settled])
            storage.outbox.bury(buried, error="gone")
            storage.feedback.erase(_only(erased.event.subject_id), at=NOON)
            check_same(list(storage.outbox.settle(claimed)), [backed_off, settled, buried, erased])
            delivered = [evolve(one, state=DeliveryState.DELIVERED, leased_until=None) for one in (settled, good, last)]
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=9)), delivered)
            check_same(storage.outbox.delivery(backed_off.id).error, "refused")
            check_same(storage.outbox.delivery(buried.id).state, DeliveryState.DEAD)
            check_same(list(storage.outbox.settle([])), [])

    def test_a_failed_delivery_backs_off_or_dies_and_can_be_replayed(self) -> None:
        """A failed delivery is retried when it is due; a dead one is delivered with its old id after a replay."""
        with self.open_storage() as storage:
            (delivery,) = add_and_fan_out(storage, 1)
            (claim,) = claim_due(storage)
            storage.outbox.back_off(claim, due_at=NOON + 2 * MINUTE, error="refused")
            check_same(list(storage.outbox.settle([claim])), [claim])
            check_same(claim_due(storage, now=NOON + MINUTE), [])
            (claim,) = claim_due(storage, now=NOON + 2 * MINUTE)
            check_same((claim.id, claim.attempts, claim.error), (delivery.id, 2, "refused"))
            storage.outbox.bury(claim, error="gone")
            (dead,) = storage.outbox.deliveries(DeliveryQuery(DeliveryState.DEAD), limit=9)
            check_same((dead.id, dead.error, dead.leased_until), (delivery.id, "gone", None))
            check_same(claim_due(storage, now=NOON + 9 * MINUTE), [])
            revived = storage.outbox.replay(delivery.id, due_at=NOON)
            pending = evolve(dead, state=DeliveryState.PENDING, due_at=NOON, error="", attempts_before=2)
            check_same(revived, pending)
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)), [revived])

    def test_a_replay_resets_the_retries(self) -> None:
        """After a replay, ``attempts`` continues, so that old claims stay invalid, and ``tries`` begins at zero."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 1)
            (old,) = claim_due(storage)
            (claim,) = claim_due(storage, now=NOON + MINUTE)
            storage.outbox.bury(claim, error="gone")
            revived = storage.outbox.replay(claim.id, due_at=NOON)
            check_same((revived.attempts, revived.tries), (2, 0))
            (again,) = claim_due(storage)
            check_same((again.attempts, again.attempts_before, again.tries), (3, 2, 1))
            check_same(list(storage.outbox.settle([old, claim])), [old, claim])
            storage.outbox.bury(again, error="failed again")
            check_same(storage.outbox.replay(claim.id, due_at=NOON).attempts_before, 3)

    def test_a_delivery_in_any_state_is_replayed(self) -> None:
        """A delivered delivery is sent again, a pending one becomes due, and a leased one stays leased."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 3)
            first, second, third = claim_due(storage)
            storage.outbox.settle([first])
            storage.outbox.back_off(second, due_at=NOON + 9 * MINUTE, error="refused")
            for claim in (first, second):
                revived = storage.outbox.replay(claim.id, due_at=NOON + MINUTE)
                expected = evolve(claim, leased_until=None, due_at=NOON + MINUTE, attempts_before=1)
                check_same(revived, expected)
                check_same(storage.outbox.delivery(claim.id), expected)
            check_same(storage.outbox.replay(third.id, due_at=NOON), evolve(third, attempts_before=1))
            replayed = storage.outbox.replay(third.id, due_at=NOON - MINUTE)
            check_same(replayed, evolve(third, due_at=NOON - MINUTE, attempts_before=1))
            check_same(list(storage.outbox.settle([third])), [])
            delivered = evolve(replayed, state=DeliveryState.DELIVERED, leased_until=None)
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=9)), [delivered])
            check_same([one.id for one in claim_due(storage, now=NOON + MINUTE)], [first.id, second.id])

    def test_a_discarded_claim_is_gone(self) -> None:
        """A discarded delivery is removed; a lost claim changes nothing."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 4)
            old = claim_due(storage)
            first, second, third, fourth = claim_due(storage, now=NOON + MINUTE)
            storage.outbox.settle([second])
            storage.outbox.discard([old[2], first, second, fourth])
            storage.outbox.discard([first])
            storage.outbox.discard([])
            for gone in (first, fourth):
                check_raises(DeliveryNotFound, partial(storage.outbox.delivery, gone.id))
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)), [third])
            check_same(
                [one.id for one in storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=9)],
                [second.id],
            )
            check_same(storage.outbox.delivery(third.id), third)

    def test_a_claim_is_moved_to_another_channel(self) -> None:
        """It keeps its due time and has no tries; a delivery that exists in the channel stays; lost claims fail."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 1, "old")
            (lost,) = claim_due(storage, "old")
            storage.outbox.back_off(lost, due_at=NOON + 2 * MINUTE, error="refused")
            (claim,) = claim_due(storage, "old", now=NOON + 2 * MINUTE)
            check_raises(LeaseLost, lambda: storage.outbox.move(lost, "new"))
            storage.outbox.move(claim, "old")
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)), [claim])
            storage.outbox.move(claim, "new")
            moved = Delivery.of(claim.event, "new", due_at=claim.due_at)
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)), [moved])
            add_and_fan_out(storage, 1, "old", "there")
            storage.outbox.settle(claim_due(storage, "there"))
            there = list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=9))
            (claim,) = claim_due(storage, "old")
            storage.outbox.move(claim, "there")
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)), [moved])
            check_same(list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=9)), there)

    def test_an_unknown_delivery_is_not_found(self) -> None:
        """An unknown or erased delivery cannot be read, replayed or held."""
        one = a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            (event,) = storage.outbox.events(limit=1)
            storage.outbox.fan_out([(event, ["log"])], due_at=NOON)
            (claim,) = claim_due(storage)
            storage.feedback.erase(_only(one.id), at=NOON)
            for delivery_id in (claim.id, f"{event.id}/log", event.id, ""):
                check_raises(DeliveryNotFound, partial(storage.outbox.delivery, delivery_id))
                check_raises(DeliveryNotFound, partial(storage.outbox.replay, delivery_id, due_at=NOON))
            check_raises(LeaseLost, lambda: storage.outbox.bury(claim, error="late"))
            check_raises(LeaseLost, lambda: storage.outbox.move(claim, "other"))

    # --- lists and retention ---------------------------------------------------------------------------------------

    def test_deliveries_are_listed_page_by_page(self) -> None:
        """Deliveries are ordered by due time, then by id, with any filter; pages neither skip nor repeat."""
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*a_series(3), *a_series(3, application="other")))
            made: list[Delivery] = []
            for number, event in enumerate(storage.outbox.events(limit=6)):
                made += storage.outbox.fan_out([(event, ["b", "a"])], due_at=NOON - number // 3 * MINUTE)
            in_order = sorted(made, key=lambda one: (one.due_at, one.id))
            for application in (None, "default", "other", "nobody"):
                for channel in (None, "a", "b", "c"):
                    query = DeliveryQuery(DeliveryState.PENDING, application=application, channel=channel)
                    listed = partial(storage.outbox.deliveries, query)
                    expected = [
                        one
                        for one in in_order
                        if application in (None, one.event.application) and channel in (None, one.channel)
                    ]
                    check_same(list(listed(limit=99)), expected)
                    for start in range(0, len(expected) + 1, 2):
                        page = listed(limit=2, after=expected[start - 1] if start else None)
                        check_same(list(page), expected[start : start + 2])
            storage.outbox.settle(claim_due(storage, "a"))
            check_same(
                {one.channel for one in storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=99)},
                {"b"},
            )
            # The delivery at the cursor need not exist any longer.
            after = evolve(in_order[0], id=f"{in_order[0].id} gone")
            of_channel = DeliveryQuery(DeliveryState.PENDING, channel="b")
            listed_after = storage.outbox.deliveries(of_channel, limit=99, after=after)
            expected = [
                one for one in in_order if one.channel == "b" and (one.due_at, one.id) > (after.due_at, after.id)
            ]
            check_same(list(listed_after), expected)

    def test_only_delivered_deliveries_are_forgotten(self) -> None:
        """``forget`` removes and counts old delivered deliveries; pending, dead and newer ones stay."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 3, "a", "b", "c")
            storage.outbox.settle([*claim_due(storage, "a"), *claim_due(storage, "b", limit=2)])
            storage.outbox.bury(claim_due(storage, "b")[0], error="gone")
            claim_due(storage, "c", limit=1)
            check_same(storage.outbox.forget(before=NOON), 0)
            check_same(len(storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=99)), 5)
            check_same(storage.outbox.forget(before=NOON + MICROSECOND), 5)
            check_same(storage.outbox.forget(before=NOON + MINUTE), 0)
            left = {state: len(storage.outbox.deliveries(DeliveryQuery(state), limit=99)) for state in DeliveryState}
            check_same(left, {DeliveryState.PENDING: 3, DeliveryState.DELIVERED: 0, DeliveryState.DEAD: 1})

    def test_pending_deliveries_are_counted_by_channel(self) -> None:
        """Waiting, leased and overdue deliveries of all applications count; a channel without any is left out."""
        with self.open_storage() as storage:
            check_same(storage.outbox.counts(DeliveryQuery(DeliveryState.PENDING)), {})
            add_and_fan_out(storage, 3, "b", "a", "c")
            storage.feedback.add(accepted(*a_series(2, application="other")))
            fan_out(storage, "größe", "b", due_at=NOON + MINUTE)
            storage.outbox.settle(claim_due(storage, "a"))
            storage.outbox.bury(claim_due(storage, "b")[0], error="gone")
            claim_due(storage, "c", limit=1)
            check_same(storage.outbox.counts(DeliveryQuery(DeliveryState.PENDING)), {"b": 4, "c": 3, "größe": 2})


def _only(feedback_id: str) -> FeedbackQuery:
    return FeedbackQuery(feedback_id=feedback_id).in_any_state()

"""Contract tests for the attempts of deliveries, and for lists and counts of deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from attrs import evolve

from harken.domain.errors import LeaseLost
from harken.domain.events import (
    MAX_HISTORY,
    Attempt,
    AttemptOutcome,
    CauseCount,
    Delivery,
    DeliveryQuery,
    DeliveryState,
    Event,
    EventType,
    group_by_cause,
)
from harken.domain.query import FeedbackQuery
from harken.ports.storage import Storage
from harken.testing.assertions import check_raises, check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, a_series, accepted, an_alert
from harken.testing.deliveries import MINUTE, add_and_fan_out, claim_due, fan_out


class DeliveryContract(FreshStorage):
    """The latest attempts are stored with the outcome; deliveries are listed and counted by any filters."""

    # --- attempts --------------------------------------------------------------------------------------------------

    def test_attempts_are_stored_with_the_outcome(self) -> None:
        """A claim has the attempts before it; each outcome stores those that it is given, to the microsecond."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 1)
            (claim,) = claim_due(storage)
            first = an_attempt(1, words="“später” \\ \"now\" 'x' 😀", error="refused")
            storage.outbox.back_off(claim.after(first), due_at=NOON + MINUTE, error="refused")
            check_same(storage.outbox.delivery(claim.id).history, (first,))
            (claim,) = claim_due(storage, now=NOON + MINUTE)
            check_same(claim.history, (first,))
            second = an_attempt(2, outcome=AttemptOutcome.NOT_SENT, duration=timedelta())
            storage.outbox.bury(claim.after(second), error="off", sent=False)
            check_same(storage.outbox.delivery(claim.id).history, (first, second))
            check_same(storage.outbox.replay(claim.id, due_at=NOON).history, (first, second))
            (claim,) = claim_due(storage)
            third = an_attempt(3, outcome=AttemptOutcome.ARRIVED, status="200 OK")
            check_same(list(storage.outbox.settle([claim.after(third)])), [])
            check_same(storage.outbox.delivery(claim.id).history, (first, second, third))

    def test_attempts_of_a_batch_are_stored_separately(self) -> None:
        """Claims that are settled together store their own attempts, or none; a lost claim stores none."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 4)
            first, second, third, lost = claims = claim_due(storage)
            storage.outbox.bury(lost, error="gone")
            done = [first.after(an_attempt(1)), second, third.after(an_attempt(3)), lost.after(an_attempt(4))]
            check_same(list(storage.outbox.settle(done)), [done[-1]])
            histories = [storage.outbox.delivery(one.id).history for one in claims]
            check_same(histories, [(an_attempt(1),), (), (an_attempt(3),), ()])

    def test_a_lost_claim_stores_no_attempt(self) -> None:
        """A claim that another worker has taken over changes nothing, and neither does a release."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 1)
            (old,) = claim_due(storage)
            (claim,) = claim_due(storage, now=NOON + MINUTE)
            attempt = an_attempt(1)
            check_raises(LeaseLost, lambda: storage.outbox.back_off(old.after(attempt), due_at=NOON, error="late"))
            check_raises(LeaseLost, lambda: storage.outbox.bury(old.after(attempt), error="late"))
            storage.outbox.release([claim.after(attempt)])
            check_same(storage.outbox.delivery(claim.id).history, ())

    def test_the_latest_attempts_are_kept(self) -> None:
        """A delivery that fails often has a bounded history."""
        with self.open_storage() as storage:
            add_and_fan_out(storage, 1)
            for number in range(MAX_HISTORY + 3):
                (claim,) = claim_due(storage, now=NOON + number * MINUTE)
                storage.outbox.back_off(claim.after(an_attempt(number)), due_at=NOON, error="refused")
            history = storage.outbox.delivery(claim.id).history
            check_same(history, tuple(map(an_attempt, range(3, MAX_HISTORY + 3))))

    def test_erasing_removes_the_attempts(self) -> None:
        """They may quote the feedback; the delivery of the erasure begins without any."""
        one = a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            fan_out(storage, "log")
            (claim,) = claim_due(storage)
            storage.outbox.bury(claim.after(an_attempt(1, words=one.id)), error="gone")
            storage.feedback.erase(FeedbackQuery(feedback_id=one.id).in_any_state(), at=NOON)
            (left,) = storage.outbox.deliveries(DeliveryQuery(), limit=9)
            check_same((left.event.type, left.history), (EventType.ERASED, ()))
            check_same(list(storage.outbox.causes(DeliveryQuery())), [])

    # --- lists and counts --------------------------------------------------------------------------------------------

    def test_deliveries_are_found_by_any_filters(self) -> None:
        """Each filter and each pair of filters selects, lists in both directions, counts and groups by cause alike."""
        with self.open_storage() as storage:
            everything = _one_of_each(storage)
            for query in _queries():
                expected = [one for one in everything if query.matches(one)]
                listed = partial(storage.outbox.deliveries, query)
                check_same(list(listed(limit=99)), expected)
                check_same(list(listed(limit=99, newest_first=True)), expected[::-1])
                in_pages: list[Delivery] = []
                while page := listed(limit=2, after=in_pages[-1] if in_pages else None, newest_first=True):
                    in_pages += page
                check_same(in_pages, expected[::-1])
                numbers = {name: sum(one.channel == name for one in expected) for name in "abc"}
                check_same(dict(storage.outbox.counts(query)), {name: n for name, n in numbers.items() if n})
                check_same(list(storage.outbox.causes(query)), group_by_cause(expected))

    def test_dead_deliveries_are_grouped_by_cause(self) -> None:
        """The most common cause comes first, with the times when its deliveries were due; a replay leaves the group."""
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*a_series(4)))
            for number, event in enumerate(storage.outbox.events(limit=4)):
                storage.outbox.fan_out([(event, ["log"])], due_at=NOON + number * MINUTE)
            first, second, third, fourth = claim_due(storage, now=NOON + 9 * MINUTE)
            storage.outbox.bury(first.after(an_attempt(1, status="timed out")), error="took too long")
            for one in (second, fourth):
                storage.outbox.bury(one.after(an_attempt(2, status="410 Gone")), error="gone")
            # Stored by an earlier version, without attempts.
            storage.outbox.bury(third, error="refused " * 30)
            gone = CauseCount(
                channel="log", cause="410 Gone", count=2, first_at=NOON + MINUTE, last_at=NOON + 3 * MINUTE
            )
            old = evolve(gone, cause=("refused " * 30)[:100], count=1, first_at=third.due_at, last_at=third.due_at)
            late = evolve(gone, cause="timed out", count=1, first_at=NOON, last_at=NOON)
            query = DeliveryQuery(application="default")
            check_same(list(storage.outbox.causes(query)), [gone, old, late])
            storage.outbox.replay(fourth.id, due_at=NOON)
            only = evolve(gone, count=1, last_at=NOON + MINUTE)
            check_same(list(storage.outbox.causes(query)), [only, old, late])
            check_same(list(storage.outbox.causes(DeliveryQuery(DeliveryState.PENDING))), [])
            (again,) = claim_due(storage)
            storage.outbox.settle([again.after(an_attempt(3, status="200 OK"))])
            check_same(storage.outbox.delivery(fourth.id).cause, "")


def an_attempt(number: int, **parts: Any) -> Attempt:
    """Return a failed attempt, ``number`` minutes after noon."""
    plain = Attempt(
        at=NOON + number * MINUTE,
        duration=timedelta(microseconds=210_001 + number),
        outcome=AttemptOutcome.FAILED,
        status="503 Service Unavailable",
        words="try later",
    )
    return evolve(plain, **parts)


def _one_of_each(storage: Storage) -> list[Delivery]:
    """Store deliveries in each state, about feedback and alerts with equal ids; return them, earliest due first."""
    twins = [a_feedback(id="same", application=name) for name in ("default", "other")]
    changed = twins[0].answered("Thanks", at=NOON)
    alert = an_alert("same", feedback_ids=())
    storage.feedback.add(accepted(*twins, *a_series(2)))
    storage.alerts.add(alert, alert.event())
    fan_out(storage, "a", "b", due_at=NOON)
    storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED)])
    fan_out(storage, "a", "c", due_at=NOON + MINUTE)
    arrived, retried, *dead = claim_due(storage, "a", now=NOON)
    storage.outbox.settle([arrived.after(an_attempt(1, outcome=AttemptOutcome.ARRIVED))])
    storage.outbox.back_off(retried.after(an_attempt(2)), due_at=NOON + 9 * MINUTE, error="refused")
    for number, one in enumerate(dead):
        storage.outbox.bury(one.after(an_attempt(number, status=f"cause {number % 2}")), error="refused")
    storage.outbox.settle(claim_due(storage, "b", now=NOON, limit=2))
    found = [one for state in DeliveryState for one in storage.outbox.deliveries(DeliveryQuery(state), limit=99)]
    return sorted(found, key=lambda one: (one.due_at, one.id))


def _queries() -> Iterator[DeliveryQuery]:
    values: dict[str, tuple[object, ...]] = {
        "state": tuple(DeliveryState),
        "application": ("other", "nobody"),
        "channel": ("a", "z"),
        "type": (EventType.CREATED, EventType.WITHDRAWN),
        "feedback_id": ("same", "unknown"),
        "alert_id": ("same",),
        "cause": ("cause 0", ""),
        "due_since": (NOON + MINUTE,),
    }
    filters = [(name, value) for name, some in values.items() for value in some]
    subjects = {"feedback_id", "alert_id"}
    yield DeliveryQuery()
    for name, value in filters:
        for other, second in filters:
            chosen = {name: value, other: second}
            if subjects <= chosen.keys():
                continue
            if subjects & chosen.keys():
                chosen.setdefault("application", "default")
            yield DeliveryQuery(**chosen)  # type: ignore[arg-type]

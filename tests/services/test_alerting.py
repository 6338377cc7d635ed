"""Alerting: the same alerts in any order of evaluation, and no open alert without its pattern."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

import harken
from harken import Change, ConfigurationError, Feedback, FeedbackQuery, FeedbackWithdrawn, Harken, InvalidQuery, Rating
from harken.configuration.storage_urls import open_storage
from harken.domain.alerts.alert import Alert, alert_id
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.alerts.rules import (
    AlertRule,
    ChangeRule,
    RateRule,
    SatisfactionRule,
    SilenceRule,
    StreakRule,
    ThemeRule,
)
from harken.domain.alerts.tables import parse_rule
from harken.domain.errors import AlertNotFound
from harken.domain.events import Event, EventType
from harken.domain.keywords import KEYWORDS
from harken.domain.query import GroupBy
from harken.ports.alerts import AlertRepository
from harken.ports.storage import Storage
from harken.services.alerting.service import AlertingService
from harken.services.themes import ThemeService
from harken.stop_words import stop_words
from harken.testing import accepted
from import_files import submissions_of
from shared_data import AIRLINES, needs_real_feedback
from support import NOON, ManualClock, a_feedback, a_submission, in_threads

UP, DOWN, NEUTRAL = Rating
APP = "default"
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
THREE = StreakRule(name="three in a row", by="agent")

T = TypeVar("T")
#: An alert as the reference loop finds it: id, feedback ids, when it was complete and when it ended.
Found = tuple[str, tuple[str, ...], datetime, datetime | None]


@contextmanager
def watching(*rules: AlertRule, clock: ManualClock | None = None) -> Iterator[tuple[Harken, AlertingService, Storage]]:
    """A Harken on a memory storage, and rules that evaluate it."""
    clock = clock or ManualClock()
    with open_storage("memory://") as storage, harken.connect(storage, clock=clock) as hk:
        yield hk, alerting(storage, *rules, clock=clock), storage


def alerting(storage: Storage, *rules: AlertRule, clock: Callable[[], datetime]) -> AlertingService:
    """A service, as each of several relays has one."""
    themes = ThemeService(storage.feedback, clock=clock, stop_words=stop_words)
    return AlertingService(storage.feedback, storage.alerts, storage.state, rules=rules, themes=themes, clock=clock)


def plain_loop(feedback: Iterable[Feedback], rule: StreakRule) -> set[Found]:
    """The alerts of a rule without a cooldown, found by a simple reference loop."""
    groups: dict[Subject, list[Feedback]] = {}
    for one in sorted(feedback, key=lambda one: (one.created_at, one.id)):
        if one.is_counted and (subject := rule.subject(one)):
            groups.setdefault(subject, []).append(one)
    found: set[Found] = set()
    for subject, row in groups.items():
        downs: list[Feedback] = []
        for one in [*row, None]:
            if one and one.rating is DOWN:
                downs.append(one)
                continue
            if len(downs) >= rule.length:
                first = downs[: rule.length]
                id_ = alert_id(APP, rule.name, subject, downs[0].id)
                ids = tuple(one.id for one in first)
                found.add((id_, ids, first[-1].created_at, one.created_at if one else None))
            downs = []
    return found


def alerts(storage: Storage) -> list[Alert]:
    """All alerts, the last raised first."""
    return list(storage.alerts.find(APP, limit=100_000))


def as_found(found: Iterable[Alert]) -> set[Found]:
    """Alerts in the form of the reference loop."""
    return {(alert.id, alert.feedback_ids, alert.raised_at, alert.resolved_at) for alert in found}


def in_batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """The items in order, in batches of that size."""
    return [items[begin : begin + size] for begin in range(0, len(items), size)]


def everything(hk: Harken) -> list[Feedback]:
    """All feedback, oldest first, in any state."""
    return list(hk.collection.stream(hk.query().in_any_state()))


def downs(
    hk: Harken, clock: ManualClock, number: int, agent_id: str = "a", rating: str | None = "down"
) -> list[Feedback]:
    """That many thumbs-downs, a minute apart."""
    given_: list[Feedback] = []
    for _ in range(number):
        clock.turn(minutes=1)
        given_.append(hk.submit("s", rating, "bad", agent_id=agent_id).feedback)
    return given_


# --- Streaks: independent of the evaluation ---------------------------------------------------------------------------

said = st.builds(
    lambda number, rating, agent, session, minute, fate: _fated(
        a_feedback(
            f"f{number:05}",
            rating,
            agent_id=agent,
            session_id=session,
            created_at=NOON + timedelta(minutes=minute),
        ),
        fate,
    ),
    st.integers(0, 99_999),
    st.sampled_from([DOWN, DOWN, DOWN, DOWN, UP, NEUTRAL]),
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["s", "t"]),
    st.integers(0, 30),
    st.sampled_from(["counts"] * 8 + ["withdrawn", "pending"]),
)


def _fated(one: Feedback, fate: str) -> Feedback:
    if fate == "withdrawn":
        return evolve(one, withdrawn_at=NOON)
    return evolve(one, moderation=harken.Moderation.held("spam")) if fate == "pending" else one


@given(
    st.lists(said, max_size=40, unique_by=lambda one: one.id),
    st.sampled_from(["session", "agent", "application"]),
    st.integers(1, 4),
    st.data(),
)
def test_the_alerts_equal_those_of_a_reference_loop(
    row: list[Feedback], by: str, length: int, data: st.DataObject
) -> None:
    """In any order and batches, repeated, and by two at once: a streak has one alert, which is resolved at its end."""
    rule = StreakRule(name="r", by=by, length=length)
    order = data.draw(
        st.permutations(row + data.draw(st.lists(st.sampled_from(row), max_size=10) if row else st.just([])))
    )
    with watching(rule) as (_, service, storage):
        other = alerting(storage, rule, clock=ManualClock())
        storage.feedback.add(accepted(*row))
        for batch in in_batches(order, data.draw(st.integers(1, 10))):
            data.draw(st.sampled_from([service, other])).on_feedback(batch)
        assert as_found(alerts(storage)) == plain_loop(row, rule)
        assert as_found(service.backtest(FeedbackQuery(), rule)) == plain_loop(row, rule)
        assert service.on_feedback(row) == 0


@given(st.lists(said, max_size=30, unique_by=lambda one: one.id))
def test_concurrent_evaluation(row: list[Feedback]) -> None:
    """Relays that evaluate the same feedback at the same time raise each alert once, with one event."""
    with watching(THREE) as (_, service, storage):
        storage.feedback.add([evolve(item, events=()) for item in accepted(*row)])
        others = [alerting(storage, THREE, clock=ManualClock()) for _ in range(3)]
        in_threads([lambda one=one: one.on_feedback(row) for one in (service, *others)])  # type: ignore[misc]
        assert as_found(alerts(storage)) == plain_loop(row, THREE)
        expected = [alert.event() for alert in alerts(storage)]
        raised = [alert for alert in alerts(storage) if not alert.is_open]
        sent = storage.outbox.events(limit=1000)
        assert len(sent) == len(expected) + len(raised)
        assert {event.id for event in expected} <= {event.id for event in sent}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("give"), st.sampled_from(["down", "down", "up"]), st.integers(0, 100)),
        st.tuples(st.just("withdraw"), st.none(), st.integers(0, 100)),
        st.tuples(st.sampled_from(["reject", "approve"]), st.none(), st.integers(0, 100)),
        st.tuples(st.just("change"), st.sampled_from(["down", "up", None]), st.integers(0, 100)),
        st.tuples(st.just("erase"), st.none(), st.integers(0, 100)),
    ),
    max_size=40,
)


@example([*[("give", "down", 0)] * 3, ("withdraw", None, 0), ("erase", None, 0)])
@given(steps)
def test_an_alert_is_open_exactly_while_there_is_a_streak(
    happenings: list[tuple[str, str | None, int]],
) -> None:
    """After late, withdrawn, moderated, changed or erased feedback, one alert is open if a streak continues, and else
    none. A streak that is joined by the erasure of a thumbs-up is found with the next feedback only: an erasure has
    no event.
    """
    with watching(THREE) as (hk, service, storage):
        silent_versions = 0
        for what, rating, number in happenings:
            ended = [alert for alert in alerts(storage) if not (alert.is_open or alert.is_empty)]
            touched = _happen(hk, storage, what, rating, number)
            # Resolved alerts lose their content without an event.
            silent_versions += sum(storage.alerts.get(one.application, one.id) != one for one in ended)
            service.on_feedback([one for one in touched if one])
            service.evaluate_windows()
            streaks = plain_loop(everything(hk), THREE)
            going = [ids for _, ids, _, ended_at in streaks if ended_at is None]
            open_alerts = [alert for alert in alerts(storage) if alert.is_open]
            assert len(open_alerts) == len(going)
            versions = [event.version for event in storage.outbox.events(limit=1000) if event.type.about_alert]
            assert len(versions) + silent_versions == sum(alert.version for alert in alerts(storage))


def _happen(hk: Harken, storage: Storage, what: str, rating: str | None, number: int) -> list[Feedback | None]:
    if what == "give":
        at = NOON + timedelta(minutes=number)
        return [hk.collection.submit(a_submission(rating=rating, comment="x", agent_id="a", created_at=at)).feedback]
    there = everything(hk)
    if not there:
        return []
    one = there[number % len(there)]
    with suppress(FeedbackWithdrawn, harken.InvalidTransition):
        match what:
            case "withdraw":
                return [hk.collection.withdraw(APP, one.id)]
            case "reject" | "approve":
                return [hk.moderation.decide(APP, one.id, f"{what}ed" if what == "reject" else "approved")]
            case "change":
                return [hk.collection.change(APP, one.id, Change(rating=rating))]
            case "erase" if one.rating is DOWN:
                storage.feedback.erase(FeedbackQuery(feedback_id=one.id).in_any_state(), at=NOON)
    return []


# --- Streaks: single cases --------------------------------------------------------------------------------------------


def test_three_thumbs_downs_in_a_row_and_a_thumbs_up(clock: ManualClock) -> None:
    """The third thumbs-down raises the alert, more change nothing, a thumbs-up resolves it, and each has one event."""
    with watching(THREE, clock=clock) as (hk, service, storage):
        given_ = downs(hk, clock, 2)
        assert service.on_feedback(given_) == 0
        given_ += downs(hk, clock, 1)
        assert service.on_feedback(given_[2:]) == 1
        (raised,) = alerts(storage)
        assert (raised.is_open, raised.kind, raised.subject) == (True, AlertKind.STREAK, Subject("agent", "a"))
        assert raised.feedback_ids == tuple(one.id for one in given_)
        assert service.on_feedback(downs(hk, clock, 2)) == 0
        (up,) = downs(hk, clock, 1, rating="up")
        assert service.on_feedback([up]) == 1
        assert alerts(storage) == [raised.resolved(at=up.created_at)]
        about = [event for event in storage.outbox.events(limit=100) if event.type.about_alert]
        assert [event.type for event in about] == [EventType.ALERT_RAISED, EventType.ALERT_RESOLVED]


def test_feedback_that_is_not_counted_is_ignored(clock: ManualClock) -> None:
    """Held spam and rejected feedback are in no streak, and end none."""
    with watching(THREE, clock=clock) as (hk, service, storage):
        given_ = downs(hk, clock, 3)
        hk.moderation.decide(APP, given_[1].id, "rejected")
        service.on_feedback(everything(hk))
        assert alerts(storage) == []
        (up,) = downs(hk, clock, 1, rating="up")
        hk.moderation.decide(APP, up.id, "rejected")
        downs(hk, clock, 1)
        service.on_feedback(everything(hk))
        assert [alert.feedback_ids[1] for alert in alerts(storage)] == [given_[2].id]


@pytest.mark.parametrize("fate", ["withdrawn", "rejected", "changed"])
def test_a_streak_that_no_longer_exists(clock: ManualClock, fate: str) -> None:
    """If thumbs-downs are withdrawn, rejected or changed to thumbs-up, the alert is resolved at the next evaluation."""
    with watching(THREE, clock=clock) as (hk, service, storage):
        given_ = downs(hk, clock, 3)
        service.on_feedback(given_)
        clock.turn(hours=1)
        match fate:
            case "withdrawn":
                touched = hk.collection.withdraw(APP, given_[1].id)
            case "rejected":
                touched = hk.moderation.decide(APP, given_[1].id, "rejected")
            case _:
                touched = hk.collection.change(APP, given_[1].id, Change(rating="up"))
        service.on_feedback([touched])
        assert [alert.resolved_at for alert in alerts(storage)] == [clock()]


def test_a_streak_that_was_erased(clock: ManualClock) -> None:
    """The alert is emptied and resolved at once, and nothing is raised about erased feedback."""
    with watching(THREE, clock=clock) as (hk, service, storage):
        service.on_feedback(downs(hk, clock, 3))
        assert service.evaluate_windows() == 0
        clock.turn(hours=1)
        storage.feedback.erase(FeedbackQuery().in_any_state(), at=clock())
        assert service.evaluate_windows() == 0
        (alert,) = alerts(storage)
        assert (alert.resolved_at, alert.message, alert.feedback_ids) == (clock(), "", ())


@pytest.mark.parametrize("gone", range(5))
def test_the_rest_of_a_streak_is_raised_again(clock: ManualClock, gone: int) -> None:
    """Of five thumbs-downs one is erased: the alert that listed it is emptied, and four in a row are still a
    pattern.
    """
    with watching(THREE, clock=clock) as (hk, service, storage):
        given_ = downs(hk, clock, 5)
        service.on_feedback(given_)
        hk.collection.erase(FeedbackQuery(feedback_id=given_[gone].id))
        left = [one.id for one in given_ if one != given_[gone]]
        assert service.evaluate_windows() == int(gone < THREE.length)
        assert [alert.feedback_ids for alert in alerts(storage) if alert.is_open] == [tuple(left[:3])]
        assert service.evaluate_windows() == 0
        # Two more are erased, so that the pattern has ended.
        hk.collection.erase(FeedbackQuery(feedback_id=left[0]))
        hk.collection.erase(FeedbackQuery(feedback_id=left[1]))
        service.evaluate_windows()
        assert not any(alert.is_open or alert.feedback_ids for alert in alerts(storage))


def test_the_rest_in_a_session_is_raised_again(clock: ManualClock) -> None:
    """While there is other feedback in the session of the alert, the alert keeps its session."""
    rule = evolve(THREE, by="session")
    with watching(rule, clock=clock) as (hk, service, storage):
        given_ = [hk.submit("s", "down", "Wrong", author=f"a-{number}").feedback for number in range(4)]
        service.on_feedback(given_)
        hk.collection.erase(hk.query(author="a-0"))
        assert service.evaluate_windows() == 1
        (alert,) = storage.alerts.find(APP, limit=9, open=True)
        assert (alert.subject, alert.feedback_ids) == (Subject("session", "s"), tuple(one.id for one in given_[1:]))
        hk.collection.erase(hk.query(session_id="s"))
        assert service.evaluate_windows() == 0
        assert not [alert for alert in alerts(storage) if alert.is_open or alert.subject.value]


def test_an_ended_streak_is_not_raised_again(clock: ManualClock) -> None:
    """When its feedback is erased, no event about an ended streak is sent."""
    with watching(THREE, clock=clock) as (hk, service, storage):
        given_ = downs(hk, clock, 5) + downs(hk, clock, 1, rating="up")
        service.on_feedback(given_)
        before = len(storage.outbox.events(limit=99))
        hk.collection.erase(FeedbackQuery(feedback_id=given_[0].id))
        assert service.evaluate_windows() == 0
        assert len(storage.outbox.events(limit=99)) == before - 1


def test_feedback_erased_while_an_alert_is_raised(clock: ManualClock) -> None:
    """Feedback that is erased at any moment between reading and raising leaves an empty alert."""

    class Erasing:
        """Erases when an alert is about to be stored."""

        def __init__(self, storage: Storage) -> None:
            self._storage = storage

        def __getattr__(self, name: str) -> object:
            return getattr(self._storage.alerts, name)

        def add(self, alert: Alert, event: Event) -> bool:
            self._storage.feedback.erase(FeedbackQuery(feedback_id=alert.feedback_ids[0]), at=clock())
            return self._storage.alerts.add(alert, event)

    with watching(clock=clock) as (hk, _, storage):
        given_ = downs(hk, clock, 3)
        racing = evolve(storage, alerts=Erasing(storage))
        alerting(racing, THREE, clock=clock).on_feedback(given_)
        (alert,) = alerts(storage)
        assert (alert.is_open, alert.message, alert.feedback_ids) == (False, "", ())


def test_a_streak_without_its_first_feedback_is_the_same(clock: ManualClock) -> None:
    """While enough thumbs-downs in a row are left the alert is open; there is no second one, and none after it has
    ended.
    """
    with watching(THREE, clock=clock) as (hk, service, storage):
        given_ = downs(hk, clock, 4)
        service.on_feedback(given_)
        assert service.on_feedback([hk.collection.withdraw(APP, given_[0].id)]) == 0
        assert [alert.is_open for alert in alerts(storage)] == [True]
        (up,) = downs(hk, clock, 1, rating="up")
        service.on_feedback([up])
        for one in everything(hk):
            service.on_feedback([one])
        assert [alert.resolved_at for alert in alerts(storage)] == [up.created_at]


def test_a_streak_that_continues_after_all(clock: ManualClock) -> None:
    """A thumbs-up ends the streak; when it is withdrawn, the alert is raised again, with its id."""
    with watching(THREE, clock=clock) as (hk, service, storage):
        service.on_feedback([*downs(hk, clock, 3), *downs(hk, clock, 1, rating="up")])
        (resolved,) = alerts(storage)
        clock.turn(minutes=1)
        service.on_feedback([hk.collection.withdraw(APP, everything(hk)[-1].id)])
        (again,) = alerts(storage)
        assert (again.id, again.version, again.is_open, again.raised_at) == (resolved.id, 3, True, clock())


def test_a_change_between_reading_and_raising(clock: ManualClock) -> None:
    """A thumbs-up that another relay evaluated before the alert was stored resolves it nevertheless."""
    with watching(THREE, clock=clock) as (hk, service, storage):
        given_ = downs(hk, clock, 3)

        def meanwhile() -> None:
            service.on_feedback(downs(hk, clock, 1, rating="up"))

        slow = AlertingService(
            storage.feedback,
            Interrupted(storage.alerts, meanwhile),
            storage.state,
            rules=[THREE],
            themes=ThemeService(storage.feedback, clock=clock, stop_words=stop_words),
            clock=clock,
        )
        slow.on_feedback(given_)
        assert as_found(alerts(storage)) == plain_loop(everything(hk), THREE)


class Interrupted(AlertRepository):
    """Calls a function before the first alert is added."""

    def __init__(self, inner: AlertRepository, meanwhile: Callable[[], object]) -> None:
        self._inner = inner
        self._meanwhile = [meanwhile]

    def add(self, alert: Alert, event: Event) -> bool:
        while self._meanwhile:
            self._meanwhile.pop()()
        return self._inner.add(alert, event)

    def replace(self, alert: Alert, event: Event) -> bool:
        return self._inner.replace(alert, event)

    def get(self, application: str, alert_id: str) -> Alert | None:
        return self._inner.get(application, alert_id)

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        return self._inner.latest(application, rule, subject)

    def find(
        self,
        application: str,
        *,
        limit: int,
        after: Alert | None = None,
        open: bool | None = None,
        rule: str | None = None,
        since: datetime | None = None,
    ) -> Sequence[Alert]:
        return self._inner.find(application, limit=limit, after=after, open=open, rule=rule, since=since)


@pytest.mark.parametrize("backwards", [False, True])
def test_cooling_down(clock: ManualClock, backwards: bool) -> None:
    """For an hour after an alert there is no other about that agent, in any order of evaluation."""
    rule = evolve(THREE, cooldown=HOUR)
    with watching(rule, clock=clock) as (hk, service, storage):
        for _ in range(2):
            downs(hk, clock, 3)
            downs(hk, clock, 1, rating="up")
        downs(hk, clock, 3, agent_id="b")
        clock.turn(hours=1)
        downs(hk, clock, 3)
        row = everything(hk)
        for one in reversed(row) if backwards else row:
            service.on_feedback([one])
        found = alerts(storage)
        assert [alert.subject.value for alert in found] == ["a", "b", "a"]
        assert found[0].raised_at - found[2].raised_at > HOUR
        if not backwards:
            assert as_found(found) == as_found(service.backtest(hk.query(), rule))
        assert service.on_feedback(row) == 0


def test_a_late_evaluation_keeps_the_cooldown(clock: ManualClock) -> None:
    """A suppressed alert stays suppressed, even if its feedback is changed after later alerts."""
    with watching(evolve(THREE, cooldown=HOUR), clock=clock) as (hk, service, storage):
        service.on_feedback([*downs(hk, clock, 3), *downs(hk, clock, 1, rating="up")])
        held_back = downs(hk, clock, 3)
        service.on_feedback([*held_back, *downs(hk, clock, 1, rating="up")])
        clock.turn(hours=2)
        service.on_feedback(downs(hk, clock, 3))
        assert service.on_feedback([hk.collection.change(APP, held_back[0].id, Change(comment="so bad"))]) == 0
        assert len(alerts(storage)) == 2


def test_far_apart_and_long_streaks(clock: ManualClock) -> None:
    """Changes far apart, in streaks of thousands, and streaks that a change cuts in two, are found like near ones."""
    rule = StreakRule(name="r", by="application")
    minutes = count()

    def row(rating: Rating, size: int) -> list[Feedback]:
        return [
            a_feedback(f"f{n:05}", rating, created_at=NOON + n * timedelta(minutes=1)) for n in islice(minutes, size)
        ]

    stored = [*row(DOWN, 3), *row(UP, 1_500), *row(DOWN, 1_300), *row(NEUTRAL, 1_200), *row(DOWN, 7), *row(UP, 1)]
    with watching(rule, clock=clock) as (hk, service, storage):
        storage.feedback.add(accepted(*stored))
        service.on_feedback([stored[1], stored[2_000], stored[4_005]])
        assert as_found(alerts(storage)) == plain_loop(stored, rule)
        changed = hk.collection.change(APP, stored[2_000].id, Change(rating="up"))
        service.on_feedback([changed])
        assert as_found(alerts(storage)) >= {
            one for one in plain_loop(everything(hk), rule) if one[1][0] > stored[2_000].id
        }


def test_a_crash_between_raising_and_resolving(clock: ManualClock) -> None:
    """If a relay dies between the two, the next one resolves the alert."""
    with watching(THREE, clock=clock) as (hk, service, storage):
        row = [*downs(hk, clock, 3), *downs(hk, clock, 1, rating="up")]
        storage.alerts.add(
            raised := evolve(next(service.backtest(hk.query(), THREE)), resolved_at=None, version=1),
            raised.event(),
        )
        assert service.on_feedback(row) == 1
        assert as_found(alerts(storage)) == plain_loop(row, THREE)


# --- Windows ----------------------------------------------------------------------------------------------------------


def stored(storage: Storage, ratings: str, at: datetime, agent_id: str | None = "a", comment: str = "bad") -> None:
    """Store feedback of one time: ``u`` for up, ``d`` for down, ``n`` for neutral."""
    kinds = {"u": UP, "d": DOWN, "n": NEUTRAL}
    begin = len(storage.feedback.find(FeedbackQuery().in_any_state(), limit=100_000).items)
    storage.feedback.add(
        accepted(
            *(
                a_feedback(f"w{begin + n:05}", kinds[letter], comment, agent_id=agent_id, created_at=at)
                for n, letter in enumerate(ratings)
            )
        )
    )


def test_satisfaction_below_a_bound(clock: ManualClock) -> None:
    """Raised once while it lasts, resolved when the window is better, and not raised again during the cooldown."""
    rule = SatisfactionRule(name="unhappy", by="agent", cooldown=2 * HOUR, resolve_after=timedelta())
    with watching(rule, clock=clock) as (_, service, storage):
        stored(storage, "d" * 30 + "u" * 5, clock() - HOUR + timedelta(minutes=1))
        stored(storage, "d" * 10, clock(), agent_id="few")
        assert service.evaluate_windows() == 1
        assert service.evaluate_windows() == 0
        (alert,) = alerts(storage)
        assert (alert.subject, alert.figures) == (Subject("agent", "a"), {"positive": 5, "negative": 30})
        assert (alert.began_at, alert.raised_at, alert.kind) == (clock() - HOUR, clock(), AlertKind.SATISFACTION)
        clock.turn(minutes=1)
        assert service.evaluate_windows() == 1
        assert [one.resolved_at for one in alerts(storage)] == [clock()]
        stored(storage, "d" * 30, clock())
        assert service.evaluate_windows() == 0
        clock.turn(hours=2)
        stored(storage, "d" * 30, clock())
        assert service.evaluate_windows() == 1
        assert [one.is_open for one in alerts(storage)] == [True, False]


def test_concurrent_window_evaluation_raises_one_alert(clock: ManualClock) -> None:
    """Relays that find the same pattern at the same time raise one alert, each time."""
    rule = SatisfactionRule(name="unhappy", cooldown=timedelta(), resolve_after=timedelta())
    with watching(rule, clock=clock) as (_, service, storage):
        for time in (1, 2, 3):
            stored(storage, "d" * 30, clock())
            others = [alerting(storage, rule, clock=clock) for _ in range(3)]
            assert sum(map(int, map(str, in_threads([one.evaluate_windows for one in (service, *others)])))) == 1
            assert len(alerts(storage)) == time
            clock.turn(hours=2)
            assert sum(map(int, map(str, in_threads([one.evaluate_windows for one in (service, *others)])))) == 1
        sent = [event for event in storage.outbox.events(limit=1000) if event.type.about_alert]
        assert len(sent) == 6


def test_more_thumbs_downs_than_in_the_same_hours_of_other_weeks(clock: ManualClock) -> None:
    """Only those hours are compared, of the weeks that have any feedback."""
    rule = RateRule(name="rising", by="application")
    with watching(rule, clock=clock) as (_, service, storage):
        stored(storage, "d" * 20, clock())
        assert service.evaluate_windows() == 0
        stored(storage, "u", clock() - 3 * WEEK - DAY)
        stored(storage, "d" * 4, clock() - WEEK)
        stored(storage, "d" * 2, clock() - 2 * WEEK - HOUR + timedelta(microseconds=1))
        stored(storage, "d" * 90, clock() - 2 * WEEK - HOUR)
        stored(storage, "d" * 90, clock() - 5 * WEEK)
        assert service.evaluate_windows() == 1
        assert [alert.figures for alert in alerts(storage)] == [{"count": 20, "baseline": 6, "weeks": 3}]


def test_a_rate_is_compared_with_the_agents_own(clock: ManualClock) -> None:
    """The thumbs-downs of one agent may rise while another one always had as many."""
    with watching(RateRule(name="rising", by="agent", factor=1.5), clock=clock) as (_, service, storage):
        for agent, before in (("busy", 40), ("calm", 4), ("new", 0)):
            stored(storage, "d" * 40, clock(), agent_id=agent)
            for week in (1, 2):
                stored(storage, "d" * before, clock() - week * WEEK, agent_id=agent)
        service.evaluate_windows()
        assert {alert.subject.value for alert in alerts(storage)} == {"calm", "new"}


@pytest.mark.parametrize(("by", "subject"), [("application", "slow"), ("agent", "slow: a")])
def test_a_theme_surges(clock: ManualClock, by: str, subject: str) -> None:
    """Each keyword that becomes frequent has its own alert, which is about the theme."""
    rule = ThemeRule(name="themes", by=by, keywords=KEYWORDS, resolve_after=timedelta())
    with watching(rule, clock=clock) as (_, service, storage):
        stored(storage, "d" * 20, clock() - WEEK, comment="An error")
        stored(storage, "d", clock() - WEEK, comment="slow")
        stored(storage, "d" * 20, clock(), comment="So slow, an ERROR")
        stored(storage, "u" * 20, clock(), comment="not confused")
        stored(storage, "d" * 9, clock(), agent_id=None, comment="incomplete")
        assert service.evaluate_windows() == 1
        assert [alert.subject for alert in alerts(storage)] == [Subject("theme", subject)]
        clock.turn(hours=2)
        assert service.evaluate_windows() == 1
        assert [alert.is_open for alert in alerts(storage)] == [False]


def talk(storage: Storage, at: datetime, *, authors: int = 1_000, agent_id: str = "a", **topics: int) -> None:
    """Store that many thumbs-down comments about each topic, by up to that many authors."""
    storage.feedback.add(
        accepted(
            *(
                a_feedback(
                    f"{at}-{agent_id}-{topic}-{number}",
                    DOWN,
                    f"The {topic} was not there",
                    author=f"{topic}-{number % authors}",
                    agent_id=agent_id,
                    created_at=at,
                )
                for topic, count_ in topics.items()
                for number in range(count_)
            )
        )
    )


class TestDiscoveredThemes:
    RULE = ThemeRule(name="themes", window=DAY, resolve_after=timedelta())

    @pytest.mark.parametrize("by", ["application", "agent"])
    def test_a_theme_surges(self, clock: ManualClock, by: str) -> None:
        """Without keywords, a theme that is more frequent than in the weeks before raises an alert until it ends."""
        with watching(evolve(self.RULE, by=by), clock=clock) as (_, service, storage):
            for week in (1, 2):
                talk(storage, clock() - week * WEEK, refund=40, wifi=40, luggage=2)
                talk(storage, clock() - week * WEEK, agent_id="b", luggage=60 if by == "agent" else 0, refund=60)
            talk(storage, clock(), refund=40, wifi=40, luggage=60)
            talk(storage, clock(), agent_id="b", luggage=60 if by == "agent" else 0, refund=60)
            assert service.evaluate_windows() == 1
            assert service.evaluate_windows() == 0
            (alert,) = alerts(storage)
            assert alert.subject == Subject("theme", "luggage" if by == "application" else "luggage: a")
            assert alert.figures["count"] == 60
            assert alert.figures["weeks"] == 2
            assert f"thumbs-down comments for {by} " in alert.message
            assert " within 1d are about 'luggage', compared with 4 of " in alert.message
            clock.turn(days=2)
            talk(storage, clock(), refund=40, wifi=40, luggage=1)
            assert service.evaluate_windows() == 1
            assert [alert.is_open for alert in alerts(storage)] == [False]

    @pytest.mark.parametrize("by", ["application", "agent"])
    def test_erased_words_are_not_in_alerts(self, clock: ManualClock, by: str) -> None:
        """When the comments that an alert lists are erased, it loses label and message; others raise a new alert."""
        with watching(evolve(self.RULE, by=by), clock=clock) as (hk, service, storage):
            talk(storage, clock() - WEEK, refund=40, wifi=40)
            talk(storage, clock(), refund=40, wifi=40, luggage=60)
            assert service.evaluate_windows() == 1
            (alert,) = alerts(storage)
            assert {storage.feedback.get(APP, one).comment for one in alert.feedback_ids} == {
                "The luggage was not there"
            }
            hk.collection.erase(hk.query(author="luggage-0"))
            listed = alert.feedback_ids[0]
            hk.collection.erase(evolve(hk.query(), feedback_id=listed))
            (emptied,) = alerts(storage)
            assert "luggage" not in repr(emptied)
            assert not emptied.is_open
            clock.turn(hours=2)
            assert service.evaluate_windows() == 1
            again, _ = alerts(storage)
            assert again.is_open
            assert (again.subject, again.id != emptied.id) == (alert.subject, True)
            for number in range(60):
                hk.collection.erase(hk.query(author=f"luggage-{number}"))
            assert "luggage" not in repr(alerts(storage))

    def test_an_erasure_while_an_alert_is_raised(self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        """The alert is emptied, although the erasure did not find it."""
        with watching(self.RULE, clock=clock) as (hk, service, storage):
            talk(storage, clock() - WEEK, refund=40, wifi=40)
            talk(storage, clock(), refund=40, wifi=40, luggage=60)
            add = storage.alerts.add

            def add_after_erasure(alert: Alert, event: Event) -> bool:
                for number in range(60):
                    hk.collection.erase(hk.query(author=f"luggage-{number}"))
                return add(alert, event)

            monkeypatch.setattr(storage.alerts, "add", add_after_erasure)
            assert service.evaluate_windows() == 2
            (emptied,) = alerts(storage)
            assert emptied.is_empty
            assert "luggage" not in repr(emptied)

    def test_what_does_not_raise_alerts(self, clock: ManualClock) -> None:
        """Neither more comments with the same shares, nor the repetition of a few authors, nor too few comments do."""
        with watching(evolve(self.RULE, at_least=30), clock=clock) as (_, service, storage):
            talk(storage, clock() - WEEK, refund=40, wifi=40, seat=20)
            talk(storage, clock(), refund=160, wifi=160, seat=80, food=29)
            talk(storage, clock(), authors=2, toilet=100)
            assert service.evaluate_windows() == 0

    def test_without_earlier_weeks(self, clock: ManualClock) -> None:
        """Without anything to compare with, no theme is a surge."""
        with watching(self.RULE, clock=clock) as (_, service, storage):
            talk(storage, clock(), refund=40, wifi=40, seat=20)
            assert service.evaluate_windows() == 0


class TestChanges:
    def days(
        self,
        storage: Storage,
        clock: ManualClock,
        shares: Iterable[float],
        agent_id: str = "a",
        *,
        per_day: int = 50,
        random: Random | None = None,
    ) -> None:
        """Store ratings on each of the days before today, the last yesterday, with these shares of thumbs-up.

        With ``random``, each rating is drawn; without, the shares are exact.
        """
        shares = list(shares)
        for number, share in enumerate(shares):
            at = clock() - (len(shares) - number) * DAY
            storage.feedback.add(
                accepted(
                    *(
                        a_feedback(
                            f"{agent_id}-{at}-{one}",
                            UP if (random.random() if random else one / per_day) < share else DOWN,
                            created_at=at,
                            agent_id=agent_id,
                        )
                        for one in range(per_day)
                    )
                )
            )

    @pytest.mark.parametrize(("after", "what"), [(0.5, "fallen"), (1, "risen")])
    def test_satisfaction_has_changed(self, clock: ManualClock, after: float, what: str) -> None:
        """The alert names the day, and satisfaction before and after; it is resolved when the change is not new."""
        with watching(ChangeRule(name="changes", by="agent"), clock=clock) as (_, service, storage):
            self.days(storage, clock, [0.8] * 36 + [after] * 4)
            self.days(storage, clock, [0.8] * 40, agent_id="same")
            assert service.evaluate_windows() == 1
            (alert,) = alerts(storage)
            assert (alert.subject, alert.kind) == (Subject("agent", "a"), AlertKind.CHANGE)
            assert alert.message == (
                f"Satisfaction of agent a has {what} since 2026-02-28: from 80.0% to {after * 100:.1f}%"
            )
            assert alert.figures["positive_before"] == 36 * 40
            assert service.evaluate_windows() == 0
            clock.turn(days=8)
            self.days(storage, clock, [after] * 8)
            assert service.evaluate_windows() == 1
            assert [one.is_open for one in alerts(storage)] == [False]

    @pytest.mark.parametrize("share", [0.25, 0.95])
    def test_a_fall_is_found_among_random_ratings(self, clock: ManualClock, share: float) -> None:
        """At any satisfaction, a fall of 20 points at 50 ratings a day raises an alert within two weeks."""
        with watching(ChangeRule(name="changes"), clock=clock) as (_, service, storage):
            random = Random(1)
            self.days(storage, clock, [share] * 50, random=random)
            for _ in range(14):
                assert service.evaluate_windows() == 0
                clock.turn(days=1)
                self.days(storage, clock, [share - 0.2], random=random)
                if service.evaluate_windows():
                    break
            (alert,) = alerts(storage)
            assert "has fallen since" in alert.message
            assert abs(alert.began_at - NOON) < 3 * DAY

    def test_a_fall_after_a_rise(self, clock: ManualClock) -> None:
        """An earlier change that is still among the days does not hide it, and is not part of satisfaction before."""
        with watching(ChangeRule(name="changes"), clock=clock) as (_, service, storage):
            self.days(storage, clock, [0.6] * 35 + [0.8] * 35 + [0.5] * 5)
            assert service.evaluate_windows() == 1
            (alert,) = alerts(storage)
            assert alert.message.endswith("from 80.0% to 50.0%")

    @pytest.mark.parametrize("share", [0.5, 0.95])
    def test_nothing_changed(self, clock: ManualClock, share: float) -> None:
        """Neither random ratings, with constant satisfaction for months, nor a bad day today raise an alert."""
        with watching(ChangeRule(name="changes"), clock=clock) as (_, service, storage):
            random = Random(5)
            self.days(storage, clock, [share] * 60, per_day=5, random=random)
            for _ in range(10):
                assert service.evaluate_windows() == 0
                clock.turn(weeks=1)
                self.days(storage, clock, [share] * 7, per_day=5, random=random)
            stored(storage, "d" * 200, clock())
            assert service.evaluate_windows() == 0

    @pytest.mark.parametrize("settings", [{"days": 34}, {"days": 366}, {"new_for": 0}, {"new_for": 29}])
    def test_invalid_rules(self, settings: dict[str, Any]) -> None:
        """The days are bounded."""
        with pytest.raises(ConfigurationError, match="must be an integer from"):
            parse_rule({"name": "r", "kind": "change", **settings})


def test_silence(clock: ManualClock) -> None:
    """An agent or application without new feedback has an alert; it is resolved by new feedback."""
    rules = [SilenceRule(name="quiet agent", by="agent"), SilenceRule(name="quiet", after=timedelta(hours=8))]
    with watching(*rules, clock=clock) as (_, service, storage):
        stored(storage, "u", clock() - 31 * DAY, agent_id="retired")
        stored(storage, "d", clock(), agent_id="a")
        stored(storage, "n", clock() + HOUR, agent_id="b")
        clock.turn(hours=6)
        assert service.evaluate_windows() == 1
        (alert,) = alerts(storage)
        assert (alert.subject, alert.began_at, alert.raised_at) == (Subject("agent", "a"), NOON, clock())
        clock.turn(hours=3)
        assert service.evaluate_windows() == 2
        stored(storage, "u", clock(), agent_id="a")
        assert service.evaluate_windows() == 2
        assert [one.subject for one in alerts(storage) if one.is_open] == [Subject("agent", "b")]


def test_a_silence_lasts_until_new_feedback(clock: ManualClock) -> None:
    """After months the alert is still open; after the last feedback is erased, no agent is expected to get any."""
    with watching(SilenceRule(name="quiet", by="agent"), clock=clock) as (_, service, storage):
        stored(storage, "d", clock())
        clock.turn(days=1)
        assert service.evaluate_windows() == 1
        clock.turn(days=100)
        assert service.evaluate_windows() == 0
        storage.feedback.erase(FeedbackQuery(), at=clock())
        assert service.evaluate_windows() == 1
        assert not alerts(storage)[0].is_open


def test_spam_is_not_counted(clock: ManualClock) -> None:
    """Held or rejected feedback does not lower satisfaction, and does not end a silence."""
    rules = [SatisfactionRule(name="unhappy"), RateRule(name="rising"), SilenceRule(name="quiet")]
    with watching(*rules, clock=clock) as (hk, service, storage):
        stored(storage, "u", clock() - WEEK)
        stored(storage, "d" * 40, clock())
        for one in everything(hk)[1:]:
            hk.moderation.decide(APP, one.id, "rejected")
        service.evaluate_windows()
        assert [alert.rule for alert in alerts(storage)] == ["quiet"]


def test_rules_apply_to_their_application(clock: ManualClock) -> None:
    """A rule for one application does not evaluate others, and each application has its own alerts."""
    rules = [
        SilenceRule(name="all"),
        SilenceRule(name="one", application="shop"),
        StreakRule(name="s", application="x"),
    ]
    with watching(*rules, clock=clock) as (hk, service, storage):
        for application in ("shop", "default"):
            hk.collection.submit(a_submission(application=application))
        clock.turn(days=1)
        assert service.evaluate_windows() == 3
        assert {alert.rule for alert in storage.alerts.find("shop", limit=10)} == {"all", "one"}
        assert [alert.rule for alert in alerts(storage)] == ["all"]


# --- Other ------------------------------------------------------------------------------------------------------------


def test_a_channel_that_is_off(clock: ManualClock) -> None:
    """A channel that is switched off has one alert until it is on again; the next time it has another one."""
    with watching(clock=clock) as (_, service, storage):
        service.channel_on(APP, "ops")
        for _ in range(2):
            service.channel_off(APP, "ops", "nothing arrived since Monday")
            service.channel_off(APP, "ops", "again")
            clock.turn(hours=1)
            service.channel_on(APP, "ops")
            service.channel_on(APP, "ops")
        first, second = alerts(storage)
        assert first.id != second.id
        assert (first.kind, first.rule, first.subject) == (AlertKind.CHANNEL, "channel", Subject("channel", "ops"))
        assert first.message == "Channel ops was switched off: nothing arrived since Monday"
        assert [alert.version for alert in (first, second)] == [2, 2]


def test_finding_alerts(clock: ManualClock) -> None:
    """Page by page, the last first; by rule, by time, and only open ones."""
    with watching(THREE, clock=clock) as (hk, service, _):
        for agent in ("a", "b", "c"):
            service.on_feedback(downs(hk, clock, 3, agent_id=agent))
        service.on_feedback(downs(hk, clock, 1, agent_id="b", rating="up"))
        found = service.find(APP)
        assert [alert.subject.value for alert in found] == ["c", "b", "a"]
        assert service.find(APP, limit=1, after=found[0]) == [found[1]]
        assert service.find(APP, open=True) == [found[0], found[2]]
        assert service.find(APP, since=found[1].raised_at, rule=THREE.name) == found[:2]
        assert service.find(APP, rule="other") == []
        assert service.find("shop") == []
        assert service.get(APP, found[0].id) == found[0]
        for limit in (0, 1_001):
            with pytest.raises(InvalidQuery, match="limit must be from 1 to 1,000"):
                service.find(APP, limit=limit)
        for application, id_ in (("shop", found[0].id), (APP, "alert_x"), (APP, "\0"), ("\ud800", "x")):
            with pytest.raises(AlertNotFound, match="No alert"):
                service.get(application, id_)


def test_two_rules_with_one_name() -> None:
    """Their alerts could not be distinguished."""
    with pytest.raises(ConfigurationError, match="same name"), watching(THREE, SilenceRule(name=THREE.name)):
        pass


def test_a_backtest_raises_nothing(clock: ManualClock) -> None:
    """A rule can be backtested on stored feedback, limited by a query."""
    with watching(clock=clock) as (hk, service, storage):
        downs(hk, clock, 3)
        later = clock() + timedelta(microseconds=1)
        downs(hk, clock, 4, agent_id="b")
        assert [alert.subject.value for alert in service.backtest(hk.query(), THREE)] == ["a", "b"]
        assert [alert.subject.value for alert in service.backtest(hk.query(since=later), THREE)] == ["b"]
        assert list(service.backtest(hk.query(), evolve(THREE, length=5))) == []
        assert alerts(storage) == []


# --- Real feedback ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_real_feedback
@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/feedback.db"])
@pytest.mark.parametrize("at_the_end", [False, True])
def test_real_feedback_raises_the_alerts_of_a_reference_loop(url: str, at_the_end: bool, tmp_path: Path) -> None:
    """9,760 messages to six airlines, imported in order: each streak of three thumbs-downs of an airline, and no
    other.
    """
    with open_storage(url.format(tmp_path)) as storage, harken.connect(storage, spam="allow") as hk:
        submissions = submissions_of(AIRLINES, APP)
        service = alerting(storage, THREE, clock=ManualClock())
        batches: list[list[Feedback]] = []
        for batch in in_batches(submissions, 500):
            receipts = hk.collection.submit_many(batch)
            batches.append([receipt.feedback for receipt in receipts if isinstance(receipt, harken.Receipt)])
            if not at_the_end:
                service.on_feedback(batches[-1])
        if at_the_end:
            for again in (*reversed(batches), *batches):
                service.on_feedback(again)
        given_ = [one for batch in batches for one in batch]
        assert len(given_) == 9_760
        expected = plain_loop(given_, THREE)
        assert len(expected) > 500
        assert as_found(alerts(storage)) == expected
        assert {alert.subject.value for alert in alerts(storage)} <= hk.analytics.groups(
            hk.query(), GroupBy.parse("agent")
        ).keys()

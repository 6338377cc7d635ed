"""Alerts that do not flap: they are resolved when the pattern has clearly ended for long enough, in any relay."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import count, pairwise
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Feedback, FeedbackQuery, Moderation, ModerationStatus, Rating, StorageUnavailable
from harken.configuration.storage_urls import open_storage
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import Subject
from harken.domain.alerts.rules import (
    AlertRule,
    QueueRule,
    RateRule,
    SatisfactionRule,
    SilenceRule,
    StreakRule,
    ThemeRule,
)
from harken.domain.events import EventType
from harken.domain.moderation import Backlog
from harken.ports.storage import Storage
from harken.services.alerting.service import AlertingService
from harken.services.alerting.windows import RETIRED
from harken.services.feedback.backlog import backlog
from harken.services.themes import ThemeService
from harken.testing import accepted
from support import NOON, ManualClock, a_feedback, in_threads

APP = "default"
MINUTE, HOUR, WEEK = timedelta(minutes=1), timedelta(hours=1), timedelta(days=7)
NONE = timedelta()
#: Ratings of an airline on a bad day, in ten minutes each: satisfaction over three hours is 9 to 13 percent.
BAD_DAY = """
    0/2 4/6 3/15 1/12 0/14 0/14 5/14 3/22 0/16 3/14 1/10 0/10 1/14 2/13 1/27 2/5 2/12 1/11 1/21 2/6 2/7 0/11 5/12 1/17
    2/11 1/8 0/17 1/12 1/10 1/21 1/21 2/20 1/12 2/8 4/13 0/20 2/17 3/14 1/10 4/7 0/12 2/18 0/24 0/12 3/9 0/2
"""
UNHAPPY = SatisfactionRule(name="unhappy", by="agent", below=15, window=3 * HOUR)


class Watch:
    """Rules that evaluate a storage, with a manual clock."""

    def __init__(self, storage: Storage, *rules: AlertRule) -> None:
        self.storage = storage
        self.clock = ManualClock()
        self.rules = rules
        self.service = self.relay()
        self._numbers = count()

    def relay(self, *rules: AlertRule, clock: Callable[[], datetime] | None = None) -> AlertingService:
        """A service, as another or restarted relay has it, without memory of earlier evaluations."""
        parts = self.storage.feedback, self.storage.alerts, self.storage.state
        clock = clock or self.clock
        themes = ThemeService(self.storage.feedback, clock=clock, stop_words=frozenset)
        return AlertingService(*parts, rules=rules or self.rules, themes=themes, clock=clock)

    def give(self, ups: int = 0, downs: int = 0, *, ago: timedelta = NONE, **parts: Any) -> None:
        """Store that many ratings."""
        parts = {"agent_id": "a", "created_at": self.clock() - ago, "comment": "slow", **parts}
        ratings = [Rating.UP] * ups + [Rating.DOWN] * downs
        rows = [a_feedback(f"f{next(self._numbers):06}", rating, **parts) for rating in ratings]
        self.storage.feedback.add(accepted(*rows))

    def hold(self, entries: int, **parts: Any) -> None:
        """Store pending feedback."""
        self.give(entries, moderation=Moderation.held("spam"), **parts)

    def decide(self, entries: int | None = None) -> None:
        """Approve the oldest pending feedback, or all."""
        pending = FeedbackQuery(statuses=frozenset({ModerationStatus.PENDING}))
        for one in list(self.storage.feedback.stream(pending))[:entries]:
            decided = one.moderated(one.moderation.decide(ModerationStatus.APPROVED, at=self.clock()), at=self.clock())
            self.storage.feedback.replace(decided, [])

    def later(self, **by: float) -> list[bool]:
        """Evaluate after that time; returns whether each alert is open, the last raised first."""
        self.clock.turn(**by)
        self.service.evaluate_windows()
        return [alert.is_open for alert in self.alerts()]

    def alerts(self) -> list[Alert]:
        """All alerts, the last raised first."""
        return list(self.storage.alerts.find(APP, limit=1_000))


@contextmanager
def watching(*rules: AlertRule) -> Iterator[Watch]:
    """A watch over an empty memory storage."""
    with open_storage("memory://") as storage:
        yield Watch(storage, *rules)


def replay(watch: Watch, *, every: int, parts: int | None = None) -> list[Alert]:
    """The alerts about the bad day, or its first parts, evaluated at that interval until long after it."""
    for up, down in (map(int, part.split("/")) for part in BAD_DAY.split()[:parts]):
        # The thumbs-up come at the end of each ten minutes.
        watch.give(downs=down)
        for _ in range(10 // every - 1):
            watch.later(minutes=every)
        watch.give(up)
        watch.later(minutes=every)
    for _ in range(5):
        watch.later(hours=1)
    return watch.alerts()


# --- One bad afternoon ------------------------------------------------------------------------------------------------


def test_one_bad_afternoon_is_one_alert() -> None:
    """Satisfaction around its bound for hours raises one alert, which is resolved once, at the end."""
    with watching(UNHAPPY) as watch:
        (alert,) = replay(watch, every=10, parts=30)
        assert not alert.is_open
        sent = [event for event in watch.storage.outbox.events(limit=10_000) if event.type.about_alert]
        assert [event.type for event in sent] == [EventType.ALERT_RAISED, EventType.ALERT_RESOLVED]


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/feedback.db", "mongodb"])
def test_one_bad_afternoon_in_every_storage(
    url: str, every: int, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    """At any evaluation interval, and without a cooldown."""
    named = request.getfixturevalue("mongodb_url") if url == "mongodb" else url.format(tmp_path)
    with open_storage(named) as storage:
        assert len(replay(Watch(storage, evolve(UNHAPPY, cooldown=NONE)), every=every)) == 1


def test_two_bad_afternoons_are_two_alerts() -> None:
    """A pattern that had ended for long enough and comes back raises a new alert."""
    with watching(SatisfactionRule(name="unhappy")) as watch:
        for _ in range(2):
            watch.give(downs=30)
            watch.later()
            watch.later(hours=2)
            watch.later(hours=1)
        assert [alert.is_open for alert in watch.alerts()] == [False, False]


def test_an_open_alert_that_gets_worse_is_one_alert() -> None:
    """A stronger pattern changes nothing about the alert."""
    with watching(SatisfactionRule(name="unhappy")) as watch:
        watch.give(ups=10, downs=30)
        watch.later()
        (alert,) = watch.alerts()
        for _ in range(10):
            watch.give(downs=30)
            watch.later(minutes=30)
        assert watch.alerts() == [alert]


# --- The margin -------------------------------------------------------------------------------------------------------


def test_satisfaction_must_be_back_by_the_margin() -> None:
    """Just above the bound the pattern has not ended; above the margin it has, once that has lasted for long enough."""
    with watching(SatisfactionRule(name="unhappy", window=HOUR, resolve_after=10 * MINUTE)) as watch:
        watch.give(ups=5, downs=30)
        assert watch.later() == [True]
        watch.clock.turn(hours=1)
        for _ in range(9):
            watch.give(ups=63, downs=37)
            assert watch.later(minutes=20) == [True]
        watch.clock.turn(hours=1)
        watch.give(ups=65, downs=35)
        assert watch.later() == [True]
        assert watch.later(minutes=9, seconds=59) == [True]
        assert watch.later(seconds=1) == [False]


def test_a_relapse_starts_the_time_again() -> None:
    """The pattern must have ended for the whole time: an evaluation that finds it starts the time again."""
    with watching(SatisfactionRule(name="unhappy", window=10 * MINUTE, resolve_after=30 * MINUTE)) as watch:
        watch.give(downs=30)
        assert watch.later() == [True]
        assert watch.later(minutes=10) == [True]
        assert watch.later(minutes=29) == [True]
        watch.give(ups=12, downs=9)
        assert watch.later(minutes=1) == [True]
        assert watch.later(minutes=20) == [True]
        assert watch.later(minutes=29) == [True]
        assert watch.later(minutes=1) == [False]


@pytest.mark.parametrize(("thumbs", "is_open"), [(0, False), (9, False), (10, True), (19, True)])
def test_too_few_thumbs(thumbs: int, is_open: bool) -> None:
    """Half as many as the rule requires still keep the alert open; with fewer, or none, the pattern has ended."""
    with watching(SatisfactionRule(name="unhappy", resolve_after=NONE)) as watch:
        watch.give(downs=30)
        watch.later()
        watch.clock.turn(hours=1)
        watch.give(downs=thumbs)
        assert watch.later() == [is_open]


@pytest.mark.parametrize("kind", [RateRule, ThemeRule])
def test_rates_must_be_under_a_share_of_the_threshold(kind: type[RateRule | ThemeRule]) -> None:
    """With a margin of 20%, fewer than 80% of the number, or a rise below 80% of the factor, ends the pattern."""
    keywords: dict[str, Any] = {"keywords": ("slow",)} if kind is ThemeRule else {}
    with watching(kind(name="rising", at_least=20, factor=2.5, resolve_after=NONE, **keywords)) as watch:
        watch.give(downs=2, ago=WEEK + 6 * HOUR)
        watch.give(downs=20)
        assert watch.later() == [True]
        for down in (19, 16):
            watch.clock.turn(hours=1)
            watch.give(downs=down)
            assert watch.later() == [True]
        watch.clock.turn(hours=1)
        watch.give(downs=15)
        assert watch.later() == [False]


def test_a_rate_that_is_no_longer_far_above_the_usual() -> None:
    """A number that is as large as usual is not a pattern any more."""
    with watching(RateRule(name="rising", resolve_after=NONE)) as watch:
        watch.give(downs=50, ago=WEEK - HOUR)
        watch.give(downs=10, ago=WEEK)
        watch.give(downs=50)
        assert watch.later() == [True]
        watch.clock.turn(hours=1)
        watch.give(downs=50)
        assert watch.later() == [False]


# --- Since when the pattern has ended ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["memory://", *(pytest.param(url, marks=pytest.mark.slow) for url in ("sqlite:///{}/feedback.db", "mongodb"))],
)
def test_a_restart_loses_nothing(url: str, tmp_path: Any, request: pytest.FixtureRequest) -> None:
    """The storage has since when the pattern has ended, so that any relay can evaluate."""
    named = request.getfixturevalue("mongodb_url") if url == "mongodb" else url.format(tmp_path)
    with open_storage(named) as storage:
        watch = Watch(storage, SatisfactionRule(name="unhappy"))
        watch.give(downs=30)
        watch.later()
        for minutes, is_open in ((60, True), (59, True), (1, False)):
            watch.service = watch.relay()
            assert watch.later(minutes=minutes) == [is_open]
        assert list(storage.state.all("rule-state")) == []


def test_concurrent_relays_resolve_an_alert_once() -> None:
    """They agree since when the pattern has ended, even those that find it first, and one of them resolves the
    alert.
    """
    with watching(SatisfactionRule(name="unhappy")) as watch:
        watch.give(downs=30)
        watch.later()
        for minutes, resolved in ((60, 0), (59, 0), (1, 1)):
            watch.clock.turn(minutes=minutes)
            relays = [watch.relay() for _ in range(4)]
            assert sum(map(int, map(str, in_threads([relay.evaluate_windows for relay in relays])))) == resolved
        sent = [event for event in watch.storage.outbox.events(limit=1_000) if event.type.about_alert]
        assert len(sent) == 2


@pytest.mark.parametrize("broken", range(6))
def test_a_storage_that_fails_in_between(broken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If any write about alerts fails, later evaluations raise one alert, resolve it in the end, and leave no state."""
    calls = count()

    def failing(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            number = next(calls)
            # Half of them fail before they write, the others after it.
            if number == broken // 2 and broken % 2:
                raise StorageUnavailable("away")
            written = write(*arguments)
            if number == broken // 2:
                raise StorageUnavailable("away")
            return written

        return call

    with watching(SatisfactionRule(name="unhappy")) as watch:
        for repository, name in (
            (watch.storage.alerts, "add"),
            (watch.storage.alerts, "replace"),
            (watch.storage.state, "put"),
            (watch.storage.state, "delete"),
        ):
            monkeypatch.setattr(repository, name, failing(getattr(repository, name)))
        watch.give(downs=30)
        for minutes in (0, 1, 61, 1, 62, 1, 61):
            with suppress(StorageUnavailable):
                watch.later(minutes=minutes)
        assert [alert.version for alert in watch.alerts()] == [2]
        assert list(watch.storage.state.all("rule-state")) == []
        assert next(calls) > broken // 2


def test_an_hourly_evaluation_is_enough() -> None:
    """Two consecutive evaluations that find the pattern ended are enough, if they are far enough apart."""
    with watching(SatisfactionRule(name="unhappy", resolve_after=30 * MINUTE)) as watch:
        watch.give(downs=30)
        assert watch.later() == [True]
        assert watch.later(hours=1) == [True]
        assert watch.later(hours=1) == [False]


def test_silence_ends_at_once() -> None:
    """New feedback ends it, so there is no waiting time."""
    with watching(SilenceRule(name="quiet")) as watch:
        watch.give(ups=1)
        assert watch.later(hours=6) == [True]
        watch.give(ups=1)
        assert watch.later() == [False]


def test_erased_feedback_ends_a_pattern() -> None:
    """Without its feedback the pattern has ended, even if the application has no feedback and a relay restarts."""
    with watching(SatisfactionRule(name="unhappy")) as watch:
        watch.give(downs=30)
        watch.later()
        watch.storage.feedback.erase(FeedbackQuery().in_any_state(), at=watch.clock())
        watch.service = watch.relay()
        assert watch.later(minutes=1) == [True]
        assert watch.later(hours=1) == [False]


def test_an_alert_that_was_emptied() -> None:
    """An open alert without content and ids is resolved like any other."""
    with watching(SatisfactionRule(name="unhappy")) as watch:
        watch.give(downs=30)
        watch.later()
        (alert,) = watch.alerts()
        emptied = evolve(alert, message="", figures={}, feedback_ids=(), version=2)
        watch.storage.alerts.replace(emptied, emptied.event())
        assert watch.later(hours=1) == [True]
        assert watch.later(hours=1) == [False]


# --- Clocks -----------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_put_back() -> None:
    """A time that a fast clock stored counts from now on, so that the alert is resolved in time."""
    with watching(SatisfactionRule(name="unhappy")) as watch:
        watch.give(downs=30)
        watch.later()
        watch.relay(clock=lambda: watch.clock() + timedelta(days=365)).evaluate_windows()
        assert watch.later(hours=1) == [True]
        assert watch.later(minutes=59) == [True]
        assert watch.later(minutes=1) == [False]


def test_a_clock_that_jumps_ahead_for_a_moment() -> None:
    """One evaluation by a fast clock resolves nothing while the pattern continues."""
    with watching(SatisfactionRule(name="unhappy")) as watch:
        for _ in range(3):
            watch.give(downs=30)
            watch.relay(clock=lambda: watch.clock() + timedelta(days=365)).evaluate_windows()
            assert watch.later(minutes=1) == [True]


def test_an_alert_from_the_future_does_not_block_others() -> None:
    """An alert that a clock years ahead raised is resolved, and later patterns have their own alerts."""
    rule = SatisfactionRule(name="unhappy", resolve_after=10 * MINUTE, cooldown=NONE)
    with watching(rule) as watch:
        watch.clock.turn(days=3650)
        watch.give(downs=30)
        watch.later()
        watch.clock.turn(days=-3650)
        for number in (1, 2, 3):
            watch.later(hours=2)
            assert watch.later(minutes=10) == [False] * number
            watch.give(downs=30)
            assert watch.later(minutes=1) == [True] + [False] * number


# --- Rules that are added and removed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [SatisfactionRule(name="old"), StreakRule(name="old", by="agent")])
@pytest.mark.parametrize("left", [(), (SilenceRule(name="other", after=timedelta(days=9)),)])
def test_a_rule_that_was_removed(rule: AlertRule, left: tuple[AlertRule, ...]) -> None:
    """Its alerts are resolved when no relay has had the rule for two hours, even if no rule is left."""
    with watching(rule) as watch:
        watch.give(downs=30)
        watch.service.on_feedback(list(watch.storage.feedback.stream(FeedbackQuery())))
        assert watch.later() == [True]
        watch.rules = left
        watch.service = watch.relay()
        assert watch.later(minutes=1) == [True]
        assert watch.later(minutes=119) == [True]
        assert watch.later(minutes=1) == [False]
        assert list(watch.storage.state.all("rule-state")) == []


@pytest.mark.parametrize("rule", [SatisfactionRule(name="new"), StreakRule(name="new", by="agent")])
def test_a_rule_that_not_all_relays_know_yet(rule: AlertRule) -> None:
    """While any relay has the rule, the others do not resolve its alerts."""
    with watching(rule) as watch:
        watch.give(downs=30)
        watch.service.on_feedback(list(watch.storage.feedback.stream(FeedbackQuery())))
        watch.later()
        other = watch.relay(SilenceRule(name="other"))
        for _ in range(4):
            watch.give(downs=30)
            assert watch.later(minutes=50) == [True]
            other.evaluate_windows()
        assert RETIRED < 4 * 50 * MINUTE


def test_a_rule_of_another_kind_with_the_same_name() -> None:
    """The alert of the earlier rule is resolved, so that the new one can raise its own."""
    with watching(SatisfactionRule(name="bad")) as watch:
        watch.give(downs=30, ago=WEEK)
        watch.give(downs=200)
        watch.later()
        watch.rules = (RateRule(name="bad", window=timedelta(days=1), resolve_after=HOUR),)
        watch.service = watch.relay()
        assert watch.later(hours=1) == [True]
        assert watch.later(hours=1) == [False]
        assert watch.later(minutes=1) == [True, False]


def test_a_rule_that_is_limited_to_another_application() -> None:
    """For the application that it no longer applies to, it counts as removed."""
    with watching(SatisfactionRule(name="unhappy")) as watch:
        watch.give(downs=30)
        watch.later()
        watch.rules = (SatisfactionRule(name="unhappy", application="shop"),)
        watch.service = watch.relay()
        assert watch.later(minutes=1) == [True]
        assert watch.later(hours=2) == [False]


# --- Properties -------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 5, 10, 30, 60, 200]),
        st.integers(0, 12),
        st.integers(0, 12),
        st.sampled_from(["look", "look", "look", "restart", "pause", "erase", "decide"]),
    ),
    max_size=25,
)


@pytest.mark.slow
@given(
    steps,
    st.sampled_from([NONE, 5 * MINUTE, HOUR, 3 * HOUR]),
    st.sampled_from([NONE, HOUR]),
    st.sampled_from([5 * MINUTE, HOUR]),
)
def test_alerts_are_apart_and_all_are_resolved(
    series: list[tuple[int, int, int, str]], resolve_after: timedelta, cooldown: timedelta, window: timedelta
) -> None:
    """With any feedback, two alerts of a rule are at least as far apart as it takes to resolve one, and all are
    resolved.
    """
    every = {"resolve_after": resolve_after, "cooldown": cooldown}
    rules = (
        SatisfactionRule(name="unhappy", at_least=5, window=window, **every),
        RateRule(name="rising", at_least=5, window=window, **every),
        ThemeRule(name="themes", at_least=5, window=window, keywords=("slow",), **every),
        QueueRule(name="queue", longer_than=5, older_than=window, **every),
    )
    with watching(*rules) as watch:
        watch.give(ups=1, ago=WEEK)
        for minutes, ups, downs, what in series:
            watch.give(ups, downs)
            watch.hold(ups)
            match what:
                case "restart":
                    watch.service = watch.relay()
                case "erase":
                    watch.storage.feedback.erase(FeedbackQuery(until=watch.clock() - HOUR), at=watch.clock())
                case "decide":
                    watch.decide(downs)
            if what == "pause":
                watch.clock.turn(minutes=minutes)
                continue
            watch.later(minutes=minutes)
        watch.decide()
        watch.later(hours=2)
        watch.clock.turn(hours=3)
        assert not any(watch.later())
        for rule in rules:
            raised = [alert for alert in watch.alerts()[::-1] if alert.rule == rule.name]
            for before, after in pairwise(raised):
                assert before.resolved_at is not None
                assert before.resolved_at >= before.raised_at + resolve_after
                assert after.raised_at >= before.resolved_at
                assert after.raised_at - before.raised_at >= max(resolve_after, cooldown)
        assert list(watch.storage.state.all("rule-state")) == []


# --- The moderation queue ---------------------------------------------------------------------------------------------


def test_a_queue_that_is_too_long() -> None:
    """More entries than the rule allows raise an alert; fewer, by the margin and for long enough, resolve it."""
    with watching(QueueRule(name="queue", longer_than=10, resolve_after=10 * MINUTE)) as watch:
        watch.hold(10)
        assert watch.later(minutes=5) == []
        watch.hold(1)
        assert watch.later() == [True]
        (alert,) = watch.alerts()
        assert alert.subject == Subject("application", APP)
        assert (alert.figures, alert.began_at) == ({"waiting": 11, "seconds": 300}, NOON)
        assert alert.message == ("11 entries await moderation for application default, the oldest for 5m: more than 10")
        watch.decide(2)
        assert watch.later(hours=1) == [True]
        watch.decide(1)
        assert watch.later() == [True]
        assert watch.later(minutes=10) == [False]


def test_an_entry_that_waits_for_too_long() -> None:
    """Decided feedback no longer waits; feedback that a moderator holds waits since then."""
    with watching(QueueRule(name="queue", older_than=HOUR, resolve_after=NONE)) as watch:
        watch.hold(2)
        assert watch.later(hours=1) == []
        assert watch.later(seconds=1) == [True]
        (alert,) = watch.alerts()
        assert alert.message == (
            "2 entries await moderation for application default, the oldest for 1h1s: longer than 1h"
        )
        watch.decide(1)
        assert watch.later() == [True]
        watch.decide()
        assert watch.later() == [False]
        (one, *_) = watch.storage.feedback.stream(FeedbackQuery())
        back = one.moderated(one.moderation.decide(ModerationStatus.PENDING, at=watch.clock()), at=watch.clock())
        watch.storage.feedback.replace(back, [])
        assert watch.later(hours=1) == [False]
        assert watch.later(seconds=1) == [True, False]


def test_feedback_that_a_change_holds_waits_since_the_change() -> None:
    """Old feedback that its author changes to spam waits neither since its creation nor since an old decision."""
    clock = ManualClock()
    with harken.connect("memory://", clock=clock, spam="hold") as hk:
        first, second = (hk.submit("s", "up", "Fine").feedback.id for _ in range(2))
        clock.turn(hours=1)
        hk.moderation.decide(APP, second, "pending")
        assert hk.moderation.backlog(APP) == Backlog(1, clock())
        hk.moderation.decide(APP, second, "approved")
        for feedback_id, waiting in ((second, 1), (first, 2)):
            clock.turn(hours=24 * 365)
            hk.collection.change(APP, feedback_id, harken.Change(comment="casino"))
            assert hk.moderation.backlog(APP).waiting == waiting
        # The one created first is read first, and has waited for a shorter time.
        assert hk.moderation.backlog(APP) == Backlog(2, clock() - 24 * 365 * HOUR)
        hk.moderation.decide(APP, second, "approved")
        assert hk.moderation.backlog(APP) == Backlog(1, clock())
        clock.turn(hours=2)
        hk.moderation.decide(APP, first, "approved")
        hk.moderation.undo(APP, first)
        # As if it had not been decided.
        assert hk.moderation.backlog(APP) == Backlog(1, clock() - 2 * HOUR)


def test_queues_of_applications_are_apart() -> None:
    """Each application has its own queue, without withdrawn feedback and that of others."""
    with watching(QueueRule(name="queue", longer_than=1)) as watch:
        for application in (APP, "default2", "shop"):
            watch.hold(1, application=application)
        watch.hold(1, application="shop")
        watch.hold(5, withdrawn_at=NOON)
        assert watch.later() == []
        assert [alert.subject.value for alert in watch.storage.alerts.find("shop", limit=9)] == ["shop"]
        assert backlog(watch.storage.feedback, APP) == Backlog(1, NOON)


@pytest.mark.parametrize(
    "url",
    ["memory://", *(pytest.param(url, marks=pytest.mark.slow) for url in ("sqlite:///{}/feedback.db", "mongodb"))],
)
def test_the_backlog_in_every_storage(url: str, tmp_path: Any, request: pytest.FixtureRequest) -> None:
    """The number of pending entries and since when they wait, after decisions, withdrawals and erasures."""
    named = request.getfixturevalue("mongodb_url") if url == "mongodb" else url.format(tmp_path)
    with open_storage(named) as storage, harken.connect(storage, clock=(clock := ManualClock())) as hk:
        watch = Watch(storage)
        assert hk.moderation.backlog(APP) == Backlog()
        watch.give(ups=3)
        for minutes in (30, 20, 10):
            watch.hold(1, ago=minutes * MINUTE)
        watch.hold(7, application="shop")
        assert hk.moderation.backlog(APP) == Backlog(3, NOON - 30 * MINUTE)
        oldest, second, _ = hk.moderation.queue(hk.query()).items
        clock.turn(minutes=5)
        hk.moderation.decide(APP, oldest.id, "approved")
        assert hk.moderation.backlog(APP) == Backlog(2, NOON - 20 * MINUTE)
        hk.moderation.decide(APP, oldest.id, "pending")
        assert hk.moderation.backlog(APP) == Backlog(3, NOON - 20 * MINUTE)
        hk.collection.withdraw(APP, second.id)
        assert hk.moderation.backlog(APP) == Backlog(2, NOON - 10 * MINUTE)
        hk.collection.erase(hk.query(until=NOON - 5 * MINUTE).in_any_state())
        assert hk.moderation.backlog(APP) == Backlog()
        assert hk.moderation.applications() == [APP, "shop"]


def test_only_pending_feedback_is_read_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With any amount of feedback, only pending entries are read to count the queue."""
    read: list[str] = []
    matches = FeedbackQuery.matches

    def counted(query: FeedbackQuery, feedback: Feedback) -> bool:
        read.append(feedback.id)
        return matches(query, feedback)

    with watching() as watch:
        watch.give(ups=100)
        watch.hold(2)
        monkeypatch.setattr(FeedbackQuery, "matches", counted)
        assert backlog(watch.storage.feedback, APP) == Backlog(2, NOON)
        assert set(read) == {"f000100", "f000101"}


@pytest.mark.parametrize("others", [[], [{"name": "other", "kind": "streak", "length": 3}]])
def test_the_alert_of_a_rule_that_is_removed_at_once_is_resolved(others: list[dict[str, object]]) -> None:
    """Even if the rule was removed or renamed before a relay evaluated it a second time."""
    clock = ManualClock()
    with open_storage("memory://") as storage:
        with harken.connect(storage, clock=clock, alert_rules=[{"name": "x", "kind": "streak", "length": 3}]) as hk:
            for _ in range(3):
                hk.submit("s", "down", "slow")
            hk.relay.run_due()
            assert [alert.is_open for alert in hk.alerts.find("default")] == [True]
        with harken.connect(storage, clock=clock, alert_rules=others) as hk:
            for _ in range(4):
                clock.turn(hours=1)
                hk.relay.run_due()
            assert [alert.is_open for alert in hk.alerts.find("default", rule="x")] == [False]

"""Alerts and their rules: detection of patterns, statistical significance, and invalid settings."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import ConfigurationError, Feedback, Moderation, ModerationStatus, Rating, Summary
from harken.domain.alerts.alert import streak_alert
from harken.domain.alerts.patterns import AlertKind, Streak, Subject, has_risen, streaks
from harken.domain.alerts.rules import (
    AlertRule,
    ChangeRule,
    QueueRule,
    RateRule,
    SatisfactionRule,
    SilenceRule,
    StreakRule,
    ThemeRule,
)
from harken.domain.alerts.tables import parse_rule, rule_record
from harken.domain.events import EventType
from harken.domain.instants import format_duration, parse_duration
from harken.domain.moderation import Backlog
from support import NOON, a_feedback

UP, DOWN, NEUTRAL = Rating
AGENT = Subject("agent", "Delta")
APPLICATION = Subject("application", "default")
HOUR = timedelta(hours=1)


def a_row(ratings: Sequence[Rating], fates: Sequence[str] = ()) -> list[Feedback]:
    """Return feedback entries one minute apart; ``fates`` decides which are counted."""
    row = [
        a_feedback(f"f{index:03}", rating, created_at=NOON + timedelta(minutes=index))
        for index, rating in enumerate(ratings)
    ]
    fates = fates or ["counts"] * len(row)
    return [_with_fate(one, fate) for one, fate in zip(row, fates, strict=True)]


def _with_fate(one: Feedback, fate: str) -> Feedback:
    if fate == "withdrawn":
        return one.withdraw(at=NOON)
    if fate == "rejected":
        return one.moderated(Moderation(status=ModerationStatus.REJECTED), at=NOON)
    return one


def plain_loop(row: Sequence[Feedback], length: int) -> list[tuple[list[Feedback], Feedback | None]]:
    """Return the streaks and the entries that ended them, found by a simple loop."""
    found: list[tuple[list[Feedback], Feedback | None]] = []
    downs: list[Feedback] = []
    for one in row:
        if not one.is_counted:
            continue
        if one.rating is DOWN:
            downs.append(one)
            continue
        if len(downs) >= length:
            found.append((downs, one))
        downs = []
    return [*found, (downs, None)] if len(downs) >= length else found


# --- streaks ----------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.sampled_from([DOWN, DOWN, DOWN, UP, NEUTRAL]),
            st.sampled_from(["counts"] * 6 + ["withdrawn", "rejected"]),
        )
    ),
    st.integers(1, 4),
)
def test_streaks_equal_those_of_a_simple_loop(said: list[tuple[Rating, str]], length: int) -> None:
    """For any ratings, counted or not, each run of thumbs-down entries and its end are found once."""
    row = a_row([rating for rating, _ in said], [fate for _, fate in said])
    expected = [
        Streak(
            feedback_ids=tuple(one.id for one in downs[:length]),
            began=(downs[0].created_at, downs[0].id),  # type: ignore[arg-type] # a cursor is such a tuple
            last=(downs[-1].created_at, downs[-1].id),  # type: ignore[arg-type]
            downs=len(downs),
            completed_at=downs[length - 1].created_at,
            ended_at=end.created_at if end else None,
        )
        for downs, end in plain_loop(row, length)
    ]
    assert list(streaks(row, length)) == expected


def test_an_alert_contains_counts_and_no_comments() -> None:
    """The alert names the subject, the number of entries and the time, and does not quote comments."""
    rule = StreakRule(name="three", by="agent")
    row = [a_feedback(f"f{n}", DOWN, "my secret", created_at=NOON + timedelta(minutes=n)) for n in range(5)]
    (streak,) = streaks(row, rule.length)
    alert = streak_alert(rule, "default", AGENT, streak)
    assert alert.message == "3 thumbs-down ratings in a row for agent Delta, the last at 2026-03-04 12:02 UTC"
    assert (alert.kind, alert.subject, alert.figures) == (AlertKind.STREAK, AGENT, {"downs": 3})
    assert alert.feedback_ids == ("f0", "f1", "f2")
    assert (alert.began_at, alert.raised_at, alert.is_open) == (NOON, row[2].created_at, True)


def test_each_version_of_an_alert_has_its_own_event() -> None:
    """Raising, resolving and reopening have different events with stable ids."""
    rule = StreakRule(name="three")
    (streak,) = streaks(a_row([DOWN] * 3), 3)
    raised = streak_alert(rule, "default", Subject("session", "s"), streak)
    resolved = raised.resolved(at=NOON + HOUR)
    again = resolved.raised_again(raised, at=NOON + 2 * HOUR)
    events = [alert.event() for alert in (raised, resolved, again)]
    assert [event.type for event in events] == [
        EventType.ALERT_RAISED,
        EventType.ALERT_RESOLVED,
        EventType.ALERT_RAISED,
    ]
    assert [event.version for event in events] == [1, 2, 3]
    assert [event.occurred_at for event in events] == [raised.raised_at, NOON + HOUR, NOON + 2 * HOUR]
    assert len({event.id for event in events}) == 3
    assert {event.subject_id for event in events} == {raised.id}
    assert raised.event() == events[0]


def test_another_streak_is_another_alert() -> None:
    """The alert id depends on the application, the rule, the subject and the first feedback entry."""
    streak = next(streaks(a_row([DOWN] * 3), 3))
    alert = streak_alert(StreakRule(name="r"), "default", AGENT, streak)
    for other in (
        streak_alert(StreakRule(name="q"), "default", AGENT, streak),
        streak_alert(StreakRule(name="r"), "shop", AGENT, streak),
        streak_alert(StreakRule(name="r"), "default", Subject("session", "Delta"), streak),
        streak_alert(StreakRule(name="r"), "default", AGENT, next(streaks(a_row([UP, DOWN, DOWN, DOWN]), 3))),
    ):
        assert other.id != alert.id


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (StreakRule(name="r"), Subject("session", "s")),
        (StreakRule(name="r", by="agent"), Subject("agent", "Delta")),
        (StreakRule(name="r", by="application"), Subject("application", "default")),
        (StreakRule(name="r", agent="Delta", by="application"), Subject("application", "default")),
        (StreakRule(name="r", agent="Other"), None),
        (StreakRule(name="r", application="shop"), None),
    ],
)
def test_the_subject_of_a_streak(rule: StreakRule, expected: Subject | None) -> None:
    """Feedback belongs to one session, agent or application, unless the rule excludes it."""
    assert rule.subject(a_feedback(agent_id="Delta")) == expected


def test_feedback_without_an_agent_is_in_no_agents_streak() -> None:
    """Feedback from an unknown agent belongs to no agent's streak."""
    assert StreakRule(name="r", by="agent").subject(a_feedback()) is None


# --- significance -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from([20.0, 60.0, 100, 33.3]), st.integers(1, 30))
def test_low_satisfaction_must_be_significant(ups: int, downs: int, below: float, at_least: int) -> None:
    """There is a finding exactly if there are enough thumbs and the whole interval is below the threshold."""
    rule = SatisfactionRule(name="r", below=below, at_least=at_least)
    summary = Summary(positive=ups, negative=downs, neutral=1000)
    finding = rule.finding(APPLICATION, summary)
    enough = ups + downs >= at_least
    assert (finding is not None) == (enough and summary.interval.high < below)
    if finding:
        assert 100 * ups < Fraction(below) * (ups + downs)
        assert finding.figures == {"positive": ups, "negative": downs}


def test_the_message_about_satisfaction() -> None:
    """It contains the satisfaction, the threshold and the number of thumbs."""
    finding = SatisfactionRule(name="r").finding(AGENT, Summary(positive=12, negative=28))
    assert finding is not None
    assert finding.message == ("Satisfaction of agent Delta is 30.0%, below 60%: 12 of 40 thumbs within 1h were up")


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 8), st.sampled_from([1, 1.5, 2.0, 10]))
def test_a_rise_must_be_significant(count: int, baseline: int, weeks: int, factor: float) -> None:
    """A count below ``factor`` times the baseline is never a rise; more now or less before makes a rise likelier."""
    risen = has_risen(count, baseline, weeks, factor)
    if risen:
        assert count * weeks > Fraction(factor) * baseline
        assert has_risen(count + 1, baseline, weeks, factor)
        assert baseline == 0 or has_risen(count, baseline - 1, weeks, factor)
    else:
        assert not has_risen(count, baseline + 1, weeks, factor)
    assert not has_risen(count, baseline, 0, factor)


@pytest.mark.parametrize(
    ("count", "baseline", "risen"),
    [(20, 8, True), (10, 16, False), (11, 10, False), (12, 10, True), (200, 390, False), (250, 390, True)],
)
def test_known_rises(count: int, baseline: int, risen: bool) -> None:
    """Compared with four weeks and a factor of two, the lower end of the share must be above a third."""
    assert has_risen(count, baseline, 4, 2.0) is risen


def test_the_message_about_a_rise() -> None:
    """It contains the count and the baseline."""
    finding = RateRule(name="r").finding(AGENT, 20, 8, 4)
    assert finding is not None
    assert finding.figures == {"count": 20, "baseline": 8, "weeks": 4}
    assert finding.message == (
        "20 thumbs-down ratings for agent Delta within 1h, compared with 8 in the same hours of 4 previous weeks: "
        "more than 2 times as many"
    )
    assert RateRule(name="r").finding(AGENT, 9, 0, 4) is None
    theme = ThemeRule(name="r").finding("slow", APPLICATION, 20, 2, 1)
    assert theme is not None
    assert theme.message == (
        "20 thumbs-down comments that mention 'slow' for application default within 1h, compared with 2 in the same "
        "hours of the previous week: more than 2 times as many"
    )


@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.sampled_from([0, 0.1, 20, 90]),
    st.sampled_from([15.0, 60.0, 100]),
    st.sampled_from([1, 1.1, 2.0, 10]),
)
def test_a_found_pattern_goes_on(one: int, other: int, margin: float, below: float, factor: float) -> None:
    """With any margin, a pattern has not ended while the rule still finds it."""
    satisfaction = SatisfactionRule(name="r", below=below, margin=margin, at_least=7)
    if satisfaction.finding(AGENT, Summary(positive=one, negative=other)):
        assert satisfaction.goes_on(Summary(positive=one, negative=other))
    rate = RateRule(name="r", factor=factor, margin=margin, at_least=7)
    if rate.finding(AGENT, one, other, 3):
        assert rate.goes_on(one, other, 3)
    queue = QueueRule(name="r", longer_than=20, older_than=HOUR, margin=margin)
    backlog = Backlog(one, NOON - timedelta(minutes=other))
    if queue.finding(APPLICATION, backlog, NOON):
        assert queue.goes_on(backlog, NOON)


@pytest.mark.parametrize(
    ("positive", "negative", "goes_on"),
    [(6, 34, True), (7, 33, True), (8, 32, False), (0, 10, True), (0, 9, False), (0, 0, False), (5, 5, False)],
)
def test_the_end_of_low_satisfaction(positive: int, negative: int, goes_on: bool) -> None:
    """The pattern ends at the threshold plus the margin in points, or with fewer than half the required thumbs."""
    rule = SatisfactionRule(name="r", below=15, at_least=20)
    assert rule.goes_on(Summary(positive=positive, negative=negative)) is goes_on


@pytest.mark.parametrize(
    ("count", "baseline", "found", "goes_on"),
    [
        (250, 390, True, True),
        (200, 390, False, True),
        (165, 390, False, False),
        (8, 0, False, True),
        (7, 0, False, False),
    ],
)
def test_the_end_of_a_rise(count: int, baseline: int, found: bool, goes_on: bool) -> None:
    """It ends below 80% of the minimum count, or when 80% of the factor is no longer exceeded significantly."""
    rule = RateRule(name="r", factor=2, at_least=10)
    assert (rule.finding(AGENT, count, baseline, 4) is not None) is found
    assert rule.goes_on(count, baseline, 4) is goes_on


def test_the_usual_rate_is_not_a_rise() -> None:
    """With any margin, the usual rate ends the pattern; otherwise a rule with a small factor would never end."""
    assert not RateRule(name="r", factor=1, margin=90).goes_on(1_000, 4_000, 4)


def test_satisfaction_is_limited_to_100() -> None:
    """If threshold and margin add up to more than 100, only thumbs-up end the pattern."""
    rule = SatisfactionRule(name="r", below=98)
    assert not rule.goes_on(Summary(positive=40))
    assert rule.goes_on(Summary(positive=40, negative=1))


@pytest.mark.parametrize(
    ("backlog", "found", "goes_on"),
    [
        (Backlog(), False, False),
        (Backlog(8, NOON), False, False),
        (Backlog(9, NOON), False, True),
        (Backlog(10, NOON), False, True),
        (Backlog(11, NOON), True, True),
        (Backlog(1, NOON - timedelta(minutes=48)), False, False),
        (Backlog(1, NOON - timedelta(minutes=48, microseconds=1)), False, True),
        (Backlog(1, NOON - HOUR), False, True),
        (Backlog(1, NOON - timedelta(hours=1, microseconds=1)), True, True),
        (Backlog(1, NOON + HOUR), False, False),
    ],
)
def test_a_queue_that_is_too_long_or_too_old(backlog: Backlog, found: bool, goes_on: bool) -> None:
    """A queue above either limit matches; the pattern ends when both values are at most 80% of their limits."""
    rule = QueueRule(name="r", longer_than=10, older_than=HOUR)
    assert (rule.finding(APPLICATION, backlog, NOON) is not None) is found
    assert rule.goes_on(backlog, NOON) is goes_on


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (QueueRule(name="r", longer_than=999), "the oldest for 2h: more than 999"),
        (QueueRule(name="r", older_than=HOUR), "the oldest for 2h: longer than 1h"),
        (QueueRule(name="r", longer_than=0, older_than=HOUR), "the oldest for 2h: more than 0 and longer than 1h"),
    ],
)
def test_the_message_about_a_queue(rule: QueueRule, says: str) -> None:
    """It contains the number of entries, the waiting time and the exceeded limits."""
    finding = rule.finding(APPLICATION, Backlog(1_200, NOON - 2 * HOUR), NOON)
    assert finding is not None
    assert finding.message == f"1,200 entries await moderation for application default, {says}"
    assert finding.figures == {"waiting": 1200, "seconds": 7200}
    one = QueueRule(name="r", longer_than=0).finding(APPLICATION, Backlog(1, NOON), NOON)
    assert one is not None
    assert one.message == "1 entry awaits moderation for application default, the oldest for 0s: more than 0"


@pytest.mark.parametrize(("rating", "count"), [(UP, 1), (DOWN, 2), (NEUTRAL, 3)])
def test_a_rate_counts_one_rating(rating: Rating, count: int) -> None:
    """Each rating has its own count."""
    assert RateRule(name="r", rating=rating).count(Summary(positive=1, negative=2, neutral=3)) == count


def test_the_name_of_a_theme() -> None:
    """No two themes have the same name, for any names of agents."""
    rule = ThemeRule(name="r", keywords=("a", "b"))
    groups = [APPLICATION, Subject("agent", "a"), Subject("agent", "b: a"), Subject("agent", "b")]
    themes = [rule.subject(keyword, group) for keyword in ("a", "b") for group in groups]
    assert len(set(themes)) == 8
    assert themes[0] == Subject("theme", "a")
    assert {theme.by for theme in themes} == {"theme"}
    parts = [(theme.label, theme.agent) for theme in themes[:4]]
    assert parts == [("a", None), ("a", "a"), ("a", "b: a"), ("a", "b")]


@pytest.mark.parametrize("by", ["application", "agent", "session", "channel"])
def test_the_parts_of_other_subjects(by: str) -> None:
    """Only agents, and themes that belong to one, have an agent; a colon in a name means nothing."""
    subject = Subject(by, "a: b")
    assert (subject.label, subject.agent) == ("a: b", "a: b" if by == "agent" else None)


def test_silence_begins_with_the_last_feedback() -> None:
    """The rule matches exactly if the time reaches its limit, and only if there was feedback before."""
    rule = SilenceRule(name="r", after=HOUR)
    assert rule.finding(AGENT, None, NOON) is None
    assert rule.finding(AGENT, NOON, NOON + HOUR - timedelta(microseconds=1)) is None
    finding = rule.finding(AGENT, NOON, NOON + HOUR)
    assert finding is not None
    assert finding.message == "No feedback was received for agent Delta since 2026-03-04 12:00 UTC"
    assert finding.figures == {"seconds": 3600}


# --- rules from tables ------------------------------------------------------------------------------------------------

seconds = st.integers(1, 366 * 86_400).map(lambda number: timedelta(seconds=number))
names = st.text("abc ü", min_size=1).map(lambda text: f"r{text}"[:200])
common: dict[str, Any] = {
    "name": names,
    "by": st.sampled_from(["agent", "application"]),
    "application": st.none() | names,
    "agent": st.none() | names,
    "cooldown": st.just(timedelta()) | seconds,
}
steady: dict[str, Any] = {
    **common,
    "margin": st.floats(0, 90) | st.integers(0, 90),
    "resolve_after": st.just(timedelta()) | seconds,
}
rising: dict[str, Any] = {
    **steady,
    "window": st.integers(1, 7 * 86_400).map(lambda number: timedelta(seconds=number)),
    "weeks": st.integers(1, 52),
    "factor": st.floats(1, 100) | st.integers(1, 100),
    "at_least": st.integers(1, 1000),
}
rules: st.SearchStrategy[AlertRule] = st.one_of(
    st.builds(
        StreakRule,
        **{**common, "by": st.sampled_from(["agent", "application", "session"]), "length": st.integers(1, 100)},
    ),
    st.builds(SatisfactionRule, **steady, below=st.floats(1, 100), window=seconds, at_least=st.integers(1, 1_000_000)),
    st.builds(RateRule, **rising, rating=st.sampled_from(Rating)),
    st.builds(ThemeRule, **rising, keywords=st.none() | st.lists(names, min_size=1)),
    st.builds(ChangeRule, **common, days=st.integers(35, 365), new_for=st.integers(1, 28)),
    st.builds(SilenceRule, **common, after=seconds),
    st.builds(
        QueueRule,
        **{**steady, "by": st.just("application"), "agent": st.none(), "longer_than": st.integers(0, 1_000_000)},
        older_than=st.none() | seconds,
    ),
)


@given(rules)
def test_a_rule_equals_the_rule_of_its_table(rule: AlertRule) -> None:
    """The table of a rule, as shown by the settings or the API, gives the same rule."""
    assert parse_rule(rule_record(rule)) == rule


def test_a_table_may_omit_defaults() -> None:
    """A few keys are sufficient."""
    table = {"name": "three in a row", "kind": "streak", "by": "session", "length": 3, "cooldown": "1h"}
    assert parse_rule(table) == StreakRule(name="three in a row", by="session", length=3, cooldown=HOUR)
    assert parse_rule({"name": "quiet", "kind": "silence", "after": "1d12h"}) == SilenceRule(
        name="quiet", after=timedelta(hours=36)
    )
    rate = parse_rule({"name": "ups", "kind": "rate", "rating": "neutral", "factor": 3})
    assert rate == RateRule(name="ups", rating=NEUTRAL, factor=3)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"name": "r"}, "'r': no kind; expected one of streak, satisfaction, rate, theme, change, silence, queue"),
        ({"name": "r", "kind": ["streak"]}, r"unknown kind \['streak'\]"),
        ({"name": "r", "kind": "hunch"}, "unknown kind 'hunch'"),
        ({"kind": "streak"}, "of kind streak needs a name"),
        ({"name": "", "kind": "streak"}, "name must not be empty"),
        ({"name": 7, "kind": "streak"}, "name must be a string"),
        ({"name": "channel", "kind": "streak"}, "the name 'channel' is reserved"),
        (
            {"name": "r", "kind": "streak", "lenght": 3},
            r"unknown key 'lenght' \(did you mean 'length'\?\); expected one of kind, name",
        ),
        ({"name": "r", "kind": "streak", "length": 0}, "length must be an integer from 1 to 100, got 0"),
        ({"name": "r", "kind": "streak", "length": True}, "length must be .*, got True"),
        ({"name": "r", "kind": "streak", "length": "3"}, "length must be .*, got '3'"),
        (
            {"name": "r", "kind": "streak", "by": "planet"},
            "by must be one of session, agent, application; got 'planet'",
        ),
        ({"name": "r", "kind": "streak", "cooldown": 60}, "cooldown of alert rule 'r' is invalid.*got 60"),
        ({"name": "r", "kind": "streak", "cooldown": "an hour"}, "such as '90s', '15m', '6h', '7d' or '1h30m'"),
        ({"name": "r", "kind": "streak", "cooldown": "367d"}, "from 0s to 366d"),
        ({"name": "r", "kind": "streak", "agent": ""}, "Alert rule 'r': agent must not be empty"),
        ({"name": "r", "kind": "satisfaction", "by": "session"}, "by must be one of agent, application; got 'session'"),
        ({"name": "r", "kind": "satisfaction", "below": 101}, "below must be a number from 0.1 to 100"),
        ({"name": "r", "kind": "satisfaction", "below": float("nan")}, "below must be .*, got nan"),
        ({"name": "r", "kind": "satisfaction", "window": "0s"}, "window must be in whole seconds"),
        ({"name": "r", "kind": "satisfaction", "at_least": 0}, "at_least must be .*, got 0"),
        ({"name": "r", "kind": "rate", "window": "8d"}, "from 1s to 7d"),
        ({"name": "r", "kind": "rate", "weeks": 53}, "weeks must be an integer from 1 to 52"),
        ({"name": "r", "kind": "rate", "factor": 0.5}, "factor must be .*, got 0.5"),
        ({"name": "r", "kind": "rate", "rating": "sideways"}, "'sideways' is not a rating; expected 'up', 'down'"),
        ({"name": "r", "kind": "rate", "rating": None}, "None is not a rating"),
        ({"name": "r", "kind": "theme", "keywords": "slow"}, "expected a list of strings, got 'slow'"),
        ({"name": "r", "kind": "theme", "keywords": []}, "Alert rule 'r': keywords must not be empty; without"),
        ({"name": "r", "kind": "theme", "keywords": [""]}, "keyword must not be empty"),
        ({"name": "r", "kind": "theme", "keywords": ["a:b"]}, "keyword 'a:b' must not contain ':'"),
        ({"name": "r", "kind": "silence", "after": "0s"}, "after must be in whole seconds, from 1s"),
        ({"name": "r", "kind": "silence", "margin": 5}, "unknown key 'margin'; expected"),
        ({"name": "r", "kind": "streak", "resolve_after": "1h"}, "unknown key 'resolve_after'; expected"),
        ({"name": "r", "kind": "satisfaction", "margin": 91}, "margin must be a number from 0 to 90, got 91"),
        ({"name": "r", "kind": "satisfaction", "margin": -1}, "margin must be .*, got -1"),
        ({"name": "r", "kind": "rate", "margin": True}, "margin must be .*, got True"),
        ({"name": "r", "kind": "theme", "margin": float("nan")}, "margin must be .*, got nan"),
        ({"name": "r", "kind": "rate", "resolve_after": 60}, "resolve_after of alert rule 'r' is invalid.*got 60"),
        (
            {"name": "r", "kind": "theme", "resolve_after": "367d"},
            "resolve_after must be in whole seconds, from 0s to 366d",
        ),
        ({"name": "r", "kind": "queue"}, "'r': longer_than or older_than must be set, or both"),
        (
            {"name": "r", "kind": "queue", "longer_than": -1},
            "longer_than must be an integer from 0 to 1,000,000, got -1",
        ),
        ({"name": "r", "kind": "queue", "longer_than": "9"}, "longer_than must be .*, got '9'"),
        ({"name": "r", "kind": "queue", "older_than": "0s"}, "older_than must be in whole seconds, from 1s"),
        ({"name": "r", "kind": "queue", "older_than": 60}, "older_than of alert rule 'r' is invalid"),
        ({"name": "r", "kind": "queue", "longer_than": 9, "margin": 91}, "margin must be .*, got 91"),
        ({"name": "r", "kind": "queue", "longer_than": 9, "by": "agent"}, "by must be one of application; got 'agent'"),
        ({"name": "r", "kind": "queue", "longer_than": 9, "agent": "a"}, "agent cannot be set"),
    ],
)
def test_an_invalid_rule_raises_a_helpful_error(table: dict[str, object], says: str) -> None:
    """The message names the rule, the expected values and the known keys."""
    with pytest.raises(ConfigurationError, match=says):
        parse_rule(table)


@pytest.mark.parametrize("wrong", [{"cooldown": 3600}, {"cooldown": timedelta(milliseconds=5)}, {"cooldown": -HOUR}])
def test_durations_are_whole_seconds(wrong: dict[str, Any]) -> None:
    """Durations that a settings file cannot express are refused in code as well."""
    with pytest.raises(ConfigurationError, match="whole seconds"):
        StreakRule(name="r", **wrong)


def test_the_rating_of_a_rate_rule_is_a_value() -> None:
    """In code it is a ``Rating``, not a word."""
    with pytest.raises(ConfigurationError, match="rating must be a Rating"):
        RateRule(name="r", rating="down")  # type: ignore[arg-type]


# --- durations --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**9).map(lambda number: timedelta(seconds=number)))
def test_formatted_durations_can_be_parsed(duration: timedelta) -> None:
    """Every duration in whole seconds can be formatted."""
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("6h", timedelta(hours=6)),
        ("7d", timedelta(days=7)),
        ("1h30m", timedelta(minutes=90)),
        ("1d1s", timedelta(days=1, seconds=1)),
        ("0s", timedelta()),
    ],
)
def test_valid_durations(text: str, duration: timedelta) -> None:
    """Days, hours, minutes and seconds, the largest first."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1.5h", "30m1h", "1H", "٣h", "9" * 10 + "s", "1w", None, 60])
def test_invalid_durations(text: object) -> None:
    """Other texts and types are refused."""
    with pytest.raises(ValueError, match="expected a duration such as '90s'"):
        parse_duration(text)


def test_the_longest_duration() -> None:
    """A duration that is too long is refused."""
    assert parse_duration("999999999d") == timedelta(days=999_999_999)
    with pytest.raises(ValueError, match="is too long for a duration"):
        parse_duration("999999999d999999999h")


def test_streaks_ignore_midnight_and_clock_changes() -> None:
    """A streak continues over midnight and over a clock change."""
    late = datetime(2026, 3, 28, 23, 59, 59, tzinfo=UTC)
    row = [a_feedback(str(n), DOWN, created_at=late + n * timedelta(hours=1)) for n in range(3)]
    assert [streak.completed_at for streak in streaks(row, 3)] == [late + timedelta(hours=2)]

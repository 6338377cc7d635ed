"""Statistics of a whole storage."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import (
    Change,
    Comparison,
    FeedbackQuery,
    GroupBy,
    Harken,
    InvalidQuery,
    Keyword,
    ModerationStatus,
    Period,
    Summary,
    Verdict,
)
from support import NOON, ManualClock, a_submission

submissions = st.builds(
    lambda rating, agent, session, comment, tags, tier, minutes: a_submission(
        session,
        rating,
        comment,
        agent_id=agent,
        tags=tags,
        context={"tier": tier},
        created_at=NOON + timedelta(minutes=minutes),
    ),
    st.sampled_from(["up", "down", None]),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from(["s1", "s2"]),
    st.sampled_from(["So slow", "An error", "Unclear and slow", "Fine"]),
    st.lists(st.sampled_from(["x", "y"]), max_size=2),
    st.sampled_from([None, "free", 1, True]),
    st.integers(0, 60 * 24 * 20),
)
filters: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "agent_id": st.sampled_from(["a", "b"]),
        "session_id": st.sampled_from(["s1", "s2"]),
        "tag": st.sampled_from(["x", "y"]),
        "since": st.just(NOON + timedelta(days=3)),
        "context": st.sampled_from([{"tier": "free"}, {"tier": 1}]),
    },
)


@given(st.lists(submissions, max_size=15), filters, st.data())
def test_all_statistics_equal_a_count(
    said: list[harken.Submission], chosen: dict[str, Any], data: st.DataObject
) -> None:
    """Summaries, groups, trends, and statistics by hour and weekday all equal a count of the feedback."""
    with harken.connect("memory://") as hk:
        for receipt in hk.collection.submit_many(said):
            assert isinstance(receipt, harken.Receipt)
            fate = data.draw(st.sampled_from(["stands"] * 4 + ["withdrawn", "rejected"]))
            if fate == "withdrawn":
                hk.collection.withdraw("default", receipt.feedback.id)
            elif fate == "rejected":
                hk.moderation.decide("default", receipt.feedback.id, ModerationStatus.REJECTED)
        query = hk.query(**chosen)
        raw = list(hk.export(**chosen))
        whole = Summary.fold(raw)
        assert hk.summary(**chosen) == whole
        for by in ("agent", "session", "tag", "slot", "context.tier"):
            groups = hk.groups(by, **chosen)
            keys = {one.id: GroupBy.parse(by).keys(one) for one in raw}
            assert groups == {
                key: Summary.fold(one for one in raw if key in keys[one.id]) for key in set().union(*keys.values())
            }
            sizes = [summary.total for summary in groups.values()]
            assert sizes == sorted(sizes, reverse=True)
        for period in Period:
            points = hk.trend(period, "Asia/Kathmandu", **chosen)
            assert sum((point.summary for point in points), Summary()) == whole
        hours = hk.analytics.by_hour_of_day(query)
        assert tuple(hour.summary.total for hour in hours) == whole.by_hour
        days = hk.analytics.by_weekday(query)
        assert [day.summary.total for day in days] == [
            sum(one.created_at.weekday() == day for one in raw) for day in range(7)
        ]
        assert hk.check() == []


def test_groups_of_equal_size_have_an_order(hk: Harken) -> None:
    """Groups of equal size are sorted by name, in every storage."""
    for agent in ("b", "c", "a", "c"):
        hk.submit("s", "up", agent_id=agent)
    assert list(hk.groups("agent")) == ["c", "a", "b"]


def test_keywords_are_about_negative_feedback(hk: Harken) -> None:
    """Keywords are counted in the comments of matching thumbs-downs, and not in those of thumbs-ups."""
    hk.submit("s", "down", "Too slow and unclear")
    hk.submit("s", "down", "Incomplete answer with errors")
    hk.submit("s", "up", "Not slow at all")
    hk.submit("s2", "down", "Slow again")
    found = ("error", "slow", "unclear", "incomplete")
    assert hk.analytics.keywords(hk.query())[0] == Keyword("slow", 2)
    assert hk.analytics.keywords(hk.query(session_id="s")) == tuple(Keyword(word, 1) for word in found)
    assert hk.themes(["again"], rating="up") == (Keyword("again", 1),)


def test_comparing(hk: Harken) -> None:
    """The comparison of two selections."""
    hk.submit("s", "down", "Slow", agent_id="old")
    hk.submit("s", "up", agent_id="new")
    comparison = hk.analytics.compare(hk.query(agent_id="old"), hk.query(agent_id="new"))
    assert comparison == Comparison(hk.summary(agent_id="old"), hk.summary(agent_id="new"))
    assert comparison.satisfaction_change == 100


def rated(hk: Harken, positive: int, negative: int, **parts: Any) -> None:
    """Store this number of ratings, each in a session of its own unless ``parts`` names an author."""
    hk.collection.submit_many(
        [
            a_submission(f"{parts}-{number}", "up" if number < positive else "down", "x", **parts)
            for number in range(positive + negative)
        ]
    )


def test_comparing_selections_by_filters(hk: Harken) -> None:
    """Filters of a side override those of both."""
    rated(hk, 30, 70, agent_id="a", context={"version": "1"}, created_at=NOON)
    rated(hk, 80, 20, agent_id="a", context={"version": "2"}, created_at=NOON)
    rated(hk, 1, 9, agent_id="b", context={"version": "2"}, created_at=NOON)
    sides: list[Any] = [{"context": {"version": version}} for version in ("1", "2")]
    comparison = hk.compare(*sides, agent_id="a")
    assert comparison.before == hk.summary(context={"version": "1"})
    assert (comparison.after.positive, comparison.after.negative) == (80, 20)
    assert comparison.verdict is Verdict.BETTER
    assert comparison.sentence.startswith("better by ")
    assert hk.compare({}, {"agent_id": "b"}, agent_id="a").after.total == 10
    with pytest.raises(TypeError, match="unknown filter 'agent'"):
        hk.compare({"agent": "a"}, {})  # type: ignore[typeddict-unknown-key]


def test_comparing_with_the_previous_period(hk: Harken, clock: ManualClock) -> None:
    """The previous period is as long, and ends where the period begins; without ``until``, this ends now."""
    for day, positive in ((0, 1), (10, 2), (12, 4), (13, 8), (14, 16)):
        rated(hk, positive, 0, created_at=NOON + timedelta(days=day))
    since = NOON + timedelta(days=13)
    sums = hk.compare_to_previous(since=since, until=NOON + timedelta(days=15))
    assert (sums.before.positive, sums.after.positive) == (4, 24)
    clock.now = NOON + timedelta(days=16)
    sums = hk.compare_to_previous(since=since)
    assert (sums.before.positive, sums.after.positive) == (6, 24)


@pytest.mark.parametrize(
    "period",
    [
        {},
        {"until": NOON},
        {"since": NOON, "until": NOON},
        {"since": NOON + timedelta(days=1)},
        {"since": datetime(1, 2, 1, tzinfo=UTC)},
    ],
)
def test_without_a_previous_period(hk: Harken, period: dict[str, Any]) -> None:
    """A period without a beginning, without a length, or with no time before it cannot be compared."""
    with pytest.raises(InvalidQuery, match="needs a 'since' before 'until', or before now"):
        hk.compare_to_previous(**period)


def test_repeated_authors_widen_intervals(hk: Harken) -> None:
    """Ratings of one author count less than those of several; without an author, those of one session."""
    for kind in ("author", "session"):
        for number in range(20):
            for _ in range(5):
                parts: dict[str, Any] = {"author": f"p{number}"} if kind == "author" else {}
                session = "s" if kind == "author" else f"s{number}"
                hk.submit(session, "up" if number < 12 else "down", "x", agent_id=kind, **parts)
    rated(hk, 60, 40, agent_id="single")
    widths = {}
    for agent in ("author", "session", "single"):
        estimate = hk.estimate(agent_id=agent)
        assert estimate.summary == hk.summary(agent_id=agent)
        assert (estimate.design_effect > 4) == (agent != "single")
        widths[agent] = estimate.interval.high - estimate.interval.low
    assert widths["author"] == widths["session"] > 1.9 * widths["single"]
    repeated, single = hk.compare({"agent_id": "author"}, {}), hk.compare({"agent_id": "single"}, {})
    assert repeated.interval.high - repeated.interval.low > single.interval.high - single.interval.low


def test_authors_of_a_period_widen_its_interval(hk: Harken) -> None:
    """Several ratings of an author count less in the period in which they were given, and only there."""
    for agent, days in (("one day", [0] * 5), ("five days", range(5))):
        for author in range(40):
            for day in days:
                at = NOON + timedelta(days=day)
                rating = "up" if author % 4 else "down"
                hk.collection.submit(a_submission("s", rating, "x", agent_id=agent, author=f"p{author}", created_at=at))
    (repeated,) = hk.trend("day", agent_id="one day")
    assert repeated.design_effect == pytest.approx(5, rel=0.05)
    assert repeated.estimate.interval.high - repeated.estimate.interval.low > 20
    single = hk.trend("day", agent_id="five days")
    assert [point.design_effect for point in single] == [1.0] * 5
    assert hk.trend("week", agent_id="five days")[0].design_effect > 2
    query = hk.query(agent_id="one day")
    assert hk.analytics.by_hour_of_day(query)[12].design_effect == repeated.design_effect
    assert hk.analytics.by_weekday(query)[NOON.weekday()].interval == repeated.estimate.interval
    (cell,) = hk.heat_map(agent_id="one day")
    assert cell.estimate == repeated.estimate


def test_a_group_has_the_design_effect_of_its_own_authors(hk: Harken) -> None:
    """A few people who rate an agent many times do not make it worse; many people do."""
    rated(hk, 300, 100, agent_id="usual")
    for author in range(3):
        for _ in range(20):
            hk.submit("s", "down", "bad", agent_id="few", author=f"p{author}")
    rated(hk, 0, 60, agent_id="many")
    groups = hk.compare_groups("agent")
    assert groups["few"].after_effect > 5
    assert (groups["few"].verdict, groups["many"].verdict) == (Verdict.UNDECIDED, Verdict.WORSE)
    estimates = hk.analytics.estimate_groups(hk.query(), GroupBy.parse("agent"))
    assert estimates["many"].design_effect == 1
    assert estimates["few"].interval.high > estimates["many"].interval.high


def test_groups_by_tag_are_compared_with_feedback_outside_them(hk: Harken) -> None:
    """Feedback with two tags is in two groups, and is never compared with itself."""
    for _ in range(50):
        hk.submit("s", "down", "x", tags=["a", "b"])
    for _ in range(80):
        hk.submit("s", "up", tags=["b"])
    groups = hk.compare_groups("tag")
    assert groups["b"].before == Summary()
    assert groups["a"].before == hk.summary(rating="up")


def test_a_design_effect_is_kept_until_something_is_written(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is computed again after a submission, a change and an erasure, and only then."""
    calls: list[object] = []
    repository: Any = hk.analytics._repository
    ratings = repository.ratings_by_author
    monkeypatch.setattr(
        repository, "ratings_by_author", lambda *args, **named: calls.append(args) or ratings(*args, **named)
    )

    def computes() -> bool:
        calls.clear()
        hk.estimate()
        return bool(calls)

    ids = [hk.submit("s", "up", author=author).feedback.id for author in ("a", "a", "b", "c")]
    assert computes()
    assert not computes()
    before = hk.estimate().design_effect
    hk.submit("s", "up", author="b")
    assert computes()
    assert hk.estimate().design_effect > before
    hk.change(ids[0], Change(tags=("slow",)))
    assert computes()
    hk.collection.erase(hk.query(author="b"))
    assert computes()


def test_comparing_groups(hk: Harken) -> None:
    """Each group is compared with the others together, the largest first."""
    rated(hk, 120, 120, agent_id="large")
    rated(hk, 100, 20, agent_id="good")
    rated(hk, 2, 2, agent_id="small")
    groups = hk.compare_groups("agent")
    assert list(groups) == ["large", "good", "small"]
    assert groups["good"].after == hk.summary(agent_id="good")
    assert groups["good"].before == hk.summary(agent_id="large") + hk.summary(agent_id="small")
    assert groups["good"].verdict is Verdict.BETTER
    assert groups["large"].verdict is Verdict.WORSE
    assert groups["small"].verdict is Verdict.UNDECIDED
    assert hk.compare_groups(GroupBy.parse("agent"), agent_id="good").keys() == {"good"}


def test_a_new_group_and_the_change_without_it(hk: Harken) -> None:
    """A total can fall although no group changed: a new group lowers it."""
    for tier, since in (("old", 0), ("new", 1)):
        rated(hk, 80, 20, agent_id="good", context={"release": tier}, created_at=NOON + timedelta(days=since))
    rated(hk, 20, 80, agent_id="hard", context={"release": "new"}, created_at=NOON)
    before, after = (hk.query(context={"release": tier}) for tier in ("old", "new"))
    mix = hk.analytics.mix(before, after, GroupBy.parse("agent"))
    assert hk.analytics.compare(before, after).verdict is Verdict.WORSE
    assert (mix.new, mix.gone) == (("hard",), ())
    assert mix.without.verdict is Verdict.UNDECIDED
    assert mix.without.satisfaction_change == 0


def test_the_heat_map(hk: Harken) -> None:
    """Hours that differ by more than chance are marked, by the local clock."""
    for day in range(7):
        for hour in (9, 15):
            bad = day == 2 and hour == 9
            rated(hk, 5 if bad else 80, 95 if bad else 20, created_at=NOON + timedelta(days=day, hours=hour - 12))
    cells = hk.heat_map()
    assert [(one.weekday, one.hour) for one in cells] == [(day, hour) for day in range(7) for hour in (9, 15)]
    assert sum((one.summary for one in cells), Summary()) == hk.summary()
    assert [(one.weekday, one.hour) for one in cells if one.verdict is Verdict.WORSE] == [(4, 9)]
    assert {one.hour for one in hk.heat_map("Asia/Tokyo")} == {18, 0}
    assert [one.day for one in hk.heat_map(prefer_dates=True)][:2] == [NOON.date()] * 2
    assert {one.day for one in cells} == {None}
    assert hk.heat_map(agent_id="nobody") == []


def test_days_without_feedback_do_not_hide_changes(hk: Harken) -> None:
    """Neither does an entry from 1970, nor one that is dated a year ahead."""
    for day in range(40):
        rated(hk, 15 if day < 25 else 40, 35 if day < 25 else 10, created_at=NOON + timedelta(days=day))
    rated(hk, 1, 0, created_at=datetime(1970, 1, 1, tzinfo=UTC), author="old")
    rated(hk, 1, 0, created_at=NOON + timedelta(days=405), author="ahead")
    (change,) = hk.changes()
    assert change.at.date() == (NOON + timedelta(days=25)).date()
    assert change.before.total + change.after.total == hk.summary().total


def test_the_days_of_changes(hk: Harken) -> None:
    """A change has its local day, and the statistics before and after it."""
    for day in range(40):
        rated(hk, 15 if day < 25 else 40, 35 if day < 25 else 10, created_at=NOON + timedelta(days=day))
    (change,) = hk.changes()
    assert change.at == datetime(2026, 3, 29, tzinfo=UTC)
    assert (change.before.positive, change.after.positive) == (25 * 15, 15 * 40)
    assert change.before + change.after == hk.summary()
    (local,) = hk.changes("Europe/Madrid")
    assert local.at.isoformat() == "2026-03-29T00:00:00+01:00"
    assert hk.changes(until=NOON + timedelta(days=20)) == []


def test_a_trend_in_local_days(hk: Harken) -> None:
    """Each entry is counted on its local day in the time zone."""
    for hour in (3, 5):
        hk.collection.submit(a_submission(created_at=datetime(2026, 7, 1, hour, tzinfo=UTC)))
    points = hk.trend("day", "America/New_York")
    assert [(point.start.date().isoformat(), point.summary.total) for point in points] == [
        ("2026-06-30", 1),
        ("2026-07-01", 1),
    ]


def test_an_unknown_zone(hk: Harken) -> None:
    """An unknown zone is an error before anything is read, even without feedback."""
    query = FeedbackQuery()
    for ask in (
        lambda: hk.analytics.trend(query, Period.DAY, "Mars/Olympus"),
        lambda: hk.analytics.by_hour_of_day(query, "Mars/Olympus"),
        lambda: hk.analytics.by_weekday(query, "Mars/Olympus"),
        lambda: hk.heat_map("Mars/Olympus"),
        lambda: hk.changes("Mars/Olympus"),
    ):
        with pytest.raises(InvalidQuery, match="Mars/Olympus"):
            ask()
    for year in (1970, 2026):
        hk.collection.submit(a_submission(created_at=datetime(year, 1, 1, tzinfo=UTC)))
    with pytest.raises(InvalidQuery, match="more than 20,000 points"):
        hk.trend("day")
    assert len(hk.trend("week")) == 2923

"""Statistics of a whole storage."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Comparison, FeedbackQuery, GroupBy, Harken, InvalidQuery, Keyword, ModerationStatus, Period, Summary
from support import NOON, a_submission

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
        raw = list(hk.stream(**chosen))
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
        assert tuple(summary.total for summary in hours) == whole.by_hour
        days = hk.analytics.by_weekday(query)
        assert [day.total for day in days] == [sum(one.created_at.weekday() == day for one in raw) for day in range(7)]
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
    ):
        with pytest.raises(InvalidQuery, match="Mars/Olympus"):
            ask()
    for year in (1970, 2026):
        hk.collection.submit(a_submission(created_at=datetime(year, 1, 1, tzinfo=UTC)))
    with pytest.raises(InvalidQuery, match="more than 20,000 days"):
        hk.trend("day")
    assert len(hk.trend("week")) == 2923

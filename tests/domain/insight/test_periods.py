"""The period of a query, and the one that it is compared with."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import FeedbackQuery, InvalidQuery
from harken.domain.insight.periods import compared_periods

MADRID = ZoneInfo("Europe/Madrid")
#: A Wednesday.
NOW = datetime(2026, 3, 4, 12, 7, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def at(month: int, day: int, hour: int = 0, minute: int = 0, zone: ZoneInfo = MADRID) -> datetime:
    """A local time in 2026."""
    return datetime(2026, month, day, hour, minute, tzinfo=zone)


def test_the_last_28_days() -> None:
    """They are whole local days with today, compared with the same part of the 28 before, to the quarter hour."""
    found = compared_periods(FeedbackQuery(agent_id="a"), NOW, MADRID)
    assert found.span == (at(2, 5), at(3, 5))
    assert found.before_span == (at(1, 8), at(2, 4, 13, 15))
    assert found.is_running
    assert found.before.agent_id == found.after.agent_id == {"a"}
    assert (found.before.since, found.before.until) == found.before_span
    assert [one.weekday() for one, _ in (found.span, found.before_span)] == [3, 3]


def test_a_period_that_has_ended() -> None:
    """It is compared with the one that ends where it begins; with whole weeks before, if weekdays must be the same."""
    query = FeedbackQuery(since=at(2, 20), until=at(2, 23))
    found = compared_periods(query, NOW, MADRID)
    assert found.before_span == (at(2, 17), at(2, 20))
    assert (found.after, found.is_running) == (query, False)
    assert compared_periods(query, NOW, MADRID, same_weekdays=True).before_span == (at(2, 13), at(2, 16))


def test_days_where_the_clocks_change() -> None:
    """Local days are compared with local days, also if one of them has 23 hours."""
    query = FeedbackQuery(since=at(3, 29), until=at(3, 30))
    assert query.since is not None
    assert query.until is not None
    assert query.until - query.since == timedelta(hours=23)
    before, until = compared_periods(query, at(4, 2), MADRID).before_span
    assert (before, until) == (at(3, 28), at(3, 29))
    assert until.astimezone(UTC) - before.astimezone(UTC) == DAY


def test_hours() -> None:
    """A period that does not begin and end at midnight is compared with the same time before."""
    since = NOW - timedelta(hours=6)
    found = compared_periods(FeedbackQuery(since=since), NOW, MADRID)
    assert found.span == (since, NOW)
    assert found.before_span == (since - timedelta(hours=6), since)
    assert not found.is_running
    weekly = compared_periods(FeedbackQuery(since=since), NOW, MADRID, same_weekdays=True)
    assert weekly.before_span == (since - 7 * DAY, NOW - 7 * DAY)


@given(
    st.timedeltas(timedelta(), timedelta(days=800)).map(lambda after: datetime(2025, 1, 1, tzinfo=UTC) + after),
    st.timedeltas(timedelta(minutes=1), timedelta(days=60)),
    st.sampled_from(["UTC", "Europe/Madrid", "Asia/Kathmandu", "America/Sao_Paulo"]),
    st.booleans(),
)
def test_any_period(since: datetime, length: timedelta, zone: str, same_weekdays: bool) -> None:
    """The earlier period is before the other, not longer, and never after now."""
    now = since + length / 2
    found = compared_periods(
        FeedbackQuery(since=since, until=since + length), now, ZoneInfo(zone), same_weekdays=same_weekdays
    )
    begin, end = (moment.astimezone(UTC) for moment in found.before_span)
    assert begin <= end <= since
    assert end - begin <= length / 2 + timedelta(minutes=15, hours=1)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (NOW, NOW),
        (NOW, NOW - DAY),
        (NOW + DAY, NOW + 2 * DAY),
        (NOW + DAY, None),
        (datetime(1, 1, 2, tzinfo=UTC), NOW),
    ],
)
def test_invalid_periods(since: datetime, until: datetime | None) -> None:
    """A period must have begun, must not be empty, and needs time before it."""
    with pytest.raises(InvalidQuery, match=r"The period is empty|no time before"):
        compared_periods(FeedbackQuery(since=since, until=until), NOW, MADRID)

"""Parsing of times."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.instants import format_duration, parse_duration, parse_instant


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.000001Z", datetime(2026, 1, 31, 12, microsecond=1, tzinfo=UTC)),
        ("2026-01-31T12:00+05:45", datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=5, minutes=45)))),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, instant: datetime) -> None:
    """A time zone in the text is kept."""
    parsed = parse_instant(text)
    assert (parsed, parsed.utcoffset()) == (instant, instant.utcoffset())


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_times_that_utc_does_not_have(text: str) -> None:
    """A time whose offset leads beyond the calendar is an error, as it cannot be compared with others."""
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        parse_instant(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "2026-01-31T25:00"])
def test_other_texts_are_no_times(text: str) -> None:
    """Any other text is an error."""
    with pytest.raises(ValueError, match=r"isoformat|range|must be in"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("400 days", timedelta(days=400)),
        ("1 day", timedelta(days=1)),
        ("1 hour 30 minutes", timedelta(minutes=90)),
        ("2days 5 s", timedelta(days=2, seconds=5)),
        ("90s", timedelta(seconds=90)),
    ],
)
def test_durations_may_be_written_with_words(text: str, duration: timedelta) -> None:
    """Letters and words mean the same."""
    assert parse_duration(text) == duration


@given(st.integers(0, 10**10))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    """What is shown can be typed again."""
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "400", "days", "1 month", "400 dayss", "1m 1h", "-1 day", "1.5 days", 400, None]
)
def test_other_texts_are_no_durations(text: object) -> None:
    """A unit that is missing, unknown or out of order is an error."""
    with pytest.raises(ValueError, match="expected a duration such as '90s'"):
        parse_duration(text)

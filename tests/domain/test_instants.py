"""Parsing of times."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.instants import SkippedTime, format_duration, parse_duration, parse_instant


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


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2026-03-01", "Europe/Berlin", "2026-02-28T23:00Z"),
        ("20260301", "Europe/Berlin", "2026-02-28T23:00Z"),
        ("2026-W09-7", "Europe/Berlin", "2026-02-28T23:00Z"),
        ("2026-07-01T12:00", "Europe/Berlin", "2026-07-01T10:00Z"),
        ("2026-07-01T12:00Z", "Europe/Berlin", "2026-07-01T12:00Z"),
        ("2026-07-01T12:00+05:45", "Europe/Berlin", "2026-07-01T06:15Z"),
        # The clocks show this time twice.
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30Z"),
        # They skip the midnight of this day.
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00Z"),
        ("2018-11-04T01:00", "America/Sao_Paulo", "2018-11-04T03:00Z"),
        # The day begins twice.
        ("2026-11-01", "America/Havana", "2026-11-01T04:00Z"),
        # There is no such day: it would have begun when the next one did.
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00Z"),
    ],
)
def test_a_time_without_an_offset_is_local(text: str, zone: str, instant: str) -> None:
    """A date is the first instant of the local day, and a time that the clocks show twice is the first of the two."""
    assert parse_instant(text, ZoneInfo(zone)) == datetime.fromisoformat(instant)


@pytest.mark.parametrize("text", ["2026-03-29T02:00", "2026-03-29T02:30", "2026-03-29 02:59:59.999999"])
def test_a_time_that_the_clocks_skip(text: str) -> None:
    """It is an error that says what to do, as either guess may be wrong."""
    with pytest.raises(SkippedTime, match=r"does not exist in the time zone Europe/Berlin.*or add its offset"):
        parse_instant(text, BERLIN)
    assert parse_instant(f"{text}+01:00", BERLIN) is not None


@given(st.dates(date(1980, 1, 1), date(2030, 12, 31)), st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "UTC"]))
def test_a_day_begins_at_its_local_midnight(day: date, zone: str) -> None:
    """The instant before is on the day before."""
    start = parse_instant(day.isoformat(), ZoneInfo(zone))
    assert start.astimezone(ZoneInfo(zone)).date() == day
    assert (start - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() == day - timedelta(days=1)

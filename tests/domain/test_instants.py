"""Parsing of times."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from harken.domain.instants import parse_instant


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

"""Dates of many forms."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken_adapters.formats.errors import BadRow, UnusableFile
from harken_adapters.formats.importing.dates import DateForms, Dates

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The years 2000 to 2099.
SECONDS = st.integers(946_684_800, 4_102_444_799)
OFFSETS = st.integers(-12 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))


@given(SECONDS, OFFSETS)
def test_every_form_of_an_instant_is_read_as_that_instant(seconds: int, zone: timezone) -> None:
    """Independent of its offset."""
    instant = EPOCH + timedelta(seconds=seconds)
    local = instant.astimezone(zone)
    forms: list[Any] = [instant, local, seconds, float(seconds), seconds * 1_000, seconds * 1_000_000, str(seconds)]
    forms += [local.isoformat(), str(local), f"{instant:%Y-%m-%d %H:%M:%S} UTC", format_datetime(local)]
    forms += [{"$date": instant.isoformat()}, {"$date": seconds * 1_000}, {"$date": {"$numberLong": f"{seconds}000"}}]
    assert {Dates().read(form) for form in forms} == {instant}


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)))  # noqa: DTZ001 - in the zone of the file
def test_serial_numbers_of_spreadsheets(local: datetime) -> None:
    """Days since the last one of 1899, to the millisecond, as numbers or texts, in any kind of file."""
    serial = (local - datetime(1899, 12, 30)) / timedelta(days=1)  # noqa: DTZ001 - as above
    for value in (serial, str(serial), str(serial).replace(".", ",")):
        assert abs(Dates().read(value) - local.replace(tzinfo=UTC)) <= timedelta(milliseconds=1)


@given(st.integers(-(10**18), 10**18) | st.floats(-1e18, 1e18))
def test_a_number_is_a_date_of_this_century_or_none(number: float) -> None:
    """An id or a duration does not become a date in 1970 or in the far future."""
    with suppress(BadRow):
        assert 2000 <= Dates().read(number).year <= 2099


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dictionaries(st.text(), st.integers()))
def test_any_value_is_a_date_or_is_rejected(value: Any) -> None:
    """No value raises anything else."""
    for dates in (Dates(), Dates(date_format="%Y"), Dates(zone="Europe/Berlin")):
        with suppress(BadRow):
            assert dates.read(value).tzinfo is UTC


@pytest.mark.parametrize(
    ("examples", "proposal"),
    [
        (("31/01/2026", "01/02/2026"), '--date-format "%d/%m/%Y"'),
        (("01/31/2026 5:30 PM",), '--date-format "%m/%d/%Y %I:%M %p"'),
        (("01/02/2026",), '--date-format "%m/%d/%Y" or --date-format "%d/%m/%Y"'),
        (("31.01.26 17:30",), '--date-format "%d.%m.%y %H:%M"'),
        (("Jan 31, 2026",), '--date-format "%b %d, %Y"'),
        (("05.01.2026 10:00",), 'with --date-format "%d.%m.%Y %H:%M" or --date-format "%m.%d.%Y %H:%M"'),
        (("3/4/26",), 'with --date-format "%m/%d/%y" or --date-format "%d/%m/%y"'),
        (("soon",), "with --date-format, in which %Y, %m, %d, %H and %M are the parts of a date"),
    ],
)
def test_a_format_that_reads_all_examples_is_proposed(examples: tuple[str, ...], proposal: str) -> None:
    """With the month first and with the day first, if both do."""
    forms = DateForms(Dates())
    for example in examples:
        forms.add(example)
    with pytest.raises(UnusableFile) as caught:
        forms.check("date")
    assert proposal in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026/01/02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026/1/2 9:05", datetime(2026, 1, 2, 9, 5, tzinfo=UTC)),
        ("2026.01.02, 19:05:06", datetime(2026, 1, 2, 19, 5, 6, tzinfo=UTC)),
        ("2026-1-2T19:05:06Z", datetime(2026, 1, 2, 19, 5, 6, tzinfo=UTC)),
    ],
)
def test_dates_with_the_year_first_are_plain(text: str, expected: datetime) -> None:
    """With any separator between the parts."""
    assert Dates().read(text) == expected


@pytest.mark.parametrize("text", ["0001-01-01", "1969-12-31", "9999-01-01", "2026/13/01", "2026/01-02"])
def test_dates_that_cannot_be_stored_are_no_dates(text: str) -> None:
    """So the first and the last date of a file are those of rows that can be stored."""
    with pytest.raises(BadRow):
        Dates().read(text)

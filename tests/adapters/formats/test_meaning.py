"""The meaning of ratings and dates, and the samples by which rows of earlier imports are recognised."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import Rating
from harken_adapters.formats.errors import BadRow, UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.dates import DateForms, Dates
from harken_adapters.formats.importing.plan import mapping_digest
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.ratings import SCALES, Ratings, canonical
from import_files import opened

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: After the times whose milliseconds look like seconds.
SECONDS = st.integers(200_000_000, 4_000_000_000)
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


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)))  # noqa: DTZ001 - in the zone of the file
def test_serial_numbers_of_spreadsheets(local: datetime) -> None:
    """Days since the last one of 1899, to the millisecond."""
    serial = (local - datetime(1899, 12, 30)) / timedelta(days=1)  # noqa: DTZ001 - as above
    assert abs(Dates(spreadsheet=True).read(serial) - local.replace(tzinfo=UTC)) <= timedelta(milliseconds=1)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dictionaries(st.text(), st.integers()))
def test_any_value_is_a_date_or_is_rejected(value: Any) -> None:
    """No value raises anything else."""
    for dates in (Dates(), Dates(spreadsheet=True), Dates(date_format="%Y"), Dates(zone="Europe/Berlin")):
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
        (("soon",), "such as --date-format"),
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


@given(st.integers(-(10**12), 10**12))
def test_numbers_have_one_text(number: int) -> None:
    """As integers, floats, and texts with spaces and decimals."""
    assert {canonical(one) for one in (number, float(number), str(number), f" {number}.0 ", f"{number}.00")} == {
        str(number)
    }


@given(st.sampled_from(sorted(SCALES)), st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_scales_are_monotonic(name: str, shares: list[float]) -> None:
    """A higher number never has a lower rating."""
    scale = SCALES[name]
    order = [Rating.DOWN, Rating.NEUTRAL, Rating.UP]
    numbers = [scale.lowest + share * (scale.highest - scale.lowest) for share in shares]
    low, high = (Ratings(scale=name).read(f"{number:.12f}")[0] for number in numbers)
    assert order.index(low) <= order.index(high)


def profiled(rows: list[str], known: tuple[int, ...] = ()) -> Profile:
    """What the first pass finds in rows with a comment."""
    with opened("".join(f'{{"comment": "{row}"}}\n' for row in rows), "jsonl") as table:
        return Profile.of(table, ImportOptions(), known)


@given(st.sets(st.text("abc", min_size=1), min_size=1, max_size=300), st.sets(st.text("xyz", min_size=1), max_size=300))
def test_a_part_of_other_rows_is_recognised(part: set[str], others: set[str]) -> None:
    """Rows of an earlier import are found among any others, and no other rows are."""
    earlier = profiled(sorted(part)).digests
    assert len(earlier) == min(len(part), 64)
    assert profiled(sorted(part | others), tuple(earlier)).known == set(earlier)
    assert profiled([f"{row}-" for row in sorted(others)] or ["-"], tuple(earlier)).known == set()


def test_the_digest_of_a_mapping_is_that_of_its_meaning() -> None:
    """Options that change nothing, or only how a file is read, do not make another mapping."""
    plain = mapping_digest(ImportOptions())
    assert mapping_digest(ImportOptions(columns={"comment": "comment"}, encoding="cp1252", separator=";")) == plain
    others = (
        ImportOptions(columns={"comment": "text"}),
        ImportOptions(scale="stars"),
        ImportOptions(ratings={"5": "up"}),
        ImportOptions(zone="Europe/Berlin"),
        ImportOptions(drop=["email"]),
        ImportOptions(only=[]),
        ImportOptions(context=False),
        ImportOptions(constants={"agent_id": "a"}),
        ImportOptions(date_format="%Y"),
    )
    assert len({plain, *map(mapping_digest, others)}) == len(others) + 1

"""Statistics over time in any time zone."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harken import InvalidQuery, Period, Summary, TrendPoint
from harken.domain.instants import EPOCH, SLOT
from harken.domain.trend import by_hour_of_day, by_weekday, fitting_period, trend, zone_named

QUARTERS_IN_A_CENTURY = 100 * 365 * 96
ZONES = sorted(available_timezones())
ODD_ZONES = ["Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "Pacific/Chatham", "UTC"]
zones = (st.sampled_from(ZONES) | st.sampled_from(ODD_ZONES)).map(ZoneInfo)


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots_from(first: str, hours: float) -> dict[datetime, Summary]:
    """One thumbs-up in each slot of this many hours."""
    start = at(first)
    return {start + SLOT * number: Summary(positive=1) for number in range(int(hours * 4))}


@st.composite
def some_slots(draw: st.DrawFn) -> dict[datetime, Summary]:
    """Slots within a few weeks, from 1972 (when the last zone adopted a multiple of fifteen minutes) on."""
    base = draw(st.integers(2 * 365 * 96 + 96, QUARTERS_IN_A_CENTURY))
    numbers = draw(st.lists(st.integers(0, 3 * 7 * 96), unique=True, max_size=12))
    ups = st.integers(1, 5)
    return {EPOCH + SLOT * (base + number): Summary(positive=draw(ups), by_hour=(1,) * 24) for number in numbers}


def check(points: list[TrendPoint], slots: dict[datetime, Summary]) -> None:
    """Check the properties of every trend."""
    spans = [(point.start.astimezone(UTC), point.end.astimezone(UTC)) for point in points]
    assert all(end == start for (_, end), (start, _) in pairwise(spans))
    for point, (start, end) in zip(points, spans, strict=True):
        inside = [summary for slot, summary in slots.items() if start <= slot < end]
        assert start < end
        assert point.summary == sum(inside, Summary())
    assert sum((point.summary for point in points), Summary()) == sum(slots.values(), Summary())
    if points:
        assert points[0].summary.total
        assert points[-1].summary.total


class TestAnyZone:
    @given(some_slots(), zones, st.sampled_from(Period))
    @example(slots_from("2026-09-26T00:00", 48), ZoneInfo("Pacific/Chatham"), Period.HOUR)
    @example(slots_from("2026-09-26T14:00", 0.25), ZoneInfo("Pacific/Chatham"), Period.HOUR)
    @example(slots_from("1990-10-27T12:00", 48), ZoneInfo("America/St_Johns"), Period.HOUR)
    @example(slots_from("1990-10-27T12:00", 15), ZoneInfo("America/St_Johns"), Period.DAY)
    @example(slots_from("1990-10-27T12:00", 48), ZoneInfo("America/St_Johns"), Period.DAY)
    def test_slots_lie_inside_their_points(
        self, slots: dict[datetime, Summary], zone: ZoneInfo, period: Period
    ) -> None:
        """Points are contiguous, each contains the feedback of its period, and together they contain all feedback."""
        check(trend(slots, period, zone), slots)

    @given(some_slots(), zones)
    def test_days_begin_at_a_date_change(self, slots: dict[datetime, Summary], zone: ZoneInfo) -> None:
        """A day begins when the local date changes, and a week on Monday (or what remains of one)."""
        for point in trend(slots, Period.DAY, zone):
            start = point.start.astimezone(UTC)
            before = (start - timedelta(microseconds=1)).astimezone(zone)
            assert before.date() < point.start.date()
        for point in trend(slots, Period.WEEK, zone):
            before = (point.start.astimezone(UTC) - timedelta(microseconds=1)).astimezone(zone)
            assert before.isocalendar()[:2] < point.start.isocalendar()[:2]

    @given(some_slots(), zones)
    def test_by_hour_and_weekday(self, slots: dict[datetime, Summary], zone: ZoneInfo) -> None:
        """Slots are assigned to the local hour of day and weekday."""
        hours, days = by_hour_of_day(slots, zone), by_weekday(slots, zone)
        local = [(slot.astimezone(zone), summary) for slot, summary in slots.items()]
        for hour in range(24):
            assert hours[hour] == sum((summary for moment, summary in local if moment.hour == hour), Summary())
        for day in range(7):
            of_day = (summary for moment, summary in local if moment.isoweekday() == day + 1)
            assert days[day] == sum(of_day, Summary())
        assert (len(hours), len(days)) == (24, 7)


class TestClockChanges:
    @pytest.mark.parametrize(
        ("zone", "first", "lengths"),
        [
            ("America/New_York", "2026-03-07T05:00", [24, 23, 24]),
            ("America/New_York", "2026-10-31T04:00", [24, 25, 24]),
            ("Australia/Lord_Howe", "2026-04-03T13:00", [24, 24.5, 24]),
            ("Australia/Lord_Howe", "2026-10-02T13:30", [24, 23.5, 24]),
            ("Asia/Kathmandu", "2026-01-01T18:15", [24, 24, 24]),
            # Midnight was skipped: these days began at one o'clock.
            ("America/Sao_Paulo", "2018-11-03T03:00", [24, 23, 24]),
            ("Asia/Beirut", "2026-03-27T22:00", [24, 23, 24]),
            # The previous evening was an hour longer.
            ("Asia/Beirut", "2026-10-22T21:00", [24, 25, 24]),
            # A whole day, the 30th of December, was skipped.
            ("Pacific/Apia", "2011-12-29T10:00", [24, 24, 24]),
        ],
    )
    def test_days(self, zone: str, first: str, lengths: list[float]) -> None:
        """A local day has its actual length, and the next one begins at its end."""
        slots = slots_from(first, sum(lengths))
        points = trend(slots, Period.DAY, ZoneInfo(zone))
        check(points, slots)
        assert [point.summary.total / 4 for point in points] == lengths
        assert points[0].start.astimezone(UTC) == at(first)

    def test_the_repeated_hour_is_two_points(self) -> None:
        """Between one and two o'clock New York had two hours, each with its own statistics."""
        points = trend(slots_from("2026-11-01T04:00", 4), Period.HOUR, ZoneInfo("America/New_York"))
        assert [(point.start.hour, point.start.fold, point.summary.total) for point in points] == [
            (0, 0, 4),
            (1, 0, 4),
            (1, 1, 4),
            (2, 0, 4),
        ]

    def test_the_skipped_hour_has_no_point(self) -> None:
        """New York had no hour that began at two."""
        points = trend(slots_from("2026-03-08T05:00", 4), Period.HOUR, ZoneInfo("America/New_York"))
        assert [(point.start.hour, point.summary.total) for point in points] == [(0, 4), (1, 4), (3, 4), (4, 4)]

    def test_half_hour_changes(self) -> None:
        """On Lord Howe the clocks change by half an hour: one hour lasts 90 minutes, another 30."""
        zone = ZoneInfo("Australia/Lord_Howe")
        longer = trend(slots_from("2026-04-04T13:00", 3.5), Period.HOUR, zone)
        assert [(point.start.hour, point.summary.total) for point in longer] == [(0, 4), (1, 6), (2, 4)]
        shorter = trend(slots_from("2026-10-03T14:30", 2.5), Period.HOUR, zone)
        assert [(point.start.strftime("%H:%M"), point.summary.total) for point in shorter] == [
            ("01:00", 4),
            ("02:30", 2),
            ("03:00", 4),
        ]

    @pytest.mark.parametrize(
        ("zone", "first", "period", "expected"),
        [
            # Berlin skipped the hour from two, and repeated it.
            ("Europe/Berlin", "2026-03-28T23:00", Period.THREE_HOURS, [("00:00", 2), ("03:00", 3), ("06:00", 3)]),
            ("Europe/Berlin", "2026-10-24T22:00", Period.THREE_HOURS, [("00:00", 4), ("03:00", 3), ("06:00", 3)]),
            ("Europe/Berlin", "2026-03-28T17:00", Period.SIX_HOURS, [("18:00", 6), ("00:00", 5), ("06:00", 6)]),
            ("Europe/Berlin", "2026-10-24T16:00", Period.SIX_HOURS, [("18:00", 6), ("00:00", 7), ("06:00", 6)]),
            # Beirut skipped midnight: that day began at one o'clock; later it repeated the hour before midnight.
            ("Asia/Beirut", "2026-03-28T19:00", Period.THREE_HOURS, [("21:00", 3), ("01:00", 2), ("03:00", 3)]),
            ("Asia/Beirut", "2026-10-24T18:00", Period.THREE_HOURS, [("21:00", 4), ("00:00", 3), ("03:00", 3)]),
            ("Asia/Kathmandu", "2026-01-01T18:15", Period.THREE_HOURS, [("00:00", 3), ("03:00", 3), ("06:00", 3)]),
            ("Pacific/Apia", "2011-12-30T04:00", Period.SIX_HOURS, [("18:00", 6), ("00:00", 6), ("06:00", 6)]),
        ],
    )
    def test_several_hours(self, zone: str, first: str, period: Period, expected: list[tuple[str, float]]) -> None:
        """Periods of 3 and 6 hours begin at multiples on the local clock, and have their actual length."""
        slots = slots_from(first, sum(hours for _, hours in expected))
        points = trend(slots, period, ZoneInfo(zone))
        check(points, slots)
        assert [(point.start.strftime("%H:%M"), point.summary.total / 4) for point in points] == expected
        assert points[0].start.astimezone(UTC) == at(first)

    def test_apia_had_no_friday(self) -> None:
        """The day that Samoa skipped has no point."""
        points = trend(slots_from("2011-12-29T10:00", 48), Period.DAY, ZoneInfo("Pacific/Apia"))
        assert [point.start.date().isoformat() for point in points] == ["2011-12-29", "2011-12-31"]

    def test_weeks_start_on_monday(self) -> None:
        """A week is seven local days from Monday; with a clock change it is an hour shorter."""
        slots = slots_from("2026-03-02T05:00", 14 * 24)
        points = trend(slots, Period.WEEK, ZoneInfo("America/New_York"))
        assert [point.start.strftime("%a %m-%d %H:%M") for point in points] == [
            "Mon 03-02 00:00",
            "Mon 03-09 00:00",
            "Mon 03-16 00:00",
        ]
        assert [point.summary.total / 4 for point in points] == [167, 168, 1]

    def test_periods_without_feedback_have_points(self) -> None:
        """A period without feedback has an empty point."""
        slots = slots_from("2026-01-01T00:00", 1) | slots_from("2026-01-04T23:45", 0.25)
        assert [point.summary.total for point in trend(slots, Period.DAY, ZoneInfo("UTC"))] == [4, 0, 0, 1]


class TestFittingPeriod:
    @pytest.mark.parametrize(
        ("slots", "thumbs", "expected"),
        [
            (4 * 24, 5, Period.HOUR),
            (4 * 60, 5, Period.HOUR),
            # More than 60 hours, or a median under 20 thumbs in an hour.
            (4 * 61, 5, Period.THREE_HOURS),
            (4 * 24, 4, Period.THREE_HOURS),
            (4 * 24, 1, Period.SIX_HOURS),
            (4 * 24 * 14, 20, Period.SIX_HOURS),
            (4 * 24 * 59, 1, Period.DAY),
            (4 * 24 * 60, 20, Period.DAY),
            (4 * 24 * 61, 20, Period.WEEK),
            # Nothing fits.
            (4, 1, Period.WEEK),
            (4 * 24 * 365 * 30, 1, Period.WEEK),
        ],
    )
    def test_the_shortest_period_is_chosen(self, slots: int, thumbs: int, expected: Period) -> None:
        """It is the shortest with at most 60 points and a median of at least 20 thumbs."""
        start = at("2025-12-01T00:00")  # a Monday
        # Only the ends of a long time, so that the test is fast.
        numbers = range(slots) if slots < 10_000 else (0, slots - 1)
        found = {start + SLOT * number: Summary(positive=thumbs) for number in numbers}
        assert fitting_period(found, ZoneInfo("UTC")) == expected

    def test_gaps_count(self) -> None:
        """A period without feedback has no thumbs, so that rare busy hours do not make a short period fit."""
        slots = {at("2026-01-01T00:00") + timedelta(hours=18 * number): Summary(positive=30) for number in range(8)}
        assert fitting_period(slots, ZoneInfo("UTC")) == Period.DAY

    def test_neutral_ratings_are_not_thumbs(self) -> None:
        """Without thumbs, or without feedback, the longest period is chosen."""
        for slots in ({}, {at("2026-01-01T00:00"): Summary(neutral=100)}):
            assert fitting_period(slots, ZoneInfo("Europe/Berlin")) == Period.WEEK


class TestBounds:
    @pytest.mark.parametrize("period", Period)
    def test_no_feedback(self, period: Period) -> None:
        """Without feedback there are no points."""
        assert trend({}, period, ZoneInfo("UTC")) == []

    @pytest.mark.parametrize("period", Period)
    def test_the_whole_range_of_feedback(self, period: Period) -> None:
        """The earliest and the latest time of feedback can be represented in every zone."""
        for edge in (EPOCH, at("9998-12-31T23:45")):
            for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
                slots = {edge: Summary(positive=1)}
                check(trend(slots, period, ZoneInfo(zone)), slots)

    @pytest.mark.parametrize(("period", "length"), [*zip(Period, (1, 3, 6, 24, 168), strict=True)])
    def test_too_long(self, period: Period, length: int) -> None:
        """A trend of more than 20,000 points is refused with a suggestion; one of 20,000 is not."""
        start = at("1973-01-01T00:00")  # a Monday
        for periods, fits in ((19_990, True), (20_010, False)):
            slots = {start: Summary(positive=1), start + timedelta(hours=periods * length): Summary(negative=1)}
            if fits:
                assert len(trend(slots, period, ZoneInfo("UTC"))) == periods + 1
                continue
            with pytest.raises(
                InvalidQuery, match=f"by '{period.value}' would have more than 20,000 points; narrow it"
            ):
                trend(slots, period, ZoneInfo("UTC"))


class TestZones:
    def test_known(self) -> None:
        """A zone is found by its IANA name."""
        assert zone_named("Europe/Berlin") == ZoneInfo("Europe/Berlin")

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "Mars/Olympus",
            "Europe",
            "../etc/passwd",
            "/etc/passwd",
            "a\x00b",
            "\ud800",
            "x" * 5000,
            "zone.tab",
            "UTC ",
        ],
    )
    def test_unknown(self, name: str) -> None:
        """Any other text is an invalid query, even if it is a path of a file."""
        with pytest.raises(InvalidQuery, match="Unknown time zone"):
            zone_named(name)

    @given(st.text(max_size=20))
    def test_any_text(self, name: str) -> None:
        """Any text is either a zone or an invalid query."""
        try:
            zone = zone_named(name)
        except InvalidQuery as error:
            message = str(error)
        else:
            assert zone.key == name
            return
        assert repr(name) in message

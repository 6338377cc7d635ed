"""Satisfaction by weekday and hour."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from harken import Summary
from harken.domain.insight.comparison import Verdict
from harken.domain.insight.heat_map import heat_map, is_short
from harken.domain.instants import slot_number, slot_start
from harken.testing.builders import NOON

_START = slot_start(slot_number(NOON))


def test_an_hour_that_is_worse_is_marked() -> None:
    """All other hours stay unmarked, and so does a bad hour with few ratings."""
    slots = {_START + timedelta(hours=hour): Summary(positive=70, negative=30) for hour in range(48)}
    slots[_START + timedelta(hours=5)] = Summary(positive=10, negative=90)
    slots[_START + timedelta(hours=7)] = Summary(negative=9)
    cells = heat_map(slots, ZoneInfo("UTC"))
    marked = [cell for cell in cells if cell.verdict is not Verdict.UNDECIDED]
    worst = _START + timedelta(hours=5)
    assert [(cell.weekday, cell.hour, cell.verdict) for cell in marked] == [
        (worst.weekday(), worst.hour, Verdict.WORSE)
    ]


def test_cells_are_of_the_zone() -> None:
    """Weekdays and hours are local, and quarter hours of one hour add up."""
    slots = {_START + timedelta(minutes=15 * quarter): Summary(positive=1) for quarter in range(4)}
    local = _START.astimezone(ZoneInfo("Asia/Tokyo"))
    (cell,) = heat_map(slots, ZoneInfo("Asia/Tokyo"))
    assert (cell.weekday, cell.hour, cell.summary.positive) == (local.weekday(), local.hour, 4)
    assert heat_map({}, ZoneInfo("UTC")) == []


def test_dates_are_cells_for_less_than_two_weeks() -> None:
    """Up to 13 days are short: each date can have its own cells. Otherwise, cells are hours of weekdays."""
    slots = {
        days: {_START + timedelta(days=day): Summary(positive=1) for day in range(days)} for days in (0, 1, 13, 14)
    }
    assert [days for days in slots if is_short(slots[days], ZoneInfo("UTC"))] == [0, 1, 13]
    by_date = heat_map(slots[13], ZoneInfo("UTC"), by_date=True)
    assert [cell.day for cell in by_date] == [_START.date() + timedelta(days=day) for day in range(13)]
    by_weekday = heat_map(slots[14], ZoneInfo("UTC"))
    assert [(cell.day, cell.summary.positive) for cell in by_weekday] == [(None, 2)] * 7


def test_cells_have_their_design_effect() -> None:
    """The interval of a cell is as wide as that of the independent ratings that its own are worth."""
    (cell,) = heat_map({_START: Summary(positive=30, negative=10)}, ZoneInfo("UTC"), 4, 2)
    assert cell.estimate.interval == Summary(positive=15, negative=5).interval

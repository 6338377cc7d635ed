"""Satisfaction by weekday and hour."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from harken import Summary
from harken.domain.insight.comparison import Verdict
from harken.domain.insight.heat_map import heat_map
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
    """If dates are preferred, each has its own cells up to 13 days; from 14 on, cells are hours of weekdays."""
    cells = {
        days: heat_map(
            {_START + timedelta(days=day): Summary(positive=1) for day in range(days)},
            ZoneInfo("UTC"),
            prefer_dates=True,
        )
        for days in (13, 14)
    }
    assert [cell.day for cell in cells[13]] == [_START.date() + timedelta(days=day) for day in range(13)]
    assert [(cell.day, cell.summary.positive) for cell in cells[14]] == [(None, 2)] * 7

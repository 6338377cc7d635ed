"""Satisfaction by day and hour, and which of these cells differ by more than chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from attrs import frozen

from harken.domain.insight.comparison import Comparison, Verdict, decide_together
from harken.domain.summary import Summary

#: A cell with fewer thumbs says nothing.
MIN_THUMBS: Final = 10
#: From this number of days on, each weekday occurs at least twice.
_TWO_WEEKS: Final = 14


@frozen
class Cell:
    """An hour of a day of the week, or of a date.

    Attributes:
        weekday: 0 for Monday to 6 for Sunday.
        hour: the local hour, 0 to 23.
        summary: the statistics of the feedback given then.
        verdict: whether it is better or worse than all other hours together by more than chance, among all cells.
        day: the local date, if the cells are hours of dates.
    """

    weekday: int
    hour: int
    summary: Summary
    verdict: Verdict
    day: date | None = None


def heat_map(
    slots: Mapping[datetime, Summary], zone: ZoneInfo, *, effect: float = 1.0, prefer_dates: bool = False
) -> list[Cell]:
    """The cells that have feedback, in order of day and hour.

    Args:
        slots: the statistics of quarter hours, by their start in UTC.
        zone: whose days and hours.
        effect: the design effect of the selection.
        prefer_dates: whether the cells are hours of dates, if the feedback spans less than 14 days.
    """
    by_date = prefer_dates and _count_days(slots, zone) < _TWO_WEEKS
    sums: defaultdict[tuple[date | None, int, int], Summary] = defaultdict(Summary)
    for slot, summary in slots.items():
        local = slot.astimezone(zone)
        sums[local.date() if by_date else None, local.weekday(), local.hour] += summary
    total = sum(sums.values(), Summary())
    compared = decide_together(
        {
            place: Comparison(total - summary, summary, effect, effect)
            for place, summary in sums.items()
            if summary.decided >= MIN_THUMBS
        }
    )
    return [
        Cell(weekday, hour, sums[place], compared[place].verdict if place in compared else Verdict.UNDECIDED, day)
        for place in sorted(sums)
        for day, weekday, hour in (place,)
    ]


def _count_days(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> int:
    if not slots:
        return 0
    first, last = (moment.astimezone(zone).date() for moment in (min(slots), max(slots)))
    return (last - first).days + 1

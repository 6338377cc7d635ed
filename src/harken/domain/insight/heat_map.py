"""Satisfaction by day and hour, and which of these cells differ by more than chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from attrs import frozen

from harken.domain.insight.comparison import Comparison, Estimate, Verdict, decide_together
from harken.domain.summary import Summary

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

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
        design_effect: how many ratings are worth one independent rating, as authors rate several times in a cell; that
            of all cells together.
    """

    weekday: int
    hour: int
    summary: Summary
    verdict: Verdict
    day: date | None = None
    design_effect: float = 1.0

    @property
    def estimate(self) -> Estimate:
        """The statistics, with an interval that takes repeated authors into account."""
        return Estimate(self.summary, self.design_effect)


def heat_map(
    slots: Mapping[datetime, Summary],
    zone: ZoneInfo,
    total_effect: float = 1.0,
    cell_effect: float = 1.0,
    *,
    by_date: bool = False,
) -> list[Cell]:
    """The cells that have feedback, in order of day and hour.

    Args:
        slots: the statistics of quarter hours, by their start in UTC.
        zone: whose days and hours.
        total_effect: the design effect of the selection.
        cell_effect: the design effect within cells.
        by_date: whether the cells are hours of dates.
    """
    parts: defaultdict[tuple[date | None, int, int], list[Summary]] = defaultdict(list)
    for slot, summary in slots.items():
        parts[place_of(slot, zone, by_date=by_date)].append(summary)
    sums = {place: Summary.sum_of(part) for place, part in parts.items()}
    total = Summary.sum_of(sums.values())
    compared = decide_together(
        {
            place: Comparison(total - summary, summary, total_effect, cell_effect)
            for place, summary in sums.items()
            if summary.decided >= MIN_THUMBS
        }
    )
    verdicts = {place: comparison.verdict for place, comparison in compared.items()}
    return [
        Cell(weekday, hour, summary, verdicts.get((day, weekday, hour), Verdict.UNDECIDED), day, cell_effect)
        for (day, weekday, hour), summary in sorted(sums.items(), key=itemgetter(0))
    ]


def place_of(slot: datetime, zone: ZoneInfo, *, by_date: bool) -> tuple[date | None, int, int]:
    """The day, weekday and hour of the cell of a slot; the day is ``None`` if cells are not hours of dates."""
    local = slot.astimezone(zone)
    return local.date() if by_date else None, local.weekday(), local.hour


def is_short(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> bool:
    """Whether the feedback spans less than 14 days."""
    if not slots:
        return True
    first, last = (moment.astimezone(zone).date() for moment in (min(slots), max(slots)))
    return (last - first).days + 1 < _TWO_WEEKS

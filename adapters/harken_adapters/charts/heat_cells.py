"""The cells of a heat map: by date for less than two weeks of feedback, else by weekday."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from attrs import frozen

from harken.domain.insight.comparison import Comparison, Verdict, decide_together
from harken.domain.insight.heat_map import MIN_THUMBS, Cell, heat_map
from harken.domain.summary import Summary

#: The least number of dates for which rows are weekdays.
_TWO_WEEKS: Final = 14


@frozen
class DateCell:
    """An hour of a date.

    Attributes:
        day: the local date.
        hour: the local hour, 0 to 23.
        summary: the statistics of the feedback given then.
        verdict: whether it differs from all other hours together by more than chance, corrected for many cells.
    """

    day: date
    hour: int
    summary: Summary
    verdict: Verdict


def heat_cells(
    slots: Mapping[datetime, Summary], zone: ZoneInfo, *, effect: float = 1.0
) -> list[Cell] | list[DateCell]:
    """The cells that have feedback, sorted by row and hour. Rows are dates for less than 14 days, else weekdays.

    Args:
        slots: the statistics of quarter hours, by their start in UTC.
        zone: the zone of days and hours.
        effect: the design effect of the selection.
    """
    if not slots:
        return []
    first, last = (moment.astimezone(zone).date() for moment in (min(slots), max(slots)))
    if (last - first).days + 1 >= _TWO_WEEKS:
        return heat_map(slots, zone, effect=effect)
    return date_cells(slots, zone, effect=effect)


def date_cells(slots: Mapping[datetime, Summary], zone: ZoneInfo, *, effect: float = 1.0) -> list[DateCell]:
    """The same as :func:`harken.domain.insight.heat_map.heat_map`, by date instead of weekday."""
    sums: defaultdict[tuple[date, int], Summary] = defaultdict(Summary)
    for slot, summary in slots.items():
        local = slot.astimezone(zone)
        sums[local.date(), local.hour] += summary
    total = sum(sums.values(), Summary())
    compared = decide_together(
        {
            place: Comparison(total - summary, summary, effect, effect)
            for place, summary in sums.items()
            if summary.decided >= MIN_THUMBS
        }
    )
    return [
        DateCell(*place, sums[place], compared[place].verdict if place in compared else Verdict.UNDECIDED)
        for place in sorted(sums)
    ]

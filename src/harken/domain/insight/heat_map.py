"""Satisfaction by weekday and hour, and which of these cells differ by more than chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from attrs import frozen

from harken.domain.insight.comparison import Comparison, Verdict, decide_together
from harken.domain.summary import Summary

#: A cell with fewer thumbs says nothing.
MIN_THUMBS: Final = 10


@frozen
class Cell:
    """An hour of a day of the week.

    Attributes:
        weekday: 0 for Monday to 6 for Sunday.
        hour: the local hour, 0 to 23.
        summary: the statistics of the feedback given then.
        verdict: whether it is better or worse than all other hours together by more than chance, among all cells.
    """

    weekday: int
    hour: int
    summary: Summary
    verdict: Verdict


def heat_map(slots: Mapping[datetime, Summary], zone: ZoneInfo, *, effect: float = 1.0) -> list[Cell]:
    """The cells that have feedback, in order of weekday and hour.

    Args:
        slots: the statistics of quarter hours, by their start in UTC.
        zone: whose weekdays and hours.
        effect: the design effect of the selection.
    """
    sums: defaultdict[tuple[int, int], Summary] = defaultdict(Summary)
    for slot, summary in slots.items():
        local = slot.astimezone(zone)
        sums[local.weekday(), local.hour] += summary
    total = sum(sums.values(), Summary())
    compared = decide_together(
        {
            place: Comparison(total - summary, summary, effect, effect)
            for place, summary in sums.items()
            if summary.decided >= MIN_THUMBS
        }
    )
    return [
        Cell(*place, sums[place], compared[place].verdict if place in compared else Verdict.UNDECIDED)
        for place in sorted(sums)
    ]

"""The choice of the length of the points of a trend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Final

from harken.domain.summary import Summary
from harken.domain.trend import TrendPoint

MOST_POINTS: Final = 60
_ENOUGH_THUMBS: Final = 20
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)
_LENGTHS: Final = (3 * _HOUR, 6 * _HOUR, _DAY, _WEEK)


def merge_points(hourly: Sequence[TrendPoint]) -> list[TrendPoint]:
    """Merge hours into the shortest points that give at most 60 points and a median of at least 20 thumbs.

    A point is 1, 3 or 6 hours, a day or a week long; weeks are used if no length meets both conditions.

    Args:
        hourly: from :meth:`harken.Harken.trend`, by ``"hour"``.
    """
    points = list(hourly)
    for length in _LENGTHS:
        if not points or _is_suitable(points):
            break
        points = _merge(hourly, length)
    return points


def _is_suitable(points: Sequence[TrendPoint]) -> bool:
    return len(points) <= MOST_POINTS and median(point.summary.decided for point in points) >= _ENOUGH_THUMBS


def _merge(hourly: Sequence[TrendPoint], length: timedelta) -> list[TrendPoint]:
    """Merge hours into points of this length on the wall clock, aligned to midnight, and weeks to Monday."""
    sums: defaultdict[datetime, Summary] = defaultdict(Summary)
    for point in hourly:
        midnight = point.start.replace(hour=0, minute=0, second=0, fold=0)
        if length == _WEEK:
            start = midnight - midnight.weekday() * _DAY
        else:
            start = midnight + point.start.hour * _HOUR // length * length
        sums[start] += point.summary
    return [TrendPoint(start, start + length, summary, hourly[0].design_effect) for start, summary in sums.items()]

"""The choice of the length of the points of a trend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

from harken.domain.summary import Summary
from harken.domain.trend import Period, TrendPoint, trend

MOST_POINTS: Final = 60
_ENOUGH_THUMBS: Final = 20
_HOUR: Final = timedelta(hours=1)


def trend_points(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> list[TrendPoint]:
    """The trend with the shortest points that give at most 60 points and a median of at least 20 thumbs.

    A point is 1, 3 or 6 hours, a day or a week long; weeks are used if no length meets both conditions.

    Args:
        slots: the statistics of quarter hours, by their start in UTC.
        zone: the zone of days and hours.
    """
    if not slots:
        return []
    points: list[TrendPoint] = []
    for points in _list_candidates(slots, zone):
        if len(points) <= MOST_POINTS and median(point.summary.decided for point in points) >= _ENOUGH_THUMBS:
            break
    return points


def _list_candidates(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> Iterator[list[TrendPoint]]:
    """Trends from the shortest points to the longest, without those that clearly have too many points."""
    span = max(slots) - min(slots)
    if span <= (MOST_POINTS + 1) * 6 * _HOUR:
        hourly = trend(slots, Period.HOUR, zone)
        yield hourly
        yield merge_hours(hourly, 3)
        yield merge_hours(hourly, 6)
    if span <= (MOST_POINTS + 1) * 24 * _HOUR:
        yield trend(slots, Period.DAY, zone)
    yield trend(slots, Period.WEEK, zone)


def merge_hours(hourly: Sequence[TrendPoint], hours: int) -> list[TrendPoint]:
    """Merge points of one hour into points of ``hours`` hours on the wall clock, aligned to midnight."""
    sums: defaultdict[datetime, Summary] = defaultdict(Summary)
    for point in hourly:
        start = point.start.replace(hour=point.start.hour // hours * hours, minute=0, second=0, fold=0)
        sums[start] += point.summary
    return [TrendPoint(start, start + hours * _HOUR, summary) for start, summary in sums.items()]

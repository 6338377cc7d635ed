"""The choice of the length of the points of a trend."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from zoneinfo import ZoneInfo

from attrs import evolve

from harken.domain.trend import TrendPoint, fitting_period, trend


def merge_points(hourly: Sequence[TrendPoint]) -> list[TrendPoint]:
    """Merge hours into the shortest points that give at most 60 points and a median of at least 20 thumbs.

    A point is 1, 3 or 6 hours, a day or a week long; weeks are used if no length meets both conditions.

    Args:
        hourly: from :meth:`harken.Harken.trend`, by ``"hour"``.
    """
    if not hourly:
        return []
    hours = {point.start.astimezone(UTC): point.summary for point in hourly}
    zone = hourly[0].start.tzinfo
    assert isinstance(zone, ZoneInfo)  # noqa: S101 - set by every trend
    points = trend(hours, fitting_period(hours, zone), zone)
    return [evolve(point, design_effect=hourly[0].design_effect) for point in points]

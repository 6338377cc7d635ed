"""What a trend shows, in words."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final

from attrs import frozen

from harken.domain.insight.change_points import SatisfactionChange
from harken.domain.summary import Summary
from harken.domain.texts import amount
from harken.domain.trend import TrendPoint
from harken_adapters.charts.labels import (
    DAY,
    WEEKDAYS,
    bucket_text,
    dated_text,
    length_of,
    moment_text,
    satisfaction_text,
    weekday_text,
    zone_text,
)
from harken_adapters.charts.trend_plot import FEW_THUMBS, is_few, is_solid

NO_FEEDBACK: Final = "No feedback in this period."
_MOST_CHANGES: Final = 2


def is_unfinished(points: Sequence[TrendPoint], now: datetime | None) -> bool:
    """Whether the last point contains ``now``."""
    return now is not None and bool(points) and points[-1].start <= now < points[-1].end


@frozen
class PlacedChange:
    """A change of satisfaction in a trend.

    Attributes:
        index: of the first point after the change, at least 1.
        change: the statistics before and after it.
        until: when satisfaction changed again, if it did.
    """

    index: int
    change: SatisfactionChange
    until: datetime | None

    @property
    def points(self) -> float:
        """How much satisfaction rose (or fell, if negative), in percentage points."""
        return self.change.after.satisfaction - self.change.before.satisfaction


def place_changes(points: Sequence[TrendPoint], changes: Iterable[SatisfactionChange]) -> list[PlacedChange]:
    """The changes in order, without those that are not after the first of ``points`` and before the end."""
    starts = [point.start.timestamp() for point in points]
    known = sorted((one for one in changes if points and one.at < points[-1].end), key=lambda one: one.at)
    placed = [
        PlacedChange(bisect_right(starts, change.at.timestamp()) - 1, change, after.at if after else None)
        for change, after in zip_longest(known, known[1:])
    ]
    return [one for one in placed if one.index > 0]


def largest_changes(changes: Iterable[PlacedChange]) -> list[PlacedChange]:
    """The two largest of these changes, in order."""
    by_size = sorted(changes, key=lambda one: (-abs(one.points), one.index))
    return sorted(by_size[:_MOST_CHANGES], key=lambda one: one.index)


def change_texts(points: Sequence[TrendPoint], placed: PlacedChange) -> tuple[str, str]:
    """The direction and time of a change, and its size: ``Fell at Sat 18:00``, ``23.1% before, 13.3% since``.

    If satisfaction changed again, until when: ``23.1% before, 13.3% until Sun 09:00``.
    """
    verb = "Rose" if placed.points > 0 else "Fell"
    length = length_of(points)
    # A change within a point of several hours has its own hour, as in the headline.
    when = moment_text(placed.change.at if length < DAY else points[placed.index].start, length, points[-1].start)
    before, after = (satisfaction_text(side) for side in (placed.change.before, placed.change.after))
    return f"{verb} {when}", f"{before} before, {after} {_until_text(placed.until, points)}"


def _until_text(until: datetime | None, points: Sequence[TrendPoint]) -> str:
    if until is None:
        return "since"
    if length_of(points) < DAY:
        return f"until {WEEKDAYS[until.weekday()]} {until:%H:%M}"
    return f"until {dated_text(until, points[-1].start)}"


def trend_sentence(points: Sequence[TrendPoint], changes: Sequence[PlacedChange]) -> str:
    """A description of a trend and its changes in one sentence; ``points`` must not be empty."""
    total = sum((point.summary for point in points), Summary())
    what = f"Satisfaction by {bucket_text(length_of(points))}, {trend_span(points)}"
    parts = [f"{satisfaction_text(total)} of {amount(total.decided, 'thumb')} in all"]
    if extent := _extent_text([point.summary for point in points]):
        parts.insert(0, extent)
    for change in changes:
        event, size = change_texts(points, change)
        parts.append(f"it {event[0].lower()}{event[1:]}, {size}")
    return f"{what}: {'; '.join(parts)}."


def _extent_text(summaries: Sequence[Summary]) -> str:
    """The lowest and highest satisfaction of the points with enough thumbs; empty if the total says as much."""
    solid = [summary.satisfaction for summary in summaries if is_solid(summary)]
    if not solid:
        return ""
    least, most = f"{min(solid):.0f}%", f"{max(solid):.0f}%"
    extent = least if least == most else f"between {least} and {most}"
    if any(map(is_few, summaries)):
        # The total counts the other points too, so it may be outside.
        return f"{extent} where there are at least {FEW_THUMBS} thumbs"
    return "" if least == most else extent


def trend_span(points: Sequence[TrendPoint]) -> str:
    """The days of a trend and its zone: ``Fri 20 Feb to Sun 22 Feb 2026, UTC``."""
    first, last = points[0].start, points[-1].end.replace(tzinfo=None) - timedelta(microseconds=1)
    until = f"{weekday_text(last)} {last.year}"
    if first.date() == last.date():
        return f"{until}, {zone_text(first)}"
    year = "" if first.year == last.year else f" {first.year}"
    return f"{weekday_text(first)}{year} to {until}, {zone_text(first)}"

"""The labels of the time axis, chosen so that they do not overlap at any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from math import ceil
from typing import Final

from attrs import frozen

from harken.domain.trend import TrendPoint
from harken_adapters.charts.labels import DAY, day_text, length_of, weekday_text
from harken_adapters.charts.svg import Element, element, line, percent

_MOST_LABELS: Final = 8
#: The largest number of days for which hours are labelled.
_FEW_DAYS: Final = 4
#: The width of the label of a day, as a share of the narrowest picture with labels of hours.
_LABEL: Final = 0.14
#: The same as a share of the narrowest picture.
_LABEL_WHEN_NARROW: Final = 0.24
_EDGE: Final = 0.03


@frozen
class Tick:
    """A label of the time axis.

    Attributes:
        share: its position, from 0 to 1.
        label: its text.
        starts_day: whether it marks the start of a day; it is then drawn to the right of a longer tick.
        is_optional: whether narrow pictures hide it.
    """

    share: float
    label: str
    starts_day: bool = False
    is_optional: bool = False

    def elements(self, top: float) -> Iterator[Element]:
        """The tick and its text, below an axis at ``top`` pixels."""
        x = percent(self.share)
        yield line("g", (x, x), (top, top + (10 if self.starts_day else 4)))
        anchor = "start" if self.starts_day or self.share < _EDGE else "end" if self.share > 1 - _EDGE else "middle"
        yield element(
            "text",
            self.label,
            class_="only-l" if self.is_optional else None,
            x=x,
            dx=5 if self.starts_day else None,
            y=top + 18,
            text_anchor=None if anchor == "start" else anchor,
        )


def time_ticks(points: Sequence[TrendPoint]) -> list[Tick]:
    """The labels for ``points``, which must not be empty, in order."""
    if length_of(points) >= DAY:
        return _ticks_of_points(points)
    starts = [place for place, point in enumerate(points) if place == 0 or _is_new_day(points[place - 1], point)]
    if len(starts) > _FEW_DAYS:
        return _ticks_of_days(points, starts)
    return _ticks_of_hours(points, starts)


def _is_new_day(before: TrendPoint, point: TrendPoint) -> bool:
    return before.start.date() != point.start.date()


def _ticks_of_points(points: Sequence[TrendPoint]) -> list[Tick]:
    every = ceil(len(points) / _MOST_LABELS)
    chosen = range(0, len(points), every)
    labels = _format_dates([points[place].start for place in chosen])
    return [
        Tick((place + 0.5) / len(points), label, is_optional=number % 2 == 1)
        for number, (place, label) in enumerate(zip(chosen, labels, strict=True))
    ]


def _ticks_of_days(points: Sequence[TrendPoint], starts: Sequence[int]) -> list[Tick]:
    chosen = starts[:: ceil(len(starts) / _MOST_LABELS)]
    if len(chosen) > 1 and chosen[1] - chosen[0] < _LABEL_WHEN_NARROW / 2 * len(points):
        chosen = chosen[1:]
    return [
        Tick(place / len(points), day_text(points[place].start), starts_day=True, is_optional=number % 2 == 1)
        for number, place in enumerate(chosen)
        if place / len(points) < 1 - _LABEL / 2
    ]


def _ticks_of_hours(points: Sequence[TrendPoint], starts: Sequence[int]) -> list[Tick]:
    count = len(points)
    if len(starts) > 1 and starts[1] < _LABEL_WHEN_NARROW * count:
        starts = starts[1:]
    days = [
        Tick(
            place / count,
            weekday_text(points[place].start),
            starts_day=True,
            is_optional=place > (1 - _LABEL_WHEN_NARROW) * count,
        )
        for place in starts
        if place <= (1 - _LABEL) * count
    ]
    hours = [
        Tick(place / count, f"{point.start:%H:%M}", is_optional=True)
        for place, point in enumerate(points)
        if point.start.hour % 6 == 0 and point.start.hour and _is_free(place / count, days)
    ]
    return sorted([*days, *hours], key=lambda tick: tick.share)


def _is_free(share: float, days: Sequence[Tick]) -> bool:
    return all(not -_LABEL / 3 < share - day.share < _LABEL for day in days)


def _format_dates(starts: Sequence[datetime]) -> Iterator[str]:
    """Dates, with the year where it differs from that of the previous label."""
    spans_years = starts[0].year != starts[-1].year
    year = None
    for start in starts:
        yield f"{day_text(start)} {start.year}" if spans_years and start.year != year else day_text(start)
        year = start.year

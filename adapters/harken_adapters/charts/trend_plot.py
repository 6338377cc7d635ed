"""The geometry of a trend chart: the points, their positions and the vertical axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final

from attrs import field, frozen

from harken.domain.insight.comparison import Estimate
from harken.domain.summary import Interval, Summary
from harken.domain.trend import TrendPoint
from harken_adapters.charts.axis import Axis, satisfaction_axis
from harken_adapters.charts.labels import length_of, span_text
from harken_adapters.charts.svg import Element, element, number

#: Points with fewer thumbs are not connected to others.
FEW_THUMBS: Final = 10
#: The height of the upper part, which shows satisfaction, in pixels.
LINES_HEIGHT: Final = 184


@frozen
class TrendPlot:
    """The points of a trend and their positions.

    Attributes:
        points: at least one of them has feedback.
        previous: the summary of the previous period for each point; zero where it has none.
        is_running: whether the last point has not ended.
        axis: the axis of satisfaction.
    """

    points: Sequence[TrendPoint]
    previous: Sequence[Summary]
    is_running: bool
    axis: Axis = field(init=False)

    @axis.default
    def _choose_axis(self) -> Axis:
        return satisfaction_axis(axis_values([point.estimate for point in self.points], self.previous))

    @property
    def length(self) -> timedelta:
        """The length of a point."""
        return length_of(self.points)

    @property
    def last(self) -> int:
        """The index of the last point."""
        return len(self.points) - 1

    def summary(self, index: int) -> Summary:
        """The summary of a point."""
        return self.points[index].summary

    def interval(self, index: int) -> Interval:
        """The interval of the satisfaction of a point."""
        return self.points[index].estimate.interval

    def middle(self, index: int) -> float:
        """The horizontal position of a point, from 0 to 1."""
        return (index + 0.5) / len(self.points)

    def start(self, index: int) -> float:
        """The horizontal position at which a point begins, from 0 to 1."""
        return index / len(self.points)

    def y(self, value: float) -> float:
        """The vertical position of a percentage, in pixels from the top."""
        return (1 - self.axis.share(value)) * LINES_HEIGHT

    def time_element(self, index: int) -> Element:
        """The time of a point, for tables."""
        so_far = " so far" if self.is_running and index == self.last else ""
        point = self.points[index]
        return element("time", f"{span_text(point)}{so_far}", datetime=point.start.isoformat(), class_="nowrap")

    def commands(self, indices: Iterable[int], value: Callable[[int], float]) -> str:
        """The commands of a path through the values of points, without the initial ``M``.

        Coordinates run from 0 to 1000 across, and in pixels down.
        """
        return "L".join(f"{number(self.middle(index) * 1000)} {number(self.y(value(index)))}" for index in indices)

    def runs(self, condition: Callable[[Summary], bool]) -> list[range]:
        """The indices of consecutive points that meet a condition, one range for each run."""
        return find_runs([point.summary for point in self.points], condition)


def find_runs(summaries: Sequence[Summary], condition: Callable[[Summary], bool]) -> list[range]:
    """The indices of consecutive summaries that meet a condition, one range for each run."""
    grouped = groupby(range(len(summaries)), key=lambda index: condition(summaries[index]))
    runs = [list(indices) for meets, indices in grouped if meets]
    return [range(run[0], run[-1] + 1) for run in runs]


def is_solid(summary: Summary) -> bool:
    """Whether a point has enough thumbs to be connected to others."""
    return summary.decided >= FEW_THUMBS


def is_few(summary: Summary) -> bool:
    """Whether a point has some thumbs, but too few to be connected to others."""
    return 0 < summary.decided < FEW_THUMBS


def is_silent(summary: Summary) -> bool:
    """Whether a point has no feedback."""
    return summary.total == 0


def axis_values(estimates: Iterable[Estimate], previous: Iterable[Summary] = ()) -> Iterator[float]:
    """The percentages that the axis has to include.

    The intervals of points with few thumbs are left out: they are clipped at the ends of the axis. If all points have
    few, their intervals are what there is to see.
    """
    rated = [one for one in estimates if one.summary.decided]
    has_many = any(is_solid(one.summary) for one in rated)
    for estimate in rated:
        if is_solid(estimate.summary) or not has_many:
            yield from (estimate.interval.low, estimate.interval.high)
        else:
            yield estimate.summary.satisfaction
    yield from (summary.satisfaction for summary in previous if is_solid(summary))

"""The ranges and grid lines of axes."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Final

from attrs import frozen

#: An axis starts above zero only if all values exceed this.
_ALL_ABOVE: Final = 40
_MULTIPLE: Final = 20
_LEAST_HEIGHT: Final = 20
_MOST_LINES: Final = 4
_STEPS: Final = (5, 10, 20, 25)
_TOPS: Final = (10, 20, 40, 60, 80, 100)


@frozen
class Axis:
    """A vertical axis in percent.

    Attributes:
        low: the lower end, 0 to 80.
        high: the upper end, at least 20 more.
        step: the distance between grid lines, of which there are at most four above the lowest.
    """

    low: int
    high: int
    step: int

    @property
    def ticks(self) -> range:
        """The values of the grid lines, in ascending order."""
        return range(self.low, self.high + 1, self.step)

    def share(self, value: float) -> float:
        """The position of a value, 0 at the lower end and 1 at the upper end; values outside are clipped."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


def satisfaction_axis(values: Iterable[float]) -> Axis:
    """The axis for percentages. It starts at 0 unless all are above 40, and is 0 to 100 if there are none."""
    known = [min(value, 100.0) for value in values]
    if not known:
        return Axis(0, 100, 25)
    least, most = min(known), max(known)
    low = 0 if least <= _ALL_ABOVE else min(80, int(least // _MULTIPLE) * _MULTIPLE)
    step = next(step for step in _STEPS if low + _MOST_LINES * step >= most)
    lines = max(ceil((most - low) / step), ceil(_LEAST_HEIGHT / step))
    return Axis(low, min(100, low + lines * step), step)


def scale_top(values: Iterable[float]) -> int:
    """The upper end of an axis that starts at 0 and includes all values, in percent."""
    most = max(values, default=0.0)
    return next((top for top in _TOPS if top >= most), 100)

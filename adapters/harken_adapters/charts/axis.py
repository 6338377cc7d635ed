"""Where axes begin and end, and where their lines stand."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Final

from attrs import frozen

#: An axis starts above zero only if all that it shows lies above this.
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
        low: where it starts, 0 to 80.
        high: where it ends, at least 20 more.
        step: from one line to the next; at most four lines besides the lowest.
    """

    low: int
    high: int
    step: int

    @property
    def ticks(self) -> range:
        """The values that have a line, from the lowest on."""
        return range(self.low, self.high + 1, self.step)

    def share(self, value: float) -> float:
        """How far up a value stands, from 0 to 1; values outside stand at the nearer end."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


def satisfaction_axis(values: Iterable[float]) -> Axis:
    """The axis for percentages: from 0, unless all lie above 40; from 0 to 100 where there are none."""
    known = [min(value, 100.0) for value in values]
    if not known:
        return Axis(0, 100, 25)
    least, most = min(known), max(known)
    low = 0 if least <= _ALL_ABOVE else min(80, int(least // _MULTIPLE) * _MULTIPLE)
    step = next(step for step in _STEPS if low + _MOST_LINES * step >= most)
    lines = max(ceil((most - low) / step), ceil(_LEAST_HEIGHT / step))
    return Axis(low, min(100, low + lines * step), step)


def scale_top(values: Iterable[float]) -> int:
    """Where a horizontal axis from 0 ends, in percent, so that all values are on it."""
    most = max(values, default=0.0)
    return next((top for top in _TOPS if top >= most), 100)

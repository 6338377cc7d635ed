"""What is measured, as rows of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Final

from attrs import frozen

HEADER: Final = f"{'':<66} {'mean':>7}    {'spread':<6} {'min':>7} {'max':>7}  bound of the mean"
_BOUND: Final = re.compile(r"(?:(?P<least>\S+) to (?P<most>\S+)|>= (?P<at_least>\S+)|<= (?P<at_most>\S+))$")


@frozen
class Row:
    """A quantity.

    Attributes:
        name: what was measured.
        values: one for each seed.
        bound: of the mean, as text: ``>= .9``, ``<= .05`` or ``.93 to .97``, with anything before it; empty if the
            quantity is shown for comparison only.
    """

    name: str
    values: Sequence[float]
    bound: str = ""

    @property
    def is_missed(self) -> bool:
        """Whether there is a bound, and the mean is outside."""
        return bool(self.bound) and not _is_within(mean(self.values), self.bound)

    def __str__(self) -> str:
        spread = stdev(self.values) if len(self.values) > 1 else 0.0
        numbers = f"{mean(self.values):7.3f} +- {spread:5.3f}  {min(self.values):7.3f} {max(self.values):7.3f}"
        verdict = f"  {self.bound}: {'missed' if self.is_missed else 'met'}" if self.bound else ""
        return f"{self.name:<66} {numbers}{verdict}"


def _is_within(value: float, bound: str) -> bool:
    found = _BOUND.search(bound)
    if found is None:
        raise ValueError(f"{bound!r} is not a bound")
    least, most = found["least"] or found["at_least"], found["most"] or found["at_most"]
    return (least is None or float(least) <= value) and (most is None or value <= float(most))

"""What is measured, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from attrs import frozen


@frozen
class Row:
    """A quantity.

    Attributes:
        name: what was measured.
        values: one for each seed.
        bound: what it should be, as text; empty if it is shown for comparison only.
    """

    name: str
    values: Sequence[float]
    bound: str = ""

    def __str__(self) -> str:
        spread = stdev(self.values) if len(self.values) > 1 else 0.0
        return f"{self.name:<66} {mean(self.values):7.3f} +- {spread:5.3f}  {self.bound}"

"""Comparative measurements: two ways of doing the same alternate, so that load on the machine affects both."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

from attrs import frozen


@frozen
class Result:
    """A measured value, its bound, and how it was measured."""

    name: str
    value: float
    bound: float
    unit: str
    at_most: bool
    detail: str

    @property
    def ok(self) -> bool:
        """Whether the value is within its bound."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        verdict = "ok  " if self.ok else "MISS"
        bound = f"bound {sign} {self.bound:g}{self.unit}"
        return f"{verdict} {self.name}: {self.value:.2f}{self.unit} ({bound}; {self.detail})"


def at_most(name: str, value: float, bound: float, *, unit: str = "x", detail: str) -> Result:
    """A value that should not be larger than its bound."""
    return Result(name, value, bound, unit, at_most=True, detail=detail)


def at_least(name: str, value: float, bound: float, *, unit: str = "x", detail: str) -> Result:
    """A value that should not be smaller than its bound."""
    return Result(name, value, bound, unit, at_most=False, detail=detail)


def seconds(call: Callable[[], object]) -> float:
    """The duration of a call, in seconds."""
    start = perf_counter()
    call()
    return perf_counter() - start


def in_turn(ours: Callable[[], object], bare: Callable[[], object], *, rounds: int) -> tuple[float, float, float]:
    """The median seconds of both, and the median of their ratios by round, after a warm-up."""
    ours(), bare()
    pairs = [(seconds(ours), seconds(bare)) for _ in range(rounds)]
    return (
        median(mine for mine, _ in pairs),
        median(other for _, other in pairs),
        median(mine / other for mine, other in pairs),
    )

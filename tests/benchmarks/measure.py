"""Measuring side by side: two ways of doing the same, in turn, so that a machine's moods hit both."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

from attrs import frozen


@frozen
class Result:
    """A figure, the bound that it should keep, and how it was measured."""

    name: str
    figure: float
    bound: float
    unit: str
    at_most: bool
    detail: str

    @property
    def kept(self) -> bool:
        """Whether the figure keeps its bound."""
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        verdict = "ok  " if self.kept else "MISS"
        wanted = f"wanted {sign} {self.bound:g}{self.unit}"
        return f"{verdict} {self.name}: {self.figure:.2f}{self.unit} ({wanted}; {self.detail})"


def at_most(name: str, figure: float, bound: float, *, unit: str = "x", detail: str) -> Result:
    """A figure that should not be larger than its bound."""
    return Result(name, figure, bound, unit, at_most=True, detail=detail)


def at_least(name: str, figure: float, bound: float, *, unit: str = "x", detail: str) -> Result:
    """A figure that should not be smaller than its bound."""
    return Result(name, figure, bound, unit, at_most=False, detail=detail)


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = perf_counter()
    call()
    return perf_counter() - start


def in_turn(ours: Callable[[], object], bare: Callable[[], object], *, rounds: int) -> tuple[float, float, float]:
    """Median seconds of ours and of the bare way, and the median of their ratios, round by round after a warm-up."""
    ours(), bare()
    pairs = [(seconds(ours), seconds(bare)) for _ in range(rounds)]
    return (
        median(mine for mine, _ in pairs),
        median(other for _, other in pairs),
        median(mine / other for mine, other in pairs),
    )

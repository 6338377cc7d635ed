"""Assertions with messages that explain the failure, and concurrent calls."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from harken.domain.errors import HarkenError
from harken.domain.insight.terms import TermCounts

T = TypeVar("T")


def check_same(actual: object, expected: object) -> None:
    """Check that the values and their representations are equal; 1, 1.0 and True differ.

    Raises:
        AssertionError: the values differ.
    """
    if actual != expected or repr(actual) != repr(expected):
        raise AssertionError(f"The storage returned\n  {actual!r}\nbut the contract requires\n   {expected!r}")


def check_raises(expected: type[HarkenError], call: Callable[[], object]) -> None:
    """Check that the call raises this error.

    Raises:
        AssertionError: the call returns a value.
    """
    try:
        result = call()
    except expected:
        return
    raise AssertionError(f"The contract requires {expected.__name__}, but the storage returned {result!r}")


def at_once(calls: list[Callable[[], T]]) -> list[T]:
    """Run the calls in threads that start together. Returns the results in the order of the calls."""
    start = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def comparable_terms(counts: TermCounts) -> object:
    """Counts of terms in a form in which equal ones look equal: terms come in no particular order."""
    return counts.up, counts.down, sorted(counts.ups.items()), sorted(counts.downs.items())

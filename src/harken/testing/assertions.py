"""What the contract's tests are made of: checks that explain themselves, and calls that race."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from harken.domain.errors import HarkenError
from harken.domain.insight.terms import TermCounts

T = TypeVar("T")


def check_same(actual: object, expected: object) -> None:
    """Both are equal, and look equal: 1, 1.0 and True are not the same.

    Raises:
        AssertionError: they are not.
    """
    if actual != expected or repr(actual) != repr(expected):
        raise AssertionError(f"The storage gave\n  {actual!r}\nbut the contract wants\n  {expected!r}")


def check_raises(expected: type[HarkenError], call: Callable[[], object]) -> None:
    """The call raises this error.

    Raises:
        AssertionError: it raises nothing.
    """
    try:
        result = call()
    except expected:
        return
    raise AssertionError(f"The contract wants {expected.__name__}, but the storage gave {result!r}")


def at_once(calls: list[Callable[[], T]]) -> list[T]:
    """Run the calls in threads that start together, and give their results in order."""
    start = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def comparable_terms(counts: TermCounts) -> object:
    """Counts of terms in a form in which equal ones look equal: terms come in no particular order."""
    return counts.up, counts.down, sorted(counts.ups.items()), sorted(counts.downs.items())

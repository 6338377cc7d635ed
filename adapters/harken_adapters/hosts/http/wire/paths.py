"""What a path leads to, told alike by all hosts, also where it leads nowhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from attrs import frozen

from harken_adapters.hosts.http.wire.problems import nothing_here, other_methods


class Target(Protocol):
    """What a path can lead to: an operation or a page."""

    @property
    def path(self) -> str:
        """The path, with its parameters in braces."""

    @property
    def methods(self) -> tuple[str, ...]:
        """How it can be asked for."""


T = TypeVar("T", bound=Target)


@frozen
class _Way(Generic[T]):
    """A path, split at its slashes, and where it leads."""

    steps: tuple[str, ...]
    target: T

    def parts(self, steps: tuple[str, ...]) -> dict[str, str] | None:
        """What the path's parameters are, if it is this path."""
        parts = {}
        for expected, step in zip(self.steps, steps, strict=True):
            if expected.startswith("{") and step:
                parts[expected[1:-1]] = step
            elif expected != step:
                return None
        return parts


class Paths(Generic[T]):
    """Finds what paths lead to; of two that fit, what was named first."""

    def __init__(self, targets: Iterable[T]) -> None:
        self._ways: dict[int, list[_Way[T]]] = defaultdict(list)
        for target in targets:
            steps = tuple(target.path.split("/"))
            self._ways[len(steps)].append(_Way(steps, target))

    def find(self, method: str, path: str) -> tuple[T, dict[str, str]]:
        """Where a path leads, and what its parameters are. The path is not percent-encoded any more.

        Raises:
            Problem: nowhere, or not with that method.
        """
        there = list(self._leading(path))
        for target, parts in there:
            if method in target.methods:
                return target, parts
        if not there:
            raise nothing_here()
        raise other_methods(_methods(there))

    def methods(self, path: str) -> list[str]:
        """The methods that a path has."""
        return _methods(list(self._leading(path)))

    def _leading(self, path: str) -> Iterator[tuple[T, dict[str, str]]]:
        steps = tuple(path.split("/"))
        for way in self._ways.get(len(steps), ()):
            if (parts := way.parts(steps)) is not None:
                yield way.target, parts


def _methods(there: list[tuple[T, dict[str, str]]]) -> list[str]:
    # What is named by a path of its own is no id in another one.
    named = [target for target, parts in there if not parts] or [target for target, _ in there]
    return [method for target in named for method in target.methods]

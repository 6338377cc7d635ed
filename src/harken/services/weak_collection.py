"""A collection of the objects that are still in use, such as open connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar
from weakref import ref

_T = TypeVar("_T")


class WeakCollection(Generic[_T]):
    """Refers to objects by identity, without keeping them alive. Thread-safe.

    Iterating yields those that are alive when it begins, the latest last. Unlike with a ``WeakSet`` or a
    ``WeakValueDictionary``, other threads may add objects meanwhile.
    """

    def __init__(self) -> None:
        # Accessed only through single operations of the interpreter, as objects may be collected at any point.
        self._references: dict[int, ref[_T]] = {}

    def __iter__(self) -> Iterator[_T]:
        """Iterate over those that are alive now."""
        references = list(self._references.values())
        return iter([one for reference in references if (one := reference()) is not None])

    def add(self, one: _T) -> None:
        """Add an object, or move it to the end."""
        self.discard(one)
        key = id(one)
        # The id is used again only after this was called.
        self._references[key] = ref(one, lambda _: self._references.pop(key, None))

    def discard(self, one: _T) -> None:
        """Remove an object, if it was added."""
        self._references.pop(id(one), None)

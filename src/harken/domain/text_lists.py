"""Conversion of a string or a collection of strings to a tuple."""

from __future__ import annotations

from collections.abc import Iterable


def as_texts(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the strings of a collection. A single string is one element.

    Without this, iterating over a single string would give its letters: ``keys="topic"`` must be one key.
    """
    return (given,) if isinstance(given, str) else tuple(given)

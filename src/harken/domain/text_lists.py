"""Collections of texts that callers give."""

from __future__ import annotations

from collections.abc import Iterable


def as_texts(given: str | Iterable[str]) -> tuple[str, ...]:
    """The texts of a collection; a single text is a collection of that one.

    To Python a text is a collection of its letters, which no caller means: ``keys="topic"`` is one key.
    """
    return (given,) if isinstance(given, str) else tuple(given)

"""Batches of feedback that fit into memory, however large its extras are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from harken.ports.repository import Accepted

#: The number of characters of extras above which a batch ends. One entry may have nearly half of it.
MAX_EXTRAS_IN_BATCH: Final = 32_000_000


def batches(items: Iterable[Accepted]) -> Iterator[list[Accepted]]:
    """Yield the items in order, in lists of one item or more. Items without extras are in one list."""
    batch: list[Accepted] = []
    size = 0
    for item in items:
        size += len(item.extras)
        if size > MAX_EXTRAS_IN_BATCH and batch:
            yield batch
            batch, size = [], len(item.extras)
        batch.append(item)
    if batch:
        yield batch

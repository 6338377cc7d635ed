"""Counts of terms as bytes, the same in every storage."""

from __future__ import annotations

import json
import zlib

from harken.domain.errors import StorageCorrupt
from harken.domain.insight.terms import TermCounts


def dump_counts(counts: TermCounts) -> bytes:
    """Counts as compressed JSON; equal counts give equal bytes."""
    content = {"up": counts.up, "down": counts.down, "ups": dict(counts.ups), "downs": dict(counts.downs)}
    return zlib.compress(json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode(), 1)


def load_counts(stored: bytes) -> TermCounts:
    """What :func:`dump_counts` stored.

    Raises:
        StorageCorrupt: the bytes are not what it stored.
    """
    try:
        counts = TermCounts(**json.loads(zlib.decompress(stored)))
        are_counts = _are_counts(counts)
    except (zlib.error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StorageCorrupt(f"Stored counts of terms are damaged ({error}); run 'harken rebuild'") from error
    if not are_counts:
        raise StorageCorrupt("Stored counts of terms are damaged (not all are counts); run 'harken rebuild'")
    return counts


def _are_counts(counts: TermCounts) -> bool:
    numbers = [*counts.ups.values(), *counts.downs.values()]
    # One pass in C: a reading has many thousands of terms.
    return set(map(type, numbers)) <= {int} and min(numbers, default=1) > 0 and _is_total(counts.up, counts.down)


def _is_total(*numbers: object) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)


def have_counts(stored: bytes, counts: TermCounts) -> bool:
    """Whether the stored bytes have these counts; not if they are damaged."""
    try:
        return load_counts(stored) == counts
    except StorageCorrupt:
        return False

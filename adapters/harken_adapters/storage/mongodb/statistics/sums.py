"""The eight sums that are counted, as computed by the server and as stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import Any, Final

from harken_adapters.storage.mongodb.documents import Document

#: In the order of :data:`SUMS`; the first three add up to the total.
Counts = Sequence[int]

HOURS_A_DAY: Final = 24
NOTHING: Final[Counts] = (0,) * 8


def _one_if(condition: Document) -> Document:
    return {"$sum": {"$cond": [condition, 1, 0]}}


#: For ``$group``: a name and an accumulator for each count, in the order of ``Summary.from_counts``.
SUMS: Final[Mapping[str, Any]] = {
    "positive": _one_if({"$eq": ["$rating", "up"]}),
    "negative": _one_if({"$eq": ["$rating", "down"]}),
    "neutral": _one_if({"$eq": ["$rating", None]}),
    "comments": _one_if({"$gt": ["$comment_length", 0]}),
    "comment_characters": {"$sum": "$comment_length"},
    "sentiments": _one_if({"$ne": [{"$ifNull": ["$polarity", None]}, None]}),
    "polarity": {"$sum": "$polarity"},
    "subjectivity": {"$sum": "$subjectivity"},
}


def counts_of(group: Document) -> Counts:
    """Return the counts of one group."""
    return [group[name] for name in SUMS]


def add_counts(some: Counts, more: Counts) -> Counts:
    """Return the sum of two counts."""
    return list(map(add, some, more))


def all_of(parts: Iterable[Counts]) -> Counts:
    """Return the sum of all counts."""
    total = NOTHING
    for part in parts:
        total = add_counts(total, part)
    return list(total)


def total_of(counts: Counts) -> int:
    """Return the number of feedback entries counted."""
    return counts[0] + counts[1] + counts[2]

"""The counters of many new rows, added at once.

A trigger counts each row that is inserted. Where many are inserted together, it does not, and each bucket is updated
once instead of once for each row. See decision 3.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Final

from harken_adapters.storage.sqlite.rows import COLUMNS, Row
from harken_adapters.storage.sqlite.schema import ADD_COUNTS, COUNTS, hour_of_slot, slot_of_time

#: Application, agent ('' for none) and slot.
_Slot = tuple[str, str, int]

_read: Final = itemgetter(
    *(COLUMNS.index(name) for name in ("application", "agent_id", "created_at", "status", "withdrawn_at")),
    *(COLUMNS.index(name) for name in ("rating", "comment", "polarity", "subjectivity")),
)
#: The place of a rating's number among the counts.
_RATINGS: Final = {1: COUNTS.index("positive"), -1: COUNTS.index("negative"), 0: COUNTS.index("neutral")}
_COMMENTS, _CHARACTERS, _SENTIMENTS, _POLARITY, _SUBJECTIVITY = (
    COUNTS.index(name) for name in ("comments", "comment_characters", "sentiments", "polarity", "subjectivity")
)


def add_counts(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Count rows of feedback that begin with the values of :data:`COLUMNS`, exactly as the trigger does."""
    connection.executemany(ADD_COUNTS, _counters(_count(rows)))


def _count(rows: Iterable[Row]) -> Mapping[_Slot, list[int]]:
    slots: dict[_Slot, list[int]] = {}
    for row in rows:
        application, agent_id, created_at, status, withdrawn_at, rating, comment, polarity, subjectivity = _read(row)
        if status != "approved" or withdrawn_at is not None:
            continue
        key = (application, agent_id or "", slot_of_time(created_at))
        if (counts := slots.get(key)) is None:
            counts = slots[key] = [0] * len(COUNTS)
        counts[_RATINGS[rating]] += 1
        if comment:
            counts[_COMMENTS] += 1
            counts[_CHARACTERS] += len(comment)
        if polarity is not None:
            counts[_SENTIMENTS] += 1
            counts[_POLARITY] += polarity
            counts[_SUBJECTIVITY] += subjectivity
    return slots


def _counters(slots: Mapping[_Slot, list[int]]) -> Iterator[Row]:
    for (application, agent_id, slot), counts in slots.items():
        yield (application, "slot", agent_id, slot, *counts)
        yield (application, "hour", agent_id, hour_of_slot(slot), *counts)

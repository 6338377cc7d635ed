"""Counts what became of the rows of a file."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from attrs import Factory, asdict, define, field

from harken.domain.imports import ImportCounts

#: How many reasons are counted one by one.
_MOST_REASONS: Final = 100
#: The parts of a reason that differ from row to row.
_DETAILS: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d,.]*")
_OTHERS: Final = "other reasons"


@define
class Reason:
    """A reason why rows were rejected, with the first of these rows as the example."""

    example: str
    place: str
    count: int = 0


@define
class Tally:
    """The number of rows that were read, added, duplicates and rejected.

    Attributes:
        reasons: why rows were rejected, by a text that equal reasons have in common.
        waived: how many of the imported rows break a rule that was not applied, by rule.
        cut: the number of rows whose context was shortened.
        undated: the number of added rows without a date, which have the time of the import.
        is_incomplete: whether the last row was incomplete, and is left for a later import.
    """

    read: int = 0
    added: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: dict[str, Reason] = field(default=Factory(dict), eq=False)
    waived: Counter[str] = field(default=Factory(Counter), eq=False)
    cut: int = field(default=0, eq=False)
    undated: int = field(default=0, eq=False)
    is_incomplete: bool = field(default=False, eq=False)

    @property
    def counts(self) -> ImportCounts:
        """The counts, as the record of an import has them."""
        return ImportCounts(read=self.read, added=self.added, duplicates=self.duplicates, rejected=self.rejected)

    @property
    def nothing_accepted(self) -> bool:
        """Whether no row was added or is a duplicate."""
        return not (self.added or self.duplicates)

    def reject(self, reason: str, place: str) -> None:
        """Count a rejected row. ``place`` is where it is, such as ``line 6 of reviews.csv``."""
        self.rejected += 1
        kind = _DETAILS.sub("…", reason)
        if kind not in self.reasons and len(self.reasons) >= _MOST_REASONS:
            kind = _OTHERS
        self.reasons.setdefault(kind, Reason(reason, place)).count += 1

    def common_reasons(self, most: int = 3) -> list[Reason]:
        """The most common reasons, the most common first."""
        return sorted(self.reasons.values(), key=lambda reason: -reason.count)[:most]

    def __iadd__(self, other: Tally) -> Tally:
        self.read += other.read
        self.added += other.added
        self.duplicates += other.duplicates
        self.rejected += other.rejected
        self.waived.update(other.waived)
        self.cut += other.cut
        self.undated += other.undated
        self.is_incomplete |= other.is_incomplete
        for kind, reason in other.reasons.items():
            self.reasons.setdefault(kind, Reason(reason.example, reason.place)).count += reason.count
        return self

    def record(self) -> dict[str, Any]:
        """The counts as JSON values."""
        reasons = [
            {"reason": one.example, "count": one.count, "example": one.place}
            for one in self.common_reasons(_MOST_REASONS)
        ]
        return {
            **asdict(self.counts),
            "reasons": reasons,
            "rules_not_applied": dict(self.waived),
            "shortened": self.cut,
            "undated": self.undated,
            "left_for_later": self.is_incomplete,
        }

"""Counts what became of the rows of a file."""

from __future__ import annotations

import re
from collections import Counter
from itertools import count as numbers_from
from typing import Any, Final

from attrs import Factory, asdict, define, field

from harken.domain.imports import ImportCounts

#: How many reasons are counted one by one.
_MOST_REASONS: Final = 100
#: The parts of a reason that differ from row to row.
_DETAILS: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d,.]*")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_OTHERS: Final = "other reasons"


@define
class Reason:
    """A reason why rows were rejected, with the first of these rows as the example.

    Attributes:
        first: the reason of the first row.
        place: where that is.
        count: the number of rows.
        differing: which of the quoted values in the reason differ from row to row, from 0.
    """

    first: str
    place: str
    count: int = 0
    differing: set[int] = Factory(set)

    @property
    def example(self) -> str:
        """The reason, with ``such as`` before values that differ from row to row."""
        numbers = numbers_from()
        return _QUOTED.sub(
            lambda found: f"such as {found[0]}" if next(numbers) in self.differing else found[0], self.first
        )

    def add(self, reason: str) -> None:
        """Count a row that was rejected for this reason, or one with other values."""
        self.count += 1
        if reason != self.first:
            pairs = zip(_QUOTED.findall(self.first), _QUOTED.findall(reason), strict=False)
            self.differing |= {number for number, (one, other) in enumerate(pairs) if one != other}


@define
class Tally:
    """The number of rows that were read, added, duplicates and rejected.

    Attributes:
        reasons: why rows were rejected, by a text that equal reasons have in common.
        waived: how many of the imported rows break a rule that was not applied, by rule.
        cut: the number of rows whose context was shortened.
        undated: the number of added rows without a date, which have the time of the import.
        shared: the number of duplicates of rows that the same import added: in one run, those of an earlier file.
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
    shared: int = field(default=0, eq=False)
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
            self.reasons.setdefault(_OTHERS, Reason(_OTHERS, place)).count += 1
            return
        self.reasons.setdefault(kind, Reason(reason, place)).add(reason)

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
        self.shared += other.shared
        self.is_incomplete |= other.is_incomplete
        for kind, reason in other.reasons.items():
            known = self.reasons.setdefault(kind, Reason(reason.first, reason.place))
            known.add(reason.first)
            known.count += reason.count - 1
            known.differing |= reason.differing
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

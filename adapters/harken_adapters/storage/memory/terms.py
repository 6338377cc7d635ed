"""Counts of terms in memory: by day, counted again when anything of the day changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date

from attrs import frozen

from harken.domain.feedback import Feedback
from harken.domain.insight.terms import TermCounts, TermTally


@frozen
class _Day:
    """The ids and versions of the feedback of a day, and its counts."""

    versions: tuple[tuple[str, int], ...]
    counts: TermCounts


class DailyTermCounts:
    """Counts the terms of one application, and keeps the counts of each day."""

    def __init__(self) -> None:
        self._days: dict[date, _Day] = {}

    def of(self, feedback: Iterable[Feedback]) -> TermCounts:
        """The counts of all counted feedback of the application."""
        by_day: defaultdict[date, list[Feedback]] = defaultdict(list)
        for one in feedback:
            by_day[one.created_at.date()].append(one)
        self._days = {day: self._count(day, some) for day, some in by_day.items()}
        tally = TermTally()
        for day in self._days.values():
            tally.add_counts(day.counts)
        return tally.counts

    def forget(self) -> None:
        """Keep nothing of what was counted."""
        self._days.clear()

    def _count(self, day: date, feedback: list[Feedback]) -> _Day:
        versions = tuple((one.id, one.version) for one in feedback)
        known = self._days.get(day)
        return known if known and known.versions == versions else _Day(versions, TermCounts.fold(feedback))

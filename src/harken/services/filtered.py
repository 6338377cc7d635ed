"""Statistics of selections that storages have no counters for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen

from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey
from harken.domain.summary import Summary
from harken.ports.repository import FeedbackRepository
from harken.services.kept import Kept

#: How many new entries are added to earlier statistics before all entries are read again.
_MOST_ADDED: Final = 200


@frozen
class _Counted:
    """The statistics by group, and the newest entry of the period, if more can be added."""

    groups: Mapping[GroupKey, Summary]
    newest: Cursor | None


class FilteredSummaries:
    """Keeps the statistics of filters such as a tag, for which a storage reads all feedback of the period.

    They are valid while the statistics of all feedback of the period are the same, which storages have counters for.
    New entries are added to them.
    """

    def __init__(self, repository: FeedbackRepository, kept: Kept) -> None:
        self._repository = repository
        self._kept = kept

    def summarize(
        self, query: FeedbackQuery, period: FeedbackQuery, total: Summary, by: GroupBy | None
    ) -> Mapping[GroupKey, Summary]:
        """The statistics of the matching feedback by group.

        Args:
            query: the selection.
            period: the same period without other filters.
            total: its statistics.
            by: how to group.
        """
        counted = self._kept.get(
            query,
            total,
            ("filtered", by),
            lambda: self._count(query, period, by),
            extend=lambda kept, added: self._extend(query, period, by, kept, added),
        )
        return counted.groups

    def _count(self, query: FeedbackQuery, period: FeedbackQuery, by: GroupBy | None) -> _Counted:
        newest = self._newest(period)
        groups = self._repository.summarize(query, by)
        # Entries that arrive while counting would be added again.
        return _Counted(groups, newest if newest == self._newest(period) else None)

    def _extend(
        self, query: FeedbackQuery, period: FeedbackQuery, by: GroupBy | None, counted: _Counted, added: Summary
    ) -> _Counted | None:
        if counted.newest is None or added.total > _MOST_ADDED:
            return None
        page = self._repository.find(evolve(period, since=counted.newest.created_at), limit=added.total + 1).items
        entries = [one for one in page if Cursor.of(one) > counted.newest]
        if len(entries) != added.total:
            # Some have an earlier time, or arrived since the statistics were read.
            return None
        groups = dict(counted.groups)
        for one in filter(query.matches, entries):
            for key in by.keys(one) if by else (None,):
                groups[key] = groups.get(key, Summary()) + Summary.of(one)
        return _Counted(groups, Cursor.of(entries[0]) if entries else counted.newest)

    def _newest(self, period: FeedbackQuery) -> Cursor | None:
        items = self._repository.find(period, limit=1).items
        return Cursor.of(items[0]) if items else None

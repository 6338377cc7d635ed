"""Statistics of selections that storages have no counters for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen

from harken.domain.query import Cursor, Dimension, FeedbackQuery, GroupBy, GroupKey
from harken.domain.summary import Summary
from harken.ports.repository import FeedbackRepository
from harken.services.kept import Kept

_BY_AGENT: Final = GroupBy(Dimension.AGENT)
#: How many new entries are added to earlier statistics before all entries are read again.
_MOST_ADDED: Final = 200


@frozen
class _Kept:
    """The statistics by group, and the newest entry that was counted, if more can be added."""

    groups: Mapping[GroupKey, Summary]
    newest: Cursor | None


class FilteredSummaries:
    """Keeps the statistics of filters such as a tag, for which a storage reads much.

    They are valid while the statistics of more feedback, which storages have counters for, are the same. New entries
    are added to them.
    """

    def __init__(self, repository: FeedbackRepository, kept: Kept) -> None:
        self._repository = repository
        self._kept = kept

    def by_agent(self, query: FeedbackQuery, counted: FeedbackQuery, total: Summary) -> Mapping[GroupKey, Summary]:
        """The statistics of the matching feedback by agent.

        Args:
            query: the selection.
            counted: the same period or all times, without other filters: what storages have counters for.
            total: its statistics.
        """
        kept = self._kept.get(
            # Of all that is counted, as a change outside of the selection changes the total as well.
            counted,
            total,
            ("filtered", query),
            lambda: self._count(query, counted),
            extend=lambda earlier, added: self._extend(query, counted, earlier, added),
        )
        return kept.groups

    def _count(self, query: FeedbackQuery, counted: FeedbackQuery) -> _Kept:
        newest = self._newest(counted)
        groups = self._repository.summarize(query, _BY_AGENT)
        # Entries that arrive while counting would be added again.
        return _Kept(groups, newest if newest == self._newest(counted) else None)

    def _extend(self, query: FeedbackQuery, counted: FeedbackQuery, kept: _Kept, added: Summary) -> _Kept | None:
        if kept.newest is None or added.total > _MOST_ADDED:
            return None
        page = self._repository.find(evolve(counted, since=kept.newest.created_at), limit=added.total + 1).items
        entries = [one for one in page if Cursor.of(one) > kept.newest]
        if len(entries) != added.total:
            # Some have an earlier time, or arrived since the statistics were read.
            return None
        groups = dict(kept.groups)
        for one in filter(query.matches, entries):
            for key in _BY_AGENT.keys(one):
                groups[key] = groups.get(key, Summary()) + Summary.of(one)
        return _Kept(groups, Cursor.of(entries[0]) if entries else kept.newest)

    def _newest(self, counted: FeedbackQuery) -> Cursor | None:
        items = self._repository.find(counted, limit=1).items
        return Cursor.of(items[0]) if items else None

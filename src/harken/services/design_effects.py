"""Design effects of selections, as authors give several ratings."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from typing import Final, TypeVar

from harken.domain.insight.sampling import AuthorRatings, count_by_period, design_effect, design_effects, unnoticed
from harken.domain.query import Dimension, FeedbackQuery, GroupBy, GroupKey
from harken.domain.summary import Summary
from harken.ports.repository import FeedbackRepository
from harken.services.finding import NEWEST
from harken.services.kept import Kept

_Value = TypeVar("_Value")

_SLOT: Final = GroupBy(Dimension.SLOT)


class DesignEffects:
    """Computes design effects from the newest 20,000 thumbs of a selection. Thread-safe.

    They are kept until the selection changes by more than a few entries.
    """

    def __init__(self, repository: FeedbackRepository, kept: Kept) -> None:
        self._repository = repository
        self._kept = kept

    def of(self, query: FeedbackQuery, summary: Summary) -> float:
        """The design effect of a selection, which has these statistics."""
        return self._keep(query, summary, None, lambda: design_effects(self._ratings(query)).get(None, 1.0))

    def by_group(self, query: FeedbackQuery, summary: Summary, group_by: GroupBy) -> Mapping[GroupKey, float]:
        """The design effect of each group of a selection that has thumbs among the newest 20,000."""
        return self._keep(query, summary, group_by, lambda: design_effects(self._ratings(query, group_by)))

    def within_periods(
        self, query: FeedbackQuery, summary: Summary, name: Hashable, period_of: Callable[[datetime], Hashable]
    ) -> float:
        """The design effect of all periods together: that of clusters of what an author gave in one period.

        Args:
            query: selects the feedback.
            summary: its statistics.
            name: of the kind of period.
            period_of: returns the period of a slot, which is given by its start.
        """
        return self._keep(
            query, summary, name, lambda: design_effect(count_by_period(self._ratings(query, _SLOT), period_of))
        )

    def _ratings(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> list[AuthorRatings]:
        return list(self._repository.ratings_by_author(query, group_by, limit=NEWEST))

    def _keep(self, query: FeedbackQuery, summary: Summary, name: Hashable, compute: Callable[[], _Value]) -> _Value:
        slack = unnoticed(min(summary.decided, NEWEST))
        return self._kept.get(query, summary, ("design effect", name), compute, slack=slack)

"""Statistics of feedback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from attrs import evolve

from harken.domain.feedback import Rating
from harken.domain.insight.comparison import Comparison
from harken.domain.query import Dimension, FeedbackQuery, GroupBy, GroupKey
from harken.domain.summary import Summary
from harken.domain.themes import KEYWORDS, Theme, themes
from harken.domain.trend import Period, TrendPoint, by_hour_of_day, by_weekday, trend, zone_named
from harken.ports.repository import FeedbackRepository

_RECOUNTED: Final = (None, GroupBy(Dimension.AGENT), GroupBy(Dimension.SLOT))


class AnalyticsService:
    """Computes exact statistics of feedback."""

    def __init__(self, repository: FeedbackRepository) -> None:
        self._repository = repository

    def summary(self, query: FeedbackQuery) -> Summary:
        """The statistics of the matching feedback."""
        return self._repository.summarize(query).get(None, Summary())

    def groups(self, query: FeedbackQuery, by: GroupBy) -> Mapping[GroupKey, Summary]:
        """The statistics of the matching feedback by group, the largest group first."""
        groups = self._repository.summarize(query, by)
        return dict(sorted(groups.items(), key=lambda item: (-item[1].total, str(item[0]))))

    def trend(self, query: FeedbackQuery, period: Period, zone: str = "UTC") -> list[TrendPoint]:
        """The statistics of the matching feedback by local hour, day or week of an IANA time zone, oldest first.

        Raises:
            InvalidQuery: there is no such zone, or there are more than 20,000 periods.
        """
        named = zone_named(zone)
        return trend(self._slots(query), period, named)

    def by_hour_of_day(self, query: FeedbackQuery, zone: str = "UTC") -> tuple[Summary, ...]:
        """The statistics of the matching feedback by local hour of the day: 24 summaries."""
        named = zone_named(zone)
        return by_hour_of_day(self._slots(query), named)

    def by_weekday(self, query: FeedbackQuery, zone: str = "UTC") -> tuple[Summary, ...]:
        """The statistics of the matching feedback by local day of the week, Monday first: 7 summaries."""
        named = zone_named(zone)
        return by_weekday(self._slots(query), named)

    def themes(self, query: FeedbackQuery, keywords: str | Sequence[str] = KEYWORDS) -> tuple[Theme, ...]:
        """How many negative comments mention each keyword, the most mentioned first."""
        downs = self._repository.stream(evolve(query, rating=Rating.DOWN))
        return themes((feedback.comment for feedback in downs), keywords)

    def compare(self, before: FeedbackQuery, after: FeedbackQuery) -> Comparison:
        """The difference between two selections of feedback, with its 95% CI."""
        return Comparison(self.summary(before), self.summary(after))

    def discrepancies(self, query: FeedbackQuery) -> list[str]:
        """A sentence for each summary, of all feedback, by agent or by slot, that differs from a recount."""
        counted: dict[GroupBy | None, dict[GroupKey, Summary]] = {by: {} for by in _RECOUNTED}
        for feedback in self._repository.stream(query):
            summary = Summary.of(feedback)
            for by, groups in counted.items():
                for key in by.keys(feedback) if by else (None,):
                    groups[key] = groups.get(key, Summary()) + summary
        problems: list[str] = []
        for by, groups in counted.items():
            name = f"by {by.dimension.value}" if by else "of all"
            problems += _differences(name, self._repository.summarize(query, by), groups)
        return problems

    def _slots(self, query: FeedbackQuery) -> dict[datetime, Summary]:
        groups = self._repository.summarize(query, GroupBy(Dimension.SLOT))
        return {slot: summary for slot, summary in groups.items() if isinstance(slot, datetime)}


def _differences(name: str, kept: Mapping[GroupKey, Summary], counted: Mapping[GroupKey, Summary]) -> Iterator[str]:
    for key in {**kept, **counted}:
        if kept.get(key) != counted.get(key):
            yield f"The statistics {name} are {kept.get(key)} for {key}, but a recount gives {counted.get(key)}"

"""Statistics of feedback."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

from attrs import evolve

from harken.domain.errors import InvalidQuery, StorageCorrupt
from harken.domain.feedback import Rating
from harken.domain.insight.change_points import Day, SatisfactionChange, change_points
from harken.domain.insight.comparison import Comparison, Estimate, decide_together
from harken.domain.insight.heat_map import Cell, heat_map, is_short, place_of
from harken.domain.insight.mix import Mix, mix
from harken.domain.insight.terms import TermCounts, TermTally
from harken.domain.keywords import KEYWORDS, Keyword, count_keywords
from harken.domain.query import Dimension, FeedbackQuery, GroupBy, GroupKey
from harken.domain.summary import Summary
from harken.domain.trend import (
    Period,
    TrendPoint,
    begin_of,
    by_day,
    by_hour_of_day,
    by_weekday,
    fitting_period,
    trend,
    zone_named,
)
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.design_effects import DesignEffects
from harken.services.erasures import Erasures
from harken.services.themes import Themes, ThemeService

_DAYS: Final = 365
_RECOUNTED: Final = (None, GroupBy(Dimension.AGENT), GroupBy(Dimension.SLOT))


class AnalyticsService:
    """Computes exact statistics of feedback."""

    def __init__(
        self, repository: FeedbackRepository, erasures: Erasures, *, themes: ThemeService, clock: Clock
    ) -> None:
        self._repository = repository
        self._effects = DesignEffects(repository, erasures)
        self._themes = themes
        self._clock = clock

    def summary(self, query: FeedbackQuery) -> Summary:
        """The statistics of the matching feedback."""
        return self._repository.summarize(query).get(None, Summary())

    def groups(self, query: FeedbackQuery, by: GroupBy) -> Mapping[GroupKey, Summary]:
        """The statistics of the matching feedback by group, the largest group first."""
        groups = self._repository.summarize(query, by)
        return dict(sorted(groups.items(), key=lambda item: (-item[1].total, str(item[0]))))

    def estimate(self, query: FeedbackQuery) -> Estimate:
        """The statistics of the matching feedback, with an interval that takes repeated authors into account.

        They are looked for in the newest 20,000 thumbs.
        """
        summary = self.summary(query)
        return Estimate(summary, self._effects.of(query, summary))

    def estimate_groups(self, query: FeedbackQuery, by: GroupBy) -> Mapping[GroupKey, Estimate]:
        """The same for each group, the largest group first.

        A group without any of the newest 20,000 thumbs has the design effect of all.
        """
        total = self.estimate(query)
        effects = self._effects.by_group(query, total.summary, by)
        return {
            key: Estimate(group, effects.get(key, total.design_effect)) for key, group in self.groups(query, by).items()
        }

    def trend(self, query: FeedbackQuery, period: Period | None, zone: str = "UTC") -> list[TrendPoint]:
        """The statistics of the matching feedback by period of an IANA time zone, oldest first.

        Without a period, the shortest is chosen that gives at most 60 points and a median of at least 20 thumbs.

        Raises:
            InvalidQuery: there is no such zone, or there are more than 20,000 periods.
        """
        slots, named = self._slots(query), zone_named(zone)
        chosen = period or fitting_period(slots, named)
        points = trend(slots, chosen, named)
        effect = self._effect_within(
            query, slots, (chosen, zone), lambda slot: begin_of(slot.astimezone(named), chosen)
        )
        return [evolve(point, design_effect=effect) for point in points]

    def by_hour_of_day(self, query: FeedbackQuery, zone: str = "UTC") -> tuple[Estimate, ...]:
        """The statistics of the matching feedback by local hour of the day: 24 estimates.

        Raises:
            InvalidQuery: the time zone is unknown.
        """
        slots, named = self._slots(query), zone_named(zone)
        effect = self._effect_within(query, slots, ("hour", zone), lambda slot: slot.astimezone(named).hour)
        return tuple(Estimate(summary, effect) for summary in by_hour_of_day(slots, named))

    def by_weekday(self, query: FeedbackQuery, zone: str = "UTC") -> tuple[Estimate, ...]:
        """The statistics of the matching feedback by local day of the week: seven estimates, Monday first.

        Raises:
            InvalidQuery: the time zone is unknown.
        """
        slots, named = self._slots(query), zone_named(zone)
        effect = self._effect_within(query, slots, ("weekday", zone), lambda slot: slot.astimezone(named).weekday())
        return tuple(Estimate(summary, effect) for summary in by_weekday(slots, named))

    def keywords(self, query: FeedbackQuery, keywords: str | Sequence[str] = KEYWORDS) -> tuple[Keyword, ...]:
        """How many negative comments mention each keyword, the most mentioned first."""
        downs = self._repository.stream(evolve(query, rating=Rating.DOWN))
        return count_keywords((feedback.comment for feedback in downs), keywords)

    def themes(self, query: FeedbackQuery, *, limit: int = 15) -> Themes:
        """What the matching thumbs-down comments are about, with the change since the previous period, and examples.

        Finds themes in the newest 20,000 thumbs-down entries. The previous period is as long as that of the query, and
        ends where it begins; a query without ``since`` has none.

        Raises:
            InvalidQuery: the limit is not from 1 to 50.
        """
        return self._themes.find(query, limit=limit)

    def compare(self, before: FeedbackQuery, after: FeedbackQuery) -> Comparison:
        """The difference between two selections of feedback, with its intervals and a verdict."""
        old, new = self.estimate(before), self.estimate(after)
        return Comparison(old.summary, new.summary, old.design_effect, new.design_effect)

    def compare_to_previous(self, query: FeedbackQuery) -> Comparison:
        """The difference between the previous period and that of the query, which ends now if it has no ``until``.

        Raises:
            InvalidQuery: the query has no ``since``, or its period is empty.
        """
        return self.compare(self.previous_period(query), query)

    def previous_period(self, query: FeedbackQuery) -> FeedbackQuery:
        """The same query for the previous period, which is as long and ends where the period of the query begins.

        Raises:
            InvalidQuery: the query has no ``since``, or its period is empty.
        """
        previous = query.previous_period(self._clock())
        if previous is None:
            raise InvalidQuery("A comparison with the previous period needs a 'since' before 'until', or before now")
        return previous

    def compare_groups(self, query: FeedbackQuery, by: GroupBy) -> Mapping[GroupKey, Comparison]:
        """Each group compared with all feedback outside it, the largest group first.

        A verdict is given only to groups that differ by more than chance among all of them.
        """
        total, groups = self.estimate(query), self.estimate_groups(query, by)
        return decide_together(
            {
                key: Comparison(total.summary - one.summary, one.summary, total.design_effect, one.design_effect)
                for key, one in groups.items()
            }
        )

    def mix(self, before: FeedbackQuery, after: FeedbackQuery, by: GroupBy) -> Mix[GroupKey]:
        """Which groups are new or gone between two selections, and the change without them."""
        effects = (self.estimate(before).design_effect, self.estimate(after).design_effect)
        return mix(self._repository.summarize(before, by), self._repository.summarize(after, by), *effects)

    def heat_map(self, query: FeedbackQuery, zone: str = "UTC", *, prefer_dates: bool = False) -> list[Cell]:
        """The statistics of the matching feedback by local weekday and hour, and which differ by more than chance.

        Args:
            query: selects the feedback.
            zone: an IANA time zone.
            prefer_dates: whether the cells are hours of dates, if the feedback spans less than 14 days.

        Raises:
            InvalidQuery: the time zone is unknown.
        """
        slots, named = self._slots(query), zone_named(zone)
        by_date = prefer_dates and is_short(slots, named)
        effects = (
            self._effects.of(query, sum(slots.values(), Summary())),
            self._effect_within(
                query, slots, ("cell", by_date, zone), lambda slot: place_of(slot, named, by_date=by_date)
            ),
        )
        return heat_map(slots, named, *effects, by_date=by_date)

    def changes(self, query: FeedbackQuery, zone: str = "UTC") -> list[SatisfactionChange]:
        """The local days on which satisfaction changed, oldest first; of the last 365 days that have feedback.

        Raises:
            InvalidQuery: the time zone is unknown.
        """
        days = by_day(self._slots(query), zone_named(zone))[-_DAYS:]
        found = change_points([Day(one.positive, one.decided, start.weekday()) for start, one in days])
        parts = [days[start:end] for start, end in pairwise([0, *found, len(days)])]
        summaries = [sum((one for _, one in part), Summary()) for part in parts]
        return [
            SatisfactionChange(part[0][0], before, after)
            for part, (before, after) in zip(parts[1:], pairwise(summaries), strict=True)
        ]

    def discrepancies(self, query: FeedbackQuery) -> list[str]:
        """A sentence for each summary, of all feedback, by agent or by slot, that differs from a recount.

        Also compares the counts of terms, if the query selects all feedback of an application that counts.
        """
        counted: dict[GroupBy | None, dict[GroupKey, Summary]] = {by: {} for by in _RECOUNTED}
        terms = TermTally()
        for feedback in self._repository.stream(query):
            summary = Summary.of(feedback)
            terms.add(feedback.content)
            for by, groups in counted.items():
                for key in by.keys(feedback) if by else (None,):
                    groups[key] = groups.get(key, Summary()) + summary
        problems: list[str] = []
        for by, groups in counted.items():
            name = f"by {by.dimension.value}" if by else "of all"
            problems += _differences(name, self._repository.summarize(query, by), groups)
        if query == FeedbackQuery(application=query.application):
            problems += self._term_discrepancies(query.application, terms.counts)
        return problems

    def _term_discrepancies(self, application: str, counted: TermCounts) -> Iterator[str]:
        try:
            kept = self._repository.term_counts(application)
        except StorageCorrupt as error:
            yield str(error)
            return
        if kept != counted:
            yield (
                f"The counts of terms are of {kept.up} thumbs-up and {kept.down} thumbs-down comments, "
                f"but a recount gives {counted.up} and {counted.down}"
                if (kept.up, kept.down) != (counted.up, counted.down)
                else "Some counts of terms differ from a recount"
            )

    def _slots(self, query: FeedbackQuery) -> dict[datetime, Summary]:
        groups = self._repository.summarize(query, GroupBy(Dimension.SLOT))
        return {slot: summary for slot, summary in groups.items() if isinstance(slot, datetime)}

    def _effect_within(
        self,
        query: FeedbackQuery,
        slots: Mapping[datetime, Summary],
        name: Hashable,
        period_of: Callable[[datetime], Hashable],
    ) -> float:
        return self._effects.within_periods(query, sum(slots.values(), Summary()), name, period_of)


def _differences(name: str, kept: Mapping[GroupKey, Summary], counted: Mapping[GroupKey, Summary]) -> Iterator[str]:
    for key in {**kept, **counted}:
        if kept.get(key) != counted.get(key):
            yield f"The statistics {name} are {kept.get(key)} for {key}, but a recount gives {counted.get(key)}"

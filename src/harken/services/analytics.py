"""Statistics of feedback."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import evolve

from harken.domain.errors import InvalidQuery, StorageCorrupt
from harken.domain.feedback import Rating
from harken.domain.insight.change_points import Day, Hour, SatisfactionChange, change_points, hourly_change_points
from harken.domain.insight.comparison import Comparison, Estimate, decide_together
from harken.domain.insight.headline import (
    SHORTEST_SILENCE,
    Growth,
    Headline,
    Silence,
    find,
    is_of_one_rating,
    largest_change,
    misleading,
    silence,
)
from harken.domain.insight.heat_map import Cell, heat_map, is_short, place_of
from harken.domain.insight.issues import Issues
from harken.domain.insight.mix import Mix, mix
from harken.domain.insight.ranking import Ranking, count_thumbs, rank
from harken.domain.insight.terms import TermCounts, TermTally
from harken.domain.keywords import KEYWORDS, Keyword, count_keywords
from harken.domain.query import Dimension, FeedbackQuery, GroupBy, GroupKey
from harken.domain.summary import Summary
from harken.domain.trend import (
    Period,
    Trend,
    begin_of,
    by_hour_of_day,
    by_period,
    by_weekday,
    fitting_period,
    trend,
    zone_named,
)
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.design_effects import DesignEffects
from harken.services.erasures import Erasures
from harken.services.finding import NEWEST, newest
from harken.services.kept import Kept
from harken.services.reasons import MAX_REASONS, ReasonService
from harken.services.themes import Themes, ThemeService, check_limit

if TYPE_CHECKING:
    from harken.domain.insight.facets import Facets
    from harken.domain.insight.periods import ComparedPeriods

_Value = TypeVar("_Value")

_MOST_PERIODS: Final = 365
#: In shorter periods, changes are found to the hour.
_SHORT_PERIOD: Final = timedelta(days=14)
#: How much is read to know when feedback usually comes: five weeks.
_KNOWN: Final = timedelta(weeks=5)
_BY_AGENT: Final = GroupBy(Dimension.AGENT)
_RECOUNTED: Final = (None, _BY_AGENT, GroupBy(Dimension.SLOT))
#: The statistics of longer periods are kept, as it takes long to add their counters. To see whether they are still
#: right, those of all times are read, which takes longer on MongoDB than those of a few weeks.
_LONG: Final = timedelta(days=92)
#: In how many entries the values of filters are counted.
_FACET_ENTRIES: Final = 5_000


class AnalyticsService:
    """Computes exact statistics of feedback."""

    def __init__(
        self, repository: FeedbackRepository, erasures: Erasures, *, themes: ThemeService, clock: Clock
    ) -> None:
        self._repository = repository
        self._use(Kept(repository, erasures, clock=clock))
        self._themes = themes
        self._clock = clock
        #: The summaries that were read for a page; ``None`` if they are not kept.
        self._read: dict[tuple[FeedbackQuery, GroupBy | None], Mapping[GroupKey, Summary]] | None = None

    def _use(self, kept: Kept) -> None:
        self._kept = kept
        self._effects = DesignEffects(self._repository, kept)
        self._reasons = ReasonService(self._repository, kept)

    def page(self) -> AnalyticsService:
        """The same service for one page, which shows many statistics of the same selections.

        It reads each summary once, so that all numbers of the page agree. It must not be kept for another page.
        """
        page = copy(self)
        page._read = {}  # noqa: SLF001
        page._use(self._kept.page())  # noqa: SLF001
        return page

    def summary(self, query: FeedbackQuery) -> Summary:
        """The statistics of the matching feedback."""
        return self._summarize(query).get(None, Summary())

    def groups(self, query: FeedbackQuery, by: GroupBy) -> Mapping[GroupKey, Summary]:
        """The statistics of the matching feedback by group, the largest group first."""
        groups = self._summarize(query, by)
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

    def trend(self, query: FeedbackQuery, period: Period | None, zone: str = "UTC") -> Trend:
        """The statistics of the matching feedback by period of an IANA time zone, oldest first.

        Without a period, the shortest is chosen that gives at most 60 points and a median of at least 20 thumbs.

        Raises:
            InvalidQuery: the zone does not exist, or there are more than 20,000 periods.
        """
        named = zone_named(zone)

        def compute() -> Trend:
            slots = self._slots(query)
            chosen = period or fitting_period(slots, named)
            points = trend(slots, chosen, named)
            effect = self._effect_within(query, (chosen, zone), lambda slot: begin_of(slot.astimezone(named), chosen))
            return Trend([evolve(point, design_effect=effect) for point in points], chosen, zone)

        return copy(self._keep(query, ("trend", period, zone), compute))

    def fitting_period(self, query: FeedbackQuery, zone: str = "UTC") -> Period:
        """The period that :meth:`trend` chooses.

        Raises:
            InvalidQuery: the time zone is unknown.
        """
        named = zone_named(zone)
        return self._keep(query, ("fitting period", zone), lambda: fitting_period(self._slots(query), named))

    def by_hour_of_day(self, query: FeedbackQuery, zone: str = "UTC") -> tuple[Estimate, ...]:
        """The statistics of the matching feedback by local hour of the day: 24 estimates.

        Raises:
            InvalidQuery: the time zone is unknown.
        """
        slots, named = self._slots(query), zone_named(zone)
        effect = self._effect_within(query, ("hour", zone), lambda slot: slot.astimezone(named).hour)
        return tuple(Estimate(summary, effect) for summary in by_hour_of_day(slots, named))

    def by_weekday(self, query: FeedbackQuery, zone: str = "UTC") -> tuple[Estimate, ...]:
        """The statistics of the matching feedback by local day of the week: seven estimates, Monday first.

        Raises:
            InvalidQuery: the time zone is unknown.
        """
        slots, named = self._slots(query), zone_named(zone)
        effect = self._effect_within(query, ("weekday", zone), lambda slot: slot.astimezone(named).weekday())
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
        return mix(self._summarize(before, by), self._summarize(after, by), *effects)

    def heat_map(self, query: FeedbackQuery, zone: str = "UTC", *, prefer_dates: bool = False) -> list[Cell]:
        """The statistics of the matching feedback by local weekday and hour, and which differ by more than chance.

        Args:
            query: selects the feedback.
            zone: an IANA time zone.
            prefer_dates: whether the cells are hours of dates, if the feedback spans less than 14 days.

        Raises:
            InvalidQuery: the time zone is unknown.
        """
        named = zone_named(zone)

        def compute() -> list[Cell]:
            slots = self._slots(query)
            by_date = prefer_dates and is_short(slots, named)
            effects = (
                self._effects.of(query, self.summary(query)),
                self._effect_within(
                    query, ("cell", by_date, zone), lambda slot: place_of(slot, named, by_date=by_date)
                ),
            )
            return heat_map(slots, named, *effects, by_date=by_date)

        return list(self._keep(query, ("heat map", zone, prefer_dates), compute))

    def changes(self, query: FeedbackQuery, zone: str = "UTC") -> list[SatisfactionChange]:
        """The local days on which satisfaction changed, oldest first; of the last 365 days that have feedback.

        Raises:
            InvalidQuery: the time zone is unknown.
        """
        named = zone_named(zone)

        def compute() -> list[SatisfactionChange]:
            days = by_period(self._slots(query), named, Period.DAY)[-_MOST_PERIODS:]
            return _parts(days, change_points([Day(one.positive, one.decided, start.weekday()) for start, one in days]))

        return list(self._keep(query, ("changes", zone), compute))

    def hourly_changes(self, periods: ComparedPeriods) -> list[SatisfactionChange]:
        """The local hours of a period at which satisfaction changed, oldest first; of the last 365 with feedback.

        Effects of the hour of the day are estimated from both periods.
        """

        def compute() -> list[SatisfactionChange]:
            earlier, hours = (
                by_period(self._slots(one), periods.zone, Period.HOUR)[-_MOST_PERIODS:]
                for one in (periods.before, periods.after)
            )
            before, after = (
                [Hour(one.positive, one.decided, at.hour) for at, one in part] for part in (earlier, hours)
            )
            return _parts(hours, hourly_change_points(after, before))

        before = self.summary(periods.before)
        return list(self._keep(periods.after, ("changes by hour", repr(periods), before), compute))

    def headline(self, periods: ComparedPeriods, *, themes: bool = True) -> Headline:
        """What changed in a period since the one before, since when, what grew most, and what would mislead.

        With a filter on the rating, or on reasons that only one thumb has, only the numbers of entries are compared.

        Args:
            periods: what to compare; see :meth:`periods`.
            themes: whether to look for themes that grew if no reason was chosen. The first time, that can take
                seconds.
        """
        before, after = periods.before, periods.after
        comparison = self.compare(before, after)
        counts_only = is_of_one_rating(after, comparison)
        silence = self._silence(periods)
        finding = find(comparison, silence, counts_only=counts_only)
        by_hour = periods.length < _SHORT_PERIOD
        explains = comparison.direction != 0 and not counts_only
        began, next_change = self._began(periods, comparison.direction, by_hour=by_hour) if explains else (None, None)
        return Headline(
            finding=finding,
            before=periods.before_span,
            after=periods.span,
            is_running=periods.is_running,
            comparison=comparison,
            began=began,
            next_change=next_change,
            began_to_the_hour=by_hour,
            growth=self._growth(periods, themes=themes),
            mix=None if counts_only else misleading(self.mix(before, after, _BY_AGENT), comparison),
            silence=silence,
        )

    def periods(self, query: FeedbackQuery, zone: str = "UTC", *, same_weekdays: bool = False) -> ComparedPeriods:
        """The period of a query and the one before it; see :func:`harken.domain.insight.periods.compared_periods`.

        Args:
            query: the selection. Without ``since``, the last 28 days; without ``until``, up to now.
            zone: an IANA time zone.
            same_weekdays: whether the earlier period is a whole number of weeks earlier, even if it does not end where
                the other begins.

        Raises:
            InvalidQuery: the time zone is unknown, or the period is empty.
        """
        from harken.domain.insight.periods import compared_periods  # noqa: PLC0415 - keeps `import harken` light

        return compared_periods(query, self._clock(), zone_named(zone), same_weekdays=same_weekdays)

    def reasons(self, periods: ComparedPeriods, *, limit: int = 10) -> Issues:
        """The reasons that people chose for thumbs-down feedback in a period, the most frequent first.

        They are counted in the newest 20,000 thumbs-down entries of each period. A filter on the rating is ignored.

        Raises:
            InvalidQuery: the limit is not from 1 to 50.
        """
        before, after = (_of_any_rating(one) for one in (periods.before, periods.after))
        return self._reasons.issues(after, self.summary(after), before, self.summary(before), limit=limit)

    def theme_issues(self, periods: ComparedPeriods, *, limit: int = 15) -> Issues:
        """The :meth:`themes` of a period as issues, the most frequent first.

        They are kept until the periods have 1% as many new entries as thumbs-down feedback. To find them takes seconds
        if there are thousands.

        Raises:
            InvalidQuery: the limit is not from 1 to 50.
        """
        check_limit(limit)
        before, after = (_of_any_rating(one) for one in (periods.before, periods.after))
        both, summary, name, slack = self._themes_place(before, after, limit)
        return self._kept.get(both, summary, name, lambda: self._themes.issues(after, before, limit=limit), slack=slack)

    def knows_theme_issues(self, periods: ComparedPeriods, *, limit: int = 15) -> bool:
        """Whether :meth:`theme_issues` has kept a result, and takes no time."""
        before, after = (_of_any_rating(one) for one in (periods.before, periods.after))
        both, summary, name, slack = self._themes_place(before, after, limit)
        return self._kept.has(both, summary, name, slack=slack)

    def _themes_place(
        self, before: FeedbackQuery, after: FeedbackQuery, limit: int
    ) -> tuple[FeedbackQuery, Summary, Hashable, int]:
        """The selection of both periods, its statistics, the name of its kept themes, and how many new do not matter.

        The name does not have the end of the earlier period, which moves while the period runs.
        """
        summary = self.summary(after)
        slack = min(summary.negative, NEWEST) // 100
        return evolve(after, since=before.since), summary + self.summary(before), ("themes", limit, after.since), slack

    def ranking(self, periods: ComparedPeriods, by: GroupBy) -> Ranking[GroupKey]:
        """Groups on one axis: the satisfaction of each, its change, and which pairs differ by more than chance.

        Agents are counted exactly. Of other groups, the newest 20,000 thumbs of each period are counted.

        Raises:
            InvalidQuery: the groups are neither agents nor values of a context key.
        """
        if by.dimension not in {Dimension.AGENT, Dimension.CONTEXT}:
            raise InvalidQuery(f"Cannot rank by {by.dimension.value}; expected agent or context.NAME")
        before, after = (self._thumbs(one, by) for one in (periods.before, periods.after))
        summary = self.summary(periods.after)
        return rank(
            after,
            before if self.summary(periods.before).decided else None,
            Estimate(sum((one.summary for one in after.values()), Summary()), self._effects.of(periods.after, summary)),
            is_complete=by == _BY_AGENT or summary.decided <= NEWEST,
        )

    def facets(self, query: FeedbackQuery, *, keep_agents: bool = False) -> Facets:
        """The values that the agent, the tags and the context of feedback have, with the number of entries of each.

        They are counted in the newest 5,000 entries, those of agents in all entries if only the period is filtered.
        Each filter is ignored for its own values, so that others can be chosen. They are kept until 1% of the entries
        are new.

        Args:
            query: the selection.
            keep_agents: whether the filter on agents applies to agents too, as the reader may not see others.
        """
        from harken.domain.insight.facets import MOST_SHOWN, count_facets, without_facets  # noqa: PLC0415 - as above

        wide = without_facets(query, keep_agents=keep_agents)
        summary = self.summary(wide)

        def count() -> Facets:
            found = count_facets(newest(self._repository, wide, limit=_FACET_ENTRIES), query, most=_FACET_ENTRIES)
            if query != FeedbackQuery(application=query.application, since=query.since, until=query.until):
                return found
            agents = [(str(key), one.total) for key, one in self.groups(query, _BY_AGENT).items() if key is not None]
            return evolve(found, agents=tuple(agents[:MOST_SHOWN]))

        slack = min(summary.total, _FACET_ENTRIES) // 100
        return self._kept.get(wide, summary, ("facets", query), count, slack=slack)

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

    def _summarize(self, query: FeedbackQuery, by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        if self._read is None:
            return self._repository.summarize(query, by)
        place = query, by
        if place not in self._read:
            # Pages show agents, whose sum is the total.
            self._read[place] = (
                {None: Summary.sum_of(self._summarize(query, _BY_AGENT).values())}
                if by is None
                else self._groups_of_page(query, by)
            )
        return self._read[place]

    def _groups_of_page(self, query: FeedbackQuery, by: GroupBy) -> Mapping[GroupKey, Summary]:
        # Results by slot are large. They are not kept, but what is computed from them is.
        if by != _BY_AGENT or not _reads_much(query):
            return self._repository.summarize(query, by)
        counted = FeedbackQuery(application=query.application, since=query.since, until=query.until)
        if query == evolve(counted, agent_id=query.agent_id):
            if not self._is_long(query):
                return self._repository.summarize(query, by)
            counted = FeedbackQuery(application=query.application)
        from harken.services.filtered import FilteredSummaries  # noqa: PLC0415 - keeps `import harken` light

        return FilteredSummaries(self._repository, self._kept).by_agent(query, counted, self.summary(counted))

    def _is_long(self, query: FeedbackQuery) -> bool:
        """Whether a storage adds many counters for the period of a query. There are other counters for all times."""
        if query.since is None:
            return query.until is not None
        return (query.until or self._clock()) - query.since > _LONG

    def _keep(self, query: FeedbackQuery, name: Hashable, compute: Callable[[], _Value]) -> _Value:
        return self._kept.get(query, self.summary(query), name, compute)

    def _silence(self, periods: ComparedPeriods) -> Silence | None:
        """The silence at the end of a period that has not ended."""
        now = self._clock()
        if not periods.is_running and periods.span[1] < now:
            return None
        last = self._repository.find(evolve(periods.after, since=None, until=None), limit=1).items
        if not last or now - last[0].created_at < SHORTEST_SILENCE:
            return None
        at = last[0].created_at
        found = silence(self._slots(evolve(periods.after, since=now - _KNOWN, until=None)), at, now)
        return evolve(found, since=at.astimezone(periods.zone)) if found else None

    def _began(
        self, periods: ComparedPeriods, direction: int, *, by_hour: bool
    ) -> tuple[SatisfactionChange | None, SatisfactionChange | None]:
        """The largest change in a direction, and the one after it."""
        changes = self.hourly_changes(periods) if by_hour else self.changes(periods.after, periods.zone.key)
        began = largest_change(changes, direction)
        return began, next((one for one in changes if began and one.at > began.at), None)

    def _growth(self, periods: ComparedPeriods, *, themes: bool) -> Growth | None:
        """The reason that grew most; if no reason was chosen, the theme."""
        issues, is_reason = self.reasons(periods, limit=MAX_REASONS), True
        if not issues.found and themes:
            issues, is_reason = self.theme_issues(periods), False
        grown = [(one.name, one.change) for one in issues.issues if one.change and one.direction > 0]
        if not grown:
            return None
        name, change = max(grown, key=lambda one: one[1].difference)
        return Growth(name, is_reason, change)

    def _thumbs(self, query: FeedbackQuery, by: GroupBy) -> Mapping[GroupKey, Estimate]:
        """The statistics of each group; for groups other than agents, of the newest 20,000 thumbs."""
        if by == _BY_AGENT:
            return self.estimate_groups(query, by)

        def count() -> dict[GroupKey, Estimate]:
            return count_thumbs(self._repository.ratings_by_author(query, by, limit=NEWEST))

        return self._keep(query, ("thumbs", by), count)

    def _slots(self, query: FeedbackQuery) -> dict[datetime, Summary]:
        groups = self._summarize(query, GroupBy(Dimension.SLOT))
        return {slot: summary for slot, summary in groups.items() if isinstance(slot, datetime)}

    def _effect_within(self, query: FeedbackQuery, name: Hashable, period_of: Callable[[datetime], Hashable]) -> float:
        return self._effects.within_periods(query, self.summary(query), name, period_of)


def _reads_much(query: FeedbackQuery) -> bool:
    """Whether a storage reads all counted feedback of a period: it has no index for the other filters."""
    is_counted = (query.statuses, query.withdrawn) == (FeedbackQuery().statuses, FeedbackQuery().withdrawn)
    return is_counted and (query.feedback_id, query.session_id, query.author) == (None, None, None)


def _parts(series: Sequence[tuple[datetime, Summary]], found: Sequence[int]) -> list[SatisfactionChange]:
    """The changes of a series of periods that begin at these places."""
    parts = [series[start:end] for start, end in pairwise([0, *found, len(series)])]
    summaries = [Summary.sum_of(one for _, one in part) for part in parts]
    return [
        SatisfactionChange(part[0][0], before, after)
        for part, (before, after) in zip(parts[1:], pairwise(summaries), strict=True)
    ]


def _of_any_rating(query: FeedbackQuery) -> FeedbackQuery:
    return query if query.rating is None else evolve(query, rating=None)


def _differences(name: str, kept: Mapping[GroupKey, Summary], counted: Mapping[GroupKey, Summary]) -> Iterator[str]:
    for key in {**kept, **counted}:
        if kept.get(key) != counted.get(key):
            yield f"The statistics {name} are {kept.get(key)} for {key}, but a recount gives {counted.get(key)}"

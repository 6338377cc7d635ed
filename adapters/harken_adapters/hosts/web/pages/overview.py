"""The overview: is it fine, since when, why, who, what now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from attrs import evolve, frozen

from harken import (
    Facets,
    Feedback,
    FeedbackQuery,
    GroupBy,
    Harken,
    Headline,
    Issues,
    Overloaded,
    Rating,
    Scope,
    SearchNotReady,
    StorageError,
)
from harken.domain.insight.headline import find, is_of_one_rating
from harken.domain.insight.periods import ComparedPeriods
from harken.domain.insight.ranking import Ranking
from harken.domain.moderation import Backlog
from harken.domain.query import GroupKey
from harken.domain.summary import Summary
from harken.services.analytics import AnalyticsService
from harken_adapters.charts import Chart, Previous, heat_map_chart, ranking_chart, responses_chart, trend_chart
from harken_adapters.charts.themes import downs_text
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.http.wire.parameters import invalid
from harken_adapters.hosts.web.entries import entry_view
from harken_adapters.hosts.web.filter_bar import filter_bar
from harken_adapters.hosts.web.group_counts import GroupCounts, count_groups, groups_table
from harken_adapters.hosts.web.issues import rows_of
from harken_adapters.hosts.web.kpis import kpis_of, lead_of, noun_of, part_of, title_of, whole_noun_of
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.pages import first_feedback
from harken_adapters.hosts.web.pages.needs_you import needs_you
from harken_adapters.hosts.web.selection import CONTEXT, Selection
from harken_adapters.hosts.web.visit import Visit

logger = logging.getLogger(__name__)

PATH: Final = ""
_LATEST: Final = 6
ISSUES: Final = 5
#: The number of groupings to choose from.
_GROUPINGS: Final = 3
#: Changes within shorter periods are found to the hour.
_SHORT: Final = timedelta(days=14)
#: Words of this number of comments are found without a noticeable delay.
_FEW_COMMENTS: Final = 200
#: The parameters that choose the views of single cards, and their values, the default first.
VIEWS: Final = {
    "trend": ("chart", "table"),
    "issues": ("", "reasons", "words"),
    "hours": ("satisfaction", "responses", "table"),
    "latest": ("all", "down", "neutral", "up"),
}
#: The parameters that links to the same page keep.
KEPT: Final = (*VIEWS, "by")
_Value = TypeVar("_Value")


@frozen(kw_only=True)
class Overview:
    """What the overview shows. Cards that could not be computed are ``None``.

    Attributes:
        headline: the previous period and this one, and what to say first.
        whole: if only numbers have a meaning, because the selection is one of ratings or of reasons of one rating: the
            statistics of both periods without these filters. Else ``None``.
        trend: satisfaction, or responses, over time.
        issues: what people complain about; ``None`` also if it takes long to find out.
        issues_kind: ``reasons`` or ``words``.
        issues_later: whether it takes long to find out.
        groupings: what feedback can be grouped by: ``agent`` or ``context.NAME``.
        by: how it is grouped; empty if there is nothing to group by.
        ranking: satisfaction by group; ``None`` also if only numbers have a meaning.
        counts: responses by group, if only numbers have a meaning.
        heat_map: satisfaction, or responses, by hour.
        latest: the newest entries.
    """

    headline: Headline
    whole: tuple[Summary, Summary] | None
    trend: Chart | None
    issues: Issues | None
    issues_kind: str
    issues_later: bool
    groupings: Sequence[str]
    by: str
    ranking: Ranking[GroupKey] | None
    counts: GroupCounts | None
    heat_map: Chart | None
    latest: Sequence[Feedback] | None


def ask(hk: Harken, selection: Selection, *, views: dict[str, str], by: str) -> Overview:
    """Everything that the overview shows.

    Args:
        hk: the services.
        selection: what is selected.
        views: the views of the cards, by parameter.
        by: how feedback is grouped: ``agent`` or ``context.NAME``; empty for the first that there is.
    """
    analytics, periods, zone = hk.analytics.page(), selection.periods, selection.zone.key
    headline = _headline(analytics, periods)
    whole = _whole(periods) if is_of_one_rating(periods.after, headline.comparison) else None
    newest = selection.query if views["latest"] == "all" else _rated(selection.query, views["latest"])
    shows_responses = whole is not None or views["hours"] == "responses"
    groupings = _card("groupings", lambda: _groupings(analytics, selection, by)) or (by or "agent",)
    chosen = by or groupings[0]
    issues, kind, later = _issues(analytics, periods, views["issues"])
    return Overview(
        headline=headline,
        whole=None if whole is None else (analytics.summary(whole.before), analytics.summary(whole.after)),
        trend=_card("trend", lambda: _trend(analytics, selection, whole)),
        issues=issues,
        issues_kind=kind,
        issues_later=later,
        groupings=groupings,
        by=chosen,
        ranking=None if whole else _card("ranking", lambda: _ranking(analytics, selection, chosen)),
        counts=_card("counts", lambda: _counts(analytics, selection, whole, headline, chosen)) if whole else None,
        heat_map=_card(
            "hours",
            lambda: heat_map_chart(
                analytics.heat_map(selection.query, zone, prefer_dates=True),
                zone=zone,
                shows_responses=shows_responses,
            ),
        ),
        latest=_card("latest", lambda: hk.collection.find(newest, limit=_LATEST).items),
    )


def _whole(periods: ComparedPeriods) -> ComparedPeriods:
    """The same periods without filters on the rating and the reason."""
    before, after = (evolve(one, rating=None, tag=None) for one in (periods.before, periods.after))
    return evolve(periods, before=before, after=after)


def _headline(analytics: AnalyticsService, periods: ComparedPeriods) -> Headline:
    """What to say first. If the reasons for it cannot be found, only what changed."""
    explained = _card("headline", lambda: analytics.headline(periods, themes=analytics.knows_theme_issues(periods)))
    if explained is not None:
        return explained
    comparison = analytics.compare(periods.before, periods.after)
    return Headline(
        finding=find(comparison, counts_only=is_of_one_rating(periods.after, comparison)),
        before=periods.before_span,
        after=periods.span,
        is_running=periods.is_running,
        comparison=comparison,
    )


def _card(name: str, ask: Callable[[], _Value]) -> _Value | None:
    """The value of a card; ``None`` if the storage fails, as the rest of the page is right."""
    try:
        return ask()
    except SearchNotReady:
        # Nothing failed, and no card of this search can be computed yet: the page says so.
        raise
    except (StorageError, Overloaded):
        logger.exception("The card %r of the overview failed", name)
        return None


def _rated(query: FeedbackQuery, rating: str) -> FeedbackQuery:
    return evolve(query, rating=Rating.from_word(rating))


def _trend(analytics: AnalyticsService, selection: Selection, whole: ComparedPeriods | None) -> Chart:
    """The trend of satisfaction; or, if that says nothing, of responses, in points that are as long as those of all."""
    zone, periods, query = selection.zone.key, selection.periods, selection.query
    period = analytics.fitting_period(query if whole is None else whole.after, zone)
    previous = None
    if selection.is_compared:
        before = analytics.trend(periods.before, period, zone)
        starts = [span[0].replace(tzinfo=None) for span in (periods.before_span, periods.span)]
        previous = Previous(before, starts[1] - starts[0], selection.label_before)
    points = analytics.trend(query, period, zone)
    now = selection.local(selection.now) if periods.is_running else None
    if whole is not None:
        return responses_chart(points, previous=previous, now=now)
    is_short = periods.length < _SHORT
    changes = analytics.hourly_changes(periods) if is_short else analytics.changes(query, zone)
    return trend_chart(points, previous=previous, changes=changes, now=now)


def _issues(analytics: AnalyticsService, periods: ComparedPeriods, kind: str) -> tuple[Issues | None, str, bool]:
    """The issues, whether they are reasons or words, and whether to ask for them later because that takes long."""
    # Who has chosen a reason asks what people say about it.
    kind = kind or ("words" if periods.after.tag is not None else "")
    reasons = None if kind == "words" else _card("reasons", lambda: analytics.reasons(periods, limit=ISSUES))
    if kind == "reasons" or (kind != "words" and (reasons is None or reasons.found)):
        return reasons, "reasons", False
    query = evolve(periods.after, rating=None)
    if analytics.summary(query).negative > _FEW_COMMENTS and not analytics.knows_theme_issues(periods):
        return None, "words", True
    return _card("words", lambda: analytics.theme_issues(periods)), "words", False


def _groupings(analytics: AnalyticsService, selection: Selection, by: str) -> Sequence[str]:
    """What feedback can be grouped by: the chosen one, agents, and the context keys that most entries have."""
    facets = analytics.facets(selection.query, keep_agents=selection.agents is not None)
    names = ["agent"] if facets.agents else []
    names += [f"{CONTEXT}{name}" for name in _context_keys(facets)]
    shown = names[:_GROUPINGS]
    return shown if not by or by in shown else [*shown[: _GROUPINGS - 1], by]


def _context_keys(facets: Facets) -> list[str]:
    """The context keys with several values, those of the most entries first."""
    several = [name for name, values in facets.context.items() if len(values) > 1]
    return sorted(several, key=lambda name: -sum(count for _, count in facets.context[name]))


def _ranking(analytics: AnalyticsService, selection: Selection, by: str) -> Ranking[GroupKey]:
    found = analytics.ranking(selection.periods, GroupBy.parse(by))
    if selection.is_compared:
        return found
    return evolve(found, groups=tuple(evolve(group, change=None) for group in found.groups))


def _counts(
    analytics: AnalyticsService, selection: Selection, whole: ComparedPeriods, headline: Headline, by: str
) -> GroupCounts:
    found, of_all = (analytics.ranking(one, GroupBy.parse(by)) for one in (selection.periods, whole))
    return count_groups(found, of_all, lambda summary: part_of(selection, headline.comparison.after, summary))


def show(visit: Visit) -> Response:
    """The response with the page; a redirect for a visitor who may only moderate, as this is where signing in leads."""
    if not visit.may(Scope.READ) and visit.may(Scope.MODERATE):
        return visit.redirect(visit.selection(known=(*KEPT, "from")).link(f"{visit.home}/moderation"))
    visit.require(Scope.READ)
    selection = visit.selection(known=(*KEPT, "from"))
    if is_empty(visit.harken, visit.application):
        return first_feedback.show(visit, selection)
    views = {name: selection.choice(name, values) for name, values in VIEWS.items()}
    by = _grouping(selection)
    sees_all = visit.principal.agents is None
    found = ask(visit.harken, selection, views=views, by=by)
    here, path = selection.keeping(KEPT), visit.home
    return visit.show(
        "overview.html",
        title=title_of(found.headline, selection),
        needs=_card("needs", lambda: needs_you(visit, selection)),
        lead=lead_of(found.headline, here, path),
        found=found,
        views=views,
        kpis=kpis_of(found.headline.comparison, selection, whole=found.whole),
        issues=rows_of(visit, found.issues, selection, here=here, reasons=found.issues_kind == "reasons")[:ISSUES]
        if found.issues
        else (),
        downs=downs_text(found.issues) if found.issues else "",
        ranking=_ranking_chart(found, here, path),
        counts=_counts_table(found, here, path),
        is_clear=found.ranking is not None and _is_clear(found.ranking),
        latest=None if found.latest is None else [entry_view(visit, selection, one) for one in found.latest],
        bar=filter_bar(here, path, visit.home, "overview"),
        frame=frame_of(visit, "Overview", selection),
        selection=selection,
        here=here,
        path=path,
        is_counted=found.whole is not None,
        may_moderate=visit.may(Scope.MODERATE),
        sees_all=sees_all,
        backlog=visit.backlog if sees_all else Backlog(),
    )


def _grouping(selection: Selection) -> str:
    """What feedback is grouped by; empty for the first that there is.

    Raises:
        Problem: it is neither ``agent`` nor ``context.NAME``.
        InvalidQuery: the name is invalid.
    """
    by = selection.parameters.get("by", "")
    if by and by != "agent" and not by.startswith(CONTEXT):
        raise invalid("by", "unknown", f"by must be agent or context.NAME; got {by[:100]!a}")
    if by:
        GroupBy.parse(by)
    return by


def _ranking_chart(found: Overview, here: Selection, path: str) -> Chart | None:
    """The ranking, each group with a link that selects it."""
    if found.ranking is None:
        return None
    return ranking_chart(found.ranking, by=found.by.removeprefix(CONTEXT), link=_group_links(found, here, path))


def _counts_table(found: Overview, here: Selection, path: str) -> str:
    """The numbers by group, each group with a link that selects it; empty if there are none."""
    if found.counts is None or not found.counts.groups:
        return ""
    after = found.headline.comparison.after
    return groups_table(
        found.counts,
        by=found.by.removeprefix(CONTEXT),
        noun=noun_of(here, after),
        whole=f"{whole_noun_of(here, after)}s",
        link=_group_links(found, here, path),
    )


def _group_links(found: Overview, here: Selection, path: str) -> Callable[[GroupKey], str | None]:
    parameter = "agent_id" if found.by == "agent" else found.by

    def link(key: GroupKey) -> str | None:
        return here.link(path, (parameter, key), without=[parameter]) if isinstance(key, str) else None

    return link


def _is_clear(ranking: Ranking[GroupKey]) -> bool:
    """Whether the sentence names groups that differ by more than chance."""
    best = ranking.best
    return best.clearest is not None or (best.best is not None and bool(best.best.comparison.direction))


def is_empty(hk: Harken, application: str) -> bool:
    """Whether an application has no feedback, in any state."""
    return not hk.collection.find(FeedbackQuery(application=application).in_any_state(), limit=1).items

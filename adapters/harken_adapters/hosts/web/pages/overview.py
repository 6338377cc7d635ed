"""The overview: is it fine, since when, why, who, what now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import evolve, frozen
from markupsafe import Markup

from harken import Feedback, FeedbackQuery, GroupBy, Harken, Rating, Scope
from harken.domain.insight.comparison import Comparison, Estimate, Verdict
from harken.domain.moderation import Backlog
from harken.domain.summary import Summary
from harken.domain.trend import Period
from harken_adapters.charts import Chart, Previous, comparison_chart, heat_map_chart, merge_points, trend_chart
from harken_adapters.charts.labels import DASH, amount, interval_text, satisfaction_text, share_text
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.web.entries import entry_view
from harken_adapters.hosts.web.filter_bar import filter_bar
from harken_adapters.hosts.web.needs_you import needs_you
from harken_adapters.hosts.web.pages import first_feedback
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import points_text

PATH: Final = ""
_LATEST: Final = 6
#: The parameters that choose the views of single cards, and their values, the default first.
VIEWS: Final = {
    "trend": ("chart", "table"),
    "issues": ("reasons", "words"),
    "hours": ("satisfaction", "responses", "table"),
    "latest": ("all", "down", "neutral", "up"),
}


@frozen(kw_only=True)
class Overview:
    """What the overview shows.

    Attributes:
        comparison: the previous period and this one.
        trend: satisfaction over time.
        groups: satisfaction by group.
        heat_map: satisfaction by hour.
        latest: the newest entries.
        backlog: what waits for moderation.
    """

    comparison: Comparison
    trend: Chart
    groups: Chart
    heat_map: Chart
    latest: Sequence[Feedback]
    backlog: Backlog


def ask(hk: Harken, selection: Selection, *, by: str, hours: str, latest: str) -> Overview:
    """Everything that the overview shows.

    Args:
        hk: the services.
        selection: what is selected.
        by: how feedback is grouped: ``agent`` or ``context.NAME``.
        hours: the view of the heat map.
        latest: which of the newest entries: ``all``, or a rating.
    """
    analytics, query, zone = hk.analytics, selection.query, selection.zone.key
    newest = query if latest == "all" else evolve(query, rating=Rating.from_word(latest))
    return Overview(
        comparison=analytics.compare(selection.previous or query, query),
        trend=_trend(hk, selection),
        groups=comparison_chart(analytics.compare_groups(query, GroupBy.parse(by)), by=by.removeprefix("context.")),
        heat_map=heat_map_chart(
            analytics.heat_map(query, zone, prefer_dates=True), zone=zone, shows_responses=hours == "responses"
        ),
        latest=hk.collection.find(newest, limit=_LATEST).items,
        backlog=hk.moderation.backlog(query.application),
    )


def _trend(hk: Harken, selection: Selection) -> Chart:
    zone, span = selection.zone.key, selection.span
    points = merge_points(hk.analytics.trend(selection.query, Period.HOUR, zone))
    previous = None
    if selection.previous is not None:
        before = merge_points(hk.analytics.trend(selection.previous, Period.HOUR, zone))
        previous = Previous(before, span.length, span.shifted(-1).whole.label)
    return trend_chart(
        points,
        previous=previous,
        changes=hk.analytics.changes(selection.query, zone),
        now=span.end if span.is_running else None,
    )


def show(visit: Visit) -> Response:
    """The response with the page."""
    selection = visit.selection(known=(*VIEWS, "by", "from"))
    if is_empty(visit.harken, visit.application):
        return first_feedback.show(visit, selection)
    views = {name: selection.choice(name, values) for name, values in VIEWS.items()}
    by = selection.parameters.get("by", "agent")
    found = ask(visit.harken, selection, by=by, hours=views["hours"], latest=views["latest"])
    return visit.show(
        "overview.html",
        title="Overview",
        found=found,
        views=views,
        by=by,
        headline=headline(found.comparison),
        kpis=kpis(found.comparison, compared=selection.previous is not None),
        latest=[entry_view(visit, selection, one) for one in found.latest],
        bar=filter_bar(selection, visit.home, visit.home, "overview"),
        frame=visit.frame("Overview", selection),
        selection=selection,
        path=visit.home,
        may_moderate=visit.may(Scope.MODERATE),
        needs=needs_you(visit, selection),
    )


def is_empty(hk: Harken, application: str) -> bool:
    """Whether an application has no feedback, in any state."""
    return not hk.collection.find(FeedbackQuery(application=application).in_any_state(), limit=1).items


@frozen(kw_only=True)
class Headline:
    """The title of the page, and the sentences below it."""

    title: str
    lead: str = ""


def headline(comparison: Comparison) -> Headline:
    """What changed."""
    satisfaction = satisfaction_text(comparison.after)
    if comparison.verdict is Verdict.UNDECIDED:
        return Headline(title=f"Satisfaction is about the same: {satisfaction}")
    word = "rose" if comparison.satisfaction_change > 0 else "fell"
    return Headline(title=f"Satisfaction {word} {abs(comparison.satisfaction_change):.1f} points, to {satisfaction}")


@frozen(kw_only=True)
class Kpis:
    """The main statistics as texts, each with what it was before."""

    satisfaction: str
    change: str
    basis: str
    total: int
    total_change: str
    comments: str
    comments_before: str


def kpis(comparison: Comparison, *, compared: bool) -> Kpis:
    """The main statistics."""
    before, after = comparison.before, comparison.after
    estimate = Estimate(after, comparison.after_effect)
    basis = [f"{interval_text(estimate.interval, after.decided)}, 95% confidence", f"from {amount(after.decided, 'thumb')}"]
    if compared and before.decided:
        basis.append(f"was {satisfaction_text(before)}")
    return Kpis(
        satisfaction=satisfaction_text(after).removesuffix("%"),
        change=_change(comparison) if compared else "",
        basis=" · ".join(basis) if after.decided else "no thumbs yet",
        total=after.total,
        total_change=_total_change(before, after) if compared else "",
        comments=share_text(after.comments / after.total) if after.total else DASH,
        comments_before=f"was {share_text(before.comments / before.total)}" if compared and before.total else "",
    )


def _change(comparison: Comparison) -> Markup:
    if comparison.verdict is Verdict.UNDECIDED:
        return Markup('<span class="chg box neu">no clear change</span>')
    kind = "up" if comparison.satisfaction_change > 0 else "down"
    return Markup('<span class="chg box {}">{}</span>').format(kind, points_text(comparison.satisfaction_change))


def _total_change(before: Summary, after: Summary) -> Markup | str:
    if not before.total:
        return "none before"
    change = after.total / before.total - 1
    arrow = "▲" if change > 0 else "▼"
    return Markup('<span class="chg neu">{} {}</span> from {}').format(arrow, share_text(abs(change)), f"{before.total:,}")

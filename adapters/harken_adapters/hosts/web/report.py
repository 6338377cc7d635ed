"""The report: one page that can be printed and sent, with its style inside and nothing from the network."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from harken import (
    Cell,
    Estimate,
    FeedbackQuery,
    GroupBy,
    Harken,
    Headline,
    Issues,
    Period,
    Ranking,
    SatisfactionChange,
    TrendPoint,
)
from harken.domain.insight.periods import ComparedPeriods
from harken.domain.query import Dimension, GroupKey
from harken_adapters.charts import (
    Chart,
    Previous,
    headline_details,
    headline_title,
    heat_map_chart,
    issues_chart,
    merge_points,
    ranking_chart,
    trend_chart,
)
from harken_adapters.charts.labels import DASH, day_text, days_text, interval_text, satisfaction_text, zone_text
from harken_adapters.charts.terminal import (
    heat_map_text,
    issues_text,
    ranking_text,
    rating_split_text,
    trend_text,
)
from harken_adapters.charts.text_cells import COLUMNS, wrap_text
from harken_adapters.charts.themes import ThemeRow, issue_rows
from harken_adapters.hosts.web.rendering import render
from harken_adapters.hosts.web.style import style

#: The points of longer periods consist of whole days.
_IN_HOURS: Final = timedelta(days=90)
_MOST_REASONS: Final = 10
_MOST_THEMES: Final = 10
#: Selects what is counted.
_COUNTED: Final = FeedbackQuery()
_BY_AGENT: Final = GroupBy(Dimension.AGENT)


@frozen(kw_only=True)
class Report:
    """What a report shows.

    Attributes:
        query: the selection.
        periods: its period and the one before.
        made_at: when the report was made.
        headline: what changed.
        trend: statistics over time.
        trend_before: the same of the period before.
        changes: when satisfaction changed.
        reasons: the reasons that people chose.
        themes: the themes of their comments.
        agents: the agents by satisfaction; ``None`` if no feedback names an agent.
        hours: statistics by day and hour.
    """

    query: FeedbackQuery
    periods: ComparedPeriods
    made_at: datetime
    headline: Headline
    trend: Sequence[TrendPoint]
    trend_before: Sequence[TrendPoint]
    changes: Sequence[SatisfactionChange]
    reasons: Issues
    themes: Issues
    agents: Ranking[GroupKey] | None
    hours: Sequence[Cell]

    @property
    def estimate(self) -> Estimate:
        """The satisfaction of the period, with its interval."""
        return self.headline.estimate

    @property
    def running_until(self) -> datetime | None:
        """When the report was made, if the period has not ended."""
        return self.made_at if self.periods.is_running else None


def ask(hk: Harken, query: FeedbackQuery, zone: str, *, now: datetime) -> Report:
    """Everything that a report shows.

    Args:
        hk: the services.
        query: the selection. Without ``since``, the last 28 days.
        zone: an IANA time zone.
        now: when the report is made.

    Raises:
        InvalidQuery: the time zone is unknown, or the period is empty.
    """
    analytics = hk.analytics.page()
    periods = analytics.periods(query, zone)
    before, after = periods.before, periods.after
    agents = analytics.ranking(periods, _BY_AGENT)
    unit = Period.HOUR if periods.length <= _IN_HOURS else Period.DAY
    return Report(
        query=query,
        periods=periods,
        made_at=now.astimezone(periods.zone),
        headline=analytics.headline(periods),
        trend=merge_points(analytics.trend(after, unit, zone)),
        trend_before=merge_points(analytics.trend(before, unit, zone)),
        changes=analytics.changes(after, zone),
        reasons=analytics.reasons(periods, limit=_MOST_REASONS),
        themes=analytics.theme_issues(periods, limit=_MOST_THEMES),
        agents=agents if any(group.key is not None for group in agents.groups) else None,
        hours=analytics.heat_map(after, zone, prefer_dates=True),
    )


def report_page(report: Report) -> bytes:
    """The report as an HTML page."""
    after = report.estimate.summary
    return render(
        "report.html",
        {
            "report": report,
            "style": style().decode(),
            "title": headline_title(report.headline),
            "details": headline_details(report.headline),
            "subject": subject_text(report),
            "filters": list(filters_of(report.query)),
            "before": _period_text(report.periods.before_span),
            "satisfaction": satisfaction_text(after),
            "interval": interval_text(report.estimate.interval, after.decided),
            "quality": f"{after.quality:.1f}" if after.total else DASH,
            "after": after,
            "trend": _draw_trend(report),
            "issues": [
                ("Reasons", issues_chart(report.reasons), _examples(report.reasons)),
                ("Themes of comments", issues_chart(report.themes, reasons=False), _examples(report.themes)),
            ],
            "agents": None if report.agents is None else ranking_chart(report.agents, by="agent"),
            "hours": heat_map_chart(report.hours, zone=report.periods.zone.key),
        },
    )


def report_text(report: Report, *, width: int = COLUMNS) -> str:
    """The report as text for a terminal."""
    details = [line for sentence in headline_details(report.headline) for line in wrap_text(sentence, width)]
    parts = [
        "\n".join([*wrap_text(headline_title(report.headline), width), *details]),
        subject_text(report),
        rating_split_text(report.estimate, width=width),
    ]
    if report.trend:
        parts.append(trend_text(report.trend, changes=report.changes, now=report.running_until, width=width))
    parts.append(issues_text(report.reasons, width=width))
    if report.themes.issues:
        parts.append(issues_text(report.themes, reasons=False, width=width))
    if report.agents is not None:
        parts.append(ranking_text(report.agents, by="agent", width=width))
    if report.estimate.summary.total:
        parts.append(heat_map_text(report.hours, zone=report.periods.zone.key, width=width))
    return "\n\n".join(parts)


def subject_text(report: Report) -> str:
    """What the report is of: ``support, 22 Feb 2026, times in UTC, agent is helper``."""
    filters = [f"{name} is {values}" for name, values in filters_of(report.query)]
    period = _period_text(report.periods.span) + (" so far" if report.periods.is_running else "")
    return ", ".join([report.query.application, period, f"times in {report.periods.zone.key}", *filters])


def filters_of(query: FeedbackQuery) -> Iterator[tuple[str, str]]:
    """The names and values of the filters in use, besides the period."""
    single = {
        "feedback": query.feedback_id,
        "session": query.session_id,
        "message": query.message_id,
        "author": query.author,
        "text": query.text,
    }
    yield from ((name, value) for name, value in single.items() if value is not None)
    ratings = None if query.rating is None else {rating.word for rating in query.rating}
    # Names in the context may be those of other filters.
    several: list[tuple[str, Collection[str | None] | None]] = [
        ("agent", query.agent_id),
        ("reason", query.tag),
        ("rating", ratings),
        *(query.context or {}).items(),
    ]
    for name, values in several:
        if values is not None:
            yield name, ", ".join(sorted("(none)" if value is None else value for value in values))
    if query.has_comment is not None:
        yield "comment", "present" if query.has_comment else "absent"
    if query.statuses != _COUNTED.statuses:
        yield "status", ", ".join(sorted(status.value for status in query.statuses))
    if query.withdrawn is not False:
        yield "withdrawn", "yes" if query.withdrawn else "yes or no"


def _draw_trend(report: Report) -> Chart:
    begin, begin_before = (one.replace(tzinfo=None) for one in (report.periods.span[0], report.periods.before_span[0]))
    previous = Previous(report.trend_before, begin - begin_before, _period_text(report.periods.before_span))
    return trend_chart(
        report.trend,
        previous=previous if report.trend_before else None,
        changes=report.changes,
        now=report.running_until,
    )


def _examples(found: Issues) -> list[ThemeRow]:
    return [row for row in issue_rows(found) if row.example]


def _period_text(span: tuple[datetime, datetime]) -> str:
    """A period with its year: its first and last day, or its times if it does not consist of days."""
    start, end = span
    if any((one.hour, one.minute, one.second, one.microsecond) != (0, 0, 0, 0) for one in span):
        return f"{day_text(start)} {start:%Y, %H:%M} {DASH} {day_text(end)} {end:%Y, %H:%M} {zone_text(end)}"
    return days_text(start.date(), (end.replace(tzinfo=None) - timedelta(days=1)).date(), with_year=True)

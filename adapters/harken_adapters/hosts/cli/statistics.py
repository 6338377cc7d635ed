"""The commands ``stats``, ``trends``, ``themes`` and ``compare``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from attrs import evolve
from rich.cells import set_cell_size
from rich.text import Text

from harken import (
    Comparison,
    Estimate,
    FeedbackQuery,
    GroupBy,
    Keyword,
    Mix,
    ResponseTime,
    SatisfactionChange,
    Summary,
    Themes,
    Verdict,
)
from harken.domain.instants import format_duration
from harken.domain.query import Dimension, GroupKey
from harken_adapters.formats.record import feedback_record
from harken_adapters.formats.statistics import (
    By,
    Points,
    changes_record,
    compared_groups_record,
    comparison_record,
    estimate_record,
    keywords_record,
    parse_group,
    response_time_record,
    summary_record,
    themes_record,
    trend_points,
)
from harken_adapters.hosts.cli.options import Filters, Json, WrongUsage, cli_context, instant, pairs, with_filters
from harken_adapters.hosts.cli.output import Cell, bar, count_text, in_one_line, out, print_json, say, table

#: A design effect that is shown: from here on, the interval is about 5% wider than it would be without it.
_NOTABLE = 1.1
#: Follows the number of comments.
_TOO_FEW = ", too few to find which words belong together"
_STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red"}
_SIDES = "The two selections"
_Moment = Annotated[
    datetime | None,
    typer.Option(metavar="DATE", parser=instant, help="Like --since or --until.", rich_help_panel=_SIDES),
]
_Agent = Annotated[str | None, typer.Option(help="Feedback on this agent.", rich_help_panel=_SIDES)]
_Context = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Feedback with this context value; repeatable.", rich_help_panel=_SIDES),
]
_COLUMNS = ("total", "up", "down", "neutral", "quality", "satisfaction")


@with_filters
def stats(
    context: typer.Context,
    filters: Filters,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="agent|session|tag|context.NAME", help="Group the statistics by this; one line per group."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show statistics: counts, satisfaction and quality."""
    if by is None:
        _show_stats(context, filters, as_json=as_json)
        return
    group_by = parse_group(by, over_time="'harken trends'")
    with cli_context(context).open() as hk:
        groups = hk.analytics.groups(filters.query(hk), group_by)
    if as_json:
        print_json({"by": by, "groups": [{"key": key} | summary_record(group) for key, group in groups.items()]})
        return
    groups_table(by, groups)


def _show_stats(context: typer.Context, filters: Filters, *, as_json: bool) -> None:
    with cli_context(context).open() as hk:
        query = filters.query(hk)
        estimate, response_time = hk.analytics.estimate(query), hk.moderation.response_time(query)
    if as_json:
        more = {"estimate": estimate_record(estimate), "response_time": response_time_record(response_time)}
        print_json(summary_record(estimate.summary) | more)
        return
    stats_table(estimate, response_time)


def stats_table(estimate: Estimate, response_time: ResponseTime | None = None) -> None:
    """Print statistics, one per line, with an interval that takes repeated authors into account."""
    summary, interval = estimate.summary, estimate.interval
    rows: list[tuple[str, Cell]] = [
        ("total", f"{summary.total:,}"),
        ("up", f"{summary.positive:,}"),
        ("down", f"{summary.negative:,}"),
        ("neutral", f"{summary.neutral:,}"),
        ("satisfaction", f"{summary.satisfaction:.1f}%  (95% CI: {interval.low:.1f}% to {interval.high:.1f}%)"),
        ("quality", f"{summary.quality:.1f}"),
        ("comments", f"{summary.comments:,}"),
        ("comment length", f"{summary.average_comment_length:.1f} characters on average"),
    ]
    if estimate.design_effect >= _NOTABLE:
        rows.insert(5, ("design effect", f"{estimate.design_effect:.2f}, as authors gave several ratings"))
    if summary.average_polarity is not None:
        rows.append(("polarity", f"{summary.average_polarity:+.3f} on average"))
    if response_time is not None:
        median, high = (
            format_duration(timedelta(seconds=round(seconds)))
            for seconds in (response_time.median, response_time.percentile_90)
        )
        rows.append(
            ("moderation", f"{count_text(response_time.decisions, 'decision')}, median {median}, 90% within {high}")
        )
    table(("statistic", "value"), rows)


def groups_table(by: str, groups: Mapping[GroupKey, Summary]) -> None:
    """Print a summary per group, one line each."""
    table(
        (by, *_COLUMNS),
        [(_name(key), *_cells(group)) for key, group in groups.items()],
    )


def _cells(summary: Summary) -> tuple[Cell, ...]:
    return (
        summary.total,
        summary.positive,
        summary.negative,
        summary.neutral,
        # Empty rather than zero: quality and satisfaction are undefined without ratings.
        summary.quality if summary.total else "",
        bar(summary.satisfaction) if summary.decided else "",
    )


@with_filters
def trends(
    context: typer.Context,
    filters: Filters,
    *,
    by: Annotated[
        By,
        typer.Option(
            metavar="PERIOD",
            help="The period of a line: hour, day or week; or the recurring hour-of-day or weekday.",
        ),
    ] = By.DAY,
    zone: Annotated[str, typer.Option(metavar="IANA", help="The time zone, such as Europe/Berlin.")] = "UTC",
    with_changes: Annotated[
        bool, typer.Option("--changes", help="Also name the days on which satisfaction changed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show statistics over time."""
    with cli_context(context).open() as hk:
        query = filters.query(hk)
        points = trend_points(hk, query, by, zone)
        changes = hk.analytics.changes(query, zone) if with_changes else None
    if as_json:
        document = {"by": by.value, "zone": zone, "points": [point | summary_record(one) for point, one in points]}
        print_json(document if changes is None else document | changes_record(zone, changes))
        return
    trend_table(by, points)
    if changes is not None:
        _print_changes(changes)


def _print_changes(changes: Iterable[SatisfactionChange]) -> None:
    lines = [
        f"Satisfaction {'rose' if one.after.satisfaction > one.before.satisfaction else 'fell'} on {one.at:%Y-%m-%d}: "
        f"from {one.before.satisfaction:.1f}% to {one.after.satisfaction:.1f}%"
        for one in changes
    ]
    for line in lines or ["Satisfaction did not change by more than chance on any day"]:
        say(line)


def trend_table(by: By, points: Points) -> None:
    """Print a summary per period, one line each, with satisfaction as a bar."""
    table((by.value, *_COLUMNS), [(_label(by, point), *_cells(one)) for point, one in points])


def _label(by: By, point: Mapping[str, Any]) -> str:
    match by:
        case By.HOUR_OF_DAY:
            return f"{point['hour']:02}"
        case By.WEEKDAY:
            return str(point["weekday"])
        case By.HOUR:
            return str(point["start"])[:16].replace("T", " ")
        case _:
            return str(point["start"])[:10]


@with_filters
def themes(
    context: typer.Context,
    filters: Filters,
    *,
    keyword: Annotated[
        list[str] | None, typer.Option(help="Count this word instead of finding themes; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(help="The maximum number of themes, from 1 to 50.")] = 15,
    as_json: Json = False,
) -> None:
    """Show what thumbs-down comments are about; with --since, also how this changed since the period before."""
    with cli_context(context).open() as hk:
        query = filters.query(hk)
        if keyword:
            keywords = hk.analytics.keywords(query, keyword)
            print_json(keywords_record(keywords)) if as_json else _keywords_table(keywords)
            return
        found = hk.analytics.themes(query, limit=limit)
    if as_json:
        print_json(themes_record(found, feedback_record))
        return
    print_themes(found)


def _keywords_table(keywords: Iterable[Keyword]) -> None:
    rows = [(one.keyword, one.mentions) for one in keywords]
    if rows:
        table(("keyword", "mentions"), rows)
    else:
        say("No negative feedback mentions any of the keywords")


def print_themes(found: Themes) -> None:
    """Print themes, each with an example on the line below, and the tags."""
    if found.themes:
        say(f"{'theme':28}   share  comments  {'change' if found.themes[0].change else ''}".rstrip(), style="dim")
    for one in found.themes:
        # How many more comments would decide it is of no use in a list.
        change = one.sentence if one.change and one.change.verdict is not Verdict.UNDECIDED else one.verdict
        share = f"{one.theme.share * 100:5.1f}%  {one.theme.count:>8,}"
        say(_cut(f"{set_cell_size(in_one_line(one.name), 28)}  {share}  {change or ''}".rstrip()), style="bold")
        say(_cut(f"  {in_one_line(one.examples[0].comment)}"), style="dim")
    if not found.themes:
        say("No theme is in enough thumbs-down comments")
    say(f"From {count_text(found.comments, 'thumbs-down comment')}{'' if found.is_enough else _TOO_FEW}")
    if found.tags:
        say(_cut("Tags: " + ", ".join(f"{in_one_line(tag)} ({count:,})" for tag, count in found.tags[:10])))


def _cut(line: str) -> str:
    """The line, cut to the width of the terminal."""
    text = Text(line)
    text.truncate(out.width, overflow="ellipsis")
    return text.plain


@with_filters
def compare(
    context: typer.Context,
    filters: Filters,
    *,
    by: Annotated[
        str | None,
        typer.Option(metavar="agent|session|tag|context.NAME", help="Compare each group with the others instead."),
    ] = None,
    before_since: _Moment = None,
    before_until: _Moment = None,
    before_agent: _Agent = None,
    before_context: _Context = None,
    after_since: _Moment = None,
    after_until: _Moment = None,
    after_agent: _Agent = None,
    after_context: _Context = None,
    as_json: Json = False,
) -> None:
    """Compare two selections of feedback: was the change more than chance?

    Without options for the two selections, the period from --since to --until is compared with the period before it.
    """
    with cli_context(context).open() as hk:
        query = filters.query(hk)
        before = _side(
            query,
            "--before-context",
            since=before_since,
            until=before_until,
            agent=before_agent,
            context_values=before_context,
        )
        after = _side(
            query,
            "--after-context",
            since=after_since,
            until=after_until,
            agent=after_agent,
            context_values=after_context,
        )
        if by is not None:
            if before != after:
                raise WrongUsage("--by compares groups with each other; leave out --before-... and --after-...")
            groups = hk.analytics.compare_groups(query, parse_group(by, over_time="'harken trends'"))
            print_json(compared_groups_record(by, groups)) if as_json else _compared_groups_table(by, groups)
            return
        if before == after:
            before = hk.analytics.previous_period(after)
        comparison = hk.analytics.compare(before, after)
        mix = hk.analytics.mix(before, after, GroupBy(Dimension.AGENT))
    if as_json:
        print_json(comparison_record(comparison))
        return
    _comparison_table(comparison)
    if before.agent_id == after.agent_id:
        _print_mix(mix)


def _side(
    query: FeedbackQuery,
    option: str,
    *,
    since: datetime | None,
    until: datetime | None,
    agent: str | None,
    context_values: list[str] | None,
) -> FeedbackQuery:
    """The query with the filters of one side in place of its own."""
    return evolve(
        query,
        since=since or query.since,
        until=until or query.until,
        agent_id=query.agent_id if agent is None else agent,
        context={**query.context, **pairs(option, context_values or ())},
    )


def _comparison_table(comparison: Comparison) -> None:
    sides = (("before", comparison.before), ("after", comparison.after))
    table(("", *_COLUMNS), [(name, *_cells(summary)) for name, summary in sides])
    always, single = comparison.always_valid_interval, comparison.interval
    say(f"Verdict: {comparison.sentence}", style=_STYLES.get(comparison.verdict, ""))
    say(f"Change in satisfaction: {comparison.satisfaction_change:+.1f} points")
    say(f"  95% interval that holds at every look: {always.low:+.1f} to {always.high:+.1f} points")
    say(f"  95% interval for a single look:        {single.low:+.1f} to {single.high:+.1f} points")


def _print_mix(mix: Mix[GroupKey]) -> None:
    """Name the agents that only one side has, and the change without them."""
    if not (mix.new or mix.gone) or not (mix.without.before.decided and mix.without.after.decided):
        return
    for what, agents in (("new", mix.new), ("gone", mix.gone)):
        if agents:
            named = ", ".join(in_one_line(_name(agent)) for agent in agents[:5])
            say(_cut(f"{count_text(len(agents), f'{what} agent')}: {named}"))
    say(f"Without them: {mix.without.sentence}")


def _compared_groups_table(by: str, groups: Mapping[GroupKey, Comparison]) -> None:
    """Print a line for each group: its satisfaction, and how it compares with the others."""
    table(
        (by, "ratings", "satisfaction", "compared with the others"),
        [
            (
                set_cell_size(in_one_line(_name(key)), 20).rstrip(),
                one.after.decided,
                f"{one.after.satisfaction:.1f}%" if one.after.decided else "",
                Text(one.sentence, style=_STYLES.get(one.verdict, ""), overflow="ellipsis", no_wrap=True),
            )
            for key, one in groups.items()
        ],
    )


def _name(key: GroupKey) -> str:
    return "(none)" if key is None else str(key)

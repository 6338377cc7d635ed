"""The commands ``stats``, ``trends``, ``themes`` and ``compare``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import islice
from typing import Annotated, Any, Final

import typer
from attrs import evolve

from harken import Cell as HeatCell
from harken import (
    Comparison,
    Estimate,
    Feedback,
    FeedbackQuery,
    GroupBy,
    Harken,
    Keyword,
    Mix,
    Period,
    ResponseTime,
    SatisfactionChange,
    Summary,
    Themes,
    TrendPoint,
)
from harken.domain.instants import format_duration
from harken.domain.query import Dimension, GroupKey
from harken.domain.texts import amount
from harken_adapters.charts.terminal import (
    change_text,
    comparison_text,
    groups_text,
    heat_map_text,
    rating_split_text,
    themes_text,
    trend_text,
)
from harken_adapters.charts.themes import TOO_FEW
from harken_adapters.formats.statistics import (
    By,
    Points,
    changes_record,
    compared_groups_record,
    heat_map_record,
    keywords_record,
    mix_record,
    period_points,
    recurring_points,
    recurring_record,
    response_time_record,
    themes_record,
)
from harken_adapters.hosts.cli.empty_results import say_if_nothing, tell_unknown
from harken_adapters.hosts.cli.options import (
    GROUPS,
    Filters,
    Json,
    WrongUsage,
    cli_context,
    local_instant,
    parse_existing_group,
    values_by_name,
    with_filters,
)
from harken_adapters.hosts.cli.output import Cell, chart, chart_width, print_json, row_width, say, table, warn, wrap

#: A design effect that is shown: from here on, the interval is about 5% wider than it would be without it.
_NOTABLE = 1.1
_SIDES = "The two selections"
_Moment = Annotated[str | None, typer.Option(metavar="DATE", help="Like --since or --until.", rich_help_panel=_SIDES)]
_Agent = Annotated[list[str] | None, typer.Option(help="Feedback on this agent; repeatable.", rich_help_panel=_SIDES)]
_Context = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Feedback with this context value; repeatable.", rich_help_panel=_SIDES),
]


class Sort(Enum):
    """The column by which groups are sorted."""

    TOTAL = "total"
    UP = "up"
    DOWN = "down"
    SATISFACTION = "satisfaction"
    NAME = "name"


_NUMBERS: Final[Mapping[Sort, Callable[[Summary], float]]] = {
    Sort.TOTAL: lambda summary: summary.total,
    Sort.UP: lambda summary: summary.positive,
    Sort.DOWN: lambda summary: summary.negative,
    Sort.SATISFACTION: lambda summary: summary.satisfaction,
}


@with_filters
def stats(
    context: typer.Context,
    filters: Filters,
    *,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            autocompletion=GROUPS,
            help="A line for each agent, session, tag or context.NAME instead of the total.",
        ),
    ] = None,
    sort: Annotated[
        Sort, typer.Option(metavar="COLUMN", help="With --by: the order, by total, up, down, satisfaction or name.")
    ] = Sort.TOTAL,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="With --by: the smallest number, or the last name, first.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="With --by: the maximum number of groups.")] = None,
    as_json: Json = False,
) -> None:
    """Show statistics: counts, satisfaction and quality."""
    if by is None:
        if limit is not None or reverse or sort is not Sort.TOTAL:
            raise WrongUsage("--sort, --reverse and --limit are for groups; add --by, such as --by agent")
        _show_stats(context, filters, as_json=as_json)
        return
    with cli_context(context).open_existing() as hk:
        group_by = parse_existing_group(hk, by)
        query = filters.query(hk)
        if not as_json and say_if_nothing(hk, query):
            return
        groups = hk.analytics.estimate_groups(query, group_by)
        shown = dict(islice(_sort_groups(groups, sort, reverse=reverse), limit))
        if as_json:
            print_json({"by": by, "groups": [{"key": key} | group.to_dict() for key, group in shown.items()]})
            return
        print_groups(by, shown, hk.analytics.summary(query))
    if len(shown) < len(groups):
        say(f"{len(groups) - len(shown):,} more of {len(groups):,} groups; raise --limit to see them", style="dim")


def _sort_groups(
    groups: Mapping[GroupKey, Estimate], sort: Sort, *, reverse: bool
) -> Iterable[tuple[GroupKey, Estimate]]:
    """The groups, greatest number or first name first. Groups without satisfaction are last in either direction."""
    if sort is Sort.NAME:
        return sorted(groups.items(), key=lambda group: _name(group[0]).casefold(), reverse=reverse)
    number, sign = _NUMBERS[sort], 1 if reverse else -1

    def place(group: tuple[GroupKey, Estimate]) -> tuple[bool, float]:
        summary = group[1].summary
        return sort is Sort.SATISFACTION and not summary.decided, sign * number(summary)

    # Equal ones keep their order: the largest group is first.
    return sorted(groups.items(), key=place)


def _show_stats(context: typer.Context, filters: Filters, *, as_json: bool) -> None:
    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        response_time = hk.moderation.response_time(query)
        # Moderators may have rejected all of it.
        if not as_json and response_time is None and say_if_nothing(hk, query):
            return
        estimate = hk.analytics.estimate(query)
    if as_json:
        print_json(estimate.to_dict() | {"response_time": response_time_record(response_time)})
        return
    print_stats(estimate, response_time)


def print_stats(estimate: Estimate, response_time: ResponseTime | None = None) -> None:
    """Print the ratings as bars, with satisfaction and an interval that takes repeated authors into account."""
    summary = estimate.summary
    chart(rating_split_text(estimate, width=row_width()))
    say("")
    rows: list[tuple[str, Cell]] = [
        ("quality", f"{summary.quality:.1f}"),
        ("comments", f"{summary.comments:,}"),
        ("comment length", f"{summary.average_comment_length:.1f} characters on average"),
    ]
    if estimate.design_effect >= _NOTABLE:
        rows.append(("design effect", f"{estimate.design_effect:.2f}, as authors gave several ratings"))
    if summary.average_polarity is not None:
        rows.append(("polarity", f"{summary.average_polarity:+.3f} on average"))
    if response_time is not None:
        median, high = (
            format_duration(timedelta(seconds=round(seconds)))
            for seconds in (response_time.median, response_time.percentile_90)
        )
        rows.append(
            ("moderation", f"{amount(response_time.decisions, 'decision')}, median {median}, 90% within {high}")
        )
    table(("statistic", "value"), rows, full=True)


def print_groups(by: str, groups: Mapping[GroupKey, Estimate], total: Summary) -> None:
    """Print a line for each group; ``total`` has the statistics of all of them."""
    rows = [(_name(key), group) for key, group in groups.items()]
    chart(groups_text(rows, by=_noun(by), total=total, width=row_width()))


def _noun(by: str) -> str:
    return by.removeprefix("context.")


@with_filters
def trends(
    context: typer.Context,
    filters: Filters,
    *,
    by: Annotated[
        By,
        typer.Option(
            metavar="PERIOD",
            help="The period of a line: hour, 3-hours, 6-hours, day or week; or the recurring hour-of-day or weekday.",
        ),
    ] = By.DAY,
    with_changes: Annotated[
        bool, typer.Option("--changes", help="Also name the days on which satisfaction changed.")
    ] = False,
    with_heat_map: Annotated[
        bool, typer.Option("--heat-map", help="Show satisfaction by weekday and hour instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show statistics over time."""
    zone = filters.zone
    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        if not as_json and say_if_nothing(hk, query):
            return
        if with_heat_map:
            cells = hk.analytics.heat_map(query, zone, prefer_dates=True)
            print_json(heat_map_record(zone, cells)) if as_json else _print_heat_map(cells, zone)
            return
        trend = None if by.recurs else hk.analytics.trend(query, Period(by.value), zone)
        points = recurring_points(hk, query, by, zone) if trend is None else period_points(trend)
        changes = hk.analytics.changes(query, zone) if with_changes else None
    if as_json:
        document = recurring_record(by, zone, points) if trend is None else trend.to_dict()
        print_json(document if changes is None else document | changes_record(zone, changes))
        return
    now = datetime.now(UTC)
    if trend:
        print_trend(trend, now, changes or ())
        say("")
    _print_points(by, points, is_running=bool(trend and trend[-1].end > now))
    if changes is not None:
        say("")
        _print_changes(changes)


def print_trend(trend: Sequence[TrendPoint], now: datetime, changes: Iterable[SatisfactionChange] = ()) -> None:
    """Print satisfaction over time as columns."""
    chart(trend_text(trend, changes=changes, now=now, width=chart_width()))


def _print_points(by: By, points: Points, *, is_running: bool) -> None:
    """Print a line for each period."""
    rows = [(_label(by, point), estimate) for point, estimate in points]
    notes = ["so far" if is_running and one == len(rows) - 1 else "" for one in range(len(rows))]
    total = sum((estimate.summary for _, estimate in points), Summary())
    chart(groups_text(rows, by=by.value, total=total, notes=notes, width=row_width()))


def _print_heat_map(cells: Sequence[HeatCell], zone: str) -> None:
    chart(heat_map_text(cells, zone=zone, width=chart_width()))


def _print_changes(changes: Iterable[SatisfactionChange]) -> None:
    lines = [
        f"Satisfaction {'rose' if one.after.satisfaction > one.before.satisfaction else 'fell'} on {one.at:%Y-%m-%d}: "
        f"from {one.before.satisfaction:.1f}% to {one.after.satisfaction:.1f}%"
        for one in changes
    ]
    for line in lines or ["Satisfaction did not change by more than chance on any day"]:
        wrap(line)


def _label(by: By, point: Mapping[str, Any]) -> str:
    match by:
        case By.HOUR_OF_DAY:
            return f"{point['hour']:02}"
        case By.WEEKDAY:
            return str(point["weekday"])
        case By.HOUR | By.THREE_HOURS | By.SIX_HOURS:
            return str(point["start"])[5:16].replace("T", " ")
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
    """Show what thumbs-down comments are about.

    With --since, also shows how this changed since the period before.
    """
    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        if not as_json and say_if_nothing(hk, query):
            return
        if keyword:
            keywords = hk.analytics.keywords(query, keyword)
            print_json(keywords_record(keywords)) if as_json else _keywords_table(keywords)
            return
        found = hk.analytics.themes(query, limit=limit)
    if as_json:
        print_json(themes_record(found, Feedback.to_dict))
        return
    print_themes(found)


def _keywords_table(keywords: Iterable[Keyword]) -> None:
    rows = [(one.keyword, one.mentions) for one in keywords]
    if rows:
        table(("keyword", "mentions"), rows)
    else:
        say("No negative feedback mentions any of the keywords")


def print_themes(found: Themes) -> None:
    """Print themes, each with an example on the line below, and the reasons that people chose."""
    chart(themes_text(found, width=row_width()))
    if found.themes and not found.is_enough:
        say("")
        wrap(TOO_FEW)
    if found.tags:
        say("")
        chart(themes_text(found, reasons=True, width=row_width()))


@with_filters
def compare(
    context: typer.Context,
    filters: Filters,
    *,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="agent|session|tag|context.NAME",
            autocompletion=GROUPS,
            help="Compare each group with the others instead.",
        ),
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
    """Compare periods, agents or other selections of feedback.

    Says whether satisfaction changed by more than chance. Without options for the two selections, the period from
    --since to --until is compared with the period before it.
    """
    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        before = _side(
            query,
            local_instant("--before-since", before_since, filters.zone),
            local_instant("--before-until", before_until, filters.zone),
            before_agent,
            values_by_name("--before-context", before_context or ()),
        )
        after = _side(
            query,
            local_instant("--after-since", after_since, filters.zone),
            local_instant("--after-until", after_until, filters.zone),
            after_agent,
            values_by_name("--after-context", after_context or ()),
        )
        if by is not None:
            if before != after:
                raise WrongUsage("--by compares groups with each other; leave out --before-... and --after-...")
            _compare_groups(hk, query, by, as_json=as_json)
            return
        if before == after:
            before = _previous_period(hk, after)
        if not as_json and say_if_nothing(hk, before, after):
            return
        comparison = hk.analytics.compare(before, after)
        same_agent = before.agent_id == after.agent_id
        mix = hk.analytics.mix(before, after, GroupBy(Dimension.AGENT)) if same_agent else None
        sides = ((before, comparison.before), (after, comparison.after))
        tell_unknown(hk, *(query for query, summary in sides if not summary.total), tell=warn)
    if as_json:
        print_json(comparison.to_dict() | {"mix": mix_record(mix)})
        return
    _print_comparison(comparison)
    if mix:
        _print_mix(mix)


def _compare_groups(hk: Harken, query: FeedbackQuery, by: str, *, as_json: bool) -> None:
    groups = hk.analytics.compare_groups(query, parse_existing_group(hk, by))
    if as_json:
        print_json(compared_groups_record(by, groups))
    elif not say_if_nothing(hk, query):
        # A line for each group: its satisfaction, and how it compares with the others.
        chart(comparison_text(groups, by=_noun(by), width=row_width()))


def _previous_period(hk: Harken, query: FeedbackQuery) -> FeedbackQuery:
    if query.since is None:
        raise WrongUsage(
            "Say what to compare: add --since for a period and the one before it, --by for groups, "
            "or options such as --before-agent and --after-agent"
        )
    return hk.analytics.previous_period(query)


def _side(
    query: FeedbackQuery,
    since: datetime | None,
    until: datetime | None,
    agents: Sequence[str] | None,
    context: Mapping[str, Sequence[str]],
) -> FeedbackQuery:
    """The query with the filters of one side in place of its own."""
    return evolve(
        query,
        since=since or query.since,
        until=until or query.until,
        agent_id=agents or query.agent_id,
        context={**query.context, **context},
    )


def _print_comparison(comparison: Comparison) -> None:
    chart(change_text(comparison, width=row_width()))
    if not (comparison.before.decided and comparison.after.decided):
        return
    always, single = comparison.always_valid_interval, comparison.interval
    say("")
    wrap(
        f"Change in satisfaction: {comparison.satisfaction_change:+.1f} points. "
        f"95% interval for many looks: {always.low:+.1f} to {always.high:+.1f}; "
        f"for a single look: {single.low:+.1f} to {single.high:+.1f}, {_p_text(comparison)}."
    )


def _p_text(comparison: Comparison) -> str:
    p_value, method = comparison.p_value, "exact mid-p" if comparison.is_exact else "normal approximation"
    return f"p {'< 0.001' if p_value < 0.001 else f'= {p_value:.2g}'} ({method})"


def _print_mix(mix: Mix[GroupKey]) -> None:
    """Name the agents that only one side has, and the change without them."""
    if not (mix.new or mix.gone) or not (mix.without.before.decided and mix.without.after.decided):
        return
    say("")
    for what, agents in (("new", mix.new), ("gone", mix.gone)):
        if agents:
            wrap(f"{amount(len(agents), f'{what} agent')}: {', '.join(map(_name, agents[:5]))}")
    wrap(f"Without them: {mix.without.sentence}")


def _name(key: GroupKey) -> str:
    return "(none)" if key is None else str(key)

"""``stats``, ``trends`` and ``themes``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from harken import GroupBy, Summary, Theme
from harken.domain.query import Dimension, GroupKey
from harken.domain.themes import KEYWORDS
from harken_adapters.formats.statistics import By, Points, figures_record, trend_points
from harken_adapters.hosts.cli.options import Filters, Json, WrongUsage, cli_context, filtered
from harken_adapters.hosts.cli.output import Cell, bar, print_json, say, table

_COLUMNS = ("total", "up", "down", "neutral", "quality", "satisfaction")


@filtered
def stats(
    context: typer.Context,
    filters: Filters,
    by: Annotated[
        str | None, typer.Option(metavar="agent|session|tag|context.NAME", help="One line for each of these.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the figures of what matches."""
    if by is None:
        _show_stats(context, filters, as_json=as_json)
        return
    group_by = _grouping(by)
    with cli_context(context).open() as hk:
        groups = hk.analytics.groups(filters.query(hk), group_by)
    if as_json:
        print_json({"by": by, "groups": [{"key": key} | figures_record(group) for key, group in groups.items()]})
        return
    groups_table(by, groups)


def _grouping(by: str) -> GroupBy:
    group_by = GroupBy.parse(by)
    if group_by.dimension is Dimension.SLOT:
        raise WrongUsage("for figures over time use 'harken trends'")
    return group_by


def _show_stats(context: typer.Context, filters: Filters, *, as_json: bool) -> None:
    with cli_context(context).open() as hk:
        summary = hk.analytics.summary(filters.query(hk))
    if as_json:
        print_json(figures_record(summary))
        return
    stats_table(summary)


def stats_table(summary: Summary) -> None:
    """The figures of one selection."""
    interval = summary.interval
    rows: list[tuple[str, Cell]] = [
        ("total", f"{summary.total:,}"),
        ("up", f"{summary.positive:,}"),
        ("down", f"{summary.negative:,}"),
        ("neutral", f"{summary.neutral:,}"),
        ("satisfaction", f"{summary.satisfaction:.1f}%  (95% sure: {interval.low:.1f}% to {interval.high:.1f}%)"),
        ("quality", f"{summary.quality:.1f}"),
        ("comments", f"{summary.comments:,}"),
        ("length", f"{summary.average_comment_length:.1f} characters a feedback"),
    ]
    if summary.average_polarity is not None:
        rows.append(("polarity", f"{summary.average_polarity:+.3f} on average"))
    table(("figure", "value"), rows)


def groups_table(by: str, groups: Mapping[GroupKey, Summary]) -> None:
    """A line of figures for each group."""
    table(
        (by, *_COLUMNS),
        [("(none)" if key is None else str(key), *_line(group)) for key, group in groups.items()],
    )


def _line(summary: Summary) -> tuple[Cell, ...]:
    return (
        summary.total,
        summary.positive,
        summary.negative,
        summary.neutral,
        # Where there is nothing to judge by, there is no quality and no satisfaction, which is not the same as zero.
        summary.quality if summary.total else "",
        bar(summary.satisfaction) if summary.decided else "",
    )


@filtered
def trends(
    context: typer.Context,
    filters: Filters,
    by: Annotated[By, typer.Option(help="How long a point is, or what recurs.")] = By.DAY,
    zone: Annotated[str, typer.Option(metavar="IANA", help="The time zone, such as Europe/Berlin.")] = "UTC",
    as_json: Json = False,
) -> None:
    """Show the figures over time."""
    with cli_context(context).open() as hk:
        points = trend_points(hk, filters.query(hk), by, zone)
    if as_json:
        print_json({"by": by.value, "zone": zone, "points": [point | figures_record(one) for point, one in points]})
        return
    trend_table(by, points)


def trend_table(by: By, points: Points) -> None:
    """A line of figures for each point, with a bar of satisfaction."""
    table((by.value, *_COLUMNS), [(_called(by, point), *_line(one)) for point, one in points])


def _called(by: By, point: Mapping[str, Any]) -> str:
    match by:
        case By.HOUR_OF_DAY:
            return f"{point['hour']:02}"
        case By.WEEKDAY:
            return str(point["weekday"])
        case By.HOUR:
            return str(point["start"])[:16].replace("T", " ")
        case _:
            return str(point["start"])[:10]


@filtered
def themes(
    context: typer.Context,
    filters: Filters,
    keyword: Annotated[list[str] | None, typer.Option(help="A word to look for; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Count the words that keep coming back in the comments of downs."""
    with cli_context(context).open() as hk:
        found = hk.analytics.themes(filters.query(hk), keyword or KEYWORDS)
    if as_json:
        print_json({"themes": [{"keyword": theme.keyword, "mentions": theme.mentions} for theme in found]})
        return
    themes_table(found)


def themes_table(found: Iterable[Theme]) -> None:
    """A line for each keyword."""
    rows = [(theme.keyword, theme.mentions) for theme in found]
    if rows:
        table(("keyword", "mentions"), rows)
    else:
        say("No down mentions any of the keywords")

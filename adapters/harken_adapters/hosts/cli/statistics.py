"""The commands ``stats``, ``trends`` and ``themes``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from harken import Summary, Theme
from harken.domain.query import GroupKey
from harken.domain.themes import KEYWORDS
from harken_adapters.formats.statistics import By, Points, parse_group, summary_record, trend_points
from harken_adapters.hosts.cli.options import Filters, Json, cli_context, with_filters
from harken_adapters.hosts.cli.output import Cell, bar, print_json, say, table

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
    with cli_context(context).open_existing() as hk:
        groups = hk.analytics.groups(filters.query(hk), group_by)
    if as_json:
        print_json({"by": by, "groups": [{"key": key} | summary_record(group) for key, group in groups.items()]})
        return
    groups_table(by, groups)


def _show_stats(context: typer.Context, filters: Filters, *, as_json: bool) -> None:
    with cli_context(context).open_existing() as hk:
        summary = hk.analytics.summary(filters.query(hk))
    if as_json:
        print_json(summary_record(summary))
        return
    stats_table(summary)


def stats_table(summary: Summary) -> None:
    """Print a summary, one statistic per line."""
    interval = summary.interval
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
    if summary.average_polarity is not None:
        rows.append(("polarity", f"{summary.average_polarity:+.3f} on average"))
    table(("statistic", "value"), rows)


def groups_table(by: str, groups: Mapping[GroupKey, Summary]) -> None:
    """Print a summary per group, one line each."""
    table(
        (by, *_COLUMNS),
        [("(none)" if key is None else str(key), *_cells(group)) for key, group in groups.items()],
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
    by: Annotated[
        By,
        typer.Option(
            metavar="PERIOD",
            help="The period of a line: hour, day or week; or the recurring hour-of-day or weekday.",
        ),
    ] = By.DAY,
    zone: Annotated[str, typer.Option(metavar="IANA", help="The time zone, such as Europe/Berlin.")] = "UTC",
    as_json: Json = False,
) -> None:
    """Show statistics over time."""
    with cli_context(context).open_existing() as hk:
        points = trend_points(hk, filters.query(hk), by, zone)
    if as_json:
        print_json({"by": by.value, "zone": zone, "points": [point | summary_record(one) for point, one in points]})
        return
    trend_table(by, points)


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
    keyword: Annotated[
        list[str] | None, typer.Option(help="A word to count, instead of the default ones; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count frequent keywords in the comments of thumbs-down ratings."""
    with cli_context(context).open_existing() as hk:
        found = hk.analytics.themes(filters.query(hk), keyword or KEYWORDS)
    if as_json:
        print_json({"themes": [{"keyword": theme.keyword, "mentions": theme.mentions} for theme in found]})
        return
    themes_table(found)


def themes_table(found: Iterable[Theme]) -> None:
    """Print the keywords, one line each."""
    rows = [(theme.keyword, theme.mentions) for theme in found]
    if rows:
        table(("keyword", "mentions"), rows)
    else:
        say("No negative feedback mentions any of the keywords")

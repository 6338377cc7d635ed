"""The commands ``headline``, ``reasons``, ``ranking`` and ``facets``."""

from __future__ import annotations

from typing import Annotated

import typer

from harken import Facets, Feedback
from harken_adapters.charts.headline import headline_details, headline_title
from harken_adapters.charts.terminal import issues_text, ranking_text
from harken_adapters.formats.statistics import (
    facets_record,
    headline_record,
    issues_record,
    ranking_record,
)
from harken_adapters.hosts.cli.empty_results import say_if_empty, say_if_nothing
from harken_adapters.hosts.cli.options import Filters, Json, cli_context, completes, parse_existing_group, with_filters
from harken_adapters.hosts.cli.output import chart, print_json, row_width, say, table, wrap

_SameWeekdays = Annotated[
    bool, typer.Option("--same-weekdays", help="Compare with a period a whole number of weeks earlier.")
]


@with_filters
def headline(
    context: typer.Context,
    filters: Filters,
    *,
    same_weekdays: _SameWeekdays = False,
    as_json: Json = False,
) -> None:
    """Say what changed since the period before, since when, and why.

    Without --since, the period is the last 28 days. A period that has not ended is compared with the same part of the
    one before.
    """
    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        periods = hk.analytics.periods(query, filters.zone, same_weekdays=same_weekdays)
        if not as_json and say_if_nothing(hk, query):
            return
        found = hk.analytics.headline(periods)
    title, details = headline_title(found), headline_details(found)
    if as_json:
        print_json({"title": title, "details": list(details)} | headline_record(found))
        return
    wrap(title)
    for sentence in details:
        wrap(sentence)


@with_filters
def reasons(
    context: typer.Context,
    filters: Filters,
    *,
    limit: Annotated[int, typer.Option(help="The maximum number of reasons, from 1 to 50.")] = 10,
    same_weekdays: _SameWeekdays = False,
    as_json: Json = False,
) -> None:
    """Show the reasons of thumbs-down feedback, with their changes.

    The periods are those of 'harken headline'.
    """
    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        periods = hk.analytics.periods(query, filters.zone, same_weekdays=same_weekdays)
        if not as_json and say_if_nothing(hk, query):
            return
        found = hk.analytics.reasons(periods, limit=limit)
    if as_json:
        print_json(issues_record(found, Feedback.to_dict))
        return
    chart(issues_text(found, width=row_width()))


@with_filters
def ranking(
    context: typer.Context,
    filters: Filters,
    *,
    by: Annotated[
        str,
        typer.Option(
            metavar="agent|context.NAME", autocompletion=completes("agent", "context."), help="Group by this."
        ),
    ] = "agent",
    same_weekdays: _SameWeekdays = False,
    as_json: Json = False,
) -> None:
    """Rank agents, or the values of a context name, by satisfaction.

    Shows which differ by more than chance. The periods are those of 'harken headline'.
    """
    with cli_context(context).open_existing() as hk:
        group_by = parse_existing_group(hk, by)
        query = filters.query(hk)
        periods = hk.analytics.periods(query, filters.zone, same_weekdays=same_weekdays)
        if not as_json and say_if_nothing(hk, query):
            return
        found = hk.analytics.ranking(periods, group_by)
    if as_json:
        print_json(ranking_record(by, found))
        return
    chart(ranking_text(found, by=by.removeprefix("context."), width=row_width()))


@with_filters
def facets(context: typer.Context, filters: Filters, as_json: Json = False) -> None:
    """List agents, tags and context values, with their entries."""
    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        if not as_json and say_if_empty(hk):
            return
        found = hk.analytics.facets(query)
    if as_json:
        print_json(facets_record(found))
        return
    _print_facets(found)


def _print_facets(found: Facets) -> None:
    context = [(f"context.{name}", values) for name, values in found.context.items()]
    rows = [
        (name, value, count)
        for name, values in (("agent", found.agents), ("tag", found.tags), *context)
        for value, count in values
    ]
    if not rows:
        say("No feedback has an agent, a tag or context")
        return
    table(("filter", "value", "entries"), rows)
    if not found.is_complete:
        wrap(f"Tags and context were counted in the newest {found.entries:,} entries")

"""The command ``report``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from harken.configuration.extras import requires
from harken_adapters.formats.tables.source import STANDARD
from harken_adapters.hosts.cli.empty_results import say_if_nothing
from harken_adapters.hosts.cli.files import open_output, refuse_database
from harken_adapters.hosts.cli.options import Filters, cli_context, with_filters
from harken_adapters.hosts.cli.output import chart, chart_width, say


@with_filters
def report(
    context: typer.Context,
    filters: Filters,
    *,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write an HTML page to this file; - for stdout.")
    ] = None,
) -> None:
    """Show a report of the period, or write it to a page to print.

    Without --since, the period is the last 28 days. It is compared with the same weekdays before. The page is one file
    that needs no network.
    """
    with requires("The command report", "http"):
        from harken_adapters.hosts.web.report import ask, report_page, report_text  # noqa: PLC0415 - Jinja may be missing

    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        if html is None and say_if_nothing(hk, query):
            return
        found = ask(hk, query, filters.zone, now=datetime.now(UTC))
    if html is None:
        chart(report_text(found, width=chart_width()))
        return
    if html != STANDARD:
        refuse_database(Path(html))
    with open_output(html) as file:
        file.write(report_page(found))
    if html != STANDARD:
        say(f"The report is in {html}")

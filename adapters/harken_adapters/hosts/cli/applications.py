"""The command ``applications``."""

from __future__ import annotations

import typer
from attrs import evolve

from harken import Harken
from harken_adapters.hosts.cli.options import Json, cli_context
from harken_adapters.hosts.cli.output import print_json, say, table


def applications(context: typer.Context, as_json: Json = False) -> None:
    """List the applications with their number of entries.

    Counts all entries, and those that lists and statistics show: approved ones that are not withdrawn.
    """
    with cli_context(context).open_existing() as hk:
        rows = [(name, count_entries(hk, name), _count_shown(hk, name)) for name in hk.moderation.applications()]
    if as_json:
        found = [{"application": name, "entries": number, "counted": counted} for name, number, counted in rows]
        print_json({"applications": found})
    elif rows:
        table(("application", "entries", "counted"), rows)
    else:
        say("No feedback yet")


def count_entries(hk: Harken, application: str) -> int:
    """The number of entries of an application, in any state."""
    return hk.analytics.summary(evolve(hk.query().in_any_state(), application=application)).total


def _count_shown(hk: Harken, application: str) -> int:
    return hk.summary(application=application).total

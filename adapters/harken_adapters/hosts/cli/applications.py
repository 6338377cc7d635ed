"""The command ``applications``, and what commands say about an application without feedback."""

from __future__ import annotations

from typing import Final

import typer
from attrs import evolve

from harken import Harken
from harken.domain.texts import listed
from harken_adapters.charts.labels import amount
from harken_adapters.hosts.cli.options import Json, cli_context
from harken_adapters.hosts.cli.output import print_json, say, table

#: How many applications are named for an empty one.
_MOST_NAMED: Final = 5


def applications(context: typer.Context, as_json: Json = False) -> None:
    """List the applications with their number of entries.

    Counts all entries, and those that lists and statistics show: approved ones that are not withdrawn.
    """
    with cli_context(context).open_existing() as hk:
        rows = [(name, _entries(hk, name), _counted(hk, name)) for name in hk.moderation.applications()]
    if as_json:
        found = [{"application": name, "entries": entries, "counted": counted} for name, entries, counted in rows]
        print_json({"applications": found})
    elif rows:
        table(("application", "entries", "counted"), rows)
    else:
        say("No feedback yet")


def say_if_empty(hk: Harken) -> bool:
    """If the application has no feedback in any state, print that and name applications that have some.

    Returns whether it has none.
    """
    if hk.collection.find(hk.query().in_any_state(), limit=1).items:
        return False
    others = hk.moderation.applications()
    if not others:
        say("No feedback yet")
        return True
    # Only the entries of those that are named are counted.
    named = [f"{name} ({amount(_entries(hk, name), 'entry', 'entries')})" for name in others[:_MOST_NAMED]]
    say(f"No feedback yet in the application {hk.application}")
    say(f"Add --application NAME for one that has feedback: {listed([*named, *others[_MOST_NAMED:]], _MOST_NAMED)}")
    return True


def _entries(hk: Harken, application: str) -> int:
    return hk.analytics.summary(evolve(hk.query().in_any_state(), application=application)).total


def _counted(hk: Harken, application: str) -> int:
    return hk.summary(application=application).total

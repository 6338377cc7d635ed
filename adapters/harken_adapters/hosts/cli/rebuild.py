"""The command ``rebuild``."""

from __future__ import annotations

import typer

from harken_adapters.hosts.cli.options import Json, cli_context
from harken_adapters.hosts.cli.output import print_json, say


def rebuild(context: typer.Context, as_json: Json = False) -> None:
    """Recount all statistics, and correct those that are wrong."""
    with cli_context(context).open_existing() as hk:
        corrections = hk.rebuild()
    if as_json:
        print_json({"corrected": corrections})
        return
    for correction in corrections:
        say(f"Corrected: {correction}", style="yellow")
    if not corrections:
        say("All statistics are correct", style="green")

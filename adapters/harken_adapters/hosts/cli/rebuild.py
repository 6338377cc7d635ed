"""``rebuild``: counts anew what figures are kept."""

from __future__ import annotations

import typer

from harken_adapters.hosts.cli.options import Json, cli_context
from harken_adapters.hosts.cli.output import print_json, say


def rebuild(context: typer.Context, as_json: Json = False) -> None:
    """Count all figures anew from the feedback, and mend those that were wrong."""
    with cli_context(context).open() as hk:
        mended = hk.rebuild()
    if as_json:
        print_json({"mended": mended})
        return
    for sentence in mended:
        say(f"Mended: {sentence}", style="yellow")
    if not mended:
        say("All figures are right", style="green")

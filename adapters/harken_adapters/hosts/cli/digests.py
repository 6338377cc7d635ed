"""The commands ``digest show`` and ``digest send``."""

from __future__ import annotations

from typing import Annotated

import typer

from harken_adapters.formats.digest import digest_record
from harken_adapters.hosts.cli.options import Json, cli_context
from harken_adapters.hosts.cli.output import print_json, say
from harken_adapters.notifiers.digest_text import digest_lines, digest_title

digest = typer.Typer(help="Show and send the weekly digests of the settings.", no_args_is_help=True)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the digest.")]


@digest.command()
def show(context: typer.Context, name: _Name, as_json: Json = False) -> None:
    """Show the digest of the latest week, without sending it."""
    with cli_context(context).open_existing() as hk:
        found = hk.digests.build(name)
    if as_json:
        print_json(digest_record(found))
        return
    say(digest_title(found))
    say("")
    for line in digest_lines(found):
        say(line)


@digest.command()
def send(context: typer.Context, name: _Name, as_json: Json = False) -> None:
    """Send the digest of the latest week, unless it has already been sent.

    A digest without a weekday is about the seven days before today. A relay delivers it.
    """
    with cli_context(context).open_existing() as hk:
        is_new = hk.digests.send(name)
    if as_json:
        print_json({"sent": is_new})
    else:
        say("The digest waits for a relay" if is_new else "The digest of this week has already been sent")

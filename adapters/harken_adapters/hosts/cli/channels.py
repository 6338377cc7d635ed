"""``channels``: their status, and switching them on and off."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from harken import Harken
from harken.services.notifications.channels import ChannelState
from harken_adapters.hosts.cli.options import CliContext, Json, cli_context, text
from harken_adapters.hosts.cli.output import in_one_line, print_json, say, time_text, warn
from harken_adapters.hosts.http.wire.records import channel_record

channels = typer.Typer(no_args_is_help=True, help="Show channel status, and switch channels on and off.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The channel, as `channels list` shows it.")]


@channels.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the channels of the settings: whether they are on, and since when they fail.

    Channels that the settings do not name are listed too if anything waits for them.
    """
    cli = cli_context(context)
    with cli.open() as hk:
        states, stranded = hk.channels.states(), hk.deliveries.stranded()
    if as_json:
        print_json({"channels": list(map(channel_record, states)), "stranded": stranded})
        return
    for state in states:
        say(channel_line(state), style=_style(state))
    if not states:
        say("There are no channels: the settings name none")
    for name, number in stranded.items():
        say(stranded_line(name, number, cli), style="yellow")


@channels.command("on")
def on(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Send there again. What died meanwhile waits until it is replayed."""
    with cli_context(context).open() as hk:
        state = hk.channels.switch_on(name)
    _show(state, as_json=as_json)


@channels.command("off")
def off(
    context: typer.Context,
    name: Name,
    reason: Annotated[str, typer.Option(help="Why.")] = "by hand",
    as_json: Json = False,
) -> None:
    """Send nothing there any more, until it is switched on: what should go there is dead, and can be replayed."""
    with cli_context(context).open() as hk:
        state = hk.channels.switch_off(name, text("--reason", reason))
    _show(state, as_json=as_json)


def channel_line(state: ChannelState) -> str:
    """A channel for people."""
    return f"{state.name}  {how_it_fares(state)}"


def warn_of_stranded(hk: Harken, cli: CliContext) -> None:
    """Say on stderr what waits for channels that the settings do not name: a relay does not send it."""
    for name, number in hk.deliveries.stranded().items():
        warn(f"Warning: {stranded_line(name, number, cli)}", style="yellow")


def stranded_line(name: str, number: int, cli: CliContext) -> str:
    """What waits for a channel that the settings do not name, and what can be done."""
    waits = "1 delivery waits" if number == 1 else f"{number:,} deliveries wait"
    shown, quoted, command = in_one_line(name), shlex.quote(name), cli.command_for_all
    return (
        f"{waits} for the channel {shown}, which the settings do not name; if it was renamed: "
        f"{command} deliveries move {quoted} TO; if it was removed: {command} deliveries bury {quoted}"
    )


def how_it_fares(state: ChannelState) -> str:
    """Whether a channel is on, and if something is the matter, since when."""
    if state.off_since is not None:
        reason = f": {in_one_line(state.reason)}" if state.reason else ""
        return f"off since {time_text(state.off_since)}{reason}"
    return "on" if state.failing_since is None else f"on, but failing since {time_text(state.failing_since)}"


def _style(state: ChannelState) -> str:
    return "" if state.on and state.failing_since is None else "yellow"


def _show(state: ChannelState, *, as_json: bool) -> None:
    if as_json:
        print_json(channel_record(state))
    else:
        say(channel_line(state))

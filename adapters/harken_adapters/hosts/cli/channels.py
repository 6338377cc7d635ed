"""The commands ``channels list``, ``channels on`` and ``channels off``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from harken import ConfigurationError, Harken
from harken.configuration.notifications import NotificationSettings
from harken.domain.texts import amount
from harken.services.notifications.channels import ChannelState, ChannelStatus
from harken_adapters.formats.delivery import channel_record
from harken_adapters.hosts.cli.options import CliContext, Json, cli_context, text
from harken_adapters.hosts.cli.output import in_one_line, print_json, say, time_text, warn

channels = typer.Typer(no_args_is_help=True, help="Show channel status, and switch channels on and off.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The channel, as `channels list` shows it.")]


@channels.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the channels in the settings with their status.

    Also lists channels that are no longer in the settings but have pending deliveries.
    """
    cli = cli_context(context)
    with cli.open_existing() as hk:
        statuses, stranded = hk.channels.statuses(cli.application), hk.deliveries.stranded()
    if as_json:
        print_json({"channels": list(map(channel_record, statuses)), "stranded": stranded})
        return
    for status in statuses:
        if status.is_configured or status.dead:
            say(_status_line(status), style=_style(status.state) if status.is_configured else "yellow")
    if not any(status.is_configured for status in statuses):
        say("No channels: the settings define none")
    for name, number in stranded.items():
        say(stranded_line(name, number, cli), style="yellow")
    if problem := channels_problem():
        say(f"Problem: {problem}; a relay does not start with these settings", style="red")


def channels_problem() -> str | None:
    """The problem of a channel's settings; ``None`` if all channels can be opened."""
    try:
        with NotificationSettings.load(os.environ, Path.cwd()).channels.open():
            return None
    except ConfigurationError as error:
        return str(error)


@channels.command("on")
def on(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Resume deliveries to a channel.

    Deliveries that became dead while it was off must be replayed.
    """
    cli = cli_context(context)
    with cli.open_existing() as hk:
        hk.channels.switch_on(name)
        status = _status_of(hk, name, cli.application)
    _show(status, as_json=as_json)


@channels.command("off")
def off(
    context: typer.Context,
    name: Name,
    reason: Annotated[str, typer.Option(help="The reason, shown in `channels list`.")] = "switched off manually",
    as_json: Json = False,
) -> None:
    """Stop deliveries to a channel.

    While it is off, its deliveries become dead. They can be replayed.
    """
    cli = cli_context(context)

    def switch_off(hk: Harken) -> ChannelStatus:
        hk.channels.switch_off(name, text("--reason", reason))
        return _status_of(hk, name, cli.application)

    _show(cli.store(switch_off), as_json=as_json)


def channel_line(state: ChannelState) -> str:
    """The name and status of a channel."""
    return f"{state.name}  {status_text(state)}"


def warn_of_stranded(hk: Harken, cli: CliContext) -> None:
    """Warn on stderr of pending deliveries to channels that are not in the settings: a relay does not send them."""
    for name, number in hk.deliveries.stranded().items():
        warn(f"Warning: {stranded_line(name, number, cli)}", style="yellow")


def stranded_line(name: str, number: int, cli: CliContext) -> str:
    """A message about pending deliveries to a channel that is not in the settings, and how to resolve it."""
    pending = amount(number, "delivery is", "deliveries are")
    shown, quoted, command = in_one_line(name), shlex.quote(name), cli.command_for_all
    return (
        f"{pending} pending for channel {shown}, which is not in the settings; if it was renamed, run: "
        f"{command} deliveries move {quoted} TO; if it was removed, run: {command} deliveries bury {quoted}"
    )


def status_text(state: ChannelState) -> str:
    """The status of a channel: on, failing or off, and since when."""
    if state.off_since is not None:
        reason = f": {in_one_line(state.reason)}" if state.reason else ""
        return f"off since {time_text(state.off_since)}{reason}"
    return "on" if state.failing_since is None else f"on, but failing since {time_text(state.failing_since)}"


def _style(state: ChannelState) -> str:
    return "" if state.on and state.failing_since is None else "yellow"


def _status_line(status: ChannelStatus) -> str:
    """The status of a channel, and how many of its deliveries have not arrived."""
    name = in_one_line(status.state.name)
    line = channel_line(status.state) if status.is_configured else f"{name}  not in the settings"
    numbers = (
        f"{number:,} {state}" for state, number in (("pending", status.pending), ("dead", status.dead)) if number
    )
    return "  ".join((line, *numbers))


def _status_of(hk: Harken, name: str, application: str | None) -> ChannelStatus:
    return next(one for one in hk.channels.statuses(application) if one.state.name == name)


def _show(status: ChannelStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(channel_record(status))
    else:
        say(channel_line(status.state))

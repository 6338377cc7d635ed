"""The commands ``deliveries list``, ``show``, ``replay``, ``move`` and ``bury``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from harken import Harken
from harken.domain.events import Delivery, DeliveryState
from harken_adapters.formats.delivery import delivery_record
from harken_adapters.hosts.cli.channels import warn_of_stranded
from harken_adapters.hosts.cli.feedback import Limit
from harken_adapters.hosts.cli.options import CliContext, Json, WrongUsage, cli_context, instant, text, text_or_none
from harken_adapters.hosts.cli.output import count_text, in_one_line, print_json, say, time_text

deliveries = typer.Typer(no_args_is_help=True, help="Inspect deliveries, and send them again.")

Channel = Annotated[str | None, typer.Option(metavar="NAME", help="Only deliveries to this channel.")]


@deliveries.command("list")
def list_(
    context: typer.Context,
    *,
    state: Annotated[
        DeliveryState,
        typer.Option(metavar="STATE", help="Only deliveries in this state: pending, delivered or dead."),
    ] = DeliveryState.DEAD,
    channel: Channel = None,
    limit: Limit = 20,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Continue after this delivery.")] = None,
    as_json: Json = False,
) -> None:
    """List deliveries, earliest due first.

    Covers all applications, unless --application is given.
    """
    cli, to = cli_context(context), text_or_none("--channel", channel)
    with cli.open_existing() as hk:

        def page(limit: int, after: str | None) -> Sequence[Delivery]:
            return hk.deliveries.find(state, limit=limit, after=after, application=cli.application, channel=to)

        found = page(limit, after)
        more = len(found) == limit and bool(page(1, found[-1].id))
    if as_json:
        print_json({"deliveries": list(map(delivery_record, found)), "next": found[-1].id if more else None})
        return
    for delivery in found:
        say(_line(delivery))
        if delivery.error:
            say(f"    {in_one_line(delivery.error)}", style="yellow")
    if more:
        say(f"More results: add --after {found[-1].id}", style="dim")
    if not found:
        say(f"No {state.value} deliveries")


@deliveries.command()
def show(
    context: typer.Context,
    delivery_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the delivery.")],
    as_json: Json = False,
) -> None:
    """Show one delivery in full."""
    cli = cli_context(context)
    with cli.open_existing() as hk:
        delivery = hk.deliveries.get(delivery_id, application=cli.application)
    if as_json:
        print_json(delivery_record(delivery))
        return
    for name, value in _facts(delivery):
        if value:
            say(f"{name:<12}  {in_one_line(value)}")


@deliveries.command()
def replay(
    context: typer.Context,
    *,
    delivery_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Delivery ids, in any state.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All deliveries in the state of --state.")] = False,
    state: Annotated[
        DeliveryState,
        typer.Option(metavar="STATE", help="With --all: deliveries in this state: pending, delivered or dead."),
    ] = DeliveryState.DEAD,
    channel: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --all: only deliveries to this channel.")
    ] = None,
    route: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --all: only deliveries that match this route.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", parser=instant, help="With --all: only events at this time or later; UTC."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", parser=instant, help="With --all: only events before this time; UTC."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send deliveries again.

    They keep their ids and have the current feedback. A running relay sends them at once.

    --all covers all applications, unless --application is given, and dead deliveries, unless --state is given.

    Delivered ones can be replayed for a week.
    """
    cli = cli_context(context)
    to, by = text_or_none("--channel", channel), text_or_none("--route", route)
    ids = list(dict.fromkeys(delivery_ids or ()))
    if bool(ids) == everything:
        raise WrongUsage("Give either delivery ids or --all")
    narrowed = (state, to, by, since, until) != (DeliveryState.DEAD, None, None, None, None)
    if narrowed and not everything:
        raise WrongUsage("--state, --channel, --route, --since and --until need --all; omit them, or the ids")
    with cli.open_existing() as hk:
        if everything:
            replayed = hk.deliveries.replay_all(
                state, application=cli.application, channel=to, route=by, since=since, until=until
            )
        else:
            replayed = _replay(hk, ids, cli.application)
        if as_json:
            print_json({"replayed": replayed})
        elif replayed:
            say(f"{count_text(replayed, 'delivery', 'deliveries')} will be sent again; outdated ones are skipped")
        else:
            say(f"No {state.value} deliveries match; nothing will be sent again")
        warn_of_stranded(hk, cli)


@deliveries.command()
def move(
    context: typer.Context,
    channel: Annotated[str, typer.Argument(metavar="FROM", help="The removed channel, as `channels list` shows it.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="A channel in the settings.")],
    as_json: Json = False,
) -> None:
    """Move the pending deliveries of a removed channel to another one.

    Covers all applications. Deliveries get new ids, EVENT:TO, by which receivers cannot recognise earlier attempts.
    """
    with _for_all(context).open_existing() as hk:
        moved = hk.deliveries.move(text("FROM", channel), text("TO", to))
    if as_json:
        print_json({"moved": moved})
    else:
        say(f"{count_text(moved, 'delivery', 'deliveries')} moved from {channel} to {to}")


@deliveries.command()
def bury(
    context: typer.Context,
    channel: Annotated[
        str, typer.Argument(metavar="CHANNEL", help="The removed channel, as `channels list` shows it.")
    ],
    as_json: Json = False,
) -> None:
    """Mark the pending deliveries of a removed channel as dead.

    Covers all applications. Dead deliveries can be replayed.
    """
    with _for_all(context).open_existing() as hk:
        buried = hk.deliveries.bury(text("CHANNEL", channel))
    if as_json:
        print_json({"buried": buried})
    else:
        say(f"{count_text(buried, 'delivery', 'deliveries')} marked as dead")


def _for_all(context: typer.Context) -> CliContext:
    """The global options, for a command that covers all applications."""
    cli = cli_context(context)
    if cli.application is not None:
        raise WrongUsage("move and bury cover all applications; omit --application")
    return cli


def _replay(hk: Harken, ids: Sequence[str], application: str | None) -> int:
    # Check all ids before replaying any, so that a mistyped id leaves nothing half done.
    for delivery_id in ids:
        hk.deliveries.get(delivery_id, application=application)
    for delivery_id in ids:
        hk.deliveries.replay(delivery_id, application=application)
    return len(ids)


def _line(delivery: Delivery) -> str:
    """One line. Not a table row, which could truncate the id on a narrow terminal."""
    event = delivery.event
    attempts = count_text(delivery.tries, "attempt")
    facts = [delivery.id, delivery.state.value, event.type.value, event.application, attempts]
    # Only a pending delivery has another attempt.
    facts += [f"due {time_text(delivery.due_at)}"] if delivery.state is DeliveryState.PENDING else []
    return "  ".join(facts)


def _facts(delivery: Delivery) -> list[tuple[str, str]]:
    event = delivery.event
    return [
        ("id", delivery.id),
        ("state", delivery.state.value),
        ("channel", delivery.channel),
        ("event", event.type.value),
        ("application", event.application),
        ("subject", event.subject_id),
        ("version", str(event.version)),
        ("occurred", time_text(event.occurred_at)),
        ("due", time_text(delivery.due_at) if delivery.state is DeliveryState.PENDING else ""),
        ("leased until", time_text(delivery.leased_until)),
        ("attempts", str(delivery.tries)),
        ("past attempts", str(delivery.attempts_before) if delivery.attempts_before else ""),
        ("error", delivery.error),
    ]

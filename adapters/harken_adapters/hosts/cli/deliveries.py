"""``deliveries``: what is on its way or did not arrive, sending it again, and what waits for a channel that is gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from harken import Harken
from harken.domain.events import Delivery, DeliveryState
from harken_adapters.hosts.cli.channels import warn_of_stranded
from harken_adapters.hosts.cli.feedback import Limit
from harken_adapters.hosts.cli.options import CliContext, Json, WrongUsage, cli_context, instant, text, text_or_none
from harken_adapters.hosts.cli.output import counted, in_one_line, print_json, say, time_text
from harken_adapters.hosts.http.wire.records import delivery_record

deliveries = typer.Typer(no_args_is_help=True, help="Look at what is on its way, and send it again.")

Channel = Annotated[str | None, typer.Option(metavar="NAME", help="On their way to this channel.")]


@deliveries.command("list")
def list_(
    context: typer.Context,
    *,
    state: Annotated[DeliveryState, typer.Option(help="How far they have come.")] = DeliveryState.DEAD,
    channel: Channel = None,
    limit: Limit = 20,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this delivery.")] = None,
    as_json: Json = False,
) -> None:
    """List deliveries, earliest due first: those that are dead, if nothing else is said.

    Those of all applications, or only of that of --application.
    """
    cli, to = cli_context(context), text_or_none("--channel", channel)
    with cli.open() as hk:

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
        say(f"There is more: add --after {found[-1].id}", style="dim")
    if not found:
        say(f"There are no {state.value} deliveries")


@deliveries.command()
def show(
    context: typer.Context,
    delivery_id: Annotated[str, typer.Argument(metavar="ID", help="The delivery's id.")],
    as_json: Json = False,
) -> None:
    """Show everything about one delivery."""
    cli = cli_context(context)
    with cli.open() as hk:
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
        list[str] | None, typer.Argument(metavar="[ID]...", help="Deliveries in any state.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All in that state now.")] = False,
    state: Annotated[DeliveryState, typer.Option(help="With --all: how far they have come.")] = DeliveryState.DEAD,
    channel: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --all: only those on their way to this channel.")
    ] = None,
    route: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --all: only what this route takes, to its channel.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", parser=instant, help="With --all: only what happened then or later; UTC."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", parser=instant, help="With --all: only what happened before then; UTC."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send deliveries again, under their old ids and with what is true now: at once, where a relay runs.

    --all means those of all applications, or only of that of --application; and those that are dead, unless --state
    says otherwise. What was delivered is kept for a week.
    """
    cli, to, by = cli_context(context), text_or_none("--channel", channel), text_or_none("--route", route)
    ids = list(dict.fromkeys(delivery_ids or ()))
    if bool(ids) == everything:
        raise WrongUsage("say what to replay: either the ids of deliveries, or --all")
    narrowed = (state, to, by, since, until) != (DeliveryState.DEAD, None, None, None, None)
    if narrowed and not everything:
        raise WrongUsage("--state, --channel, --route, --since and --until belong to --all; leave out these or the ids")
    with cli.open() as hk:
        if everything:
            replayed = hk.deliveries.replay_all(
                state, application=cli.application, channel=to, route=by, since=since, until=until
            )
        else:
            replayed = _replay(hk, ids, cli.application)
        if as_json:
            print_json({"replayed": replayed})
        elif replayed:
            say(f"{replayed:,} to be sent again; what is no longer true is left out")
        else:
            say(f"There are no such {state.value} deliveries, so nothing is sent again")
        warn_of_stranded(hk, cli)


@deliveries.command()
def move(
    context: typer.Context,
    channel: Annotated[str, typer.Argument(metavar="FROM", help="The channel that is gone, see `channels list`.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="The channel of the settings that they go to.")],
    as_json: Json = False,
) -> None:
    """Let what waits for a channel that was renamed or removed go to another one, in all applications.

    The deliveries get new ids, EVENT:TO: a receiver that got one of them under its old id cannot tell by the id.
    """
    with _for_all(context).open() as hk:
        moved = hk.deliveries.move(text("FROM", channel), text("TO", to))
    if as_json:
        print_json({"moved": moved})
    else:
        say(f"{moved:,} moved from {channel} to {to}")


@deliveries.command()
def bury(
    context: typer.Context,
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel that is gone, see `channels list`.")],
    as_json: Json = False,
) -> None:
    """Give up what waits for a channel that was removed, in all applications: it is dead, and can be replayed."""
    with _for_all(context).open() as hk:
        buried = hk.deliveries.bury(text("CHANNEL", channel))
    if as_json:
        print_json({"buried": buried})
    else:
        say(f"{buried:,} buried")


def _for_all(context: typer.Context) -> CliContext:
    """The storage to work on; the deliveries of all its applications."""
    cli = cli_context(context)
    if cli.application is not None:
        raise WrongUsage("move and bury are about all applications; leave out --application")
    return cli


def _replay(hk: Harken, ids: Sequence[str], application: str | None) -> int:
    # All are looked up before any is sent: one that is mistyped shall not leave half of it done.
    for delivery_id in ids:
        hk.deliveries.get(delivery_id, application=application)
    for delivery_id in ids:
        hk.deliveries.replay(delivery_id, application=application)
    return len(ids)


def _line(delivery: Delivery) -> str:
    """A delivery for people; no table, in which an id could be cut off where room is short."""
    event = delivery.event
    facts = (delivery.id, delivery.state.value, event.type.value, event.application, _tries(delivery))
    return "  ".join([*facts, f"due {time_text(delivery.due_at)}"])


def _tries(delivery: Delivery) -> str:
    return counted(delivery.tries, "try", "tries")


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
        ("happened", time_text(event.occurred_at)),
        ("due", time_text(delivery.due_at)),
        ("leased until", time_text(delivery.leased_until)),
        ("tries", str(delivery.tries)),
        ("tries before", str(delivery.attempts_before) if delivery.attempts_before else ""),
        ("error", delivery.error),
    ]

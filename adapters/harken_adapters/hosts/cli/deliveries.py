"""The commands ``deliveries list``, ``summary``, ``show``, ``replay``, ``move`` and ``bury``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import typer

from harken import Harken
from harken.domain.events import Attempt, Delivery, DeliveryState, Event, EventType
from harken.domain.session_change import operation_and_names
from harken.domain.texts import amount
from harken.services.notifications.deliveries import Cause, DeliveryFilters
from harken_adapters.formats.delivery import delivery_record, summary_record
from harken_adapters.hosts.cli.channels import warn_of_stranded
from harken_adapters.hosts.cli.feedback import Limit
from harken_adapters.hosts.cli.options import CliContext, Json, WrongUsage, cli_context, instant, text, text_or_none
from harken_adapters.hosts.cli.output import in_one_line, print_json, say, say_facts, say_indented, time_text

deliveries = typer.Typer(no_args_is_help=True, help="Inspect deliveries, and send them again.")

#: The options for filters whose names differ.
_OPTIONS: Final = {"feedback_id": "--feedback", "alert_id": "--alert"}
Channel = Annotated[str | None, typer.Option(metavar="NAME", help="Only deliveries to this channel.")]


Type = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only events of this type.")]
About = Annotated[str | None, typer.Option("--feedback", metavar="ID", help="Only deliveries about this feedback.")]
AboutAlert = Annotated[str | None, typer.Option("--alert", metavar="ID", help="Only deliveries about this alert.")]
CauseOption = Annotated[
    str | None, typer.Option("--cause", metavar="TEXT", help="Only dead deliveries with this cause, as in `summary`.")
]


@deliveries.command("list")
def list_(
    context: typer.Context,
    *,
    state: Annotated[
        DeliveryState | None,
        typer.Option(
            metavar="STATE",
            help="Only deliveries in this state: pending, delivered or dead. By default dead, or any with --feedback "
            "or --alert.",
        ),
    ] = None,
    channel: Channel = None,
    type_: Type = None,
    feedback: About = None,
    alert: AboutAlert = None,
    cause: CauseOption = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="List the latest due first.")] = False,
    limit: Limit = 20,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Continue after this delivery.")] = None,
    as_json: Json = False,
) -> None:
    """List deliveries, earliest due first.

    Covers all applications, unless --application is given. --feedback and --alert refer to one application.
    """
    cli = cli_context(context)
    if state is None and feedback is None and alert is None:
        state = DeliveryState.DEAD
    with cli.open_existing() as hk:
        filters = _filters(hk, cli, channel=channel, type=type_, feedback_id=feedback, alert_id=alert, cause=cause)

        def page(limit: int, after: str | None) -> Sequence[Delivery]:
            return hk.deliveries.find(state, limit=limit, after=after, newest_first=newest_first, **filters)

        found = page(limit, after)
        more = len(found) == limit and bool(page(1, found[-1].id))
    if as_json:
        print_json({"deliveries": list(map(delivery_record, found)), "next": found[-1].id if more else None})
        return
    for delivery in found:
        say_facts(_line(delivery))
        if delivery.error:
            say_indented(in_one_line(delivery.error), style="yellow")
    if more:
        say(f"More results: add --after {found[-1].id}", style="dim")
    if not found:
        say(f"No {state.value} deliveries" if state else "No deliveries")


@deliveries.command()
def summary(
    context: typer.Context,
    *,
    channel: Channel = None,
    type_: Type = None,
    feedback: About = None,
    alert: AboutAlert = None,
    cause: CauseOption = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE", parser=instant, help="Count deliveries that arrived since then; today by default."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Count deliveries by channel and state, and show why the dead ones are dead.

    Covers all applications, unless --application is given. --feedback and --alert refer to one application.
    """
    cli = cli_context(context)
    with cli.open_existing() as hk:
        filters = _filters(hk, cli, channel=channel, type=type_, feedback_id=feedback, alert_id=alert, cause=cause)
        found = hk.deliveries.summary(since=since, **filters)
    if as_json:
        print_json(summary_record(found))
        return
    names = sorted({*found.pending, *found.delivered, *found.dead})
    for name in names:
        numbers = f"{found.pending.get(name, 0):,} pending, {found.dead.get(name, 0):,} dead"
        say(f"{in_one_line(name)}  {numbers}, {found.delivered.get(name, 0):,} delivered")
    if not names:
        say("No deliveries")
    for one in found.causes:
        say(_cause_line(one), style="yellow")


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
    for attempt in delivery.history:
        say(f"{'attempt':<12}  {in_one_line(_attempt_text(attempt))}")


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
    type_: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="With --all: only events of this type.")
    ] = None,
    cause: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With --all: only dead deliveries with this cause.")
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", parser=instant, help="With --all: none that died or arrived later; UTC."),
    ] = None,
    at_most: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="With --all: at most this many deliveries.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send deliveries again.

    They keep their ids and have the current feedback. A running relay sends them at once. Refused while a channel is
    off.

    --all covers all applications, unless --application is given, and dead deliveries, unless --state is given.

    Delivered ones can be replayed for a week.
    """
    cli, by = cli_context(context), text_or_none("--route", route)
    ids = list(dict.fromkeys(delivery_ids or ()))
    if bool(ids) == everything:
        raise WrongUsage("Give either delivery ids or --all")
    narrowing = (channel, by, since, until, type_, cause, as_of, at_most)
    if not everything and (state is not DeliveryState.DEAD or any(one is not None for one in narrowing)):
        raise WrongUsage("Options that select deliveries need --all; omit them, or the ids")
    with cli.open_existing() as hk:
        if everything:
            replayed = hk.deliveries.replay_all(
                state,
                route=by,
                since=since,
                until=until,
                as_of=as_of,
                at_most=at_most,
                **_filters(hk, cli, channel=channel, type=type_, cause=cause),
            )
        else:
            replayed = len(hk.deliveries.replay_many(ids, application=cli.application))
        if as_json:
            print_json({"replayed": replayed})
        elif replayed:
            say(f"{amount(replayed, 'delivery', 'deliveries')} will be sent again; outdated ones are skipped")
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
        say(f"{amount(moved, 'delivery', 'deliveries')} moved from {channel} to {to}")


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
        say(f"{amount(buried, 'delivery', 'deliveries')} marked as dead")


def _for_all(context: typer.Context) -> CliContext:
    """The global options, for a command that covers all applications."""
    cli = cli_context(context)
    if cli.application is not None:
        raise WrongUsage("move and bury cover all applications; omit --application")
    return cli


def _filters(hk: Harken, cli: CliContext, **values: str | None) -> DeliveryFilters:
    """The filters; those by feedback and alert need an application."""
    about_one = values.get("feedback_id") is not None or values.get("alert_id") is not None
    filters: DeliveryFilters = {"application": hk.application if about_one else cli.application}
    for name, value in values.items():
        if value is not None:
            filters[name] = text(_OPTIONS.get(name, f"--{name}"), value)  # type: ignore[literal-required] # by name
    return filters


def _cause_line(cause: Cause) -> str:
    counted, latest = cause.counted, cause.latest
    last = latest.last_attempt if latest else None
    words = f' "{in_one_line(last.words)}"' if last and last.words else ""
    number = amount(counted.count, "dead delivery", "dead deliveries")
    times = f"{time_text(counted.first_at)} to {time_text(counted.last_at)}"
    return f"{number} to {in_one_line(counted.channel)}: {in_one_line(counted.cause)}{words} ({times})"


def _line(delivery: Delivery) -> str:
    """One line. Not a table row, which could truncate the id on a narrow terminal."""
    event = delivery.event
    attempts = amount(delivery.tries, "attempt")
    facts = [delivery.id, delivery.state.value, event.type.value, event.application, attempts]
    # Only a pending delivery has another attempt.
    facts += [f"due {time_text(delivery.due_at)}"] if delivery.state is DeliveryState.PENDING else []
    return "  ".join(facts)


def _attempt_text(attempt: Attempt) -> str:
    outcome = attempt.outcome.value.replace("_", " ")
    took = f" in {attempt.duration.total_seconds():.2f} s" if attempt.outcome.was_sent else ""
    status = f": {attempt.status}" if attempt.status else ""
    words = f' "{attempt.words}"' if attempt.words else ""
    return f"{time_text(attempt.at)}  {outcome}{took}{status}{words}"


def _subject(event: Event) -> str:
    if event.type is not EventType.SESSION_UPDATED:
        return event.subject_id
    operation, names = operation_and_names(event)
    return f"{operation} of {', '.join(names)}"


def _facts(delivery: Delivery) -> list[tuple[str, str]]:
    event = delivery.event
    return [
        ("id", delivery.id),
        ("state", delivery.state.value),
        ("channel", delivery.channel),
        ("event", event.type.value),
        ("application", event.application),
        ("subject", _subject(event)),
        ("session", event.session_id or ""),
        ("version", str(event.version)),
        ("occurred", time_text(event.occurred_at)),
        ("due", time_text(delivery.due_at) if delivery.state is DeliveryState.PENDING else ""),
        ("leased until", time_text(delivery.leased_until)),
        ("attempts", str(delivery.tries)),
        ("past attempts", str(delivery.attempts_before) if delivery.attempts_before else ""),
        ("error", delivery.error),
    ]

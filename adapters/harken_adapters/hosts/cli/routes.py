"""The commands ``routes list``, ``routes add`` and ``routes remove``."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from harken import Harken, ModerationStatus, NoSuchRoute, Route
from harken.domain.events import EventType
from harken.domain.routes import ROUTABLE, name_problem, parse_route, route_record
from harken.domain.texts import amount
from harken_adapters.formats.route import dry_run_record
from harken_adapters.hosts.cli.options import FILTER_PANEL, RATINGS, Json, cli_context, completes
from harken_adapters.hosts.cli.output import feedback_entry, in_one_line, print_json, say, say_facts

routes = typer.Typer(no_args_is_help=True, help="Choose which events go to which channel.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the route.")]

_TYPES: Final = [type_.value for type_ in ROUTABLE]


@routes.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the routes: first those in the settings, then those added here."""
    with cli_context(context).open_existing() as hk:
        found = hk.routes.routes()
        if as_json:
            print_json({"routes": [route_as_json(hk, route) for route in found]})
            return
        for route in found:
            say_facts(route_line(hk, route))
    if not found:
        say("No routes: no notifications are sent")


@routes.command()
def add(
    context: typer.Context,
    *,
    name: Name,
    channel: Annotated[str, typer.Option(help="The channel to send to.")],
    event: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE",
            autocompletion=completes(*_TYPES),
            help=f"Events of this type; repeatable: {', '.join(_TYPES)}.",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    rating: Annotated[
        list[str] | None,
        typer.Option(
            metavar="up|down|neutral",
            autocompletion=RATINGS,
            help="Feedback with this rating; repeatable.",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    for_application: Annotated[
        list[str] | None,
        typer.Option(
            metavar="APPLICATION", help="Feedback of this application; repeatable.", rich_help_panel=FILTER_PANEL
        ),
    ] = None,
    agent: Annotated[
        list[str] | None, typer.Option(help="Feedback on this agent; repeatable.", rich_help_panel=FILTER_PANEL)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Feedback with this tag; repeatable.", rich_help_panel=FILTER_PANEL)
    ] = None,
    status: Annotated[
        list[ModerationStatus] | None,
        typer.Option(
            metavar="STATUS",
            help="Feedback with this moderation status: approved, pending or rejected; repeatable.",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    template: Annotated[str | None, typer.Option(metavar="TEXT", help="The template of the notification text.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what the route would have sent in the last 24 hours.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a route, or replace the one with the same name.

    Running relays use it at once. With --dry-run, nothing is added or sent.

    Without filters it takes every event except new or changed feedback that is not approved, and changes of session
    metadata.
    """
    route = parse_route(
        {
            "name": name,
            "channel": channel,
            "events": event or [],
            "ratings": rating or [],
            "applications": for_application or [],
            "agents": agent or [],
            "tags": tag or [],
            "statuses": [one.value for one in status or ()],
            "template": template,
        }
    )
    if dry_run:
        _dry_run(context, route, as_json=as_json)
        return

    def put(hk: Harken) -> tuple[Any, str]:
        hk.routes.put(route)
        return route_as_json(hk, route), route_line(hk, route)

    record, line = cli_context(context).store(put)
    if as_json:
        print_json(record)
    else:
        say_facts(line)


def _dry_run(context: typer.Context, route: Route, *, as_json: bool) -> None:
    with cli_context(context).open_existing() as hk:
        found = hk.routes.dry_run(route, hk.application)
    if as_json:
        print_json(dry_run_record(found))
        return
    of = f"{found.total:,}" if found.is_complete else f"the newest {found.total:,}"
    say(f"{route.name} would have matched {found.matched:,} of {of} entries of the last 24 hours")
    if found.total_alerts:
        say(f"and {found.matched_alerts:,} of {amount(found.total_alerts, 'alert')}")
    if EventType.SESSION_UPDATED in route.events:
        say("Changes of session metadata are not stored, so they are not counted")
    for feedback in found.examples:
        feedback_entry(feedback)


@routes.command()
def remove(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Remove an added route. Pending deliveries are still sent."""
    with cli_context(context).open_existing() as hk:
        if name_problem("name", name) or not hk.routes.delete(name):
            raise NoSuchRoute(f"Route {name!r} not found; list the routes to find its name")
    if as_json:
        print_json({"removed": name})
    else:
        say(f"Removed route {name}")


def _filters(route: Route) -> list[str]:
    filters = [
        f"{name} {', '.join(map(str, values))}"
        for name, values in route_record(route).items()
        if isinstance(values, list) and values
    ]
    template = [f"template {in_one_line(route.template)}"] if route.template is not None else []
    return [*(filters or ["everything"]), *template]


def route_line(hk: Harken, route: Route) -> str:
    """One line: the name of a route, its channel and its filters."""
    facts = [route.name, f"to {route.channel}", *_filters(route)]
    return "  ".join([*facts, "from the settings"] if hk.routes.configured(route.name) else facts)


def route_as_json(hk: Harken, route: Route) -> dict[str, object]:
    """A route as a JSON value; ``configured`` tells whether it comes from the settings."""
    return {**route_record(route), "configured": hk.routes.configured(route.name)}

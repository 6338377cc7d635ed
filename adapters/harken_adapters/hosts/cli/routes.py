"""``routes``: which events go to which channel."""

from __future__ import annotations

from typing import Annotated

import typer

from harken import Harken, ModerationStatus, NoSuchRoute, Route
from harken.domain.routes import ROUTABLE, name_problem, parse_route, route_record
from harken_adapters.hosts.cli.options import Json, cli_context
from harken_adapters.hosts.cli.output import in_one_line, print_json, say

routes = typer.Typer(no_args_is_help=True, help="Say which events go to which channel.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the route is called.")]

_TYPES = ", ".join(type_.value for type_ in ROUTABLE)
_PANEL = "Filters: all that are given must hold; of one that is repeated, any"


@routes.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the routes: those of the settings, then those that were added."""
    with cli_context(context).open() as hk:
        found = hk.routes.routes()
        if as_json:
            print_json({"routes": [route_as_json(hk, route) for route in found]})
            return
        for route in found:
            say(route_line(hk, route))
    if not found:
        say("There are no routes, so nothing is sent")


@routes.command()
def add(
    context: typer.Context,
    *,
    name: Name,
    channel: Annotated[str, typer.Option(help="The channel that it leads to.")],
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE", help=f"Events of this type; repeatable: {_TYPES}.", rich_help_panel=_PANEL),
    ] = None,
    rating: Annotated[
        list[str] | None,
        typer.Option(metavar="up|down|neutral", help="Feedback with this rating; repeatable.", rich_help_panel=_PANEL),
    ] = None,
    of: Annotated[
        list[str] | None,
        typer.Option(metavar="APPLICATION", help="Of this application; repeatable.", rich_help_panel=_PANEL),
    ] = None,
    agent: Annotated[
        list[str] | None, typer.Option(help="About this agent; repeatable.", rich_help_panel=_PANEL)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Feedback with this tag; repeatable.", rich_help_panel=_PANEL)
    ] = None,
    status: Annotated[
        list[ModerationStatus] | None,
        typer.Option(help="Feedback in this status; repeatable.", rich_help_panel=_PANEL),
    ] = None,
    template: Annotated[str | None, typer.Option(metavar="TEXT", help="A template that makes the text.")] = None,
    as_json: Json = False,
) -> None:
    """Add a route, or put it in the place of the one with its name; every relay goes by it from then on.

    Without filters everything goes there, but for new or changed feedback that is not approved.
    """
    route = parse_route(
        {
            "name": name,
            "channel": channel,
            "events": event or [],
            "ratings": rating or [],
            "applications": of or [],
            "agents": agent or [],
            "tags": tag or [],
            "statuses": [one.value for one in status or ()],
            "template": template,
        }
    )
    with cli_context(context).open() as hk:
        hk.routes.put(route)
        if as_json:
            print_json(route_as_json(hk, route))
        else:
            say(route_line(hk, route))


@routes.command()
def remove(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Remove a route that was added; what is on its way already arrives."""
    with cli_context(context).open() as hk:
        if name_problem("name", name) or not hk.routes.delete(name):
            raise NoSuchRoute(f"There is no route {name!r}; list the routes to find the right one")
    if as_json:
        print_json({"removed": name})
    else:
        say(f"{name} was removed")


def route_line(hk: Harken, route: Route) -> str:
    """A route for people: where to, and what."""
    filters = [
        f"{name} {', '.join(map(str, chosen))}"
        for name, chosen in route_record(route).items()
        if isinstance(chosen, list) and chosen
    ]
    facts = [route.name, f"to {route.channel}", *(filters or ["everything"])]
    facts += [f"template {in_one_line(route.template)}"] if route.template is not None else []
    return "  ".join([*facts, "from the settings"] if hk.routes.configured(route.name) else facts)


def route_as_json(hk: Harken, route: Route) -> dict[str, object]:
    """A route as JSON says it, and whether it comes from the settings."""
    return {**route_record(route), "configured": hk.routes.configured(route.name)}

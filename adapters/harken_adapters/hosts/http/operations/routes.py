"""Notification routes: the rules which events go to which channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve

from harken import Harken, MissingExtra, Scope
from harken.domain.routes import Route, parse_route, route_record
from harken.domain.texts import no_such
from harken_adapters.formats.route import dry_run_record
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer, no_content
from harken_adapters.hosts.http.wire.parameters import invalid, json_object
from harken_adapters.hosts.http.wire.problems import Problem

_PATH: Final = "/api/routes/{route}"
_FIELDS: Final = ("name", "channel", "events", "ratings", "applications", "agents", "tags", "statuses", "template")
#: A limit, as the relay reads all routes for each batch of events.
MAX_ROUTES: Final = 100


def own_routes(harken: Harken, application: str) -> list[Route]:
    """The routes that an application can change: stored ones that are for it only."""
    return [route for route in harken.routes.routes() if _is_own(harken, application, route)]


def shared_routes(harken: Harken, application: str) -> list[Route]:
    """Other routes that apply to an application, without the names of other applications."""
    return [
        evolve(route, applications=route.applications & {application})
        for route in harken.routes.routes()
        if _is_shared(harken, application, route)
    ]


def build_route(harken: Harken, application: str, table: Mapping[str, object]) -> Route:
    """A route for an application, from its fields.

    Raises:
        Problem: it is for other applications, or its channel does not exist.
        RouteRejected: a field is invalid.
    """
    if not parse_route(table).applications <= {application}:
        detail = f"The route can only be for the application {application!r}; leave applications out"
        raise Problem("forbidden", detail)
    route = parse_route({**table, "applications": [application]})
    if route.channel not in harken.channels.names:
        raise Problem("conflict", no_such("channel", route.channel, harken.channels.names))
    return route


def put_route(harken: Harken, application: str, route: Route) -> None:
    """Add a route of an application, or replace the one with its name.

    Raises:
        Problem: its name is taken, the application has too many routes, or templates need an extra.
        RouteRejected: its template is invalid.
    """
    _check_may_put(harken, application, route)
    try:
        put = harken.routes.put(route, owner=application)
    except MissingExtra as error:
        raise invalid("template", "unknown", str(error)) from error
    if not put:
        # Another request has created a route with this name in the meantime.
        raise _name_taken(route.name)


def add_route(harken: Harken, application: str, route: Route) -> None:
    """Add a route of an application.

    Raises:
        Problem: there is a route with its name, or the application has too many routes.
        RouteRejected: it is invalid.
    """
    _check_may_put(harken, application, route)
    if not harken.routes.replace(None, route):
        raise Problem("conflict", f"There is a route {route.name!r} already; choose another name, or change that route")


def change_route(harken: Harken, application: str, before: Route, route: Route) -> None:
    """Change a route of an application, if it is still as it was seen.

    Raises:
        Problem: it was changed or removed.
        RouteRejected: it is invalid.
    """
    _check_may_put(harken, application, route)
    if not harken.routes.replace(before, route):
        raise route_changed(route.name)


def route_changed(name: str) -> Problem:
    """The problem that a route is not as it was seen."""
    return Problem("conflict", f"Route {name!r} was changed or removed meanwhile; open it again to see how it is now")


def _check_may_put(harken: Harken, application: str, route: Route) -> None:
    routes = harken.routes.routes()
    if any(other.name == route.name and not _is_own(harken, application, other) for other in routes):
        raise _name_taken(route.name)
    if sum(_is_own(harken, application, other) for other in routes if other.name != route.name) >= MAX_ROUTES:
        raise Problem("conflict", f"The application already has {MAX_ROUTES} routes; remove one first")


def delete_route(harken: Harken, application: str, name: str) -> None:
    """Remove a route of an application.

    Raises:
        Problem: the application has no such route, or cannot change it.
    """
    route = next((route for route in harken.routes.routes() if route.name == name), None)
    if route is not None and _is_shared(harken, application, route):
        raise Problem(
            "conflict",
            f"Route {name!r} is defined in the settings, or is for several applications, so it cannot be removed here",
        )
    if route is None or not _is_own(harken, application, route) or not harken.routes.delete(name):
        raise Problem("not-found", f"No route with the name {name!a}")


def _list(call: Call) -> Response:
    own, shared = own_routes(call.harken, call.application), shared_routes(call.harken, call.application)
    return answer({"routes": list(map(route_record, own)), "shared": list(map(route_record, shared))})


def _put(call: Call) -> Response:
    route = _route(call)
    put_route(call.harken, call.application, route)
    return answer(route_record(route))


def _dry_run(call: Call) -> Response:
    found = call.harken.routes.dry_run(_route(call), call.application)
    return answer(dry_run_record(found))


def _route(call: Call) -> Route:
    """The route in the body, with the name in the path."""
    body, name = json_object(call.request, _FIELDS), call.part("route")
    if body.get("name", name) != name:
        raise invalid("name", "repeated", f"The path and the body have different names; expected {name!a}")
    return build_route(call.harken, call.application, {**body, "name": name})


def _delete(call: Call) -> Response:
    delete_route(call.harken, call.application, call.part("route"))
    return no_content()


def _name_taken(name: str) -> Problem:
    return Problem("conflict", f"The name {name!r} is used by a route that cannot be changed here; choose another name")


def _is_own(harken: Harken, application: str, route: Route) -> bool:
    return route.applications == {application} and not harken.routes.configured(route.name)


def _is_shared(harken: Harken, application: str, route: Route) -> bool:
    is_for_it = not route.applications or application in route.applications
    return is_for_it and not _is_own(harken, application, route)


OPERATIONS: Final = (
    Operation(
        name="list_routes",
        method="GET",
        path="/api/routes",
        scope=Scope.ADMIN,
        handle=_list,
        summary="List routes",
        description="The routes of the application, and shared routes that apply to its events too.",
        tag="Notifications",
        answers={200: Answer(description="The routes.", schema="Routes")},
    ),
    Operation(
        name="put_route",
        method="PUT",
        path=_PATH,
        scope=Scope.ADMIN,
        handle=_put,
        summary="Add or replace a route",
        description=(
            "The route is for this application only. Events that match all filters are sent to the channel; an empty "
            "filter matches everything. It takes effect immediately, in every relay."
        ),
        tag="Notifications",
        body="Route",
        example={"channel": "support", "events": ["feedback.created"], "ratings": ["down"]},
        answers={200: Answer(description="The stored route.", schema="StoredRoute")},
        problems=("conflict",),
    ),
    Operation(
        name="dry_run_route",
        method="POST",
        path=f"{_PATH}/dry-run",
        scope=Scope.ADMIN,
        handle=_dry_run,
        summary="Dry-run a route",
        description=(
            "What a route would have sent in the last 24 hours: the newest 10,000 entries of feedback and 1,000 alerts "
            "are examined. Nothing is stored or sent."
        ),
        tag="Notifications",
        body="Route",
        example={"channel": "support", "ratings": ["down"]},
        answers={200: Answer(description="What it would have matched.", schema="RouteDryRun")},
        problems=("conflict",),
    ),
    Operation(
        name="delete_route",
        method="DELETE",
        path=_PATH,
        scope=Scope.ADMIN,
        handle=_delete,
        summary="Remove a route",
        description="Deliveries that were already created are still sent.",
        tag="Notifications",
        answers={204: Answer(description="The route is removed.")},
        problems=("not-found", "conflict"),
    ),
)

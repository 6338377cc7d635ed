"""Notification routes: the rules which events go to which channel."""

from __future__ import annotations

from typing import Final

from harken import MissingExtra, Scope
from harken.domain.routes import Route, parse_route, route_record
from harken.domain.texts import no_such
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer, no_content
from harken_adapters.hosts.http.wire.parameters import invalid, json_object
from harken_adapters.hosts.http.wire.problems import Problem

_PATH: Final = "/api/routes/{route}"
_FIELDS: Final = ("name", "channel", "events", "ratings", "applications", "agents", "tags", "statuses", "template")
#: A limit, as the relay reads all routes for each batch of events.
MAX_ROUTES: Final = 100


def _list(call: Call) -> Response:
    routes = call.harken.routes.routes()
    own = [route_record(route) for route in routes if _is_own(call, route)]
    shared = [_visible_record(call, route) for route in routes if _is_shared(call, route)]
    return answer({"routes": own, "shared": shared})


def _put(call: Call) -> Response:
    body, name = json_object(call.request, _FIELDS), call.part("route")
    if body.get("name", name) != name:
        raise invalid("name", "repeated", f"The path and the body have different names; expected {name!a}")
    _check_applications(call, parse_route({**body, "name": name}))
    route = parse_route({**body, "name": name, "applications": [call.application]})
    if route.channel not in call.harken.channels.names:
        raise Problem("conflict", no_such("channel", route.channel, call.harken.channels.names))
    _check_name(call, name)
    try:
        put = call.harken.routes.put(route, owner=call.application)
    except MissingExtra as error:
        raise invalid("template", "unknown", str(error)) from error
    if not put:
        # Another request has created a route with this name in the meantime.
        raise _name_taken(name)
    return answer(route_record(route))


def _check_applications(call: Call, route: Route) -> None:
    """Check that a route is for the application of the call only."""
    if not route.applications <= {call.application}:
        detail = f"The route can only be for the application {call.application!r}; leave applications out"
        raise Problem("forbidden", detail)


def _check_name(call: Call, name: str) -> None:
    """Check that the name is available and that the application may have another route."""
    routes = call.harken.routes.routes()
    if any(other.name == name and not _is_own(call, other) for other in routes):
        raise _name_taken(name)
    if sum(_is_own(call, other) for other in routes if other.name != name) >= MAX_ROUTES:
        raise Problem("conflict", f"The application already has {MAX_ROUTES} routes; remove one first")


def _name_taken(name: str) -> Problem:
    return Problem("conflict", f"The name {name!r} is used by a route that cannot be changed here; choose another name")


def _delete(call: Call) -> Response:
    name = call.part("route")
    route = next((route for route in call.harken.routes.routes() if route.name == name), None)
    if route is not None and _is_shared(call, route):
        raise Problem(
            "conflict",
            f"Route {name!r} is defined in the settings, or is for several applications, so it cannot be removed here",
        )
    if route is None or not _is_own(call, route) or not call.harken.routes.delete(name):
        raise Problem("not-found", f"No route with the name {name!a}")
    return no_content()


def _is_own(call: Call, route: Route) -> bool:
    """Whether a route can be changed here: it is stored, and for this application only."""
    return route.applications == {call.application} and not call.harken.routes.configured(route.name)


def _is_shared(call: Call, route: Route) -> bool:
    """Whether a route applies to the application's events, but cannot be changed here."""
    return not _is_own(call, route) and (not route.applications or call.application in route.applications)


def _visible_record(call: Call, route: Route) -> dict[str, object]:
    """The record of a route, without the names of other applications."""
    return {**route_record(route), "applications": sorted(route.applications & {call.application})}


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

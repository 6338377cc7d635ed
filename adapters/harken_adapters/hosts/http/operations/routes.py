"""Which events go to which channel."""

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
#: Every relay reads all routes for each batch of events.
MAX_ROUTES: Final = 100


def _list(call: Call) -> Response:
    routes = call.harken.routes.routes()
    own = [route_record(route) for route in routes if _is_own(call, route)]
    shared = [_as_shown(call, route) for route in routes if _is_shared(call, route)]
    return answer({"routes": own, "shared": shared})


def _put(call: Call) -> Response:
    body, name = json_object(call.request, _FIELDS), call.part("route")
    if body.get("name", name) != name:
        raise invalid("name", "repeated", f"The path names the route {name!a}, the body another one; expected one name")
    _check_alone(call, parse_route({**body, "name": name}))
    route = parse_route({**body, "name": name, "applications": [call.application]})
    if route.channel not in call.harken.channels.names:
        raise Problem("conflict", no_such("channel", route.channel, call.harken.channels.names))
    _check_room(call, name)
    try:
        put = call.harken.routes.put(route, owner=call.application)
    except MissingExtra as error:
        raise invalid("template", "unknown", str(error)) from error
    if not put:
        # Somebody else took the name meanwhile.
        raise _taken(name)
    return answer(route_record(route))


def _check_alone(call: Call, route: Route) -> None:
    """Whether nobody else's events would go by that route."""
    if not route.applications <= {call.application}:
        detail = f"A route that is made here is for one application, here {call.application!r}; leave applications out"
        raise Problem("forbidden", detail)


def _check_room(call: Call, name: str) -> None:
    """Whether the application may have a route of that name, or one more."""
    routes = call.harken.routes.routes()
    if any(other.name == name and not _is_own(call, other) for other in routes):
        raise _taken(name)
    if sum(_is_own(call, other) for other in routes if other.name != name) >= MAX_ROUTES:
        raise Problem("conflict", f"There are {MAX_ROUTES} routes already; remove one first")


def _taken(name: str) -> Problem:
    return Problem("conflict", f"The name {name!r} is taken by a route that cannot be changed here; choose another")


def _delete(call: Call) -> Response:
    name = call.part("route")
    there = next((route for route in call.harken.routes.routes() if route.name == name), None)
    if there is not None and _is_shared(call, there):
        raise Problem("conflict", f"Route {name!r} comes from the settings, or is not for one application only")
    if there is None or not _is_own(call, there) or not call.harken.routes.delete(name):
        raise Problem("not-found", f"There is no route {name!a}")
    return no_content()


def _is_own(call: Call, route: Route) -> bool:
    """Whether a route can be changed here: it was added, for this application and no other."""
    return route.applications == {call.application} and not call.harken.routes.configured(route.name)


def _is_shared(call: Call, route: Route) -> bool:
    """Whether a route lets the application's events through, but cannot be changed here."""
    return not _is_own(call, route) and (not route.applications or call.application in route.applications)


def _as_shown(call: Call, route: Route) -> dict[str, object]:
    """The route without the names of other applications."""
    return {**route_record(route), "applications": sorted(route.applications & {call.application})}


OPERATIONS: Final = (
    Operation(
        name="list_routes",
        method="GET",
        path="/api/routes",
        scope=Scope.ADMIN,
        handle=_list,
        summary="List the routes",
        description="Those of the application, and others by which its events go too.",
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
            "It is for the application and no other. What fits all filters goes to the channel; a filter that is empty "
            "lets everything through. Every relay goes by it from then on."
        ),
        tag="Notifications",
        body="Route",
        example={"channel": "support", "events": ["feedback.created"], "ratings": ["down"]},
        answers={200: Answer(description="The route, as it is kept.", schema="KeptRoute")},
        problems=("conflict",),
    ),
    Operation(
        name="delete_route",
        method="DELETE",
        path=_PATH,
        scope=Scope.ADMIN,
        handle=_delete,
        summary="Remove a route",
        description="What is on its way already arrives.",
        tag="Notifications",
        answers={204: Answer(description="It is removed.")},
        problems=("not-found", "conflict"),
    ),
)

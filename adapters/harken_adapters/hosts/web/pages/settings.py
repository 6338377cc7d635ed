"""The settings of an application: its API keys, its routes, and the preferences of the browser."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final

from attrs import evolve, frozen

from harken import ApiKey, Harken, HarkenError, Route, RouteDryRun, Scope
from harken.domain.events import EventType
from harken.domain.routes import route_record
from harken.domain.texts import amount
from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.operations.keys import create_key, manageable_keys, revoke_key
from harken_adapters.hosts.http.operations.routes import (
    add_route,
    build_route,
    change_route,
    delete_route,
    own_routes,
    route_changed,
    shared_routes,
)
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.http.wire.parameters import Parameters
from harken_adapters.hosts.http.wire.problems import Problem, problem_of
from harken_adapters.hosts.web.entries import entry_view
from harken_adapters.hosts.web.forms import form_of, lines_of
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.route_sentences import EVENT_NAMES, STATUS_NAMES, route_sentence
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import SHOWN_APPLICATION, Visit

PATH: Final = "/settings"
KEYS_PATH: Final = f"{PATH}/keys"
KEY_PATH: Final = f"{KEYS_PATH}/{{key_id}}"
ROUTES_PATH: Final = f"{PATH}/routes"
ROUTE_PATH: Final = f"{ROUTES_PATH}/{{route}}"
#: The fields of the form for routes; lists of choices, and texts with one value a line.
_CHOICES: Final = ("events", "ratings", "statuses")
_LINES: Final = ("agents", "tags")
_ROUTE_FIELDS: Final = ("name", "channel", *_CHOICES, *_LINES)
_EMPTY: Final = Parameters()
_DRY_RUN: Final = "dry_run"
#: The state of the route that the form changes; without it, the form adds a route.
_SEEN: Final = "seen"
_STATE_DIGITS: Final = 16
#: Like those of other keys.
_KEY_ID_DIGITS: Final = 16
#: What the page says after a form, by the parameter ``done``.
_DONE: Final = {
    "revoked": "The key is revoked. Programs that use it are refused within five seconds.",
    "saved": "The route is saved. It applies from now on.",
    "removed": "The route is removed. Deliveries that wait are still sent.",
}
#: A key that was not used for this long is probably not needed.
_UNUSED: Final = timedelta(days=90)


@frozen
class RouteRow:
    """A route in the list.

    Attributes:
        route: the route.
        sentence: what it sends, and where to.
        is_own: whether it can be changed here.
        is_configured: whether it comes from the settings; otherwise, a shared one is for several applications.
    """

    route: Route
    sentence: str
    is_own: bool
    is_configured: bool


@frozen(kw_only=True)
class Settings:
    """What the page shows.

    Attributes:
        keys: the valid keys, the oldest first.
        revoked: the revoked keys, the last revoked first.
        unused: the number of valid keys that were not used for 90 days.
        channels: the names of the channels.
        routes: the routes; ``None`` if the visitor may not see them.
        is_open: whether the API can be used without a key.
    """

    keys: Sequence[ApiKey]
    revoked: Sequence[ApiKey]
    unused: int
    channels: Sequence[str]
    routes: Sequence[RouteRow] | None
    is_open: bool

    @property
    def headline(self) -> str:
        """Who has access, and how many routes there are."""
        keys = f"{amount(len(self.keys), 'key')} {'gives' if len(self.keys) == 1 else 'give'} access"
        if self.is_open:
            keys = "Access is open"
        if self.routes is None:
            return keys
        verb = "sends" if len(self.routes) == 1 else "send"
        return f"{keys}, {amount(len(self.routes), 'route')} {verb} notifications"


def ask(hk: Harken, principal: Principal, application: str, now: datetime, *, is_open: bool) -> Settings:
    """The keys and routes of an application that the visitor may see."""
    keys = manageable_keys(hk, principal, application)
    valid = [key for key in keys if not key.revoked]
    return Settings(
        keys=valid,
        revoked=sorted(
            (key for key in keys if key.revoked), key=lambda key: (key.revoked_at or now, key.id), reverse=True
        ),
        unused=sum(now - (key.last_used_at or key.created_at) > _UNUSED for key in valid),
        channels=hk.channels.names,
        routes=None if principal.agents is not None else [*_routes(hk, application)],
        is_open=is_open,
    )


def _routes(hk: Harken, application: str) -> Iterator[RouteRow]:
    for route in shared_routes(hk, application):
        yield RouteRow(route, route_sentence(route), is_own=False, is_configured=hk.routes.configured(route.name))
    for route in own_routes(hk, application):
        yield RouteRow(route, route_sentence(route), is_own=True, is_configured=False)


def show(visit: Visit) -> Response:
    """The response with the page; with ``dry_run``, what the route in the query string would have sent."""
    selection = visit.unlimited_selection((*_ROUTE_FIELDS, SHOWN_APPLICATION, _SEEN, _DRY_RUN, "done"))
    form = selection.parameters
    if form.get(_DRY_RUN) is None or visit.principal.agents is not None:
        return _page(visit, selection, route_form=form)
    try:
        route = build_route(visit.harken, visit.application, _route_table(form))
        dry_run = visit.harken.routes.dry_run(route, visit.application)
    except (Problem, HarkenError) as error:
        return _page(visit, selection, route_form=form, route_problem=_problem(error))
    return _page(visit, selection, route_form=form, route=route, dry_run=dry_run)


def create(visit: Visit) -> Response:
    """Create a key, and show it once: the response is not stored anywhere. A link leads to the settings."""
    if not visit.is_form:
        return _to_settings(visit)
    form = form_of(visit.request)
    name, agents = form.get("name", "").strip(), lines_of(form, "agents") or None
    try:
        key_id = _id_of_new_key(visit, form)
        _check_name_is_free(visit, name)
        created = create_key(
            visit.harken,
            visit.principal,
            visit.application,
            form.all("scopes"),
            name=name,
            agents=agents,
            key_id=key_id,
        )
    except (Problem, HarkenError) as error:
        return _page(visit, visit.unlimited_selection(), key_form=form, key_problem=_problem(error))
    selection = visit.unlimited_selection()
    return visit.show(
        "new_key.html",
        title="Copy the new key now",
        created=created,
        frame=frame_of(visit, "Settings", selection, listens=False),
        back=selection.link(f"{visit.home}{PATH}"),
    )


def _id_of_new_key(visit: Visit, form: Parameters) -> str | None:
    """The id of the key that a form creates, so that reloading the response does not create another key.

    It is derived from the form, in which each page has a random text; ``None`` without that text.

    Raises:
        Problem: the key has already been created.
    """
    if not form.get("once"):
        return None
    what = json.dumps([visit.application, *(form.all(name) for name in ("once", "name", "scopes", "agents"))])
    key_id = sha256(what.encode()).hexdigest()[:_KEY_ID_DIGITS]
    if visit.harken.keys.find(key_id) is not None:
        raise Problem(
            "conflict",
            "This key has already been created. Its text was shown once, and cannot be shown again. If you do not have "
            "it, revoke the key and create another",
        )
    return key_id


def _check_name_is_free(visit: Visit, name: str) -> None:
    """Check that no valid key has a name, as decisions are recorded under it.

    Raises:
        Problem: one has.
    """
    keys = visit.harken.keys.keys(visit.application)
    if name and any(key.name.casefold() == name.casefold() for key in keys if not key.revoked):
        detail = "Decisions are recorded under the names of keys, so choose another name, or revoke that key first"
        raise Problem("conflict", f"There is a key with the name “{name}” already. {detail}")


def revoke(visit: Visit) -> Response:
    """Revoke a key."""
    revoke_key(visit.harken, visit.principal, visit.application, visit.request.parts["key_id"])
    return _done(visit, "revoked")


def save_route(visit: Visit) -> Response:
    """Add a route; or with ``seen``, change the one that the page showed. A link leads to the settings."""
    if not visit.is_form:
        return _to_settings(visit)
    form = form_of(visit.request)
    try:
        route = build_route(visit.harken, visit.application, _route_table(form))
        if not form.get(_SEEN):
            add_route(visit.harken, visit.application, route)
        else:
            before = _seen_route(visit, form)
            # The form has no template.
            change_route(visit.harken, visit.application, before, evolve(route, template=before.template))
    except (Problem, HarkenError) as error:
        return _page(visit, visit.unlimited_selection(), route_form=form, route_problem=_problem(error))
    return _done(visit, "saved")


def _seen_route(visit: Visit, form: Parameters) -> Route:
    """The route that a form changes.

    Raises:
        Problem: it is not as the page showed it any more.
    """
    name = form.get("name", "").strip()
    for route in own_routes(visit.harken, visit.application):
        if route.name == name and _state_of(route) == form.get(_SEEN):
            return route
    raise route_changed(name)


def _state_of(route: Route) -> str:
    """A short text that differs for each state of a route."""
    return sha256(json.dumps(route_record(route), sort_keys=True).encode()).hexdigest()[:_STATE_DIGITS]


def remove_route(visit: Visit) -> Response:
    """Remove a route."""
    delete_route(visit.harken, visit.application, visit.request.parts["route"])
    return _done(visit, "removed")


def _page(
    visit: Visit,
    selection: Selection,
    *,
    key_form: Parameters = _EMPTY,
    key_problem: Problem | None = None,
    route_form: Parameters = _EMPTY,
    route_problem: Problem | None = None,
    route: Route | None = None,
    dry_run: RouteDryRun | None = None,
) -> Response:
    is_open = visit.api.settings.access == "open"
    found = ask(visit.harken, visit.principal, visit.application, visit.now, is_open=is_open)
    path, problem = f"{visit.home}{PATH}", key_problem or route_problem
    return visit.show(
        "settings.html",
        status=problem.status if problem else 200,
        title=found.headline,
        found=found,
        done=_DONE.get(selection.parameters.get("done", "")),
        routes=[
            (
                row,
                _link(selection, path, row.route, is_own=row.is_own, dry_run=True),
                _link(selection, path, row.route, is_own=True) if row.is_own else None,
            )
            for row in found.routes or ()
        ],
        scopes=tuple(Scope),
        events=EVENT_NAMES,
        statuses=STATUS_NAMES,
        key_form=key_form,
        key_problem=key_problem,
        route_form=route_form,
        route_problem=route_problem,
        once=token_urlsafe(16),
        dry_run=dry_run,
        sentence=route_sentence(route) if route else "",
        counts_no_sessions=route is not None and EventType.SESSION_UPDATED in route.events,
        examples=[entry_view(visit, selection, one) for one in dry_run.examples] if dry_run else [],
        frame=frame_of(visit, "Settings", selection, listens=False),
        selection=selection,
        path=path,
    )


def _link(selection: Selection, path: str, route: Route, *, is_own: bool, dry_run: bool = False) -> str:
    """A link that fills the form with a route: to change it if it is an own one; with ``dry_run``, also runs it."""
    lists: Mapping[str, Sequence[str]] = {
        "events": [type_.value for type_ in EVENT_NAMES if type_ in route.events],
        "ratings": sorted(rating.word for rating in route.ratings),
        "statuses": [status.value for status in STATUS_NAMES if status in route.statuses],
        "agents": sorted(route.agents),
        "tags": sorted(route.tags),
    }
    fields = [(name, value) for name, values in lists.items() for value in values]
    own = [(_SEEN, _state_of(route))] if is_own else []
    more = [(_DRY_RUN, "true")] if dry_run else []
    return selection.link(path, ("name", route.name), ("channel", route.channel), *fields, *own, *more)


def _route_table(form: Parameters) -> dict[str, object]:
    """The fields of a route, as a settings table has them."""
    return {
        "name": form.get("name", "").strip(),
        "channel": form.get("channel", ""),
        **{name: list(form.all(name)) for name in _CHOICES},
        **{name: lines_of(form, name) for name in _LINES},
    }


def _problem(error: Problem | HarkenError) -> Problem:
    """What a form reports.

    Raises:
        HarkenError: the error does not concern the form.
    """
    problem = problem_of(error)
    if problem is None or problem.status >= 500:
        raise error
    return problem


def _to_settings(visit: Visit) -> Response:
    return visit.redirect(visit.unlimited_selection().link(f"{visit.home}{PATH}"))


def _done(visit: Visit, what: str) -> Response:
    # Without a fragment of its own, browsers would keep that of the form.
    return visit.redirect(f"{visit.unlimited_selection().link(f'{visit.home}{PATH}', ('done', what))}#main")

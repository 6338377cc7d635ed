"""Routes: those of the settings, and those that were added at run time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

from harken.domain.alerts.alert import Alert
from harken.domain.errors import (
    ConfigurationError,
    MissingExtra,
    RouteRejected,
    TemplateTooCostly,
    TemplateValueMissing,
)
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.query import MAX_PAGE, FeedbackQuery
from harken.domain.routes import Route, RouteDryRun, name_problem, parse_route, route_record
from harken.domain.texts import no_such
from harken.ports.alerts import AlertRepository
from harken.ports.notifier import Notification
from harken.ports.repository import FeedbackRepository
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry, StateRepository, update
from harken.ports.text import TemplateRenderer
from harken.ports.time import Clock
from harken.services.finding import newest

if TYPE_CHECKING:
    from harken.domain.session_change import SessionChange

logger = logging.getLogger(__name__)

_KIND: Final = "route"
#: The period of a dry run, and the number of entries that it examines at most.
DRY_RUN_PERIOD: Final = timedelta(days=1)
DRY_RUN_LIMIT: Final = 10_000
_EXAMPLES: Final = 3
#: How long routes are cached for changes of session metadata.
_FRESH: Final = timedelta(seconds=1)


class RouteService:
    """Lists, adds and removes routes. Those of the settings cannot be changed here.

    Added routes are stored, and apply to every relay on the storage.
    """

    def __init__(
        self,
        state: StateRepository,
        *,
        feedback: FeedbackRepository,
        alerts: AlertRepository,
        configured: Sequence[Route],
        channels: Sequence[str],
        renderer: Callable[[], TemplateRenderer],
        clock: Clock,
    ) -> None:
        self._state = state
        self._feedback = feedback
        self._alerts = alerts
        self._clock = clock
        self._configured = {route.name: route for route in configured}
        self._channels = tuple(channels)
        self._renderer = cache(renderer)
        self._seen: tuple[datetime, list[Route]] | None = None
        if len(self._configured) < len(configured):
            raise ConfigurationError("Two routes have the same name; names must be unique")
        for route in configured:
            self._check(route)

    def routes(self) -> list[Route]:
        """All routes: those of the settings in their order, then the added ones by name."""
        added = [parse_route(entry.value) for entry in self._state.all(_KIND)]
        # A route of the settings overrides an added one of the same name.
        return [*self._configured.values(), *(route for route in added if route.name not in self._configured)]

    def configured(self, name: str) -> bool:
        """Whether that route comes from the settings."""
        return name in self._configured

    def leading_to(self, channel: str) -> list[Route]:
        """The routes to a channel, in their order."""
        return [route for route in self.routes() if route.channel == channel]

    def channels_of(self, type: EventType, application: str) -> list[str]:  # noqa: A002 - the field's name
        """The channels of the routes that send events of this type, if their other filters match, sorted.

        By the routes of at most a second ago, as this is asked before each change of session metadata.
        """
        now = self._clock()
        # Read once, as another thread may change the routes at any time.
        seen = self._seen
        if seen is None or not timedelta(0) <= now - seen[0] < _FRESH:
            self._seen = seen = now, self.routes()
        return sorted({route.channel for route in seen[1] if route.admits(type, application)})

    def dry_run(self, route: Route, application: str) -> RouteDryRun:
        """What a route would have sent about feedback and alerts of the last 24 hours. Nothing is stored or sent.

        Of these, the newest 10,000 entries and 1,000 alerts are examined. The channel need not exist.
        """
        now = self._clock()
        since = now - DRY_RUN_PERIOD
        query = FeedbackQuery(application=application, since=since).in_any_state()
        examined = list(newest(self._feedback, query, limit=DRY_RUN_LIMIT + 1))
        entries = examined[:DRY_RUN_LIMIT]
        matching = [one for one in entries if route.would_take(one)]
        alerts = self._alerts.find(application, limit=MAX_PAGE, since=since)
        return RouteDryRun(
            since=since,
            until=now,
            matched=len(matching),
            total=len(entries),
            is_complete=len(entries) == len(examined),
            matched_alerts=sum(map(route.would_take_alert, alerts)),
            total_alerts=len(alerts),
            examples=tuple(matching[:_EXAMPLES]),
        )

    def text(
        self, routes: Sequence[Route], notification: Notification, subject: Feedback | Alert | SessionChange | None
    ) -> str | None:
        """The rendered template of the first of these routes that takes the notification and has a template.

        ``None`` if the route does not exist. ``subject`` is the complete feedback or alert, or the change of a session,
        of the notification; ``None`` if it was erased.

        Raises:
            TemplateTooCostly: the template exceeds the work budget with this notification.
        """
        if subject is None:
            return None
        taking = (one for one in routes if one.template is not None and _takes(one, notification, subject))
        route = next(taking, None)
        if route is None or route.template is None:
            return None
        from harken.services.notifications.template_values import template_values  # noqa: PLC0415 - as below

        try:
            return self._renderer().render(route.template, template_values(notification))
        except TemplateTooCostly as error:
            raise TemplateTooCostly(f"The template of route {route.name!r} cannot be used: {error}") from error
        except ConfigurationError as error:
            # Send the notification nevertheless, with the channel's own text.
            logger.warning("The template of route %s cannot be used: %s", route.name, error)
            return None

    def put(self, route: Route, *, owner: str | None = None) -> bool:
        """Add a route, or replace the one with its name, for every relay on the storage.

        With an ``owner``, an application, only a route for that application alone is replaced: returns ``False`` if the
        existing one is for others.

        Raises:
            RouteRejected: the settings have a route with its name, its channel does not exist, or its template is
                invalid or exceeds the work budget with the largest feedback.
            StorageError: it could not be stored.
        """
        self._check_not_configured(route.name)
        self._check(route)
        record = _record(route)

        def change(stored: StateEntry | None) -> Mapping[str, JsonValue]:
            if stored and owner is not None and parse_route(stored.value).applications != {owner}:
                return stored.value
            return record

        stored = update(self._state, _KIND, route.name, change)
        self._seen = None
        return stored.value == record

    def replace(self, before: Route | None, route: Route) -> bool:
        """Store a route, if the stored one with its name is still ``before``; ``None`` if there must not be one.

        Returns ``False`` if it is not, and nothing is stored.

        Raises:
            RouteRejected: like :meth:`put`.
            StorageError: it could not be stored.
        """
        self._check_not_configured(route.name)
        self._check(route)
        stored = self._state.get(_KIND, route.name)
        if (parse_route(stored.value) if stored else None) != before:
            return False
        replaced = self._state.put(_KIND, StateEntry(route.name, _record(route), stored.version + 1 if stored else 1))
        self._seen = None
        return replaced

    def delete(self, name: str) -> bool:
        """Remove a route; ``False`` if there was none.

        Raises:
            RouteRejected: it comes from the settings.
        """
        self._check_not_configured(name)
        # No route has an invalid name, and not every storage can be queried for one.
        deleted = name_problem("A route's name", name) is None and self._state.delete(_KIND, name)
        self._seen = None
        return deleted

    def _check_not_configured(self, name: str) -> None:
        if name in self._configured:
            raise RouteRejected(f"Route {name!r} comes from the settings; change it there")

    def _check(self, route: Route) -> None:
        if route.channel not in self._channels:
            raise RouteRejected(f"Route {route.name!r}: {no_such('channel', route.channel, self._channels)}")
        if route.template is None:
            return
        try:
            self._renderer().check(route.template)
            self._check_rendering(route.template)
        except MissingExtra:
            raise
        except ConfigurationError as error:
            raise RouteRejected(f"The template of route {route.name!r} cannot be used: {error}") from error

    def _check_rendering(self, template: str) -> None:
        """Render a template with the largest values; does not find errors in branches that these do not take."""
        from harken.services.notifications.template_values import largest_values  # noqa: PLC0415 - keeps `import harken` light

        values = largest_values()
        if unknown := sorted(set(self._renderer().names(template)) - values.keys()):
            raise ConfigurationError(no_such("value", unknown[0], sorted(values)))
        # The names in context and figures are not known.
        with suppress(TemplateValueMissing):
            self._renderer().render(template, values)


def _takes(route: Route, notification: Notification, subject: Feedback | Alert | SessionChange) -> bool:
    if isinstance(subject, Feedback | Alert):
        return route.takes(notification.type, subject)
    return route.admits(notification.type, notification.application)


def _record(route: Route) -> Mapping[str, JsonValue]:
    record: Mapping[str, JsonValue] = route_record(route)  # type: ignore[assignment] # it has JSON values only
    return record

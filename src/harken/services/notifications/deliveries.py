"""Listing and replaying deliveries, and handling those to a channel that is not configured any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from harken.domain.errors import DeliveryNotFound, InvalidQuery, LeaseLost, NoSuchChannel, NoSuchRoute
from harken.domain.events import Delivery, DeliveryState, EventType
from harken.domain.query import FeedbackQuery, check_limit
from harken.domain.routes import Route
from harken.domain.rules import text_problem
from harken.domain.texts import no_such
from harken.ports.alerts import AlertRepository
from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.notifications.routes import RouteService

_BATCH: Final = 500
#: The lease on deliveries to a channel that is not configured, while they are moved or buried.
_LEASE: Final = timedelta(seconds=60)


class DeliveryService:
    """Lists and replays deliveries, and moves or buries those whose channel is not configured any more."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        feedback: FeedbackRepository,
        alerts: AlertRepository,
        routes: RouteService,
        channels: Sequence[str],
        clock: Clock,
    ) -> None:
        self._outbox = outbox
        self._feedback = feedback
        self._alerts = alerts
        self._routes = routes
        self._channels = tuple(channels)
        self._clock = clock

    def find(
        self,
        state: DeliveryState | str = DeliveryState.DEAD,
        *,
        limit: int = 100,
        after: str | None = None,
        application: str | None = None,
        channel: str | None = None,
    ) -> Sequence[Delivery]:
        """Deliveries in a state, earliest due first.

        Args:
            state: ``"pending"``, ``"delivered"`` (for a week) or ``"dead"``.
            limit: the maximum number of deliveries, from 1 to 1,000.
            after: the id of a delivery, to continue after it.
            application: only deliveries of this application.
            channel: only deliveries to this channel.

        Raises:
            InvalidQuery: the state, the limit, the application or the channel is invalid.
            DeliveryNotFound: the delivery ``after`` does not exist any more.
        """
        check_limit(limit)
        _check(application, channel)
        place = None if after is None else self.get(after, application=application)
        return self._outbox.deliveries(
            _state(state), limit=limit, after=place, application=application, channel=channel
        )

    def get(self, delivery_id: str, *, application: str | None = None) -> Delivery:
        """The delivery with that id, in any state.

        Raises:
            DeliveryNotFound: there is no such delivery, or it belongs to another application.
        """
        # Not every storage can be queried for an invalid id.
        found = None if text_problem("id", delivery_id) else self._outbox.delivery(delivery_id)
        if found is None or application not in (None, found.event.application):
            raise DeliveryNotFound(f"No delivery with id {delivery_id!r}")
        return found

    def replay(self, delivery_id: str, *, application: str | None = None) -> Delivery:
        """Send a delivery in any state again, from now on, with its id and the current content.

        Raises:
            DeliveryNotFound: there is no such delivery, or it belongs to another application.
        """
        self.get(delivery_id, application=application)
        return self._outbox.replay(delivery_id, due_at=self._clock())

    def replay_all(
        self,
        state: DeliveryState | str = DeliveryState.DEAD,
        *,
        application: str | None = None,
        channel: str | None = None,
        route: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Send all deliveries in a state again, if they match all filters; returns how many.

        Args:
            state: ``"dead"``; ``"delivered"`` (of the last week), for a receiver that lost its data; or ``"pending"``,
                to send them before their next attempt is due.
            application: only deliveries of this application.
            channel: only deliveries to this channel.
            route: only deliveries to the channel of this route that the route takes now; includes all erasures that
                the channel was notified of, as the erased feedback cannot be checked any more.
            since: only events at this time or later.
            until: only events before this time.

        Raises:
            InvalidQuery: the state, a time, the application or the channel is invalid, or the route leads to another
                channel.
            NoSuchRoute: there is no route with that name.
        """
        _check(application, channel)
        chosen = None if route is None else self._route(route, channel, application)
        span = FeedbackQuery(since=since, until=until)
        # A delivery that a relay sends meanwhile may be listed again.
        replayed: set[str] = set()
        now = self._clock()
        for page in self._pages(_state(state), application, chosen.channel if chosen else channel):
            candidates = (one for one in page if one.id not in replayed and not _is_due(one, now))
            wanted = [one for one in candidates if _is_within(one, span)]
            for delivery in self._filter_by_route(chosen, wanted) if chosen else wanted:
                # It may be erased meanwhile.
                with suppress(DeliveryNotFound):
                    self._outbox.replay(delivery.id, due_at=now)
                    replayed.add(delivery.id)
        return len(replayed)

    def stranded(self) -> Mapping[str, int]:
        """The number of pending deliveries for each channel that is not configured here, sorted by channel.

        The channel was renamed or removed, or only another program on this storage has it.
        """
        return {name: number for name, number in self._outbox.pending().items() if name not in self._channels}

    def move(self, channel: str, to: str) -> int:
        """Move the pending deliveries of a channel that is not configured to another channel; returns how many.

        Raises:
            InvalidQuery: the channel is configured.
            NoSuchChannel: it has no pending deliveries, or there is no channel ``to``.
        """
        if to not in self._channels:
            raise NoSuchChannel(no_such("channel", to, self._channels))
        return self._handle_stranded(channel, lambda claimed: self._outbox.move(claimed, to))

    def bury(self, channel: str) -> int:
        """Mark the pending deliveries of a channel that is not configured as dead; returns how many.

        Raises:
            InvalidQuery: the channel is configured.
            NoSuchChannel: it has no pending deliveries.
        """
        error = f"There is no channel {channel!r} any more"
        return self._handle_stranded(channel, lambda claimed: self._outbox.bury(claimed, error=error, sent=False))

    # --- steps -------------------------------------------------------------------------------------------------------

    def _handle_stranded(self, channel: str, act: Callable[[Delivery], None]) -> int:
        """Claim all pending deliveries of a channel that is not configured, due or not, and apply ``act`` to each."""
        if channel in self._channels:
            raise InvalidQuery(f"Channel {channel!r} is configured, so its deliveries are sent; switch it off instead")
        stranded = self.stranded()
        if channel not in stranded:
            known = ", ".join(stranded) or "none"
            raise NoSuchChannel(
                f"No delivery waits for a channel {channel!r}; removed channels with deliveries are {known}"
            )
        now = self._clock()
        done = 0
        for page in self._pages(DeliveryState.PENDING, None, channel):
            for delivery in page:
                if not _is_due(delivery, now):
                    self._outbox.replay(delivery.id, due_at=now)
        while claimed := self._outbox.claim(channel, now=now, until=now + _LEASE, limit=_BATCH):
            for delivery in claimed:
                # It may be erased meanwhile.
                with suppress(LeaseLost):
                    act(delivery)
                    done += 1
        return done

    def _pages(
        self, state: DeliveryState, application: str | None, channel: str | None
    ) -> Iterator[Sequence[Delivery]]:
        """The pages of the list, up to its end: deliveries that are added meanwhile do not make it endless."""
        after: Delivery | None = None
        while page := self._outbox.deliveries(
            state, limit=_BATCH, after=after, application=application, channel=channel
        ):
            after = page[-1]
            yield page

    def _route(self, name: str, channel: str | None, application: str | None) -> Route:
        routes_now = self._routes.routes()
        # A caller that asks for one application must not learn of the routes of others.
        known = (
            one for one in routes_now if application is None or not one.applications or application in one.applications
        )
        routes = {route.name: route for route in known}
        if (route := routes.get(name)) is None:
            raise NoSuchRoute(no_such("route", name, routes))
        if channel not in (None, route.channel):
            raise InvalidQuery(f"Route {name!r} leads to the channel {route.channel!r}, not to {channel!r}")
        return route

    def _filter_by_route(self, route: Route, deliveries: Collection[Delivery]) -> Iterator[Delivery]:
        """The deliveries that the route takes, with the current state of their subjects."""
        wanted: dict[str, set[str]] = {}
        for delivery in deliveries:
            if delivery.event.type.about_feedback:
                wanted.setdefault(delivery.event.application, set()).add(delivery.event.subject_id)
        existing = {
            (application, feedback_id): feedback
            for application, ids in wanted.items()
            for feedback_id, feedback in self._feedback.get_many(application, ids).items()
        }
        for delivery in deliveries:
            event = delivery.event
            if event.type is EventType.ERASED:
                # The route may have taken the feedback before it was erased.
                taken = not route.applications or event.application in route.applications
            elif event.type.about_alert:
                subject = self._alerts.get(event.application, event.subject_id)
                taken = subject is not None and route.takes(event.type, subject)
            else:
                found = existing.get((event.application, event.subject_id))
                taken = found is not None and route.takes(event.type, found)
            if taken:
                yield delivery


def _is_within(delivery: Delivery, span: FeedbackQuery) -> bool:
    happened = delivery.event.occurred_at
    return (span.since is None or span.since <= happened) and (span.until is None or happened < span.until)


def _is_due(delivery: Delivery, now: datetime) -> bool:
    """Whether it is sent anyway, so that a replay would change nothing."""
    return delivery.state is DeliveryState.PENDING and delivery.due_at <= now


def _check(application: str | None, channel: str | None) -> None:
    for name, value in (("application", application), ("channel", channel)):
        if value is not None and (problem := text_problem(name, value)):
            raise InvalidQuery(problem.message)


def _state(value: DeliveryState | str) -> DeliveryState:
    try:
        return DeliveryState(value)
    except ValueError:
        raise InvalidQuery(f"A delivery is 'pending', 'delivered' or 'dead', not {value!r}") from None

"""Looking at what is on its way, sending it again, and seeing to what waits for a channel that is gone."""

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
#: For how long deliveries to a channel that is gone are held while they are moved or buried.
_LEASE: Final = timedelta(seconds=60)


class DeliveryService:
    """Lists deliveries, sends them again, and moves or buries those whose channel is not configured any more."""

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
            limit: how many at most, from 1 to 1,000.
            after: the id of the last one that is known, to go on behind it.
            application: only of this one.
            channel: only on their way to this channel.

        Raises:
            InvalidQuery: the state is none, the limit is out of range, or nothing can be called so.
            DeliveryNotFound: there is no delivery with the id in ``after`` any more.
        """
        check_limit(limit)
        _check(application, channel)
        place = None if after is None else self.get(after, application=application)
        return self._outbox.deliveries(
            _state(state), limit=limit, after=place, application=application, channel=channel
        )

    def get(self, delivery_id: str, *, application: str | None = None) -> Delivery:
        """That delivery, in whatever state.

        Raises:
            DeliveryNotFound: there is none, or it is another application's.
        """
        # What no storage could keep, none has.
        found = None if text_problem("id", delivery_id) else self._outbox.delivery(delivery_id)
        if found is None or application not in (None, found.event.application):
            raise DeliveryNotFound(f"There is no delivery {delivery_id!r}")
        return found

    def replay(self, delivery_id: str, *, application: str | None = None) -> Delivery:
        """Send a delivery again, in whatever state it is: from now on, under its old id, with what is true now.

        Raises:
            DeliveryNotFound: there is none, or it is another application's.
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
        """Send everything again that is in a state now; and say how many that is. All that is given must hold.

        Args:
            state: ``"dead"``; ``"delivered"`` (of the last week), for a receiver that lost its data; or ``"pending"``,
                which does not wait for its next try.
            application: only of this one.
            channel: only on their way to this channel.
            route: only what this route takes, as it is now, to its channel; with all erasures that the channel was
                notified of, as nobody knows any more which of them it would take.
            since: only what happened then or later.
            until: only what happened before then.

        Raises:
            InvalidQuery: the state or a time is invalid, the route leads to another channel, or nothing can be called
                so.
            NoSuchRoute: there is none of that name.
        """
        _check(application, channel)
        chosen = None if route is None else self._route(route, channel, application)
        span = FeedbackQuery(since=since, until=until)
        # What a relay has dealt with meanwhile comes back into the list.
        replayed: set[str] = set()
        now = self._clock()
        for page in self._pages(_state(state), application, chosen.channel if chosen else channel):
            fresh = (one for one in page if one.id not in replayed and not _is_due(one, now))
            wanted = [one for one in fresh if _within(one, span)]
            for delivery in self._taken(chosen, wanted) if chosen else wanted:
                # Somebody else may do the same, or erase it.
                with suppress(DeliveryNotFound):
                    self._outbox.replay(delivery.id, due_at=now)
                    replayed.add(delivery.id)
        return len(replayed)

    def stranded(self) -> Mapping[str, int]:
        """How many deliveries wait for each channel that is not configured here, sorted by channel.

        The channel was renamed or removed, or only another program on this storage configures it.
        """
        return {name: number for name, number in self._outbox.pending().items() if name not in self._channels}

    def move(self, channel: str, to: str) -> int:
        """Let what waits for a channel that is not configured go to another one; and say how many that is.

        Raises:
            InvalidQuery: it is configured.
            NoSuchChannel: nothing waits for it, or there is no channel ``to``.
        """
        if to not in self._channels:
            raise NoSuchChannel(no_such("channel", to, self._channels))
        return self._see_to(channel, lambda claimed: self._outbox.move(claimed, to))

    def bury(self, channel: str) -> int:
        """Give up what waits for a channel that is not configured: it is dead, and can be replayed; how many that is.

        Raises:
            InvalidQuery: it is configured.
            NoSuchChannel: nothing waits for it.
        """
        error = f"There is no channel {channel!r} any more"
        return self._see_to(channel, lambda claimed: self._outbox.bury(claimed, error=error, sent=False))

    # --- how -------------------------------------------------------------------------------------------------------

    def _see_to(self, channel: str, act: Callable[[Delivery], None]) -> int:
        """Claim everything that waits for a channel that is not configured, due or not, and do something with each."""
        if channel in self._channels:
            raise InvalidQuery(
                f"Channel {channel!r} is configured, so what waits for it is sent; switch it off instead"
            )
        stranded = self.stranded()
        if channel not in stranded:
            known = ", ".join(stranded) or "none"
            raise NoSuchChannel(f"Nothing waits for a channel {channel!r}; channels that are gone are {known}")
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
        """The list, read to its end once, so that what comes into it meanwhile is not repeated for ever."""
        after: Delivery | None = None
        while page := self._outbox.deliveries(
            state, limit=_BATCH, after=after, application=application, channel=channel
        ):
            after = page[-1]
            yield page

    def _route(self, name: str, channel: str | None, application: str | None) -> Route:
        there = self._routes.routes()
        # Who asks for one application is told nothing of the routes of others.
        known = (one for one in there if application is None or not one.applications or application in one.applications)
        routes = {route.name: route for route in known}
        if (route := routes.get(name)) is None:
            raise NoSuchRoute(no_such("route", name, routes))
        if channel not in (None, route.channel):
            raise InvalidQuery(f"Route {name!r} leads to the channel {route.channel!r}, not to {channel!r}")
        return route

    def _taken(self, route: Route, deliveries: Collection[Delivery]) -> Iterator[Delivery]:
        """Those that the route takes, as what they are about reads now."""
        wanted: dict[str, set[str]] = {}
        for delivery in deliveries:
            if delivery.event.type.about_feedback:
                wanted.setdefault(delivery.event.application, set()).add(delivery.event.subject_id)
        there = {
            (application, feedback_id): feedback
            for application, ids in wanted.items()
            for feedback_id, feedback in self._feedback.get_many(application, ids).items()
        }
        for delivery in deliveries:
            event = delivery.event
            if event.type is EventType.ERASED:
                # What was sent by the route may have been this feedback.
                taken = not route.applications or event.application in route.applications
            elif event.type.about_alert:
                subject = self._alerts.get(event.application, event.subject_id)
                taken = subject is not None and route.takes(event.type, subject)
            else:
                found = there.get((event.application, event.subject_id))
                taken = found is not None and route.takes(event.type, found)
            if taken:
                yield delivery


def _within(delivery: Delivery, span: FeedbackQuery) -> bool:
    happened = delivery.event.occurred_at
    return (span.since is None or span.since <= happened) and (span.until is None or happened < span.until)


def _is_due(delivery: Delivery, now: datetime) -> bool:
    """Whether it is sent anyway: to send it again now would change nothing."""
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

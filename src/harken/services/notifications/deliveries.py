"""Listing and replaying deliveries, and handling those to a channel that is not configured any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypedDict, Unpack

from attrs import evolve, frozen

from harken.domain.errors import DeliveryNotFound, InvalidQuery, LeaseLost, NoSuchChannel, NoSuchRoute
from harken.domain.events import (
    Attempt,
    AttemptOutcome,
    CauseCount,
    Delivery,
    DeliveryQuery,
    DeliveryState,
    EventType,
)
from harken.domain.instants import utc
from harken.domain.query import FeedbackQuery, check_limit
from harken.domain.routes import Route
from harken.domain.rules import text_problem
from harken.domain.texts import no_such
from harken.ports.alerts import AlertRepository
from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.notifications.channels import ChannelService
from harken.services.notifications.read_ahead import Subjects, read_subjects
from harken.services.notifications.routes import RouteService

_BATCH: Final = 500
#: The lease on deliveries to a channel that is not configured, while they are moved or buried.
_LEASE: Final = timedelta(seconds=60)
#: How many causes of dead deliveries a summary has.
MAX_CAUSES: Final = 20
#: How many deliveries can be replayed by their ids in one call.
MAX_IDS: Final = 1_000


class DeliveryFilters(TypedDict, total=False):
    """Filters of deliveries; a filter that is left out, or ``None``, matches any.

    ``application``, ``channel``, ``type`` (of the event), ``feedback_id`` or ``alert_id`` (what the event is about;
    needs ``application``), and ``cause`` (of dead deliveries, see :attr:`.Delivery.cause`).
    """

    application: str | None
    channel: str | None
    type: EventType | str | None
    feedback_id: str | None
    alert_id: str | None
    cause: str | None


@frozen(kw_only=True)
class Cause:
    """Why some dead deliveries are dead.

    Attributes:
        counted: the channel, the cause, their number, and when they were due first and last.
        latest: the one that was due last; ``None`` if it was replayed or erased meanwhile.
    """

    counted: CauseCount
    latest: Delivery | None


@frozen(kw_only=True)
class DeliverySummary:
    """The numbers of deliveries of a selection, and why the dead ones are dead.

    Attributes:
        as_of: when they were counted. A replay with this ``as_of`` replays none that died or arrived later.
        pending: the number of pending deliveries by channel, without channels that have none.
        delivered: the number of those that arrived since ``delivered_since``.
        dead: the number of dead ones.
        delivered_since: since when those that arrived are counted.
        causes: the channels and causes of the dead ones, the most common first, 20 at most.
    """

    as_of: datetime
    pending: Mapping[str, int]
    delivered: Mapping[str, int]
    dead: Mapping[str, int]
    delivered_since: datetime
    causes: Sequence[Cause]


class DeliveryService:
    """Lists and replays deliveries, and moves or buries those whose channel is not configured any more."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        feedback: FeedbackRepository,
        alerts: AlertRepository,
        routes: RouteService,
        channels: ChannelService,
        clock: Clock,
    ) -> None:
        self._outbox = outbox
        self._feedback = feedback
        self._alerts = alerts
        self._routes = routes
        self._channels = channels
        self._clock = clock

    def find(
        self,
        state: DeliveryState | str | None = DeliveryState.DEAD,
        *,
        limit: int = 100,
        after: str | None = None,
        newest_first: bool = False,
        **filters: Unpack[DeliveryFilters],
    ) -> Sequence[Delivery]:
        """Deliveries that match all filters, earliest due first.

        Args:
            state: ``"pending"``, ``"delivered"`` (for a week) or ``"dead"``; ``None`` for any.
            limit: the maximum number of deliveries, from 1 to 1,000.
            after: the id of a delivery, to continue after it.
            newest_first: in the reverse order.
            filters: see :class:`DeliveryFilters`.

        Raises:
            InvalidQuery: the state, the limit or a filter is invalid.
            DeliveryNotFound: the delivery ``after`` does not exist any more.
        """
        check_limit(limit)
        query = _query(state, filters)
        place = None if after is None else self.get(after, application=query.application)
        return self._outbox.deliveries(query, limit=limit, after=place, newest_first=newest_first)

    def summary(self, *, since: datetime | None = None, **filters: Unpack[DeliveryFilters]) -> DeliverySummary:
        """The numbers of deliveries that match all filters, by state and channel, and why the dead ones are dead.

        Args:
            since: count those that arrived since then; by default, since midnight in UTC.
            filters: see :class:`DeliveryFilters`.

        Raises:
            InvalidQuery: a filter is invalid.
        """
        query, now = _query(None, filters), self._clock()
        since = now.replace(hour=0, minute=0, second=0, microsecond=0) if since is None else utc(since)
        count = partial(evolve, query)
        return DeliverySummary(
            as_of=now,
            pending=self._outbox.counts(count(state=DeliveryState.PENDING)),
            delivered=self._outbox.counts(count(state=DeliveryState.DELIVERED, due_since=since)),
            dead=self._outbox.counts(count(state=DeliveryState.DEAD)),
            delivered_since=since,
            causes=[Cause(counted=one, latest=self._latest(query, one)) for one in self._causes(query)],
        )

    def get(self, delivery_id: str, *, application: str | None = None) -> Delivery:
        """The delivery with that id, in any state.

        Raises:
            DeliveryNotFound: the delivery does not exist, or it belongs to another application.
        """
        # Not every storage can be queried for an invalid id.
        found = None if text_problem("id", delivery_id) else self._outbox.delivery(delivery_id)
        if found is None or application not in (None, found.event.application):
            raise DeliveryNotFound(f"No delivery with id {delivery_id!r}")
        return found

    def subjects(self, deliveries: Iterable[Delivery]) -> Subjects:
        """What deliveries are about, by application and id, without what was erased."""
        events = [one.event for one in deliveries if one.event.type.about_stored]
        different = {(event.application, event.subject_id): event for event in events}.values()
        return read_subjects(
            different, self._feedback, lambda event: self._alerts.get(event.application, event.subject_id)
        )

    def replay(self, delivery_id: str, *, application: str | None = None) -> Delivery:
        """Send a delivery in any state again, from now on, with its id and the current content.

        Raises:
            DeliveryNotFound: the delivery does not exist, or it belongs to another application.
            ChannelOff: its channel is switched off.
        """
        (replayed,) = self.replay_many([delivery_id], application=application)
        return replayed

    def replay_many(self, delivery_ids: Sequence[str], *, application: str | None = None) -> Sequence[Delivery]:
        """Send deliveries in any state again. If one of them cannot be replayed, none is.

        Returns them as they are now, without those that were erased meanwhile.

        Raises:
            InvalidQuery: there are more than 1,000 ids.
            DeliveryNotFound: the delivery does not exist, or it belongs to another application.
            ChannelOff: the channel of a delivery is switched off.
        """
        if len(delivery_ids) > MAX_IDS:
            raise InvalidQuery(
                f"At most {MAX_IDS:,} deliveries can be replayed by their ids, got {len(delivery_ids):,}"
            )
        found = [self.get(one, application=application) for one in dict.fromkeys(delivery_ids)]
        for channel in sorted({one.channel for one in found}):
            self._channels.check_on(channel)
        now, replayed = self._clock(), list[Delivery]()
        for one in found:
            try:
                replayed.append(self._outbox.replay(one.id, due_at=now))
            except DeliveryNotFound:
                # It was erased meanwhile.
                if len(found) == 1:
                    raise
        return replayed

    def replay_all(
        self,
        state: DeliveryState | str = DeliveryState.DEAD,
        *,
        route: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        at_most: int | None = None,
        **filters: Unpack[DeliveryFilters],
    ) -> int:
        """Send all deliveries in a state again, if they match all filters; returns how many.

        Args:
            state: ``"dead"``; ``"delivered"`` (of the last week), for a receiver that lost its data; or ``"pending"``,
                to send them before their next attempt is due.
            route: only deliveries to the channel of this route that the route takes now; includes all erasures that
                the channel was notified of, as the erased feedback cannot be checked any more.
            since: only events at this time or later.
            until: only events before this time.
            as_of: no deliveries that died or arrived later, so that none is replayed that a person has not counted.
            at_most: the maximum number; with the count that a person has seen, no more than these.
            filters: see :class:`DeliveryFilters`.

        Raises:
            InvalidQuery: the state, a time, a number or a filter is invalid, or the route leads to another channel.
            NoSuchRoute: there is no route with that name.
            ChannelOff: the channel of a delivery that matches is switched off. Nothing was replayed.
        """
        query = _query(state, filters)
        if at_most is not None and at_most < 0:
            raise InvalidQuery(f"at_most must not be negative, got {at_most}")
        chosen = None if route is None else self._route(route, query.channel, query.application)
        selection = _Selection(
            query=evolve(query, channel=chosen.channel) if chosen else query,
            route=chosen,
            span=FeedbackQuery(since=since, until=until),
            as_of=None if as_of is None else _instant(as_of),
            now=self._clock(),
        )
        self._check_on(selection)
        # A delivery that a relay sends meanwhile may be listed again.
        replayed: set[str] = set()
        for delivery in self._select(selection):
            if at_most is not None and len(replayed) >= at_most:
                break
            if delivery.id in replayed:
                continue
            # It may be erased meanwhile.
            with suppress(DeliveryNotFound):
                self._outbox.replay(delivery.id, due_at=selection.now)
                replayed.add(delivery.id)
        return len(replayed)

    def stranded(self) -> Mapping[str, int]:
        """The number of pending deliveries for each channel that is not configured here, sorted by channel.

        The channel was renamed or removed, or only another program on this storage has it.
        """
        pending = self._outbox.counts(DeliveryQuery(DeliveryState.PENDING))
        return {name: number for name, number in pending.items() if name not in self._channels.names}

    def move(self, channel: str, to: str) -> int:
        """Move the pending deliveries of a channel that is not configured to another channel; returns how many.

        Raises:
            InvalidQuery: the channel is configured.
            NoSuchChannel: it has no pending deliveries, or there is no channel ``to``.
        """
        if to not in self._channels.names:
            raise NoSuchChannel(no_such("channel", to, self._channels.names))
        return self._handle_stranded(channel, lambda claimed: self._outbox.move(claimed, to))

    def bury(self, channel: str) -> int:
        """Mark the pending deliveries of a channel that is not configured as dead; returns how many.

        Raises:
            InvalidQuery: the channel is configured.
            NoSuchChannel: it has no pending deliveries.
        """
        error = f"There is no channel {channel!r} any more"
        attempt = Attempt(at=self._clock(), outcome=AttemptOutcome.NOT_SENT, status="channel removed", error=error)
        return self._handle_stranded(
            channel, lambda claimed: self._outbox.bury(claimed.after(attempt), error=error, sent=False)
        )

    # --- steps -------------------------------------------------------------------------------------------------------

    def _handle_stranded(self, channel: str, act: Callable[[Delivery], None]) -> int:
        """Claim all pending deliveries of a channel that is not configured, due or not, and apply ``act`` to each."""
        if channel in self._channels.names:
            raise InvalidQuery(f"Channel {channel!r} is configured, so its deliveries are sent; switch it off instead")
        stranded = self.stranded()
        if channel not in stranded:
            known = ", ".join(stranded) or "none"
            raise NoSuchChannel(
                f"No delivery waits for a channel {channel!r}; removed channels with deliveries are {known}"
            )
        now = self._clock()
        done = 0
        for page in self._pages(DeliveryQuery(DeliveryState.PENDING, channel=channel)):
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

    def _causes(self, query: DeliveryQuery) -> Sequence[CauseCount]:
        return self._outbox.causes(query)[:MAX_CAUSES]

    def _latest(self, query: DeliveryQuery, counted: CauseCount) -> Delivery | None:
        alike = evolve(query, state=DeliveryState.DEAD, channel=counted.channel, cause=counted.cause)
        return next(iter(self._outbox.deliveries(alike, limit=1, newest_first=True)), None)

    def _check_on(self, selection: _Selection) -> None:
        """Check that no delivery of a selection is to a channel that is switched off."""
        off = [state.name for state in self._channels.states() if not state.on]
        for name in off:
            if selection.query.channel not in (None, name):
                continue
            to_channel = evolve(selection, query=evolve(selection.query, channel=name))
            if next(self._select(to_channel), None) is not None:
                self._channels.check_on(name)

    def _select(self, selection: _Selection) -> Iterator[Delivery]:
        for page in self._pages(selection.query):
            wanted = [one for one in page if selection.includes(one)]
            yield from self._filter_by_route(selection.route, wanted) if selection.route else wanted

    def _pages(self, query: DeliveryQuery) -> Iterator[Sequence[Delivery]]:
        """The pages of the list, up to its end: deliveries that are added meanwhile do not make it endless."""
        after: Delivery | None = None
        while page := self._outbox.deliveries(query, limit=_BATCH, after=after):
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
        subjects = self.subjects(deliveries)
        for delivery in deliveries:
            event = delivery.event
            if event.type is EventType.ERASED:
                # The route may have taken the feedback before it was erased.
                taken = not route.applications or event.application in route.applications
            elif event.type is EventType.SESSION_UPDATED:
                taken = route.admits(event.type, event.application)
            else:
                subject = subjects.get((event.application, event.subject_id))
                taken = subject is not None and route.takes(event.type, subject)
            if taken:
                yield delivery


@frozen(kw_only=True)
class _Selection:
    """The deliveries to replay."""

    query: DeliveryQuery
    route: Route | None
    span: FeedbackQuery
    as_of: datetime | None
    now: datetime

    def includes(self, delivery: Delivery) -> bool:
        """Whether a delivery that matches the query is included, unless the route does not take it."""
        happened, since, until = delivery.event.occurred_at, self.span.since, self.span.until
        return (
            (since is None or since <= happened)
            and (until is None or happened < until)
            and not _is_due(delivery, self.now)
            and (self.as_of is None or _ended_at(delivery) <= self.as_of)
        )


def _ended_at(delivery: Delivery) -> datetime:
    """When a delivery reached its state; if that is not stored, when it was due."""
    last = delivery.last_attempt
    return delivery.due_at if last is None else last.at + last.duration


def _is_due(delivery: Delivery, now: datetime) -> bool:
    """Whether it is sent anyway, so that a replay would change nothing."""
    return delivery.state is DeliveryState.PENDING and delivery.due_at <= now


def _instant(moment: datetime) -> datetime:
    """The same instant in UTC.

    Raises:
        InvalidQuery: it has no time zone, or lies outside the years 1 to 9999 in UTC.
    """
    try:
        return utc(moment)
    except ValueError as error:
        raise InvalidQuery(f"as_of: {error}") from None


def _query(state: DeliveryState | str | None, filters: DeliveryFilters) -> DeliveryQuery:
    """The query with these filters.

    Raises:
        InvalidQuery: a filter is invalid.
    """
    for name, value in filters.items():
        if isinstance(value, str) and (problem := text_problem(name, value)):
            raise InvalidQuery(problem.message)
    try:
        of_state = None if state is None else DeliveryState(state)
    except ValueError:
        raise InvalidQuery(f"A delivery is 'pending', 'delivered' or 'dead', not {state!r}") from None
    type_ = filters.get("type")
    try:
        of_type = None if type_ is None else EventType(type_)
    except ValueError:
        raise InvalidQuery(no_such("event type", type_, [one.value for one in EventType])) from None
    return DeliveryQuery(
        of_state,
        application=filters.get("application"),
        channel=filters.get("channel"),
        type=of_type,
        feedback_id=filters.get("feedback_id"),
        alert_id=filters.get("alert_id"),
        cause=filters.get("cause"),
    )

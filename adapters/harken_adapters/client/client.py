"""The client for threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

import httpx

from harken import (
    ApiKey,
    Cell,
    Change,
    Comparison,
    Cursor,
    Estimate,
    Facets,
    Feedback,
    GroupBy,
    Headline,
    Issues,
    Keyword,
    NewKey,
    Page,
    Period,
    Ranking,
    Receipt,
    Route,
    RouteDryRun,
    SatisfactionChange,
    Scope,
    Summary,
    Target,
    Themes,
    Trend,
)
from harken.clock import utc_now
from harken.domain.alerts.alert import Alert
from harken.domain.events import Delivery, DeliveryState
from harken.domain.feedback import RatingValue
from harken.domain.query import GroupKey
from harken.domain.trend import PeriodValue
from harken.facade import Filters
from harken.ports.time import Clock
from harken.services.feed import Place
from harken.services.feedback.keywords import SubmitKeywords, VoteKeywords
from harken.services.notifications.deliveries import DeliveryFilters, DeliverySummary
from harken.services.weak_collection import WeakCollection
from harken_adapters.client.answers import Answer, Outcome, failure_of, result_of
from harken_adapters.client.calls import Call, Calls
from harken_adapters.client.connection import RETRIES, TIMEOUT, Connection
from harken_adapters.client.events import Events
from harken_adapters.client.lines import Export
from harken_adapters.client.moderation import Moderation, ModerationCalls
from harken_adapters.client.retries import Attempts

T = TypeVar("T")


class Client:
    """A client of Harken's HTTP API, with the methods, values and exceptions of ``Harken``.

    Thread-safe; one for each process is enough, as it keeps connections open. Calls that fail for a passing reason are
    repeated if that is safe: ``submit`` and ``vote`` carry an idempotency key, so they are stored once. The attribute
    ``moderation`` is for moderators.

    Args:
        url: the URL of the service, with the path under which Harken is mounted, if any.
        key: an API key or a session token.
        application: the application, for services with open access; by default, that of the key.
        timeout: how many seconds to wait for the server to connect, to accept or to send the next bytes.
        transport: replaces the connections, for example in tests. It is not closed.
        sleep: waits for some seconds between attempts; by default, ``time.sleep``.
        clock: returns the current time, for a ``Retry-After`` that is a date.

    Raises:
        ConfigurationError: the URL or the key is invalid.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        application: str | None = None,
        timeout: float = TIMEOUT,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._connection = Connection.to(url, key)
        self._calls = Calls(application)
        self.moderation = Moderation(ModerationCalls(application), self._send)
        self._http = httpx.Client(headers=self._connection.headers, timeout=timeout, transport=transport)
        self._owns_transport = transport is None
        self._sleep = sleep
        self._pause = time.sleep if sleep is None else sleep
        self._clock = clock
        self._is_closed = False
        self._events: WeakCollection[Events] = WeakCollection()

    def __repr__(self) -> str:
        return f"Client({self._connection.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all iterations over events, and close the connections."""
        self._is_closed = True
        for events in self._events:
            events.close()
        if self._owns_transport:
            self._http.close()

    # --- Writing -----------------------------------------------------------------------------------------------------

    def submit(
        self, session_id: str, rating: RatingValue | None, comment: str = "", **keywords: Unpack[SubmitKeywords]
    ) -> Receipt:
        """Store feedback; see :meth:`harken.Harken.submit`."""
        return self._send(self._calls.submit(session_id, rating, comment, keywords))

    def vote(
        self,
        session_id: str,
        rating: RatingValue | None,
        comment: str = "",
        *,
        author: str,
        message_id: str | None = None,
        agent_id: str | None = None,
        **keywords: Unpack[VoteKeywords],
    ) -> Receipt:
        """Set the one vote of an author; see :meth:`harken.Harken.vote`."""
        target = Target(session_id, message_id, agent_id)
        return self._send(self._calls.vote(target, author, rating, comment, keywords))

    def votes(self, session_id: str, *, author: str, application: str | None = None) -> list[Feedback]:
        """The votes of an author in a session; see :meth:`harken.Harken.votes`."""
        return self._send(self._calls.votes(session_id, author, application))

    def withdraw_vote(
        self, session_id: str, *, author: str, message_id: str | None = None, application: str | None = None
    ) -> Feedback | None:
        """Withdraw the vote of an author; see :meth:`harken.Harken.withdraw_vote`."""
        return self._send(self._calls.withdraw_vote(session_id, author, message_id, application))

    def change(
        self,
        feedback_id: str,
        change: Change,
        *,
        expected_version: int | None = None,
        application: str | None = None,
    ) -> Feedback:
        """Change the content of feedback; see :meth:`harken.Harken.change`.

        It is not repeated if the connection breaks, as the change may have been made: read the feedback again.
        """
        return self._send(self._calls.change(feedback_id, change, expected_version, application))

    def withdraw(self, feedback_id: str, *, application: str | None = None) -> Feedback:
        """Withdraw feedback; see :meth:`harken.Harken.withdraw`."""
        return self._send(self._calls.withdraw(feedback_id, application))

    # --- Reading -----------------------------------------------------------------------------------------------------

    def get(self, feedback_id: str, *, application: str | None = None) -> Feedback:
        """The feedback with that id; see :meth:`harken.Harken.get`."""
        return self._send(self._calls.get(feedback_id, application))

    def feedback(self, *, limit: int = 100, after: Cursor | str | None = None, **filters: Unpack[Filters]) -> Page:
        """A page of feedback, newest first; see :meth:`harken.Harken.feedback`."""
        return self._send(self._calls.feedback(limit, after, filters))

    def export(self, **filters: Unpack[Filters]) -> Iterator[Feedback]:
        """All matching feedback, oldest first, in constant memory.

        Raises:
            StorageUnavailable: the connection broke before the export was complete.
        """
        return self._export(self._calls.export(filters))

    def events(self, after: Place | str | None = None, **filters: Unpack[Filters]) -> Events:
        """The events from now on, as an iterator; see :meth:`harken.Harken.events`. It reconnects and resumes."""
        events = Events(self._calls.events(after, filters), self._open, self._connection.url, self._sleep)
        self._events.add(events)
        return events

    # --- Statistics --------------------------------------------------------------------------------------------------

    def summary(self, **filters: Unpack[Filters]) -> Summary:
        """The exact statistics; see :meth:`harken.Harken.summary`."""
        return self._send(self._calls.summary(filters))

    def groups(self, by: GroupBy | str, **filters: Unpack[Filters]) -> Mapping[GroupKey, Summary]:
        """The statistics of groups; see :meth:`harken.Harken.groups`."""
        return self._send(self._calls.groups(by, filters))

    def trend(self, period: PeriodValue = Period.DAY, zone: str = "UTC", **filters: Unpack[Filters]) -> Trend:
        """The statistics over time; see :meth:`harken.Harken.trend`."""
        return self._send(self._calls.trend(period, zone, filters))

    @overload
    def themes(self, *, limit: int = 15, **filters: Unpack[Filters]) -> Themes: ...

    @overload
    def themes(self, keywords: str | Sequence[str], **filters: Unpack[Filters]) -> tuple[Keyword, ...]: ...

    def themes(
        self, keywords: str | Sequence[str] | None = None, *, limit: int = 15, **filters: Unpack[Filters]
    ) -> Themes | tuple[Keyword, ...]:
        """What the thumbs-down comments are about; see :meth:`harken.Harken.themes`.

        A theme has the number of its comments, but ``theme.comments`` is empty.
        """
        if keywords is None:
            return self._send(self._calls.themes(limit, filters))
        return self._send(self._calls.keywords(keywords, filters))

    def estimate(self, **filters: Unpack[Filters]) -> Estimate:
        """The satisfaction with an interval; see :meth:`harken.Harken.estimate`."""
        return self._send(self._calls.estimate(filters))

    def compare(self, before: Filters, after: Filters, **filters: Unpack[Filters]) -> Comparison:
        """The difference between two selections; see :meth:`harken.Harken.compare`."""
        return self._send(self._calls.compare(before, after, filters))

    def compare_to_previous(self, **filters: Unpack[Filters]) -> Comparison:
        """The difference to the previous period; see :meth:`harken.Harken.compare_to_previous`."""
        return self._send(self._calls.compare_to_previous(filters))

    def compare_groups(self, by: GroupBy | str, **filters: Unpack[Filters]) -> Mapping[GroupKey, Comparison]:
        """Each group compared with the others together; see :meth:`harken.Harken.compare_groups`."""
        return self._send(self._calls.compare_groups(by, filters))

    def heat_map(self, zone: str = "UTC", *, prefer_dates: bool = False, **filters: Unpack[Filters]) -> list[Cell]:
        """The statistics by weekday and hour; see :meth:`harken.Harken.heat_map`."""
        return self._send(self._calls.heat_map(zone, prefer_dates=prefer_dates, filters=filters))

    def headline(self, zone: str = "UTC", *, same_weekdays: bool = False, **filters: Unpack[Filters]) -> Headline:
        """What changed in a period since the one before; see :meth:`harken.Harken.headline`."""
        return self._send(self._calls.headline(zone, same_weekdays=same_weekdays, filters=filters))

    def reasons(
        self, zone: str = "UTC", *, limit: int = 10, same_weekdays: bool = False, **filters: Unpack[Filters]
    ) -> Issues:
        """The reasons of thumbs-down feedback; see :meth:`harken.Harken.reasons`."""
        return self._send(self._calls.reasons(zone, limit, same_weekdays=same_weekdays, filters=filters))

    def ranking(
        self,
        by: GroupBy | str = "agent",
        zone: str = "UTC",
        *,
        same_weekdays: bool = False,
        **filters: Unpack[Filters],
    ) -> Ranking[GroupKey]:
        """Groups by satisfaction; see :meth:`harken.Harken.ranking`."""
        return self._send(self._calls.ranking(by, zone, same_weekdays=same_weekdays, filters=filters))

    def facets(self, **filters: Unpack[Filters]) -> Facets:
        """The values to filter by; see :meth:`harken.Harken.facets`."""
        return self._send(self._calls.facets(filters))

    def changes(self, zone: str = "UTC", **filters: Unpack[Filters]) -> list[SatisfactionChange]:
        """The days on which satisfaction changed; see :meth:`harken.Harken.changes`."""
        return self._send(self._calls.changes(zone, filters))

    # --- Notifications -----------------------------------------------------------------------------------------------

    def deliveries(
        self,
        state: DeliveryState | str | None = DeliveryState.DEAD,
        *,
        limit: int = 100,
        after: str | None = None,
        newest_first: bool = False,
        **filters: Unpack[DeliveryFilters],
    ) -> list[Delivery]:
        """List deliveries, as ``hk.deliveries.find``. Needs a key with the scope ``admin``."""
        return self._send(self._calls.deliveries(state, limit, after, newest_first=newest_first, filters=filters))

    def delivery_summary(self, *, since: datetime | None = None, **filters: Unpack[DeliveryFilters]) -> DeliverySummary:
        """Count deliveries and the causes of dead ones, as ``hk.deliveries.summary``."""
        return self._send(self._calls.delivery_summary(since, filters))

    def replay(self, delivery_id: str, *, application: str | None = None) -> Delivery:
        """Send a delivery again, as ``hk.deliveries.replay``."""
        return self._send(self._calls.replay(delivery_id, application))

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
        """Send all deliveries that match again, as ``hk.deliveries.replay_all``."""
        times = {"since": since, "until": until, "as_of": as_of}
        conditions: dict[str, object] = {"state": state, "route": route, "at_most": at_most, **times, **filters}
        conditions.pop("application", None)
        return self._send(self._calls.replay_all(conditions, filters.get("application")))

    def alerts(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        open: bool | None = None,
        rule: str | None = None,
        application: str | None = None,
    ) -> list[Alert]:
        """List alerts, the last raised first, as ``hk.alerts.find``; ``after`` is the id of an alert."""
        return self._send(self._calls.alerts(limit, after, open, rule, application))

    # --- Keys and routes ---------------------------------------------------------------------------------------------

    def keys(self, *, application: str | None = None) -> list[ApiKey]:
        """The API keys of the application, oldest first, without their digests; see :meth:`.KeyService.keys`."""
        return self._send(self._calls.keys(application))

    def create_key(
        self,
        scopes: Scope | str | Iterable[Scope | str],
        *,
        name: str = "",
        agents: str | Iterable[str] | None = None,
        application: str | None = None,
    ) -> NewKey:
        """Create an API key; see :meth:`.KeyService.create`. It is not repeated if the connection breaks."""
        return self._send(self._calls.create_key(scopes, name, agents, application))

    def revoke_key(self, key_id: str, *, application: str | None = None) -> ApiKey:
        """Revoke an API key, immediately and permanently."""
        return self._send(self._calls.revoke_key(key_id, application))

    def routes(self, *, application: str | None = None) -> list[Route]:
        """The routes that apply to the application; first those that it cannot change."""
        return self._send(self._calls.routes(application))

    def put_route(self, route: Route, *, application: str | None = None) -> Route:
        """Add or replace a route for the application, and return it as it is stored."""
        return self._send(self._calls.put_route(route, application))

    def remove_route(self, name: str, *, application: str | None = None) -> None:
        """Remove a route of the application."""
        self._send(self._calls.remove_route(name, application))

    def dry_run_route(self, route: Route, *, application: str | None = None) -> RouteDryRun:
        """What a route would have sent in the last 24 hours; see :meth:`.RouteService.dry_run`."""
        return self._send(self._calls.dry_run_route(route, application))

    # --- Sending -----------------------------------------------------------------------------------------------------

    def _send(self, call: Call[T]) -> T:
        attempts = Attempts(call, RETRIES)
        while True:
            outcome = self._try(call)
            delay = attempts.delay_after(outcome)
            if delay is None:
                return result_of(call, outcome, self._connection.url)
            self._pause(delay)

    def _open(self, call: Call[None], *, retries: bool) -> tuple[httpx.Response, str]:
        """Open a stream; returns the response, which is not read yet, and the application."""
        attempts = Attempts(call, RETRIES if retries else 0)
        while True:
            outcome = self._try_to_open(call)
            if isinstance(outcome, tuple):
                return outcome
            delay = attempts.delay_after(outcome)
            if delay is None:
                raise failure_of(call, outcome, self._connection.url)
            self._pause(delay)

    def _try(self, call: Call[Any]) -> Outcome:
        request = self._request(call)
        try:
            return self._answer(self._http.send(request))
        except httpx.RequestError as error:
            return error

    def _try_to_open(self, call: Call[None]) -> tuple[httpx.Response, str] | Outcome:
        request = self._request(call)
        try:
            response = self._http.send(request, stream=True)
        except httpx.RequestError as error:
            return error
        try:
            if response.is_success:
                return response, self._connection.application(call, response)
            response.read()
        except httpx.RequestError as error:
            response.close()
            return error
        except BaseException:
            response.close()
            raise
        return self._answer(response)

    def _request(self, call: Call[Any]) -> httpx.Request:
        return self._connection.request(call, self._http, is_closed=self._is_closed)

    def _answer(self, response: httpx.Response) -> Answer:
        return Answer(response.status_code, response.headers, response.content, self._clock())

    def _export(self, call: Call[None]) -> Iterator[Feedback]:
        response, application = self._open(call, retries=True)
        export = Export(application)
        try:
            for chunk in response.iter_bytes():
                yield from export.feed(chunk)
        except (httpx.RequestError, httpx.StreamError) as error:
            raise export.cut_off() from error
        finally:
            response.close()
        export.finish()

"""The requests of the clients' methods, and the values in their responses. Nothing here does any I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

from attrs import asdict, evolve, field, frozen

from harken import (
    ApiKey,
    Cell,
    Change,
    Comparison,
    Cursor,
    Estimate,
    Facets,
    Feedback,
    FeedbackNotFound,
    FeedbackQuery,
    FeedbackRejected,
    GroupBy,
    Headline,
    InvalidQuery,
    Issues,
    KeyNotFound,
    KeyRejected,
    Keyword,
    NewKey,
    NoSuchRoute,
    Page,
    Period,
    Ranking,
    Rating,
    Receipt,
    Route,
    RouteDryRun,
    RouteRejected,
    SatisfactionChange,
    Scope,
    Submission,
    Summary,
    Target,
    Themes,
    Trend,
    Violation,
)
from harken.clock import new_uuid7
from harken.domain.alerts.alert import Alert
from harken.domain.errors import AlertNotFound, ChannelOff, DeliveryNotFound, HarkenError
from harken.domain.events import Delivery, DeliveryState
from harken.domain.feedback import DEFAULT_APPLICATION, UNCHANGED, RatingValue
from harken.domain.instants import stamp, utc
from harken.domain.query import GroupKey, Labels, check_limit
from harken.domain.routes import parse_route, route_record
from harken.domain.rules import NO_AUTHOR, form_violations, label_problem
from harken.domain.texts import as_texts
from harken.facade import Filters, build_query
from harken.services.feed import Place
from harken.services.feedback.keywords import SubmitKeywords, VoteKeywords, build_submission, check_keywords
from harken.services.notifications.deliveries import DeliveryFilters, DeliverySummary
from harken_adapters.formats.delivery import delivery_from
from harken_adapters.formats.delivery import summary_from as delivery_summary_from
from harken_adapters.formats.key import key_from
from harken_adapters.formats.notification import alert_from
from harken_adapters.formats.record import from_record, page_from
from harken_adapters.formats.route import dry_run_from
from harken_adapters.formats.statistics import (
    changes_from,
    comparison_from,
    estimate_from,
    facets_from,
    groups_from,
    headline_from,
    heat_map_from,
    issues_from,
    keywords_from,
    ranking_from,
    summary_from,
    themes_from,
    trend_from,
)

T = TypeVar("T")

Pairs = tuple[tuple[str, str], ...]
#: The body of a response, and the application that it is about.
Parse = Callable[[Any, str], T]

#: The media types of streams.
JSON_LINES: Final = "application/x-ndjson"
EVENT_STREAM: Final = "text/event-stream"
#: Asks for the whole feedback in the response (RFC 7240).
_REPRESENTATION: Final = (("Prefer", "return=representation"),)
#: The longest text in a URL or header. No valid id is as long.
_LONGEST: Final = 1_000
_ERRORS_OF_KEYS: Final = {"invalid": KeyRejected, "conflict": KeyRejected, "not-found": KeyNotFound}
_ERRORS_OF_ROUTES: Final = {"invalid": RouteRejected, "conflict": RouteRejected, "not-found": NoSuchRoute}
#: The segments that clients and proxies remove from a path, even if they are percent-encoded.
_DOTS: Final = frozenset({".", ".."})


@frozen(kw_only=True)
class Call(Generic[T]):
    """A request, and how to parse the response.

    Attributes:
        method: the HTTP method.
        path: the path, percent-encoded, without the URL of the API.
        parse: returns the value for the JSON body of a response, which is ``None`` without a body.
        query: the query parameters.
        headers: the headers, besides those of all requests. Values are sent as Latin-1.
        body: the JSON body, if there is one.
        is_write: whether an invalid request raises ``FeedbackRejected``, and not ``InvalidQuery``.
        is_idempotent: whether it may be sent again if it is not known whether the server has received it.
        feedback_id: the feedback in the path, if there is one.
        application: the application that the caller named, if any.
        stream: the media type of the response if it is read as a stream; empty for JSON.
        errors: the exceptions for kinds of problem that mean something else here than for feedback.
    """

    method: str
    path: str
    parse: Parse[T]
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes | None = field(default=None, repr=False)
    is_write: bool = False
    is_idempotent: bool = True
    feedback_id: str | None = None
    application: str | None = None
    stream: str = ""
    errors: Mapping[str, type[HarkenError]] = field(factory=dict)

    @property
    def target(self) -> str:
        """The path with the query string."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


@frozen
class Calls:
    """Builds the calls of a client whose application is ``application``; ``None`` for that of its key."""

    application: str | None = None

    # --- Writing -----------------------------------------------------------------------------------------------------

    def submit(
        self, session_id: str, rating: RatingValue | None, comment: str, keywords: SubmitKeywords
    ) -> Call[Receipt]:
        """Submit feedback. Without an idempotency key, one is made, so that the call can be repeated."""
        check_keywords(keywords, SubmitKeywords)
        submission = build_submission(
            Target(session_id, keywords.get("message_id"), keywords.get("agent_id")),
            rating,
            comment,
            keywords,
            application=self._application(keywords) or DEFAULT_APPLICATION,
            author=keywords.get("author"),
        )
        _check_sendable(submission)
        body = _content(submission) | {
            "message_id": submission.target.message_id,
            "agent_id": submission.target.agent_id,
            "author": submission.author,
        }
        application = self._application(keywords)
        in_path = _is_segment(session_id)
        is_own_key = submission.idempotency_key is not None
        return Call(
            method="POST",
            path=f"/api/sessions/{_segment(session_id)}/feedback" if in_path else "/api/feedback",
            query=(*_named(application), *(() if in_path else (("session_id", session_id),))),
            headers=(*_REPRESENTATION, _idempotency_key(submission)),
            body=_dump(body, submission),
            is_write=True,
            parse=_receipt if is_own_key else _first_receipt,
            application=application,
        )

    def vote(
        self,
        target: Target,
        author: str,
        rating: RatingValue | None,
        comment: str,
        keywords: VoteKeywords,
    ) -> Call[Receipt]:
        """Set a vote."""
        check_keywords(keywords, SubmitKeywords)
        application = self._application(keywords)
        submission = build_submission(
            target,
            rating,
            comment,
            keywords,
            application=application or DEFAULT_APPLICATION,
            author=author,
            vote=True,
        )
        _check_sendable(submission)
        path = _vote_path(target.session_id, target.message_id)
        if path is None:
            problem = _not_in_path(target.session_id, target.message_id)
            raise FeedbackRejected(form_violations(submission) or [problem])
        return Call(
            method="PUT",
            path=path,
            query=_named(application),
            headers=(*_REPRESENTATION, _idempotency_key(submission)),
            body=_dump(_content(submission) | {"agent_id": target.agent_id, "author": author}, submission),
            is_write=True,
            parse=_receipt,
            application=application,
        )

    def withdraw_vote(
        self, session_id: str, author: str, message_id: str | None, application: str | None
    ) -> Call[Feedback | None]:
        """Withdraw a vote."""
        _check_author(author)
        path = _vote_path(session_id, message_id)
        if path is None:
            raise InvalidQuery(_not_in_path(session_id, message_id).message)
        return Call(
            method="DELETE",
            path=path,
            query=(*self._query_of(application), ("author", author)),
            headers=_REPRESENTATION,
            # If the response is lost, a repetition could withdraw a newer vote.
            is_idempotent=False,
            parse=lambda document, application: None if document is None else from_record(document, application),
            application=self._name(application),
        )

    def change(
        self, feedback_id: str, change: Change, expected_version: int | None, application: str | None
    ) -> Call[Feedback]:
        """Change feedback. If the response is lost, a repetition could overwrite a later change."""
        application = self._name(application)
        # Only to report what cannot be sent; the server checks the whole feedback.
        submission = Submission(target=Target("s"), rating=None)
        for name, value in _changes(change).items():
            submission = evolve(submission, **{name: value})
        _check_sendable(submission)
        content = _content(submission)
        return Call(
            method="PATCH",
            path=_feedback_path(feedback_id, application),
            query=_named(application),
            headers=() if expected_version is None else (("If-Match", f'"{expected_version}"'),),
            body=_dump({name: content[name] for name in _changes(change)}, submission),
            is_write=True,
            is_idempotent=False,
            parse=from_record,
            feedback_id=feedback_id,
            application=application,
        )

    def withdraw(self, feedback_id: str, application: str | None) -> Call[Feedback]:
        """Withdraw feedback."""
        return evolve(self.get(feedback_id, application), method="DELETE", headers=_REPRESENTATION)

    # --- Reading -----------------------------------------------------------------------------------------------------

    def votes(self, session_id: str, author: str, application: str | None) -> Call[list[Feedback]]:
        """List the votes of an author."""
        _check_author(author)
        if not _is_segment(session_id):
            raise InvalidQuery(_not_in_path(session_id, None).message)
        return Call(
            method="GET",
            path=f"/api/sessions/{_segment(session_id)}/votes",
            query=(*self._query_of(application), ("author", author)),
            headers=_REPRESENTATION,
            parse=lambda document, application: [from_record(vote, application) for vote in document["votes"]],
            application=self._name(application),
        )

    def get(self, feedback_id: str, application: str | None) -> Call[Feedback]:
        """Get feedback."""
        application = self._name(application)
        return Call(
            method="GET",
            path=_feedback_path(feedback_id, application),
            query=_named(application),
            parse=from_record,
            feedback_id=feedback_id,
            application=application,
        )

    def feedback(self, limit: int, after: Cursor | str | None, filters: Filters) -> Call[Page]:
        """List feedback."""
        check_limit(limit)
        cursor = Cursor.parse(after) if isinstance(after, str) else after
        following = () if cursor is None else (("after", str(cursor)),)
        return self._read("/api/feedback", filters, page_from, ("limit", str(limit)), *following)

    def export(self, filters: Filters) -> Call[None]:
        """Export feedback as counted JSON lines."""
        return evolve(self._read("/api/export", filters, _nothing, ("count", "true")), stream=JSON_LINES)

    def events(self, after: Place | str | None, filters: Filters) -> Call[None]:
        """Watch events."""
        place = Place.parse(after) if isinstance(after, str) else after
        headers = () if place is None else (("Last-Event-ID", str(place)),)
        return evolve(self._read("/api/events", filters, _nothing), headers=headers, stream=EVENT_STREAM)

    # --- Statistics --------------------------------------------------------------------------------------------------

    def summary(self, filters: Filters) -> Call[Summary]:
        """Get statistics."""
        return self._statistics("summary", filters, summary_from)

    def groups(self, by: GroupBy | str, filters: Filters) -> Call[Mapping[GroupKey, Summary]]:
        """Get statistics of groups."""
        return self._statistics("summary", filters, lambda one: groups_from(one, summary_from), ("by", _group_by(by)))

    def trend(self, period: object, zone: str, filters: Filters) -> Call[Trend]:
        """Get statistics over time."""
        return self._statistics("trend", filters, trend_from, ("by", Period.parse(period).value), ("zone", zone))

    def themes(self, limit: int, filters: Filters) -> Call[Themes]:
        """Find themes."""

        def parse(document: Any, application: str) -> Themes:
            return themes_from(document, lambda one: from_record(one, application))

        return self._read("/api/analytics/themes", filters, parse, ("limit", str(limit)))

    def keywords(self, keywords: str | Sequence[str], filters: Filters) -> Call[tuple[Keyword, ...]]:
        """Count keywords."""
        words = as_texts(keywords)
        if not words:
            raise InvalidQuery("There are no keywords to count; leave keywords out to find themes")
        return self._statistics("themes", filters, keywords_from, *(("keyword", word) for word in words))

    def estimate(self, filters: Filters) -> Call[Estimate]:
        """Get statistics with the design effect."""
        return self._statistics("summary", filters, estimate_from)

    def compare(self, before: Filters, after: Filters, filters: Filters) -> Call[Comparison]:
        """Compare two selections."""
        of_first: Filters = {**filters, **before}
        of_second: Filters = {**filters, **after}
        earlier, later = self._query(of_first), self._query(of_second)
        if earlier.application != later.application:
            raise InvalidQuery("Over HTTP, both selections of a comparison must be of the same application")
        if _filters(earlier) == _filters(later):
            # The API would compare with the previous period.
            return self._statistics("summary", of_first, _compare_with_itself)
        parameters = [
            (f"{side}.{name}", value)
            for side, query in (("before", earlier), ("after", later))
            for name, value in _filters(query)
        ]
        return self._statistics("compare", {"application": self._application(of_first)}, comparison_from, *parameters)

    def compare_to_previous(self, filters: Filters) -> Call[Comparison]:
        """Compare with the previous period."""
        return self._statistics("compare", filters, comparison_from)

    def compare_groups(self, by: GroupBy | str, filters: Filters) -> Call[Mapping[GroupKey, Comparison]]:
        """Compare groups."""
        return self._statistics("groups", filters, lambda one: groups_from(one, comparison_from), ("by", _group_by(by)))

    def heat_map(self, zone: str, *, prefer_dates: bool, filters: Filters) -> Call[list[Cell]]:
        """Get statistics by weekday and hour."""
        by_dates = (("prefer_dates", "true"),) if prefer_dates else ()
        return self._statistics("heat-map", filters, heat_map_from, ("zone", zone), *by_dates)

    def headline(self, zone: str, *, same_weekdays: bool, filters: Filters) -> Call[Headline]:
        """Say what changed."""
        return self._statistics("headline", filters, headline_from, *_period(zone, same_weekdays))

    def reasons(self, zone: str, limit: int, *, same_weekdays: bool, filters: Filters) -> Call[Issues]:
        """Count reasons."""

        def parse(document: Any, application: str) -> Issues:
            return issues_from(document, lambda one: from_record(one, application))

        period = _period(zone, same_weekdays)
        return self._read("/api/analytics/reasons", filters, parse, ("limit", str(limit)), *period)

    def ranking(
        self, by: GroupBy | str, zone: str, *, same_weekdays: bool, filters: Filters
    ) -> Call[Ranking[GroupKey]]:
        """Rank groups."""
        parameters = (("by", _group_by(by)), *_period(zone, same_weekdays))
        return self._statistics("ranking", filters, ranking_from, *parameters)

    def facets(self, filters: Filters) -> Call[Facets]:
        """List the values to filter by."""
        return self._statistics("facets", filters, facets_from)

    def changes(self, zone: str, filters: Filters) -> Call[list[SatisfactionChange]]:
        """Find changes of satisfaction."""
        return self._statistics("changes", filters, changes_from, ("zone", zone))

    # --- Notifications -----------------------------------------------------------------------------------------------

    def deliveries(
        self,
        state: DeliveryState | str | None,
        limit: int,
        after: str | None,
        *,
        newest_first: bool,
        filters: DeliveryFilters,
    ) -> Call[list[Delivery]]:
        """List deliveries."""
        check_limit(limit)
        parameters = {
            "state": "any" if state is None else _word(state),
            "limit": str(limit),
            "after": after,
            "newest_first": "true" if newest_first else None,
        }
        return self._deliveries("", parameters, filters, lambda one: list(map(delivery_from, one["deliveries"])))

    def delivery_summary(self, since: datetime | None, filters: DeliveryFilters) -> Call[DeliverySummary]:
        """Count deliveries."""
        parameters = {"delivered_since": None if since is None else stamp(utc(since))}
        return self._deliveries("/summary", parameters, filters, delivery_summary_from)

    def replay(self, delivery_id: str, application: str | None) -> Call[Delivery]:
        """Replay a delivery. Repeating that changes nothing, unless it was sent meanwhile: then it is sent again."""
        if not _is_segment(delivery_id):
            raise DeliveryNotFound(f"No delivery with id {delivery_id!r}")
        return Call(
            method="POST",
            path=f"/api/deliveries/{_segment(delivery_id)}/replay",
            query=self._query_of(application),
            is_idempotent=False,
            parse=lambda document, _: delivery_from(document),
            application=self._name(application),
            errors=_OF_DELIVERIES,
        )

    def replay_all(self, conditions: Mapping[str, Any], application: str | None) -> Call[int]:
        """Replay deliveries."""
        body = {name: _json_value(value) for name, value in conditions.items() if value is not None}
        return Call(
            method="POST",
            path="/api/deliveries/replay",
            query=self._query_of(application),
            body=json.dumps(body, separators=(",", ":")).encode(),
            is_idempotent=False,
            parse=lambda document, _: int(document["replayed"]),
            application=self._name(application),
            errors=_OF_DELIVERIES,
        )

    def alerts(
        self, limit: int, after: str | None, open: bool | None, rule: str | None, application: str | None
    ) -> Call[list[Alert]]:
        """List alerts."""
        check_limit(limit)
        is_open = None if open is None else str(open).lower()
        parameters = {"limit": str(limit), "after": after, "open": is_open, "rule": rule}
        return Call(
            method="GET",
            path="/api/alerts",
            query=(*self._query_of(application), *_given(parameters)),
            parse=lambda document, _: list(map(alert_from, document["alerts"])),
            application=self._name(application),
            errors={"not-found": AlertNotFound},
        )

    def _deliveries(
        self, path: str, parameters: Mapping[str, str | None], filters: DeliveryFilters, parse: Callable[[Any], T]
    ) -> Call[T]:
        application = filters.get("application")
        chosen = {name: value for name, value in filters.items() if name != "application" and value is not None}
        selected = {name: _word(value) for name, value in chosen.items()}
        return Call(
            method="GET",
            path=f"/api/deliveries{path}",
            query=(*self._query_of(application), *_given({**parameters, **selected})),
            parse=lambda document, _: parse(document),
            application=self._name(application),
            errors=_OF_DELIVERIES,
        )

    # --- Keys and routes ---------------------------------------------------------------------------------------------

    def keys(self, application: str | None) -> Call[list[ApiKey]]:
        """List the keys."""
        return self._call(
            "GET", "/api/keys", lambda document, _: list(map(key_from, document["keys"])), application=application
        )

    def create_key(
        self,
        scopes: Scope | str | Iterable[Scope | str],
        name: str,
        agents: str | Iterable[str] | None,
        application: str | None,
    ) -> Call[NewKey]:
        """Create a key. If the response is lost, a repetition would create another key."""
        wanted = [scopes] if isinstance(scopes, str | Scope) else scopes
        body = {
            "scopes": [scope.value if isinstance(scope, Scope) else scope for scope in wanted],
            "name": name,
            "agents": None if agents is None else list(as_texts(agents)),
        }

        def parse(document: Any, _: str) -> NewKey:
            return NewKey(key_from(document), document["key"])

        call = self._call("POST", "/api/keys", parse, body, application=application, errors=_ERRORS_OF_KEYS)
        return evolve(call, is_idempotent=False)

    def revoke_key(self, key_id: str, application: str | None) -> Call[ApiKey]:
        """Revoke a key."""
        if not _is_segment(key_id):
            raise KeyNotFound("This is not the id of an API key; list the keys to find it")
        path = f"/api/keys/{_segment(key_id)}"
        return self._call(
            "DELETE", path, lambda document, _: key_from(document), application=application, errors=_ERRORS_OF_KEYS
        )

    def routes(self, application: str | None) -> Call[list[Route]]:
        """List the routes."""
        return self._call(
            "GET",
            "/api/routes",
            lambda document, _: [parse_route(one) for one in (*document["shared"], *document["routes"])],
            application=application,
        )

    def put_route(self, route: Route, application: str | None) -> Call[Route]:
        """Add or replace a route."""
        return self._route_call("PUT", route, "", lambda document, _: parse_route(document), application)

    def dry_run_route(self, route: Route, application: str | None) -> Call[RouteDryRun]:
        """Dry-run a route."""
        return self._route_call("POST", route, "/dry-run", dry_run_from, application)

    def remove_route(self, name: str, application: str | None) -> Call[None]:
        """Remove a route. If the response is lost, a repetition would not find it."""
        if not _is_segment(name):
            raise NoSuchRoute("This is not the name of a route; list the routes to find it")
        path = f"/api/routes/{_segment(name)}"
        call = self._call("DELETE", path, _nothing, application=application, errors=_ERRORS_OF_ROUTES)
        return evolve(call, is_idempotent=False)

    # --- Helpers -----------------------------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        parse: Parse[T],
        body: Mapping[str, Any] | None = None,
        *,
        application: str | None,
        errors: Mapping[str, type[HarkenError]] = {},
    ) -> Call[T]:
        return Call(
            method=method,
            path=path,
            query=self._query_of(application),
            body=None if body is None else json.dumps(body).encode(),
            parse=parse,
            application=self._name(application),
            errors=errors,
        )

    def _route_call(self, method: str, route: Route, end: str, parse: Parse[T], application: str | None) -> Call[T]:
        path, body = f"/api/routes/{route.name}{end}", route_record(route)
        return self._call(method, path, parse, body, application=application, errors=_ERRORS_OF_ROUTES)

    def _statistics(
        self, name: str, filters: Filters, parse: Callable[[Any], T], *parameters: tuple[str, str]
    ) -> Call[T]:
        return self._read(f"/api/analytics/{name}", filters, lambda document, _: parse(document), *parameters)

    def _read(self, path: str, filters: Filters, parse: Parse[T], *parameters: tuple[str, str]) -> Call[T]:
        query, application = self._query(filters), self._application(filters)
        return Call(
            method="GET",
            path=path,
            query=(*self._query_of(application), *_filters(query), *parameters),
            parse=parse,
            application=application,
        )

    def _query(self, filters: Filters) -> FeedbackQuery:
        return build_query(filters, self.application or DEFAULT_APPLICATION)

    def _application(self, keywords: Mapping[str, Any]) -> str | None:
        return self._name(keywords.get("application"))

    def _name(self, application: str | None) -> str | None:
        return self.application if application is None else application

    def _query_of(self, application: str | None) -> Pairs:
        """The parameter for the application of a call that only reads, or withdraws."""
        named = self._name(application)
        if named == "":
            raise InvalidQuery("application must not be empty")
        return _named(named)


#: The exceptions of calls that name deliveries.
_OF_DELIVERIES: Final[Mapping[str, type[HarkenError]]] = {
    "not-found": DeliveryNotFound,
    "conflict": ChannelOff,
    "invalid": InvalidQuery,
}


def _given(parameters: Mapping[str, str | None]) -> Pairs:
    return tuple((name, value) for name, value in parameters.items() if value is not None)


def _word(value: object) -> str:
    return str(value.value) if isinstance(value, Enum) else str(value)


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return stamp(utc(value))
    return value.value if isinstance(value, Enum) else value


# --- Values in requests -----------------------------------------------------------------------------------------------


def _check_sendable(submission: Submission) -> None:
    """Check what a request could not carry unchanged.

    The server checks everything else, together with the operator's rules.

    Raises:
        FeedbackRejected: an id, a key or a value cannot be sent; ``violations`` has all that is malformed.
    """
    key, names = submission.idempotency_key, submission.context
    texts: list[Any] = [submission.target.session_id, submission.application, *([] if key is None else [key])]
    is_sendable = (
        all(map(_fits_into_request, texts))
        and submission.application != ""
        and not (submission.vote and submission.author is None)
        and not (isinstance(names, Mapping) and not all(isinstance(name, str) for name in names))
    )
    if not is_sendable:
        raise FeedbackRejected(form_violations(submission))
    if key is not None and not _is_latin_1(key):
        message = f"Over HTTP, idempotency_key must only have characters of Latin-1, got {key!r}"
        raise FeedbackRejected([Violation("idempotency_key", "type", message)])


def _fits_into_request(text: Any) -> bool:
    """Whether a URL or a header can carry a text that is possibly not valid."""
    return isinstance(text, str) and len(text) <= _LONGEST and not label_problem("text", f"x{text}", _LONGEST + 1)


def _is_latin_1(text: str) -> bool:
    return all(ord(character) < 0x100 for character in text)


def _content(submission: Submission) -> dict[str, Any]:
    """The content as JSON values, if its types are right; other values are left as they are."""
    rating, tags, context = submission.rating, submission.tags, submission.context
    return {
        "rating": rating.value if isinstance(rating, Rating) else rating,
        "comment": submission.comment,
        "tags": list(tags) if isinstance(tags, Sequence) and not isinstance(tags, str | bytes) else tags,
        "context": dict(context) if isinstance(context, Mapping) else context,
    }


def _changes(change: Change) -> dict[str, Any]:
    return {name: value for name, value in asdict(change, recurse=False).items() if value is not UNCHANGED}


def _dump(body: Mapping[str, Any], submission: Submission) -> bytes:
    """The body as JSON.

    Raises:
        FeedbackRejected: a value has a type that JSON does not have.
    """
    try:
        # In ASCII, as UTF-8 has no bytes for a lone surrogate, which the server reports.
        return json.dumps(body, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        violations = form_violations(submission)
        raise FeedbackRejected(violations or [Violation("context", "type", str(error))]) from error


def _idempotency_key(submission: Submission) -> tuple[str, str]:
    key = submission.idempotency_key
    if key is None:
        return "Idempotency-Key", new_uuid7()
    if key and key == key.strip() and not (key[0] == key[-1] == '"'):
        return "Idempotency-Key", key
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return "Idempotency-Key", f'"{escaped}"'


def _named(application: str | None) -> Pairs:
    return () if application is None else (("application", application),)


def _is_segment(value: str) -> bool:
    """Whether an id can be a segment of a path."""
    return label_problem("id", value) is None and "/" not in value and value not in _DOTS


def _segment(value: str) -> str:
    return quote(value, safe="")


def _not_in_path(session_id: str, message_id: str | None) -> Violation:
    """The violation of a vote whose ids cannot be in a path."""
    name, value = ("message_id", message_id) if _is_segment(session_id) else ("session_id", session_id)
    message = f"Over HTTP, {name} of a vote must be an id without slashes that is not only dots, got {value!r}"
    return Violation(name, "path", message)


def _check_author(author: object) -> None:
    if author is None:
        raise FeedbackRejected([NO_AUTHOR])


def _vote_path(session_id: str, message_id: str | None) -> str | None:
    """The path of a vote; ``None`` if the ids cannot be in one."""
    if not _is_segment(session_id):
        return None
    if message_id is None:
        return f"/api/sessions/{_segment(session_id)}/feedback"
    if not _is_segment(message_id):
        return None
    return f"/api/sessions/{_segment(session_id)}/messages/{_segment(message_id)}/feedback"


def _feedback_path(feedback_id: str, application: str | None) -> str:
    # No stored feedback has an id that is not valid.
    if not _is_segment(feedback_id):
        raise FeedbackNotFound(application or DEFAULT_APPLICATION, feedback_id)
    return f"/api/feedback/{_segment(feedback_id)}"


def _period(zone: str, same_weekdays: bool) -> Pairs:
    """The parameters of operations that compare with an earlier period."""
    return (("zone", zone), *((("same_weekdays", "true"),) if same_weekdays else ()))


def _group_by(by: GroupBy | str) -> str:
    group_by = GroupBy.parse(by) if isinstance(by, str) else by
    dimension = group_by.dimension.value
    return dimension if group_by.name is None else f"{dimension}.{group_by.name}"


def _filters(query: FeedbackQuery) -> Pairs:
    """The filters of a query as query parameters, without the application.

    Raises:
        InvalidQuery: a filter cannot be sent.
    """
    texts = {name: getattr(query, name) for name in ("session_id", "message_id", "author", "text")}
    several = {
        "agent_id": query.agent_id,
        "rating": query.rating and {rating.word for rating in query.rating},
        "tag": query.tag,
        **{f"context.{name}": _labels(name, labels) for name, labels in query.context.items()},
    }
    times = {name: getattr(query, name) for name in ("since", "until")}
    return (
        *((name, text) for name, text in texts.items() if text is not None),
        *((name, value) for name, values in several.items() for value in sorted(values or ())),
        *((("has_comment", str(query.has_comment).lower()),) if query.has_comment is not None else ()),
        *((name, stamp(time)) for name, time in times.items() if time is not None),
    )


def _labels(name: str, labels: Labels) -> frozenset[str]:
    texts = frozenset(one for one in labels if one is not None)
    if texts != labels:
        raise InvalidQuery(f"Over HTTP, context.{name} cannot be None: feedback without the value cannot be selected")
    return texts


# --- Values in responses ----------------------------------------------------------------------------------------------


def _nothing(_document: Any, _application: str) -> None:
    return None


def _receipt(document: Any, application: str) -> Receipt:
    return Receipt(_feedback_of(document, application), document["duplicate"])


def _first_receipt(document: Any, application: str) -> Receipt:
    """The receipt of a submission whose key was made here: if it is a duplicate, then of an attempt of this call."""
    return Receipt(_feedback_of(document, application))


def _feedback_of(document: Any, application: str) -> Feedback:
    if "version" not in document:
        # It is stored, but has since become a vote about an agent that the key is not for.
        raise FeedbackNotFound(application, document["feedback_id"])
    return from_record(document["feedback"], application)


def _compare_with_itself(document: Any) -> Comparison:
    one = estimate_from(document)
    return Comparison(one.summary, one.summary, one.design_effect, one.design_effect)

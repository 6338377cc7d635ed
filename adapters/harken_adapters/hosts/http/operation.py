"""API operations: their path, permissions, handler and documentation, and the call passed to a handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import evolve, frozen

from harken import Feedback, FeedbackNotFound, FeedbackQuery, Harken, Scope
from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.guards.idempotency import InFlight
from harken_adapters.hosts.http.guards.permissions import agent_filter
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.messages import Headers, Pending, Request, Response
from harken_adapters.hosts.http.wire.parameters import Parameters


@frozen(kw_only=True)
class Call:
    """An admitted request.

    Attributes:
        harken: the Harken that is served.
        settings: the settings of the server.
        request: the HTTP request.
        principal: the caller.
        application: the application that the call is about.
        session_id: the session that the call is about, if the path or query string names one.
        parameters: the parameters of the query string.
        address: the client address, if known.
        client: maps the client address to the value that is stored.
        in_flight: the idempotency keys of submissions in progress.
        root: the prefix of the API's paths, percent-encoded.
        check_admitted: checks that the credentials are still valid, for long responses. It may read from the storage,
            and raises what :meth:`Api.admit` raises.
    """

    harken: Harken
    settings: ServerSettings
    request: Request
    principal: Principal
    application: str
    session_id: str | None
    parameters: Parameters
    address: str | None
    client: Callable[[str], str]
    in_flight: InFlight
    root: str
    check_admitted: Callable[[], object]

    def part(self, name: str) -> str:
        """The value of a path parameter."""
        return self.request.parts[name]

    def query(self, side: str = "") -> FeedbackQuery:
        """The query that the filters describe, restricted to what the caller may see. See :meth:`Parameters.query`.

        Raises:
            Problem: a filter is invalid, or the API key is limited to other agents.
            InvalidQuery: a filter is invalid.
        """
        return self.visible(self.parameters.query(self.application, side))

    def visible(self, query: FeedbackQuery) -> FeedbackQuery:
        """The query, restricted to what the caller may see.

        Raises:
            Problem: the API key is limited to other agents.
        """
        return evolve(query, agent_id=agent_filter(self.principal, query.agent_id))

    def feedback(self) -> Feedback:
        """The feedback with the id in the path.

        Raises:
            FeedbackNotFound: it does not exist, or the caller may not see it.
        """
        found = self.harken.collection.get(self.application, self.part("feedback_id"))
        self.check_visible(found)
        return found

    def check_visible(self, feedback: Feedback) -> None:
        """Check that the caller may see the current version of feedback. A vote may have changed its agent.

        Raises:
            FeedbackNotFound: the caller may not, which is not distinguished from missing feedback.
        """
        if not self.principal.may_see(feedback.agent_id):
            raise FeedbackNotFound(self.application, feedback.id)

    def link_to_next(self, following: str | None) -> Headers:
        """The Link header of the next page (RFC 8288), which starts after ``following``; empty if that is ``None``."""
        if following is None:
            return ()
        kept = [(name, value) for name, values in self.parameters.values.items() if name != "after" for value in values]
        return (("link", f'<{self.request.path}?{urlencode([*kept, ("after", following)])}>; rel="next"'),)


@frozen(kw_only=True)
class Answer:
    """A successful response of an operation: its description, and the name of its schema."""

    description: str
    schema: str | None = None
    media_types: tuple[str, ...] = ("application/json",)
    example: Any = None
    headers: Mapping[str, str] = {}


@frozen(kw_only=True)
class Operation:
    """An operation of the API.

    Attributes:
        name: its id in the OpenAPI document, in metrics and in logs.
        method: the HTTP method, in upper case.
        path: the path template, with parameters in braces.
        scope: the scope that an API key needs.
        handle: the handler.
        summary: a short summary for the documentation.
        description: further documentation.
        tag: the group in the documentation.
        tokens: whether session tokens are accepted.
        agent_keys: whether API keys that are limited to agents are accepted.
        operator: whether it changes what all applications share, so that credentials must be for that of the service.
        gives_feedback: whether the rate limit by session applies.
        production: whether the rate limit of the production endpoint applies.
        represents: whether the response has the whole feedback with ``Prefer: return=representation``.
        listens: whether the response is an event stream, which occupies a thread in a threaded host.
        soon: whether the handler returns :class:`Pending` without blocking.
        parameters: the names of its query parameters, besides ``application``.
        filters: the names of the filters that it accepts.
        sides: whether filters with the prefixes ``before.`` and ``after.`` are accepted, to compare two selections.
        body: the name of the schema of its request body.
        example: an example of the request body.
        answers: the successful responses, by status code.
        problems: the kinds of problem that it may return, besides those of all operations.
    """

    name: str
    method: str
    path: str
    scope: Scope
    handle: Callable[[Call], Response | Pending]
    summary: str
    description: str = ""
    tag: str
    tokens: bool = False
    agent_keys: bool = False
    operator: bool = False
    gives_feedback: bool = False
    production: bool = False
    represents: bool = False
    listens: bool = False
    soon: bool = False
    parameters: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    sides: bool = False
    body: str | None = None
    example: Any = None
    answers: Mapping[int, Answer]
    problems: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """The allowed HTTP methods."""
        return (self.method,)


@frozen
class Admission:
    """An admitted call, and the rate limit headers of its response."""

    call: Call
    headers: Headers

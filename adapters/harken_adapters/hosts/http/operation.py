"""An operation of the API: where it is found, who may call it, what it does, and how it is documented."""

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
    """A request that was let in.

    Attributes:
        harken: what it is asked of.
        settings: how it is served.
        request: what was sent.
        principal: who sent it.
        application: whose feedback it is about.
        session_id: the session that it is about, if it says so.
        parameters: what stands in the query string.
        address: where it comes from, if it is known.
        client: what is kept of the address, if anything is.
        in_flight: the idempotency keys whose submissions are being handled.
        root: what the API's paths stand behind.
        check_admitted: whether the credentials are still valid, for answers that take long; may ask the storage, and
            raises what :meth:`Api.admit` raises.
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
        """What the path says for that parameter."""
        return self.request.parts[name]

    def query(self, side: str = "") -> FeedbackQuery:
        """The query that the filters mean, see :meth:`Parameters.query`, within what the caller may see.

        Raises:
            Problem: a filter is invalid, or the API key is for other agents.
            InvalidQuery: a filter is invalid.
        """
        return self.visible(self.parameters.query(self.application, side))

    def visible(self, query: FeedbackQuery) -> FeedbackQuery:
        """The query within what the caller may see.

        Raises:
            Problem: the API key is for other agents.
        """
        return evolve(query, agent_id=agent_filter(self.principal, query.agent_id))

    def feedback(self) -> Feedback:
        """The feedback that the path names.

        Raises:
            FeedbackNotFound: there is none, or none that the caller may see.
        """
        found = self.harken.collection.get(self.application, self.part("feedback_id"))
        self.check_visible(found)
        return found

    def check_visible(self, feedback: Feedback) -> None:
        """Whether the caller may see that feedback, as it is now; a vote may be about another agent than before.

        Raises:
            FeedbackNotFound: they may not, so that for them it is not there.
        """
        if not self.principal.may_see(feedback.agent_id):
            raise FeedbackNotFound(self.application, feedback.id)

    def link_to_next(self, following: str | None) -> Headers:
        """Where the next page is (RFC 8288), if there is one: what it goes on behind."""
        if following is None:
            return ()
        kept = [(name, value) for name, values in self.parameters.values.items() if name != "after" for value in values]
        return (("link", f'<{self.request.path}?{urlencode([*kept, ("after", following)])}>; rel="next"'),)


@frozen(kw_only=True)
class Answer:
    """What an operation may answer: the schema's name, and what it means."""

    description: str
    schema: str | None = None
    media_types: tuple[str, ...] = ("application/json",)
    example: Any = None
    headers: Mapping[str, str] = {}


@frozen(kw_only=True)
class Operation:
    """One operation.

    Attributes:
        name: its id in the OpenAPI document, in metrics and in logs.
        method: in upper case.
        path: with its parameters in braces.
        scope: what an API key needs for it.
        handle: does it.
        summary: what it does, in a few words.
        description: what else there is to know.
        tag: the group that it is shown in.
        tokens: whether a session token is enough.
        agent_keys: whether an API key that is limited to agents is enough: it deals only with feedback about these.
        gives_feedback: whether it is limited by session.
        production: whether it is limited as the guide's production endpoint is.
        listens: whether it answers with an event stream, for which a host of threads has to spare a thread.
        soon: whether it answers with :class:`Pending`, so that no thread has to wait for it.
        parameters: the names of its query parameters, beside ``application``.
        filters: the filters that it takes, to choose feedback.
        sides: whether it takes them twice, for two selections.
        body: the name of the schema of its body.
        example: a body.
        answers: by status.
        problems: the kinds of problem that it may have, beside those that all have, or all that take a body.
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
    gives_feedback: bool = False
    production: bool = False
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
        """How it can be asked for."""
        return (self.method,)


@frozen
class Admission:
    """What was found out about a request before it is handled: the call, and what to say about rate limits."""

    call: Call
    headers: Headers

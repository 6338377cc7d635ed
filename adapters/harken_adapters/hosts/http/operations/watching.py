"""The event stream."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from harken import FeedbackQuery, Scope
from harken.services.feed import Place
from harken_adapters.hosts.http.guards.addresses import rate_key
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.messages import Headers, Response
from harken_adapters.hosts.http.wire.parameters import FILTERS, invalid

MEDIA_TYPE: Final = "text/event-stream"
MAX_LISTENER: Final = 64
#: Tells proxies such as nginx not to buffer the response, which never ends.
_UNBUFFERED: Final[Headers] = (("x-accel-buffering", "no"),)


def _watch(call: Call) -> Response:
    last = call.request.header("last-event-id") or call.parameters.get("after")
    after = Place.parse(last) if last else None
    key = call.principal.key
    share = (call.application, key.id if key else "", rate_key(call.address) if call.address else "")
    stream = EventStream(
        call.harken,
        call.application,
        after,
        wanted=_wanted(call),
        principal=call.principal,
        check_admitted=call.check_admitted,
        share=share,
        listener=listener_of(call),
    )
    return Response(200, b"", MEDIA_TYPE, _UNBUFFERED, chunks=stream)


def listener_of(call: Call) -> tuple[str, ...] | None:
    """Who listens: the credentials, with the id that the client has chosen; ``None`` if it has chosen none.

    Raises:
        Problem: the id is too long.
    """
    listener, key = call.parameters.get("listener", ""), call.principal.key
    if len(listener) > MAX_LISTENER:
        raise invalid("listener", "too_long", f"listener has at most {MAX_LISTENER} characters, got {len(listener):,}")
    return (call.application, key.id if key else "", listener) if listener else None


def _wanted(call: Call) -> FeedbackQuery | None:
    """The query that the filters describe, in any state unless a filter is about that; ``None`` without filters."""
    given = call.parameters.values.keys() - {"after", "application", "listener"}
    if not given:
        return None
    query, anything = call.query(), FeedbackQuery().in_any_state()
    if "status" not in given:
        query = evolve(query, statuses=anything.statuses)
    return query if "withdrawn" in given else evolve(query, withdrawn=anything.withdrawn)


_EXAMPLE: Final = (
    "id: MTc2NzI1NDQwMDAwMDAwMDowMTk5YzJhNA.6474a8c4b8e80\n"
    "event: feedback.created\n"
    'data: {"type":"feedback.created","timestamp":"2026-01-01T08:00:00.000000Z","data":{"id":"0199c2a4","rating":"up"}}'
    "\n\n"
)
OPERATIONS: Final = (
    Operation(
        name="watch_events",
        method="GET",
        path="/api/events",
        scope=Scope.READ,
        handle=_watch,
        summary="Watch events",
        description=(
            "Server-sent events: feedback.created, feedback.updated, feedback.moderated and feedback.withdrawn, each "
            "with the current feedback; alert.raised and alert.resolved, each with the alert; from all processes. "
            "Last-Event-ID (or ``after``) resumes the stream up to an hour later; an event ``missed`` reports that "
            "events were lost, and how much feedback was created meanwhile. "
            "Each event is sent at least once; a repeated event has a version that was already sent. "
            "Filters select the feedback by its current state; without ``status`` and ``withdrawn``, in any state. "
            "They do not apply to alerts. "
            "With an API key that is limited to agents, the stream has only events of feedback about these agents, and "
            "no alerts."
        ),
        tag="Events",
        agent_keys=True,
        listens=True,
        parameters=("after", "listener"),
        filters=FILTERS,
        answers={
            200: Answer(
                description="The event stream, which does not end.", media_types=(MEDIA_TYPE,), example=_EXAMPLE
            ),
        },
        problems=("overloaded",),
    ),
)

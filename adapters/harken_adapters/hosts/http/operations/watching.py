"""The event stream."""

from __future__ import annotations

from typing import Final

from harken import Scope
from harken.services.feed import Place
from harken_adapters.hosts.http.guards.addresses import rate_key
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.messages import Headers, Response
from harken_adapters.hosts.http.wire.parameters import FILTERS_IN_ANY_STATE

MEDIA_TYPE: Final = "text/event-stream"
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
        principal=call.principal,
        wanted=call.query().in_any_state(),
        check_admitted=call.check_admitted,
        share=share,
    )
    return Response(200, b"", MEDIA_TYPE, _UNBUFFERED, chunks=stream)


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
            "events were lost. Each event is sent at least once; a repeated event has a version that was already sent. "
            "With an API key that is limited to agents, the stream has only events of feedback about these agents, and "
            "no alerts. With filters, it has only events of feedback that now matches them; alerts are not filtered."
        ),
        tag="Events",
        agent_keys=True,
        listens=True,
        parameters=("after",),
        filters=FILTERS_IN_ANY_STATE,
        answers={
            200: Answer(
                description="The event stream, which does not end.", media_types=(MEDIA_TYPE,), example=_EXAMPLE
            ),
        },
        problems=("overloaded",),
    ),
)

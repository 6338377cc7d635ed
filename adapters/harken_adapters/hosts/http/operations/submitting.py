"""Giving feedback."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from harken import Receipt, Scope, Submission, Target
from harken_adapters.hosts.http.guards.idempotency import idempotency_key
from harken_adapters.hosts.http.guards.permissions import agent_of, author_of, context_of
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Headers, Pending, Response, answer
from harken_adapters.hosts.http.wire.parameters import invalid, json_object
from harken_adapters.hosts.http.wire.records import receipt_record

FIELDS: Final = ("rating", "comment", "agent_id", "message_id", "author", "tags", "context")
_LONGEST_USER_AGENT: Final = 200
_REPLAYED: Final[Headers] = (("idempotency-replayed", "true"),)


def submission(call: Call, session_id: str, body: dict[str, Any]) -> Submission:
    """The submission that a body means. Whether its parts make sense is for the rules to say."""
    agent_id = agent_of(call.principal, body.get("agent_id"))
    return Submission(
        target=Target(session_id, body.get("message_id"), agent_id),
        rating=body.get("rating"),
        comment=body.get("comment", ""),
        author=author_of(call.principal, body.get("author")),
        tags=body.get("tags", ()),
        context=context_of(call.principal, body),
        idempotency_key=idempotency_key(call.request, call.principal, agent_id),
        application=call.application,
    )


def _submit(call: Call) -> Pending:
    said = submission(call, call.part("session_id"), json_object(call.request, FIELDS))
    return _soon(call, said)


def _submit_in_production(call: Call) -> Pending:
    session_id = call.parameters.get("session_id")
    if session_id is None:
        raise invalid("session_id", "missing", "Say which session it is about: /api/feedback?session_id=...")
    said = submission(call, session_id, json_object(call.request, FIELDS))
    if call.settings.keep_client != "no":
        said = evolve(said, enrichment=_client(call))
    return _soon(call, said)


def _client(call: Call) -> dict[str, str]:
    """What is kept of who gives feedback, if the operator asked for it."""
    known = {
        "client_address": call.address and call.client(call.address),
        "user_agent": (call.request.header("user-agent") or "")[:_LONGEST_USER_AGENT],
    }
    return {name: value for name, value in known.items() if value}


def _soon(call: Call, said: Submission) -> Pending:
    key = said.idempotency_key
    if key is None:
        return Pending(call.harken.collection.submit_soon(said), lambda receipt: _kept(call, receipt))
    place = (call.application, said.target.session_id, repr(said.author), key)
    call.in_flight.enter(place)
    future = call.harken.collection.submit_soon(said)
    future.add_done_callback(lambda _: call.in_flight.leave(place))
    return Pending(future, lambda receipt: _kept(call, receipt))


def _kept(call: Call, receipt: Receipt) -> Response:
    headers: Headers = (("location", f"{call.root}/api/feedback/{receipt.feedback.id}"),)
    told = receipt_record(call.principal, receipt)
    return answer(told, 201, headers + _REPLAYED if receipt.duplicate else headers)


_EXAMPLE: Final = {
    "rating": "down",
    "comment": "The baggage fee was wrong",
    "agent_id": "travel-desk",
    "tags": ["wrong answer"],
    "context": {"user_tier": "premium"},
}
_KEPT: Final = Answer(
    description="It is durable. Sent again with the same Idempotency-Key and body, the answer is the same.",
    schema="Receipt",
    example={
        "status": "success",
        "message": "Feedback recorded successfully",
        "feedback_id": "0199c2a4-7d1e-7c3b-8f10-5d2f6a9b1c33",
    },
    headers={
        "Location": "Where the feedback is found.",
        "Idempotency-Replayed": "true, if it was kept before.",
    },
)
_PROBLEMS: Final = ("feedback-refused", "in-flight", "idempotency-key-reused", "overloaded")

OPERATIONS: Final = (
    Operation(
        name="submit_feedback",
        method="POST",
        path="/api/sessions/{session_id}/feedback",
        scope=Scope.SUBMIT,
        handle=_submit,
        summary="Give feedback on a session",
        description=(
            "A down needs a comment. Answered when the feedback is durable; with a reply, where the operator's rules "
            "have one."
        ),
        tag="Feedback",
        tokens=True,
        agent_keys=True,
        gives_feedback=True,
        soon=True,
        body="Submission",
        example=_EXAMPLE,
        answers={201: _KEPT},
        problems=_PROBLEMS,
    ),
    Operation(
        name="submit_feedback_in_production",
        method="POST",
        path="/api/feedback",
        scope=Scope.SUBMIT,
        handle=_submit_in_production,
        summary="Give feedback, from anywhere",
        description=(
            "Like the one above, with a limit for each address. The address and the user agent are kept with the "
            "feedback if the operator asked for it."
        ),
        tag="Feedback",
        tokens=True,
        agent_keys=True,
        gives_feedback=True,
        production=True,
        soon=True,
        parameters=("session_id",),
        body="Submission",
        example=_EXAMPLE,
        answers={201: _KEPT},
        problems=_PROBLEMS,
    ),
)

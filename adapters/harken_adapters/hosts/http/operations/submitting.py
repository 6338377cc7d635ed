"""Submission of feedback."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from harken import Receipt, Scope, Submission, Target
from harken_adapters.hosts.http.guards.idempotency import REPLAYED, idempotency_key
from harken_adapters.hosts.http.guards.permissions import agent_of, author_of, context_of
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Headers, Pending, Response, answer
from harken_adapters.hosts.http.wire.parameters import invalid, json_object
from harken_adapters.hosts.http.wire.preferences import REPRESENTED, prefers_representation
from harken_adapters.hosts.http.wire.records import receipt_record

FIELDS: Final = ("rating", "comment", "agent_id", "message_id", "author", "tags", "context")
#: The names under which the client is stored.
_CLIENT: Final = ("client_address", "user_agent")
_LONGEST_USER_AGENT: Final = 200


def submission(call: Call, session_id: str, body: dict[str, Any]) -> Submission:
    """The submission in a request body. Its fields are validated later, by the rules."""
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
    return _soon(call, submission(call, call.part("session_id"), json_object(call.request, FIELDS)))


def _submit_in_production(call: Call) -> Pending:
    session_id = call.parameters.get("session_id")
    if session_id is None:
        raise invalid(
            "session_id", "missing", "The session is missing; name it in the query string: /api/feedback?session_id=..."
        )
    submitted = submission(call, session_id, json_object(call.request, FIELDS))
    if call.settings.keep_client != "no":
        submitted = evolve(submitted, context=_without_client(submitted.context), enrichment=_client(call))
    return _soon(call, submitted)


def _without_client(context: Any) -> Any:
    """The context without the values that only the server may set, also if they are unknown."""
    return {name: context[name] for name in context if name not in _CLIENT} if isinstance(context, dict) else context


def _client(call: Call) -> dict[str, str]:
    """The client address and user agent, which are stored with the feedback if the operator enables it."""
    known = {
        "client_address": call.address and call.client(call.address),
        "user_agent": (call.request.header("user-agent") or "")[:_LONGEST_USER_AGENT],
    }
    return {name: value for name, value in known.items() if value}


def _soon(call: Call, submitted: Submission) -> Pending:
    key = submitted.idempotency_key
    if key is None:
        return Pending(call.harken.collection.submit_soon(submitted), lambda receipt: _created_response(call, receipt))
    place = (call.application, submitted.target.session_id, repr(submitted.author), key)
    call.in_flight.enter(place)
    future = call.harken.collection.submit_soon(submitted)
    future.add_done_callback(lambda _: call.in_flight.leave(place))
    return Pending(future, lambda receipt: _created_response(call, receipt))


def _created_response(call: Call, receipt: Receipt) -> Response:
    headers: Headers = (("location", f"{call.root}/api/feedback/{receipt.feedback.id}"),)
    if receipt.duplicate:
        headers += REPLAYED
    whole = prefers_representation(call.request)
    record = receipt_record(call.principal, receipt, whole=whole)
    return answer(record, 201, headers + REPRESENTED if whole else headers)


_EXAMPLE: Final = {
    "rating": "down",
    "comment": "The baggage fee was wrong",
    "agent_id": "travel-desk",
    "tags": ["wrong answer"],
    "context": {"user_tier": "premium"},
}
_CREATED: Final = Answer(
    description="The feedback is durable. A retry with the same Idempotency-Key and body returns the same response.",
    schema="Receipt",
    example={
        "status": "success",
        "message": "Feedback recorded successfully",
        "feedback_id": "0199c2a4-7d1e-7c3b-8f10-5d2f6a9b1c33",
        "version": 1,
    },
    headers={
        "Location": "The path of the feedback.",
        "Idempotency-Replayed": "true if the feedback was already stored by an earlier request.",
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
        summary="Submit feedback on a session",
        description=(
            "A thumbs-down requires a comment or a reason tag. The response is sent when the feedback is durable. It "
            "has a reply if the operator's rules define one."
        ),
        tag="Feedback",
        tokens=True,
        agent_keys=True,
        gives_feedback=True,
        soon=True,
        body="Submission",
        example=_EXAMPLE,
        answers={201: _CREATED},
        represents=True,
        problems=_PROBLEMS,
    ),
    Operation(
        name="submit_feedback_in_production",
        method="POST",
        path="/api/feedback",
        scope=Scope.SUBMIT,
        handle=_submit_in_production,
        summary="Submit feedback from a public page",
        description=(
            "Like submitting feedback on a session, with a rate limit for each client address. The client address and "
            "user agent are stored with the feedback if the operator enables it."
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
        answers={201: _CREATED},
        represents=True,
        problems=_PROBLEMS,
    ),
)

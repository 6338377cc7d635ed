"""One person's vote on one message."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Final

from harken import Feedback, FeedbackNotFound, Scope, Target
from harken_adapters.hosts.http.guards.idempotency import idempotency_key
from harken_adapters.hosts.http.guards.permissions import agent_of, author_of, context_of
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer, no_content
from harken_adapters.hosts.http.wire.parameters import invalid, json_object
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.hosts.http.wire.records import receipt_record, vote_record

_FIELDS: Final = ("rating", "comment", "agent_id", "author", "tags", "context")
_PATH: Final = "/api/sessions/{session_id}/messages/{message_id}/feedback"


def _set(call: Call) -> Response:
    body = json_object(call.request, _FIELDS)
    if "rating" not in body:
        raise invalid("rating", "missing", "Say what the vote is: rating must be 'up', 'down' or null")
    target = Target(call.part("session_id"), call.part("message_id"), agent_of(call.principal, body.get("agent_id")))
    voter = _voter(call, body.get("author"))
    receipt = call.harken.collection.set_vote(
        target,
        voter,
        body["rating"],
        body.get("comment", ""),
        tags=body.get("tags", ()),
        context=context_of(call.principal, body),
        idempotency_key=idempotency_key(call.request, call.principal, target.agent_id),
        application=call.application,
        check=partial(_check_replaced, call),
    )
    told = receipt_record(call.principal, receipt)
    return answer(told) if {"reply", "moderation"} & told.keys() else no_content()


def _check_replaced(call: Call, earlier: Feedback) -> None:
    """Whether the caller may replace that vote. One that was withdrawn is in nobody's way."""
    if not earlier.withdrawn and not call.principal.may_see(earlier.agent_id):
        raise Problem("forbidden", "This author's vote on this message cannot be replaced with this API key")


def _take_back(call: Call) -> Response:
    voter, message_id = _voter(call), call.part("message_id")
    vote = next((vote for vote in _votes(call, voter) if vote.message_id == message_id), None)
    if vote is not None:
        # By its id, so that it is this one. If it was erased meanwhile, there is nothing to take back.
        with suppress(FeedbackNotFound):
            call.harken.collection.withdraw(call.application, vote.id, check=call.check_visible)
    return no_content()


def _earlier(call: Call) -> Response:
    session_id, voter = call.part("session_id"), _voter(call)
    votes = _votes(call, voter)
    return answer({"session_id": session_id, "author": voter, "votes": list(map(vote_record, votes))})


def _votes(call: Call, voter: Any) -> list[Feedback]:
    """The votes of an author in the session that the caller may deal with."""
    votes = call.harken.collection.votes(call.application, call.part("session_id"), voter)
    return [vote for vote in votes if call.principal.may_see(vote.agent_id)]


def _voter(call: Call, in_body: Any = None) -> Any:
    """Whose vote it is: that of the token's author, or of whoever the body or the query string names."""
    in_query = call.parameters.get("author")
    if in_query is not None and in_body not in (None, in_query):
        raise invalid("author", "repeated", "The body and the query string name different authors; expected one")
    voter = author_of(call.principal, in_query if in_body is None else in_body)
    if voter is None:
        raise invalid("author", "missing", "A vote needs an author; add ?author=...")
    return voter


OPERATIONS: Final = (
    Operation(
        name="set_vote",
        method="PUT",
        path=_PATH,
        scope=Scope.SUBMIT,
        handle=_set,
        summary="Vote on a message",
        description="An author has one vote on a message; an earlier one is replaced, and kept as a revision.",
        tag="Votes",
        tokens=True,
        agent_keys=True,
        gives_feedback=True,
        parameters=("author",),
        body="Vote",
        example={"rating": "up", "author": "user-7"},
        answers={
            200: Answer(
                description="The vote is durable, and there is a reply to it, or it is held for a moderator.",
                schema="Receipt",
            ),
            204: Answer(description="The vote is durable."),
        },
        problems=("feedback-refused", "idempotency-key-reused", "overloaded"),
    ),
    Operation(
        name="take_vote_back",
        method="DELETE",
        path=_PATH,
        scope=Scope.SUBMIT,
        handle=_take_back,
        summary="Take a vote back",
        description="Taking back what is not there, or not there any more, changes nothing.",
        tag="Votes",
        tokens=True,
        agent_keys=True,
        gives_feedback=True,
        parameters=("author",),
        answers={204: Answer(description="There is no such vote (any more).")},
    ),
    Operation(
        name="list_votes",
        method="GET",
        path="/api/sessions/{session_id}/votes",
        scope=Scope.READ,
        handle=_earlier,
        summary="Show an author's votes in a session",
        description="Those that stand, oldest first: what a widget shows when it is opened again.",
        tag="Votes",
        tokens=True,
        agent_keys=True,
        parameters=("author",),
        answers={200: Answer(description="The votes.", schema="Votes")},
    ),
)

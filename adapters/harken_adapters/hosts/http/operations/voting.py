"""Votes: one per author and message."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Final

from harken import Feedback, FeedbackNotFound, Scope, StaleFeedback, Target
from harken_adapters.hosts.http.guards.idempotency import REPLAYED, idempotency_key
from harken_adapters.hosts.http.guards.permissions import agent_of, author_of, context_of
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer, no_content
from harken_adapters.hosts.http.wire.parameters import if_match, invalid, json_object
from harken_adapters.hosts.http.wire.preferences import REPRESENTED, prefers_representation
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.hosts.http.wire.records import own_record, receipt_record, vote_record

_FIELDS: Final = ("rating", "comment", "agent_id", "author", "tags", "context")
_ON_SESSION: Final = "/api/sessions/{session_id}/feedback"
_ON_MESSAGE: Final = "/api/sessions/{session_id}/messages/{message_id}/feedback"


def _set(call: Call) -> Response:
    body = json_object(call.request, _FIELDS)
    if "rating" not in body:
        raise invalid("rating", "missing", "rating is missing; expected 'up', 'down' or null")
    target = Target(call.part("session_id"), _message_id(call), agent_of(call.principal, body.get("agent_id")))
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
    whole = prefers_representation(call.request)
    # A page whose first response was lost learns that the vote may have been replaced since.
    headers = (*(REPLAYED if receipt.duplicate else ()), *(REPRESENTED if whole else ()))
    return answer(receipt_record(call.principal, receipt, whole=whole), headers=headers)


def _check_replaced(call: Call, earlier: Feedback) -> None:
    """Check that the caller may replace the earlier vote. A withdrawn vote may always be replaced."""
    if not earlier.withdrawn and not call.principal.may_see(earlier.agent_id):
        raise Problem("forbidden", "This API key cannot replace the author's vote on this message")


def _withdraw(call: Call) -> Response:
    voter, message_id, expected = _voter(call), _message_id(call), if_match(call.request)

    def check(vote: Feedback) -> None:
        call.check_visible(vote)
        if expected is not None and vote.version != expected and not vote.withdrawn:
            raise StaleFeedback(f"The vote now has version {vote.version}, not {expected}; read it again")

    vote = next((vote for vote in _votes(call, voter) if vote.message_id == message_id), None)
    withdrawn = None
    if vote is not None:
        # Withdrawn by id, so that a newer vote is not affected. If it has been erased, nothing is left to withdraw.
        with suppress(FeedbackNotFound):
            withdrawn = call.harken.collection.withdraw(call.application, vote.id, check=check)
    if withdrawn is None or not prefers_representation(call.request):
        return no_content()
    return answer(own_record(call.principal, withdrawn), headers=REPRESENTED)


def _list(call: Call) -> Response:
    session_id, voter = call.part("session_id"), _voter(call)
    votes = _votes(call, voter)
    whole = prefers_representation(call.request)
    record = partial(own_record, call.principal) if whole else vote_record
    document = {"session_id": session_id, "author": voter, "votes": list(map(record, votes))}
    return answer(document, headers=REPRESENTED if whole else ())


def _message_id(call: Call) -> str | None:
    """The message that the vote is about; ``None`` for a vote on the session."""
    return call.request.parts.get("message_id")


def _votes(call: Call, voter: Any) -> list[Feedback]:
    """The votes of an author in the session, as far as the caller may see them."""
    votes = call.harken.collection.votes(call.application, call.part("session_id"), voter)
    return [vote for vote in votes if call.principal.may_see(vote.agent_id)]


def _voter(call: Call, in_body: Any = None) -> Any:
    """The author of the vote: that of the session token, or else the one in the body or query string."""
    in_query = call.parameters.get("author")
    if in_query is not None and in_body not in (None, in_query):
        raise invalid("author", "repeated", "The body and the query string have different authors; expected one")
    voter = author_of(call.principal, in_query if in_body is None else in_body)
    if voter is None:
        raise invalid("author", "missing", "A vote needs an author; add ?author=...")
    return voter


def _set_operation(name: str, path: str, target: str) -> Operation:
    return Operation(
        name=name,
        method="PUT",
        path=path,
        scope=Scope.SUBMIT,
        handle=_set,
        summary=f"Vote on a {target}",
        description=f"Each author has one vote on a {target}. An earlier vote is replaced and kept as a revision.",
        tag="Votes",
        tokens=True,
        agent_keys=True,
        gives_feedback=True,
        parameters=("author",),
        body="Vote",
        example={"rating": "up", "author": "user-7"},
        answers={200: Answer(description="The vote is durable.", schema="Receipt")},
        represents=True,
        problems=("feedback-refused", "idempotency-key-reused", "overloaded"),
    )


def _withdraw_operation(name: str, path: str, target: str) -> Operation:
    return Operation(
        name=name,
        method="DELETE",
        path=path,
        scope=Scope.SUBMIT,
        handle=_withdraw,
        summary=f"Withdraw a vote on a {target}",
        description=(
            "Withdrawing a vote that does not exist has no effect. With If-Match, a vote with another version is not "
            "withdrawn."
        ),
        tag="Votes",
        tokens=True,
        agent_keys=True,
        gives_feedback=True,
        parameters=("author",),
        answers={
            200: Answer(description="The vote is withdrawn. With the preference only.", schema="Feedback"),
            204: Answer(description="The vote is withdrawn, or did not exist."),
        },
        represents=True,
        problems=("changed-meanwhile",),
    )


OPERATIONS: Final = (
    _set_operation("set_vote", _ON_MESSAGE, "message"),
    _withdraw_operation("withdraw_vote", _ON_MESSAGE, "message"),
    _set_operation("set_session_vote", _ON_SESSION, "session"),
    _withdraw_operation("withdraw_session_vote", _ON_SESSION, "session"),
    Operation(
        name="list_votes",
        method="GET",
        path="/api/sessions/{session_id}/votes",
        scope=Scope.READ,
        handle=_list,
        summary="List an author's votes in a session",
        description="The votes that are not withdrawn, oldest first, for a widget to restore its state.",
        tag="Votes",
        tokens=True,
        agent_keys=True,
        parameters=("author",),
        answers={200: Answer(description="The votes.", schema="Votes")},
        represents=True,
    ),
)

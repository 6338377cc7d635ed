"""Deciding what may be seen and counted."""

from __future__ import annotations

from typing import Any, Final

from harken import ModerationStatus, Scope
from harken_adapters.hosts.http.messages import Response, answer
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.presenting import feedback_record, page_record
from harken_adapters.hosts.http.reading import FILTERS_IN_ANY_STATE, invalid, json_object

_PATH: Final = "/api/feedback/{feedback_id}/moderation"
_STATUSES: Final = tuple(status.value for status in ModerationStatus)


def _queue(call: Call) -> Response:
    limit, after = call.parameters.integer("limit", 100), call.parameters.cursor()
    page = call.harken.moderation.queue(call.query(), limit=limit, after=after)
    return answer(page_record(call.principal, page))


def _decide(call: Call) -> Response:
    body = json_object(call.request, ("status", "reason", "moderator"))
    if body.get("status") not in _STATUSES:
        raise invalid("status", "unknown", f"status must be one of {', '.join(_STATUSES)}")
    decided = call.harken.moderation.decide(
        call.application,
        call.feedback().id,
        body["status"],
        moderator=_moderator(call, body),
        reason=body.get("reason", ""),
        check=call.check_visible,
    )
    return answer(feedback_record(call.principal, decided))


def _undo(call: Call) -> Response:
    body = json_object(call.request, ("moderator",)) if call.request.body else {}
    moderator = _moderator(call, body)
    undone = call.harken.moderation.undo(
        call.application, call.feedback().id, moderator=moderator, check=call.check_visible
    )
    return answer(feedback_record(call.principal, undone))


def _moderator(call: Call, body: dict[str, Any]) -> Any:
    """Who decides, if somebody is named; else the key by its name, or by its id."""
    key, named = call.principal.key, body.get("moderator")
    return key.name or key.id if named is None and key else named


_DECIDED: Final = Answer(description="The feedback after the decision.", schema="Feedback")
_PROBLEMS: Final = ("not-found", "conflict")
OPERATIONS: Final = (
    Operation(
        name="moderation_queue",
        method="GET",
        path="/api/moderation/queue",
        scope=Scope.MODERATE,
        handle=_queue,
        summary="List what waits for a decision",
        description="What is pending and matches all filters, newest first.",
        tag="Moderation",
        agent_keys=True,
        parameters=("limit", "after"),
        filters=FILTERS_IN_ANY_STATE,
        answers={200: Answer(description="A page.", schema="Page")},
    ),
    Operation(
        name="moderate_feedback",
        method="POST",
        path=_PATH,
        scope=Scope.MODERATE,
        handle=_decide,
        summary="Approve, reject, or set back to pending",
        tag="Moderation",
        agent_keys=True,
        body="Decision",
        example={"status": "rejected", "reason": "advertising"},
        answers={200: _DECIDED},
        problems=_PROBLEMS,
    ),
    Operation(
        name="undo_moderation",
        method="POST",
        path=f"{_PATH}/undo",
        scope=Scope.MODERATE,
        handle=_undo,
        summary="Undo the last decision",
        description="Undoing twice brings the decision back.",
        tag="Moderation",
        agent_keys=True,
        body="Undoing",
        example={"moderator": "kim"},
        answers={200: _DECIDED},
        problems=_PROBLEMS,
    ),
)

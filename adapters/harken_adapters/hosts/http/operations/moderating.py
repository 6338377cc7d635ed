"""Moderation of feedback."""

from __future__ import annotations

from typing import Any, Final

from harken import ModerationStatus, Scope
from harken_adapters.formats.readings import spam_record
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import FILTERS_IN_ANY_STATE, if_match, invalid, json_object
from harken_adapters.hosts.http.wire.records import etag, visible_page, visible_record

_PATH: Final = "/api/feedback/{feedback_id}/moderation"
_STATUSES: Final = tuple(status.value for status in ModerationStatus)


def _queue(call: Call) -> Response:
    limit, after = call.parameters.integer("limit", 100), call.parameters.cursor()
    page = call.harken.moderation.queue(call.query(), limit=limit, after=after)
    return answer(visible_page(call.principal, page) | {"spam": spam_record(call.harken.spam.readings(page.items))})


def _decide(call: Call) -> Response:
    body = json_object(call.request, ("status", "reason", "moderator", "version"))
    if body.get("status") not in _STATUSES:
        raise invalid("status", "unknown", f"status must be one of {', '.join(_STATUSES)}")
    decided = call.harken.moderation.decide(
        call.application,
        call.feedback().id,
        body["status"],
        moderator=_moderator(call, body),
        reason=body.get("reason", ""),
        expected_version=_version(call, body),
        check=call.check_visible,
    )
    return answer(visible_record(call.principal, decided), headers=etag(decided))


def _undo(call: Call) -> Response:
    body = json_object(call.request, ("moderator", "version")) if call.request.body else {}
    undone = call.harken.moderation.undo(
        call.application,
        call.feedback().id,
        moderator=_moderator(call, body),
        expected_version=_version(call, body),
        check=call.check_visible,
    )
    return answer(visible_record(call.principal, undone), headers=etag(undone))


def _moderator(call: Call, body: dict[str, Any]) -> Any:
    """The moderator in the body; by default, the name or id of the API key."""
    key, moderator = call.principal.key, body.get("moderator")
    return key.name or key.id if moderator is None and key else moderator


def _version(call: Call, body: dict[str, Any]) -> int | None:
    """The expected version of the feedback, from the body or If-Match, if given."""
    version, expected = body.get("version"), if_match(call.request)
    if version is None:
        return expected
    # In JSON Schema, 3.0 is an integer too.
    whole = type(version) is int or (isinstance(version, float) and version.is_integer())
    if not (whole and 1 <= version < 2**63):
        raise invalid("version", "type", "version must be the integer version of the feedback, such as 3")
    if expected not in (None, version):
        raise invalid("version", "repeated", "The body and If-Match name different versions; expected one")
    return int(version)


_DECIDED: Final = Answer(
    description="The feedback after the decision.",
    schema="Feedback",
    headers={"ETag": "The version, for the next decision."},
)
_ON_A_VERSION: Final = (
    "Set the version that the moderator saw, as ``version`` or If-Match. If the feedback has changed since then, the "
    "response is 409, and ``current`` has the latest decision. Without a version, a named moderator neither overrides "
    "nor undoes the decision of another named moderator."
)
_PROBLEMS: Final = ("not-found", "conflict")
OPERATIONS: Final = (
    Operation(
        name="moderation_queue",
        method="GET",
        path="/api/moderation/queue",
        scope=Scope.MODERATE,
        handle=_queue,
        summary="List feedback that awaits moderation",
        description=(
            "All pending feedback that matches the filters, newest first. Once moderators have approved 50 comments "
            "and rejected 50, `spam` has the likelihood of a rejection for each entry with a comment."
        ),
        tag="Moderation",
        agent_keys=True,
        parameters=("limit", "after"),
        filters=FILTERS_IN_ANY_STATE,
        answers={200: Answer(description="A page of feedback.", schema="Queue")},
    ),
    Operation(
        name="moderate_feedback",
        method="POST",
        path=_PATH,
        scope=Scope.MODERATE,
        handle=_decide,
        summary="Approve, reject or hold feedback",
        description=_ON_A_VERSION,
        tag="Moderation",
        agent_keys=True,
        body="Decision",
        example={"status": "rejected", "reason": "advertising", "version": 3},
        answers={200: _DECIDED},
        problems=_PROBLEMS,
    ),
    Operation(
        name="undo_moderation",
        method="POST",
        path=f"{_PATH}/undo",
        scope=Scope.MODERATE,
        handle=_undo,
        summary="Undo the last moderation decision",
        description=f"Undoing twice restores the decision. {_ON_A_VERSION}",
        tag="Moderation",
        agent_keys=True,
        body="Undo",
        example={"moderator": "kim"},
        answers={200: _DECIDED},
        problems=_PROBLEMS,
    ),
)

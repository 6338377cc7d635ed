"""Permanent erasure of feedback."""

from __future__ import annotations

from typing import Final

from harken import FeedbackQuery, FeedbackRejected, Scope
from harken.domain.rules import label_problem
from harken_adapters.formats.record import erasure_record
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import json_object
from harken_adapters.hosts.http.wire.problems import Problem

_CONDITIONS: Final = ("session_id", "author", "feedback_id")


def _erase(call: Call) -> Response:
    body = json_object(call.request, _CONDITIONS)
    conditions = {name: value for name, value in body.items() if value is not None}
    if not conditions:
        raise Problem("invalid", f"Specify what to erase: one or more of {', '.join(_CONDITIONS)}")
    named = {"application": call.application, **conditions}
    if problems := [problem for name, value in named.items() if (problem := label_problem(name, value))]:
        raise FeedbackRejected(problems)
    query = FeedbackQuery(application=call.application, **conditions).in_any_state()
    return answer(erasure_record(call.harken.collection.erase(call.visible(query))))


OPERATIONS: Final = (
    Operation(
        name="erase_feedback",
        method="POST",
        path="/api/erasures",
        scope=Scope.ADMIN,
        handle=_erase,
        summary="Erase feedback permanently",
        description=(
            "Erases the feedback of a session or an author, or a single entry by its id, in any state. Several "
            "conditions are combined with AND. With a session, its conversation and metadata are erased too; with an "
            "author, those of sessions in which no other author gave feedback, unless the API key is limited to agents."
            " Alerts that refer to erased feedback are resolved and emptied. Channels that were notified of the "
            "feedback receive `feedback.erased`, which has ids only."
        ),
        tag="Export and erasure",
        agent_keys=True,
        body="Erasure",
        example={"author": "user-7"},
        answers={
            200: Answer(
                description="The number of erased items.",
                schema="Erased",
                example={
                    "erased": 3,
                    "removed": {
                        "feedback": 3,
                        "messages": 12,
                        "agents": 1,
                        "metadata": 2,
                        "alerts": 1,
                        "deliveries": 4,
                    },
                    "kept_sessions": [],
                },
            )
        },
    ),
)

"""Removing feedback for good."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from harken import Erased, FeedbackQuery, FeedbackRejected, Scope
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
        raise Problem("invalid", f"Say what to erase: {', '.join(_CONDITIONS)}; several must all hold")
    named = {"application": call.application, **conditions}
    if problems := [problem for name, value in named.items() if (problem := label_problem(name, value))]:
        raise FeedbackRejected(problems)
    query = FeedbackQuery(application=call.application, **conditions).in_any_state()
    agents = call.principal.agents
    parts = [query] if agents is None else [evolve(query, agent_id=agent) for agent in sorted(agents)]
    erased = sum(map(call.harken.collection.erase, parts), Erased())
    return answer(erasure_record(erased))


OPERATIONS: Final = (
    Operation(
        name="erase_feedback",
        method="POST",
        path="/api/erasures",
        scope=Scope.ADMIN,
        handle=_erase,
        summary="Erase feedback for good",
        description=(
            "Of a session, an author, or one by its id, in whatever state; several conditions must all hold. The "
            "conversation and the metadata of a session are erased with it, and with an author those of sessions in "
            "which nobody else gave feedback, unless the API key is limited to agents. Alerts that list what is erased "
            "are closed and emptied. Channels that know of the feedback are sent `feedback.erased`, which has ids only."
        ),
        tag="Export and erasure",
        agent_keys=True,
        body="Erasure",
        example={"author": "user-7"},
        answers={
            200: Answer(
                description="How much was erased.",
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

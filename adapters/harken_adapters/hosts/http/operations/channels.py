"""Where notifications go: how that fares, and switching it off and on."""

from __future__ import annotations

from typing import Final

from harken import Scope
from harken.domain.rules import text_problem
from harken_adapters.hosts.http.guards.permissions import check_operator
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import invalid, json_object
from harken_adapters.hosts.http.wire.records import channel_record

_PATH: Final = "/api/channels/{channel}"
MAX_REASON: Final = 1_000


def _list(call: Call) -> Response:
    return answer({"channels": list(map(channel_record, call.harken.channels.states()))})


def _on(call: Call) -> Response:
    check_operator(call.principal, call.harken.application)
    return answer(channel_record(call.harken.channels.switch_on(call.part("channel"))))


def _off(call: Call) -> Response:
    check_operator(call.principal, call.harken.application)
    reason = json_object(call.request, ("reason",)).get("reason")
    if problem := text_problem("reason", reason):
        raise invalid(problem.field, problem.code, problem.message)
    if not (isinstance(reason, str) and 0 < len(reason) <= MAX_REASON):
        raise invalid("reason", "range", f"reason must say why, in {MAX_REASON:,} characters at most")
    return answer(channel_record(call.harken.channels.switch_off(call.part("channel"), reason)))


_SHARED: Final = (
    "All applications share the channels, so a key must be for the application that the service is connected for."
)
_ONE: Final = Answer(description="How the channel fares.", schema="Channel")
OPERATIONS: Final = (
    Operation(
        name="list_channels",
        method="GET",
        path="/api/channels",
        scope=Scope.ADMIN,
        handle=_list,
        summary="List the channels",
        description="Those of the settings: whether they are on, and since when they fail.",
        tag="Notifications",
        answers={200: Answer(description="The channels, in the order of the settings.", schema="Channels")},
    ),
    Operation(
        name="switch_channel_on",
        method="POST",
        path=f"{_PATH}/on",
        scope=Scope.ADMIN,
        handle=_on,
        summary="Switch a channel on",
        description=f"What died meanwhile waits until it is sent again. {_SHARED}",
        tag="Notifications",
        answers={200: _ONE},
        problems=("not-found",),
    ),
    Operation(
        name="switch_channel_off",
        method="POST",
        path=f"{_PATH}/off",
        scope=Scope.ADMIN,
        handle=_off,
        summary="Switch a channel off",
        description=f"Nothing is sent there any more; what should be is dead. {_SHARED}",
        tag="Notifications",
        body="SwitchingOff",
        example={"reason": "the receiver moves to another address"},
        answers={200: _ONE},
        problems=("not-found",),
    ),
)

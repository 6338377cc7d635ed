"""Notification channels: their status, and switching them on and off."""

from __future__ import annotations

from typing import Any, Final

from harken import Scope
from harken.services.notifications.channels import ChannelState
from harken_adapters.formats.delivery import channel_record
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import json_object

_PATH: Final = "/api/channels/{channel}"


def _list(call: Call) -> Response:
    since = call.parameters.moment("delivered_since")
    statuses = call.harken.channels.statuses(call.application, since=since)
    return answer({"channels": list(map(channel_record, statuses))})


def _switch_on(call: Call) -> Response:
    return _answer(call, call.harken.channels.switch_on(call.part("channel")))


def _switch_off(call: Call) -> Response:
    reason: Any = json_object(call.request, ("reason",)).get("reason")
    return _answer(call, call.harken.channels.switch_off(call.part("channel"), reason))


def _answer(call: Call, state: ChannelState) -> Response:
    statuses = call.harken.channels.statuses(call.application)
    return answer(next(channel_record(one) for one in statuses if one.state.name == state.name))


_SHARED: Final = "All applications share the channels, so an API key must be for the default application of the server."
_ONE: Final = Answer(description="The status of the channel.", schema="Channel")
OPERATIONS: Final = (
    Operation(
        name="list_channels",
        method="GET",
        path="/api/channels",
        scope=Scope.ADMIN,
        handle=_list,
        summary="List channels",
        description=(
            "The channels: whether they are on, since when deliveries have been failing, and how many deliveries of "
            "the application are pending, dead or delivered. Removed channels that still have deliveries come last."
        ),
        tag="Notifications",
        parameters=("delivered_since",),
        answers={200: Answer(description="The channels, in the order of the settings.", schema="Channels")},
    ),
    Operation(
        name="switch_channel_on",
        method="POST",
        path=f"{_PATH}/on",
        scope=Scope.ADMIN,
        operator=True,
        handle=_switch_on,
        summary="Switch a channel on",
        description=f"Dead deliveries are not sent again automatically; replay them. {_SHARED}",
        tag="Notifications",
        answers={200: _ONE},
        problems=("not-found",),
    ),
    Operation(
        name="switch_channel_off",
        method="POST",
        path=f"{_PATH}/off",
        scope=Scope.ADMIN,
        operator=True,
        handle=_switch_off,
        summary="Switch a channel off",
        description=f"Nothing more is sent to the channel, and its deliveries become dead. {_SHARED}",
        tag="Notifications",
        body="SwitchOff",
        example={"reason": "the receiver is being moved"},
        answers={200: _ONE},
        problems=("not-found",),
    ),
)

"""Deliveries of notifications, and replaying them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harken import Scope
from harken.domain.events import Delivery, DeliveryState
from harken.domain.routes import name_problem
from harken_adapters.formats.delivery import delivery_record
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import invalid, json_object, moment

_PATH: Final = "/api/deliveries/{delivery_id}"
_STATES: Final = tuple(state.value for state in DeliveryState)
_REPLAYED_BY: Final = ("state", "channel", "route", "since", "until")


def _list(call: Call) -> Response:
    limit, after = call.parameters.integer("limit", 100), call.parameters.get("after") or None
    if after is not None:
        # Raises if the id is that of a delivery of another application.
        call.harken.deliveries.get(after, application=call.application)
    found = _page(call, limit, after)
    more = len(found) == limit and _page(call, 1, found[-1].id)
    following = found[-1].id if more else None
    document = {"deliveries": list(map(delivery_record, found)), "next": following}
    return answer(document, headers=call.link_to_next(following))


def _page(call: Call, limit: int, after: str | None) -> Sequence[Delivery]:
    state = _state(call.parameters.get("state", DeliveryState.DEAD.value))
    channel = call.parameters.get("channel")
    if channel is not None and (problem := name_problem("channel", channel)):
        raise invalid("channel", "name", problem)
    return call.harken.deliveries.find(state, limit=limit, after=after, application=call.application, channel=channel)


def _get(call: Call) -> Response:
    return answer(delivery_record(_own(call)))


def _replay(call: Call) -> Response:
    delivery = call.harken.deliveries.replay(call.part("delivery_id"), application=call.application)
    return answer(delivery_record(delivery))


def _replay_all(call: Call) -> Response:
    body = json_object(call.request, _REPLAYED_BY) if call.request.body else {}
    for name in ("channel", "route"):
        if body.get(name) is not None and (problem := name_problem(name, body[name])):
            raise invalid(name, "name", problem)
    replayed = call.harken.deliveries.replay_all(
        _state(body.get("state", DeliveryState.DEAD.value)),
        application=call.application,
        channel=body.get("channel"),
        route=body.get("route"),
        since=moment("since", body.get("since")),
        until=moment("until", body.get("until")),
    )
    return answer({"replayed": replayed})


def _state(value: object) -> DeliveryState:
    if value not in _STATES:
        raise invalid("state", "unknown", f"state must be one of {', '.join(_STATES)}; got {str(value)[:100]!a}")
    return DeliveryState(value)


def _own(call: Call) -> Delivery:
    return call.harken.deliveries.get(call.part("delivery_id"), application=call.application)


_ONE: Final = Answer(description="The delivery.", schema="Delivery")
OPERATIONS: Final = (
    Operation(
        name="list_deliveries",
        method="GET",
        path="/api/deliveries",
        scope=Scope.ADMIN,
        handle=_list,
        summary="List deliveries",
        description=(
            "Deliveries in one state, the earliest due first. ``after`` is the id of a delivery; once that delivery "
            "has been sent again, start from the first page."
        ),
        tag="Notifications",
        parameters=("state", "channel", "limit", "after"),
        answers={
            200: Answer(
                description="A page of deliveries.",
                schema="Deliveries",
                headers={"Link": "The next page, if there is one."},
            )
        },
        problems=("not-found",),
    ),
    Operation(
        name="get_delivery",
        method="GET",
        path=_PATH,
        scope=Scope.ADMIN,
        handle=_get,
        summary="Get a delivery",
        description="The delivery of one event to one channel, in any state.",
        tag="Notifications",
        answers={200: _ONE},
        problems=("not-found",),
    ),
    Operation(
        name="replay_delivery",
        method="POST",
        path=f"{_PATH}/replay",
        scope=Scope.ADMIN,
        handle=_replay,
        summary="Replay a delivery",
        description="In any state. It is sent with the same id and current data, and its retries start again.",
        tag="Notifications",
        answers={200: _ONE},
        problems=("not-found",),
    ),
    Operation(
        name="replay_deliveries",
        method="POST",
        path="/api/deliveries/replay",
        scope=Scope.ADMIN,
        handle=_replay_all,
        summary="Replay dead deliveries",
        description=(
            "Replays all deliveries that match all conditions: in another ``state`` instead of dead, of a channel or "
            "route, or of a period. Delivered ones are kept for a week."
        ),
        tag="Notifications",
        body="Replay",
        example={"channel": "support"},
        answers={
            200: Answer(description="The number of replayed deliveries.", schema="Replayed", example={"replayed": 3})
        },
        problems=("not-found",),
    ),
)

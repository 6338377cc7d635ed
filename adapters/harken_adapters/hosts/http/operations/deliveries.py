"""What is on its way to channels, what did not arrive, and sending that again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harken import Scope
from harken.domain.events import Delivery, DeliveryState
from harken.domain.routing import name_problem
from harken_adapters.hosts.http.messages import Response, answer
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.presenting import delivery_record
from harken_adapters.hosts.http.problems import Problem
from harken_adapters.hosts.http.reading import invalid, json_object

_PATH: Final = "/api/deliveries/{delivery_id}"
_STATES: Final = tuple(state.value for state in DeliveryState)


def _list(call: Call) -> Response:
    limit, after = call.parameters.integer("limit", 100), call.parameters.get("after") or None
    if after is not None:
        # The id of another application's delivery is no place here.
        call.harken.deliveries.get(after, application=call.application)
    found = _page(call, limit, after)
    more = len(found) == limit and _page(call, 1, found[-1].id)
    following = found[-1].id if more else None
    document = {"deliveries": list(map(delivery_record, found)), "next": following}
    return answer(document, headers=call.link_to_next(following))


def _page(call: Call, limit: int, after: str | None) -> Sequence[Delivery]:
    state = call.parameters.get("state", DeliveryState.DEAD.value)
    if state not in _STATES:
        raise invalid("state", "unknown", f"state must be one of {', '.join(_STATES)}; got {state[:100]!a}")
    channel = call.parameters.get("channel")
    if channel is not None and (problem := name_problem("channel", channel)):
        raise invalid("channel", "name", problem)
    return call.harken.deliveries.find(
        DeliveryState(state), limit=limit, after=after, application=call.application, channel=channel
    )


def _get(call: Call) -> Response:
    return answer(delivery_record(_own(call)))


def _replay(call: Call) -> Response:
    delivery = _own(call)
    if delivery.state is not DeliveryState.DEAD:
        raise Problem("conflict", f"This delivery is {delivery.state.value}; only a dead one can be sent again")
    return answer(delivery_record(call.harken.deliveries.replay(delivery.id, application=call.application)))


def _replay_all(call: Call) -> Response:
    body = json_object(call.request, ("channel",)) if call.request.body else {}
    channel = body.get("channel")
    if channel is not None and (problem := name_problem("channel", channel)):
        raise invalid("channel", "name", problem)
    return answer({"replayed": call.harken.deliveries.replay_all(application=call.application, channel=channel)})


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
        summary="List what is on its way, or did not arrive",
        description=(
            "Deliveries in one state, the earliest due first. ``after`` is the place where a delivery stands now: "
            "once it was sent again, begin anew."
        ),
        tag="Notifications",
        parameters=("state", "channel", "limit", "after"),
        answers={
            200: Answer(
                description="A page.",
                schema="Deliveries",
                headers={"Link": "Where the next page is, if there is one."},
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
        summary="Show a delivery",
        description="One event on its way to one channel, whatever became of it.",
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
        summary="Send a dead delivery again",
        description="Under its old id, and from the beginning of the schedule.",
        tag="Notifications",
        answers={200: _ONE},
        problems=("not-found", "conflict"),
    ),
    Operation(
        name="replay_deliveries",
        method="POST",
        path="/api/deliveries/replay",
        scope=Scope.ADMIN,
        handle=_replay_all,
        summary="Send everything that is dead again",
        description="Or what of it was on its way to one channel.",
        tag="Notifications",
        body="Replaying",
        example={"channel": "support"},
        answers={200: Answer(description="How many there were.", schema="Replayed", example={"replayed": 3})},
    ),
)

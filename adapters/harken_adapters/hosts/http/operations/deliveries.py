"""Deliveries of notifications, and replaying them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from harken import Scope
from harken.domain.events import Delivery, DeliveryState, EventType
from harken.domain.routes import name_problem
from harken.domain.rules import text_problem
from harken.domain.texts import no_such
from harken.services.notifications.deliveries import MAX_IDS, DeliveryFilters
from harken_adapters.formats.delivery import delivery_record, summary_record
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import invalid, json_object, moment

_PATH: Final = "/api/deliveries/{delivery_id}"
_STATES: Final = tuple(state.value for state in DeliveryState)
_TYPES: Final = tuple(type_.value for type_ in EventType)
#: Deliveries in all states.
ANY: Final = "any"
#: The filters of deliveries, in the query string and in the body of a replay.
FILTERS: Final = ("channel", "type", "feedback_id", "alert_id", "cause")
_REPLAYED_BY: Final = ("state", *FILTERS, "route", "since", "until", "as_of", "at_most", "ids")


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
    filters = _filters(call, {name: call.parameters.get(name) for name in FILTERS})
    # All that happened to one feedback entry or alert is of interest.
    about_one = filters.keys() & {"feedback_id", "alert_id"}
    state = call.parameters.get("state", ANY if about_one else DeliveryState.DEAD.value)
    return call.harken.deliveries.find(
        None if state == ANY else _state(state),
        limit=limit,
        after=after,
        newest_first=call.parameters.truth("newest_first") or False,
        **filters,
    )


def _summarize(call: Call) -> Response:
    filters = _filters(call, {name: call.parameters.get(name) for name in FILTERS})
    since = call.parameters.moment("delivered_since")
    return answer(summary_record(call.harken.deliveries.summary(since=since, **filters)))


def _get(call: Call) -> Response:
    return answer(delivery_record(_own(call)))


def _replay(call: Call) -> Response:
    delivery = call.harken.deliveries.replay(call.part("delivery_id"), application=call.application)
    return answer(delivery_record(delivery))


def _replay_selected(call: Call) -> Response:
    body = json_object(call.request, _REPLAYED_BY) if call.request.body else {}
    given = {name: value for name, value in body.items() if value is not None}
    if "ids" in given:
        return _replay_ids(call, given)
    if "route" in given and (problem := name_problem("route", given["route"])):
        raise invalid("route", "name", problem)
    replayed = call.harken.deliveries.replay_all(
        _state(body.get("state", DeliveryState.DEAD.value)),
        route=given.get("route"),
        since=moment("since", given.get("since")),
        until=moment("until", given.get("until")),
        as_of=moment("as_of", given.get("as_of")),
        at_most=_at_most(given.get("at_most")),
        **_filters(call, {name: given.get(name) for name in FILTERS}),
    )
    return answer({"replayed": replayed})


def _at_most(value: Any) -> int | None:
    # Not isinstance: bool is a subclass of int. In JSON, 3.0 is an integer too.
    if value is None or (type(value) in (int, float) and value >= 0 and value == int(value)):
        return None if value is None else int(value)
    raise invalid("at_most", "type", "at_most must be an integer that is not negative")


def _replay_ids(call: Call, given: Mapping[str, object]) -> Response:
    ids = given["ids"]
    if len(given) > 1:
        raise invalid("ids", "conflict", "ids cannot be combined with other conditions; omit either of them")
    if not (isinstance(ids, list) and len(ids) <= MAX_IDS and all(isinstance(one, str) for one in ids)):
        raise invalid("ids", "type", f"ids must be an array of at most {MAX_IDS:,} strings")
    return answer({"replayed": len(call.harken.deliveries.replay_many(ids, application=call.application))})


def _filters(call: Call, values: Mapping[str, object]) -> DeliveryFilters:
    """The filters with these values, those that are not ``None``.

    Raises:
        Problem: a value is invalid.
    """
    filters: DeliveryFilters = {"application": call.application}
    for name, value in values.items():
        if value is None:
            continue
        if problem := text_problem(name, value):
            raise invalid(name, problem.code, problem.message)
        if name == "channel" and (wrong := name_problem(name, value)):
            raise invalid(name, "name", wrong)
        if name == "type" and value not in _TYPES:
            raise invalid(name, "unknown", no_such("type", str(value)[:100], _TYPES))
        filters[name] = value  # type: ignore[literal-required] # one of FILTERS
    return filters


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
            "Deliveries in one state or in any, the earliest due first, each with its latest attempts. ``after`` is "
            "the id of a delivery; once that delivery has been sent again, start from the first page."
        ),
        tag="Notifications",
        parameters=("state", *FILTERS, "newest_first", "limit", "after"),
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
        name="summarize_deliveries",
        method="GET",
        path="/api/deliveries/summary",
        scope=Scope.ADMIN,
        handle=_summarize,
        summary="Count deliveries",
        description=(
            "The numbers of deliveries by state and channel, and the causes of dead ones, the most common first. "
            "To replay no more than was counted, pass ``as_of`` and the number as ``at_most``."
        ),
        tag="Notifications",
        parameters=(*FILTERS, "delivered_since"),
        answers={200: Answer(description="The numbers and causes.", schema="DeliverySummary")},
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
        description=(
            "In any state. It is sent with the same id and current data, and its retries start again. Refused "
            "while its channel is off."
        ),
        tag="Notifications",
        answers={200: _ONE},
        problems=("not-found", "conflict"),
    ),
    Operation(
        name="replay_deliveries",
        method="POST",
        path="/api/deliveries/replay",
        scope=Scope.ADMIN,
        handle=_replay_selected,
        summary="Replay dead deliveries",
        description=(
            "Replays all deliveries that match all conditions: in another ``state`` instead of dead, of a channel or "
            "route, with a cause, or of a period; or those with these ``ids``. Delivered ones are kept for a week. "
            "If one of them is to a channel that is off, nothing is replayed."
        ),
        tag="Notifications",
        body="Replay",
        example={"channel": "support"},
        answers={
            200: Answer(description="The number of replayed deliveries.", schema="Replayed", example={"replayed": 3})
        },
        problems=("not-found", "conflict"),
    ),
)

"""Alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from harken import Scope
from harken.domain.alerts.alert import Alert
from harken.domain.rules import text_problem
from harken_adapters.formats.notification import alert_details
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import invalid


def _list(call: Call) -> Response:
    limit, after = call.parameters.integer("limit", 100), call.parameters.get("after")
    found = _page(call, limit, call.harken.alerts.get(call.application, after) if after else None)
    more = len(found) == limit and _page(call, 1, found[-1])
    following = found[-1].id if more else None
    document = {"alerts": [_record(call, alert) for alert in found], "next": following}
    return answer(document, headers=call.link_to_next(following))


def _page(call: Call, limit: int, after: Alert | None) -> Sequence[Alert]:
    rule = call.parameters.get("rule")
    if rule is not None and (problem := text_problem("rule", rule)):
        raise invalid("rule", problem.code, problem.message)
    return call.harken.alerts.find(
        call.application,
        limit=limit,
        after=after,
        open=call.parameters.truth("open"),
        rule=rule,
        since=call.parameters.moment("since"),
    )


def _get(call: Call) -> Response:
    return answer(_record(call, call.harken.alerts.get(call.application, call.part("alert_id"))))


def _record(call: Call, alert: Alert) -> dict[str, Any]:
    return alert_details(alert, call.harken.alerts.selection(alert))


OPERATIONS: Final = (
    Operation(
        name="list_alerts",
        method="GET",
        path="/api/alerts",
        scope=Scope.READ,
        handle=_list,
        summary="List alerts",
        description="Open and resolved alerts, the most recently raised first.",
        tag="Alerts",
        parameters=("open", "rule", "since", "limit", "after"),
        answers={
            200: Answer(
                description="A page of alerts.",
                schema="Alerts",
                headers={"Link": "The next page, if there is one."},
            )
        },
        problems=("not-found",),
    ),
    Operation(
        name="get_alert",
        method="GET",
        path="/api/alerts/{alert_id}",
        scope=Scope.READ,
        handle=_get,
        summary="Get an alert",
        tag="Alerts",
        answers={200: Answer(description="The alert.", schema="Alert")},
        problems=("not-found",),
    ),
)

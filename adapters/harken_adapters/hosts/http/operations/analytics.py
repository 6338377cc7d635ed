"""Statistics."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from harken import Scope
from harken.domain.query import GroupKey
from harken.domain.themes import KEYWORDS
from harken_adapters.formats.statistics import By, comparison_record, parse_group, summary_record, trend_points
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import FILTERS, invalid

_MOST_KEYWORDS: Final = 50


def _summary(call: Call) -> Response:
    query, by = call.query(), call.parameters.get("by")
    if by is None:
        return answer(summary_record(call.harken.analytics.summary(query)))
    group_by = parse_group(by, over_time="/api/analytics/trend")
    groups = call.harken.analytics.groups(query, group_by)
    return answer({"by": by, "groups": [{"key": _key(key)} | summary_record(one) for key, one in groups.items()]})


def _key(key: GroupKey) -> str | None:
    return key.isoformat() if isinstance(key, datetime) else key


def _trend(call: Call) -> Response:
    word, zone = call.parameters.get("by", By.DAY.value), call.parameters.get("zone", "UTC")
    if word not in (known := [by.value for by in By]):
        raise invalid("by", "unknown", f"by must be one of {', '.join(known)}; got {word[:100]!a}")
    points = trend_points(call.harken, call.query(), By(word), zone)
    return answer({"by": word, "zone": zone, "points": [point | summary_record(one) for point, one in points]})


def _themes(call: Call) -> Response:
    keywords = call.parameters.all("keyword") or KEYWORDS
    if len(keywords) > _MOST_KEYWORDS or not all(keywords):
        raise invalid("keyword", "range", f"keyword must be given at most {_MOST_KEYWORDS} times and must not be empty")
    found = call.harken.analytics.themes(call.query(), keywords)
    return answer({"themes": [{"keyword": theme.keyword, "mentions": theme.mentions} for theme in found]})


def _compare(call: Call) -> Response:
    before, after = (call.query(side) for side in ("before.", "after."))
    return answer(comparison_record(call.harken.analytics.compare(before, after)))


OPERATIONS: Final = (
    Operation(
        name="analytics_summary",
        method="GET",
        path="/api/analytics/summary",
        scope=Scope.READ,
        handle=_summary,
        summary="Get statistics",
        description="Of all matching feedback or, with ``by`` (agent, session, tag or context.NAME), of each group.",
        tag="Analytics",
        agent_keys=True,
        parameters=("by",),
        filters=FILTERS,
        answers={200: Answer(description="The statistics.", schema="StatisticsOrGroups")},
    ),
    Operation(
        name="analytics_trend",
        method="GET",
        path="/api/analytics/trend",
        scope=Scope.READ,
        handle=_trend,
        summary="Get statistics over time",
        description="By hour, day, week, hour-of-day or weekday, in any IANA time zone.",
        tag="Analytics",
        agent_keys=True,
        parameters=("by", "zone"),
        filters=FILTERS,
        answers={200: Answer(description="The points, oldest first.", schema="Trend")},
    ),
    Operation(
        name="analytics_themes",
        method="GET",
        path="/api/analytics/themes",
        scope=Scope.READ,
        handle=_themes,
        summary="Count keywords in negative feedback",
        description="Counts each ``keyword``, which may be repeated; by default, those of a built-in list.",
        tag="Analytics",
        agent_keys=True,
        parameters=("keyword",),
        filters=FILTERS,
        answers={200: Answer(description="The keywords, the most frequent first.", schema="Themes")},
    ),
    Operation(
        name="analytics_compare",
        method="GET",
        path="/api/analytics/compare",
        scope=Scope.READ,
        handle=_compare,
        summary="Compare two selections of feedback",
        description=(
            "A filter with the prefix ``before.`` or ``after.``, such as ``before.until`` and ``after.since``, applies "
            "to that selection; a filter without a prefix applies to both."
        ),
        tag="Analytics",
        agent_keys=True,
        filters=FILTERS,
        sides=True,
        answers={
            200: Answer(
                description="The statistics of both, and whether the change is significant.", schema="Comparison"
            )
        },
    ),
)

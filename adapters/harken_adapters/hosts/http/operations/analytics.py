"""Statistics."""

from __future__ import annotations

from functools import partial
from typing import Final

from harken import ComparedPeriods, GroupBy, Period, Scope
from harken.domain.query import Dimension
from harken_adapters.charts.comparison import ranking_sentence
from harken_adapters.charts.headline import headline_details, headline_title
from harken_adapters.formats.readings import survey_record
from harken_adapters.formats.statistics import (
    By,
    changes_record,
    compared_groups_record,
    facets_record,
    group_key,
    headline_record,
    heat_map_record,
    issues_record,
    keywords_record,
    mix_record,
    parse_group,
    ranking_record,
    recurring_points,
    recurring_record,
    themes_record,
)
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import FILTERS, invalid
from harken_adapters.hosts.http.wire.records import visible_record

_MOST_KEYWORDS: Final = 50
_DEFAULT_THEMES: Final = 15
_DEFAULT_REASONS: Final = 10
_SIDES: Final = ("before.", "after.")
_BY_AGENT: Final = GroupBy(Dimension.AGENT)


def _summary(call: Call) -> Response:
    query, by = call.query(), call.parameters.get("by")
    if by is None:
        return answer(call.harken.analytics.estimate(query).to_dict())
    groups = call.harken.analytics.estimate_groups(query, _group_by(by))
    return answer({"by": by, "groups": [{"key": group_key(key)} | one.to_dict() for key, one in groups.items()]})


def _group_by(by: str) -> GroupBy:
    return parse_group(by, over_time="/api/analytics/trend")


def _trend(call: Call) -> Response:
    word, zone = call.parameters.get("by", By.DAY.value), call.parameters.get("zone", "UTC")
    if word not in (known := [by.value for by in By]):
        raise invalid("by", "unknown", f"by must be one of {', '.join(known)}; got {word[:100]!a}")
    by, query = By(word), call.query()
    if by.recurs:
        return answer(recurring_record(by, zone, recurring_points(call.harken, query, by, zone)))
    return answer(call.harken.analytics.trend(query, Period(word), zone).to_dict())


def _themes(call: Call) -> Response:
    query, keywords = call.query(), call.parameters.all("keyword")
    if len(keywords) > _MOST_KEYWORDS or not all(keywords):
        raise invalid("keyword", "range", f"keyword must be given at most {_MOST_KEYWORDS} times and must not be empty")
    if keywords:
        return answer(keywords_record(call.harken.analytics.keywords(query, keywords)))
    found = call.harken.analytics.themes(query, limit=call.parameters.integer("limit", _DEFAULT_THEMES))
    return answer(themes_record(found, partial(visible_record, call.principal)))


def _sentiment(call: Call) -> Response:
    survey = call.harken.sentiment.survey(call.query(), limit=call.parameters.integer("limit", 100))
    return answer(survey_record(survey, partial(visible_record, call.principal)))


def _compare(call: Call) -> Response:
    analytics = call.harken.analytics
    before, after = (call.query(side) for side in _SIDES)
    if before == after:
        if after.since is None:
            message = "Both selections are the same; add since, or filters of one of them, such as before.agent_id"
            raise invalid("since", "missing", message)
        before = analytics.previous_period(after)
    mix = analytics.mix(before, after, _BY_AGENT) if before.agent_id == after.agent_id else None
    return answer(analytics.compare(before, after).to_dict() | {"mix": mix_record(mix)})


def _compare_groups(call: Call) -> Response:
    by = call.parameters.get("by", Dimension.AGENT.value)
    return answer(compared_groups_record(by, call.harken.analytics.compare_groups(call.query(), _group_by(by))))


def _heat_map(call: Call) -> Response:
    zone, by_dates = call.parameters.get("zone", "UTC"), call.parameters.truth("prefer_dates")
    cells = call.harken.analytics.heat_map(call.query(), zone, prefer_dates=bool(by_dates))
    return answer(heat_map_record(zone, cells))


def _changes(call: Call) -> Response:
    zone = call.parameters.get("zone", "UTC")
    return answer(changes_record(zone, call.harken.analytics.changes(call.query(), zone)))


def _periods(call: Call) -> ComparedPeriods:
    zone, weekdays = call.parameters.get("zone", "UTC"), call.parameters.truth("same_weekdays")
    return call.harken.analytics.periods(call.query(), zone, same_weekdays=bool(weekdays))


def _headline(call: Call) -> Response:
    found = call.harken.analytics.headline(_periods(call))
    words = {"title": headline_title(found), "details": list(headline_details(found))}
    return answer(words | headline_record(found))


def _reasons(call: Call) -> Response:
    limit = call.parameters.integer("limit", _DEFAULT_REASONS)
    found = call.harken.analytics.reasons(_periods(call), limit=limit)
    return answer(issues_record(found, partial(visible_record, call.principal)))


def _ranking(call: Call) -> Response:
    by = call.parameters.get("by", Dimension.AGENT.value)
    found = call.harken.analytics.ranking(_periods(call), _group_by(by))
    return answer(ranking_record(by, found) | {"sentence": ranking_sentence(found, by)})


def _facets(call: Call) -> Response:
    # A key that is limited to agents must not see others.
    keep_agents = call.principal.agents is not None
    return answer(facets_record(call.harken.analytics.facets(call.query(), keep_agents=keep_agents)))


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
        description=(
            "By hour, 3-hours, 6-hours, day, week, hour-of-day or weekday, in any IANA time zone. 3-hours and 6-hours "
            "begin at multiples of 3 and 6 on the local clock."
        ),
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
        summary="Find the themes of negative feedback",
        description=(
            "What the comments of thumbs-down feedback are about, with examples; with ``since``, also how this changed "
            "since the previous period, which is as long. With ``keyword``, which may be repeated, the number of "
            "comments that contain each keyword instead."
        ),
        tag="Analytics",
        agent_keys=True,
        parameters=("keyword", "limit"),
        filters=FILTERS,
        answers={
            200: Answer(
                description="The themes, the most important first, or the keywords, the most frequent first.",
                schema="ThemesOrKeywords",
            )
        },
    ),
    Operation(
        name="analytics_sentiment",
        method="GET",
        path="/api/analytics/sentiment",
        scope=Scope.READ,
        handle=_sentiment,
        summary="Average how comments read",
        description=(
            "The average likelihood of a thumbs-up, learned from ratings, and feedback whose comment contradicts its "
            "rating. Of the matching comments, the newest 20,000 are read."
        ),
        tag="Analytics",
        agent_keys=True,
        parameters=("limit",),
        filters=FILTERS,
        answers={200: Answer(description="The averages, and the newest contradictions.", schema="SentimentSurvey")},
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
            "to that selection; a filter without a prefix applies to both. If both selections are the same, the period "
            "from ``since`` to ``until`` is compared with the previous period, which is as long."
        ),
        tag="Analytics",
        agent_keys=True,
        filters=FILTERS,
        sides=True,
        answers={
            200: Answer(description="The statistics of both, and whether satisfaction changed.", schema="Comparison")
        },
    ),
    Operation(
        name="analytics_groups",
        method="GET",
        path="/api/analytics/groups",
        scope=Scope.READ,
        handle=_compare_groups,
        summary="Compare groups of feedback",
        description=(
            "Each group by agent (the default), session, tag or context.NAME, compared with all others together. A "
            "verdict is given only to groups that differ by more than chance among all of them."
        ),
        tag="Analytics",
        agent_keys=True,
        parameters=("by",),
        filters=FILTERS,
        answers={200: Answer(description="The groups, the largest first.", schema="ComparedGroups")},
    ),
    Operation(
        name="analytics_heat_map",
        method="GET",
        path="/api/analytics/heat-map",
        scope=Scope.READ,
        handle=_heat_map,
        summary="Get statistics by weekday and hour",
        description="Of each hour of the local week that has feedback, and whether it differs by more than chance.",
        tag="Analytics",
        agent_keys=True,
        parameters=("zone", "prefer_dates"),
        filters=FILTERS,
        answers={200: Answer(description="The hours, in order.", schema="HeatMap")},
    ),
    Operation(
        name="analytics_changes",
        method="GET",
        path="/api/analytics/changes",
        scope=Scope.READ,
        handle=_changes,
        summary="Find the days on which satisfaction changed",
        description="Of the last 365 days that have feedback.",
        tag="Analytics",
        agent_keys=True,
        parameters=("zone",),
        filters=FILTERS,
        answers={200: Answer(description="The changes, oldest first.", schema="Changes")},
    ),
    Operation(
        name="analytics_headline",
        method="GET",
        path="/api/analytics/headline",
        scope=Scope.READ,
        handle=_headline,
        summary="Say what changed",
        description=(
            "What changed in a period since the one before, since when, which reason or theme grew most, and which new "
            "or vanished agents would mislead; as values and in words. Without ``since``, of the last 28 days. A "
            "period that has not ended is compared with the same part of the one before. With ``same_weekdays``, that "
            "one is a whole number of weeks earlier."
        ),
        tag="Analytics",
        agent_keys=True,
        parameters=("zone", "same_weekdays"),
        filters=FILTERS,
        answers={200: Answer(description="The headline.", schema="Headline")},
    ),
    Operation(
        name="analytics_reasons",
        method="GET",
        path="/api/analytics/reasons",
        scope=Scope.READ,
        handle=_reasons,
        summary="Count the reasons of negative feedback",
        description=(
            "The tags of thumbs-down feedback, each with its share, its change since the previous period and an "
            "example. Counted in the newest 20,000 thumbs-down entries of the periods of ``headline``."
        ),
        tag="Analytics",
        agent_keys=True,
        parameters=("limit", "zone", "same_weekdays"),
        filters=FILTERS,
        answers={200: Answer(description="The reasons, the most frequent first.", schema="Issues")},
    ),
    Operation(
        name="analytics_ranking",
        method="GET",
        path="/api/analytics/ranking",
        scope=Scope.READ,
        handle=_ranking,
        summary="Rank groups by satisfaction",
        description=(
            "Each agent (the default) or value of context.NAME with its satisfaction and change since the previous "
            "period, and whether the best ones differ by more than chance. The periods are those of ``headline``."
        ),
        tag="Analytics",
        agent_keys=True,
        parameters=("by", "zone", "same_weekdays"),
        filters=FILTERS,
        answers={200: Answer(description="The groups, the best first.", schema="Ranking")},
    ),
    Operation(
        name="analytics_facets",
        method="GET",
        path="/api/analytics/facets",
        scope=Scope.READ,
        handle=_facets,
        summary="List the values to filter by",
        description=(
            "Agents, tags and context values with the number of entries of each, in the newest 5,000 entries. Each "
            "filter is ignored for its own values. Context names with more than 50 values are left out."
        ),
        tag="Analytics",
        agent_keys=True,
        filters=FILTERS,
        answers={200: Answer(description="The values, the most frequent first.", schema="Facets")},
    ),
)

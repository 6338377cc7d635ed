"""Statistics as JSON values, for all hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from harken import (
    Cell,
    Comparison,
    Estimate,
    Facets,
    Feedback,
    FeedbackQuery,
    Finding,
    FoundTheme,
    GroupBy,
    Growth,
    Harken,
    Headline,
    InvalidQuery,
    Issue,
    Issues,
    Keyword,
    Mix,
    Period,
    Proportion,
    ProportionChange,
    RankedGroup,
    Ranking,
    ResponseTime,
    SatisfactionChange,
    Silence,
    Summary,
    Theme,
    Themes,
    Trend,
    TrendPoint,
    Verdict,
)
from harken.domain.insight.best_groups import best_groups
from harken.domain.query import Dimension, GroupKey
from harken.domain.texts import did_you_mean
from harken.domain.trend import zone_named

T = TypeVar("T")

#: The sums of a summary besides the ratings and the counts by hour.
_SUMS: Final = ("comments", "comment_characters", "sentiments", "polarity_millionths", "subjectivity_millionths")
#: The verdicts on the shares of issues, by :attr:`.Issue.direction`.
VERDICTS_OF_DIRECTIONS: Final = {1: "more frequent", -1: "rarer", 0: Verdict.UNDECIDED.value}
_GROUPS: Final = ("agent", "session", "tag", "context.NAME")
_DIRECTIONS_OF_VERDICTS: Final = {verdict: direction for direction, verdict in VERDICTS_OF_DIRECTIONS.items()}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class By(Enum):
    """The points of a trend: consecutive periods, or a recurring hour or weekday."""

    HOUR = "hour"
    THREE_HOURS = "3-hours"
    SIX_HOURS = "6-hours"
    DAY = "day"
    WEEK = "week"
    HOUR_OF_DAY = "hour-of-day"
    WEEKDAY = "weekday"

    @property
    def recurs(self) -> bool:
        """Whether the points are recurring."""
        return self in {By.HOUR_OF_DAY, By.WEEKDAY}


# --- out --------------------------------------------------------------------------------------------------------------


def session_statistics(session_id: str, summary: Summary) -> dict[str, Any]:
    """The statistics of a session, with the satisfaction in percent, rounded to a tenth."""
    return {
        "session_id": session_id,
        "total_feedbacks": summary.total,
        "positive": summary.positive,
        "negative": summary.negative,
        "neutral": summary.neutral,
        "satisfaction_score": round(summary.satisfaction, 1),
    }


Points = Sequence[tuple[dict[str, Any], Estimate]]


def recurring_points(hk: Harken, query: FeedbackQuery, by: By, zone: str) -> Points:
    """The points of a trend by hour of day or weekday: the JSON keys that identify each, and its estimate."""
    if by is By.HOUR_OF_DAY:
        return [({"hour": hour}, one) for hour, one in enumerate(hk.analytics.by_hour_of_day(query, zone))]
    return [({"weekday": day}, one) for day, one in zip(WEEKDAYS, hk.analytics.by_weekday(query, zone), strict=True)]


def recurring_record(by: By, zone: str, points: Points) -> dict[str, Any]:
    """Such points in the form of :meth:`.Trend.to_dict`."""
    return {"by": by.value, "zone": zone, "points": [point | one.to_dict() for point, one in points]}


def period_points(trend: Iterable[TrendPoint]) -> Points:
    """The same for the points of a trend by period."""
    return [(one.span, one.estimate) for one in trend]


def parse_group(text: str, *, over_time: str) -> GroupBy:
    """The grouping for ``"agent"``, ``"session"``, ``"tag"`` or ``"context.<name>"``.

    Args:
        text: one of these.
        over_time: what gives statistics over time, for the error message about ``"slot"``.

    Raises:
        InvalidQuery: the text is not one of these.
    """
    try:
        group_by = GroupBy.parse(text)
    except InvalidQuery:
        similar = did_you_mean(text, _GROUPS)
        expected = f"{', '.join(_GROUPS[:-1])} or {_GROUPS[-1]}"
        raise InvalidQuery(f"Cannot group by {text[:100]!a}{similar}; expected {expected}") from None
    if group_by.dimension is Dimension.SLOT:
        raise InvalidQuery(f"For statistics over time, use {over_time}")
    return group_by


def mix_record(mix: Mix[GroupKey] | None) -> dict[str, Any] | None:
    """The agents that only one of two selections has, and the comparison without them; ``None`` if there are none."""
    if mix is None or not (mix.new or mix.gone):
        return None
    return {
        "new": [group_key(key) for key in mix.new],
        "gone": [group_key(key) for key in mix.gone],
        "without": mix.without.to_dict(),
    }


def group_key(key: GroupKey) -> str | None:
    """The key of a group as a JSON value."""
    return key.isoformat() if isinstance(key, datetime) else key


def compared_groups_record(by: str, groups: Mapping[GroupKey, Comparison]) -> dict[str, Any]:
    """Each group (``after``) compared with the others together (``before``)."""
    return {"by": by, "groups": [{"key": group_key(key)} | one.to_dict() for key, one in groups.items()]}


def response_time_record(response_time: ResponseTime | None) -> dict[str, Any] | None:
    """How long feedback waited for a moderator's decision, in seconds; ``None`` without decisions."""
    if response_time is None:
        return None
    return {
        "decisions": response_time.decisions,
        "median": round(response_time.median, 1),
        "percentile_90": round(response_time.percentile_90, 1),
    }


def keywords_record(keywords: Iterable[Keyword]) -> dict[str, Any]:
    """Keywords and the numbers of comments with them."""
    return {"themes": [{"keyword": one.keyword, "mentions": one.mentions} for one in keywords]}


def themes_record(themes: Themes, feedback_record: Callable[[Feedback], dict[str, Any]]) -> dict[str, Any]:
    """Themes as a JSON value; ``feedback_record`` returns that of an example. Shares are in percent."""
    return {
        "themes": [_theme_record(one, feedback_record) for one in themes.themes],
        "comments": themes.comments,
        "is_enough": themes.is_enough,
        "tags": [{"tag": tag, "count": count} for tag, count in themes.tags],
        "frequent_words": [{"word": word, "count": count} for word, count in themes.frequent_words],
    }


def _theme_record(found: FoundTheme, feedback_record: Callable[[Feedback], dict[str, Any]]) -> dict[str, Any]:
    theme, change = found.theme, found.change
    return {
        "name": found.name,
        "label": theme.label,
        "ngram": theme.ngram,
        "words": list(theme.words),
        "count": theme.count,
        "share": round(theme.share * 100, 1),
        "excess": theme.excess,
        "change": None
        if change is None
        else {
            "previous_count": change.before.count,
            "previous_comments": change.before.total,
            "previous_design_effect": change.before.design_effect,
            "current_count": change.after.count,
            "current_comments": change.after.total,
            "current_design_effect": change.after.design_effect,
            "alpha": change.alpha,
            "verdict": found.verdict,
            "sentence": found.sentence,
            "needed": change.needed,
        },
        "examples": [feedback_record(one) for one in found.examples],
    }


def headline_record(headline: Headline) -> dict[str, Any]:
    """What changed in a period, as values."""
    began, growth, silence = headline.began, headline.growth, headline.silence
    return {
        "finding": headline.finding.value,
        "zone": _zone_name(headline.after[0]),
        "before": _span_record(headline.before),
        "after": _span_record(headline.after),
        "is_running": headline.is_running,
        "comparison": headline.comparison.to_dict(),
        "began": None if began is None else _change_record(began),
        "next_change": None if headline.next_change is None else _change_record(headline.next_change),
        "began_to_the_hour": headline.began_to_the_hour,
        "growth": None
        if growth is None
        else {"name": growth.name, "is_reason": growth.is_reason, "change": _share_change_record(growth.change)},
        "mix": mix_record(headline.mix),
        "silence": None
        if silence is None
        else {
            "since": silence.since.isoformat(),
            "seconds": silence.length.total_seconds(),
            "usual_per_hour": silence.usual,
        },
    }


def _span_record(span: tuple[datetime, datetime]) -> dict[str, str]:
    return {"since": span[0].isoformat(), "until": span[1].isoformat()}


def _zone_name(moment: datetime) -> str:
    return str(moment.tzinfo)


def _share_change_record(change: ProportionChange) -> dict[str, Any]:
    """The counts of a share before and after; its difference and interval in percentage points."""
    return {
        "previous_count": change.before.count,
        "previous_total": change.before.total,
        "previous_design_effect": change.before.design_effect,
        "current_count": change.after.count,
        "current_total": change.after.total,
        "current_design_effect": change.after.design_effect,
        "alpha": change.alpha,
        "difference": round(change.difference, 1),
        "interval": change.interval.to_dict(),
    }


def issues_record(issues: Issues, feedback_record: Callable[[Feedback], dict[str, Any]]) -> dict[str, Any]:
    """Reasons or themes with their changes and examples; ``feedback_record`` returns that of an example."""
    return {
        "issues": [
            {
                "name": one.name,
                "count": one.share.count,
                "share": round(one.share.percent, 1),
                "design_effect": one.share.design_effect,
                "change": None if one.change is None else _share_change_record(one.change),
                "verdict": VERDICTS_OF_DIRECTIONS[one.direction],
                "example": None if one.example is None else feedback_record(one.example),
                "words": list(one.words),
            }
            for one in issues.issues
        ],
        "found": issues.found,
        "downs": issues.downs,
        "is_complete": issues.is_complete,
    }


def ranking_record(by: str, ranking: Ranking[GroupKey]) -> dict[str, Any]:
    """Groups by satisfaction, with their changes."""
    return {
        "by": by,
        "groups": [
            {
                "key": group_key(one.key),
                **one.estimate.to_dict(),
                "change": None if one.change is None else one.change.to_dict(),
                "is_new": one.is_new,
            }
            for one in ranking.groups
        ],
        "found": ranking.found,
        "total": ranking.total.to_dict(),
        "pairs": ranking.pairs,
        "is_complete": ranking.is_complete,
    }


def facets_record(facets: Facets) -> dict[str, Any]:
    """The values that can be filtered by, with counts."""
    return {
        "agents": _counts_record(facets.agents),
        "tags": _counts_record(facets.tags),
        "context": {name: _counts_record(values) for name, values in facets.context.items()},
        "entries": facets.entries,
        "is_complete": facets.is_complete,
    }


def _counts_record(counts: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"value": value, "count": count} for value, count in counts]


def changes_record(zone: str, changes: Iterable[SatisfactionChange]) -> dict[str, Any]:
    """The days on which satisfaction changed, and the satisfaction before and after, in percent and exactly."""
    return {
        "zone": zone,
        "changes": [_change_record(one) for one in changes],
    }


def _change_record(change: SatisfactionChange) -> dict[str, Any]:
    return {
        "at": change.at.isoformat(),
        "before": round(change.before.satisfaction, 1),
        "after": round(change.after.satisfaction, 1),
        "before_summary": change.before.to_sums(),
        "after_summary": change.after.to_sums(),
    }


def heat_map_record(zone: str, cells: Iterable[Cell]) -> dict[str, Any]:
    """The hours that have feedback, with their verdicts. Those of dates also have a ``day``."""
    return {
        "zone": zone,
        "cells": [
            ({"day": one.day.isoformat()} if one.day else {})
            | {
                "weekday": WEEKDAYS[one.weekday],
                "hour": one.hour,
                **one.summary.to_sums(),
                "design_effect": one.design_effect,
                "verdict": one.verdict.value,
            }
            for one in cells
        ],
    }


# --- in ---------------------------------------------------------------------------------------------------------------
# These are the inverse of the functions above. Their results are equal to the values, with every float bit for bit.
# They raise KeyError, TypeError or ValueError if a record is not one of these.

Json = Mapping[str, Any]


def summary_from(record: Json) -> Summary:
    """The summary of any record that has one."""
    return Summary(
        positive=record["positive"],
        negative=record["negative"],
        neutral=record["neutral"],
        **{name: record[name] for name in _SUMS},
        by_hour=tuple(record["by_hour"]),
    )


def estimate_from(record: Json) -> Estimate:
    """The inverse of :meth:`.Estimate.to_dict`."""
    return Estimate(summary_from(record), record["design_effect"])


def groups_from(document: Json, parse: Callable[[Json], T]) -> dict[GroupKey, T]:
    """The groups by key, in their order; ``parse`` returns the value of one."""
    return {group["key"]: parse(group) for group in document["groups"]}


def trend_from(document: Json) -> Trend:
    """The inverse of :meth:`.Trend.to_dict`."""
    zone = zone_named(document["zone"])
    points = [
        TrendPoint(
            _local(point["start"], zone), _local(point["end"], zone), summary_from(point), point["design_effect"]
        )
        for point in document["points"]
    ]
    return Trend(points, Period(document["by"]), document["zone"])


def comparison_from(record: Json) -> Comparison:
    """The inverse of :meth:`.Comparison.to_dict`."""
    before, after = estimate_from(record["before"]), estimate_from(record["after"])
    return Comparison(before.summary, after.summary, before.design_effect, after.design_effect, alpha=record["alpha"])


def keywords_from(document: Json) -> tuple[Keyword, ...]:
    """The inverse of :func:`keywords_record`."""
    return tuple(Keyword(one["keyword"], one["mentions"]) for one in document["themes"])


def themes_from(document: Json, feedback_from: Callable[[Json], Feedback]) -> Themes:
    """The inverse of :func:`themes_record`, except that no theme has the ids of its ``comments``."""
    total = document["comments"]
    return Themes(
        themes=tuple(_theme_from(one, total, feedback_from) for one in document["themes"]),
        comments=total,
        is_enough=document["is_enough"],
        tags=tuple((one["tag"], one["count"]) for one in document["tags"]),
        frequent_words=tuple((one["word"], one["count"]) for one in document["frequent_words"]),
    )


def _theme_from(record: Json, total: int, feedback_from: Callable[[Json], Feedback]) -> FoundTheme:
    examples = tuple(map(feedback_from, record["examples"]))
    theme = Theme(
        label=record["label"],
        ngram=record["ngram"],
        words=tuple(record["words"]),
        count=record["count"],
        share=record["count"] / total,
        excess=record["excess"],
        examples=tuple(one.id for one in examples),
        comments=frozenset(),
    )
    change = record["change"]
    return FoundTheme(record["name"], theme, None if change is None else _change_from(change), examples)


def _change_from(record: Json) -> ProportionChange:
    before, after = (
        Proportion(record[f"{side}_count"], record[f"{side}_comments"], record[f"{side}_design_effect"])
        for side in ("previous", "current")
    )
    return ProportionChange(before, after, alpha=record["alpha"])


def headline_from(record: Json) -> Headline:
    """The inverse of :func:`headline_record`."""
    zone = zone_named(record["zone"])
    began, growth, silence = record["began"], record["growth"], record["silence"]
    next_change = record["next_change"]
    return Headline(
        finding=Finding(record["finding"]),
        before=_span_from(record["before"], zone),
        after=_span_from(record["after"], zone),
        is_running=record["is_running"],
        comparison=comparison_from(record["comparison"]),
        began=None if began is None else _satisfaction_change_from(began, zone),
        next_change=None if next_change is None else _satisfaction_change_from(next_change, zone),
        began_to_the_hour=record["began_to_the_hour"],
        growth=None
        if growth is None
        else Growth(growth["name"], growth["is_reason"], _share_change_from(growth["change"])),
        mix=None if record["mix"] is None else _mix_from(record["mix"]),
        silence=None
        if silence is None
        else Silence(_local(silence["since"], zone), timedelta(seconds=silence["seconds"]), silence["usual_per_hour"]),
    )


def _span_from(record: Json, zone: ZoneInfo) -> tuple[datetime, datetime]:
    return _local(record["since"], zone), _local(record["until"], zone)


def _mix_from(record: Json) -> Mix[GroupKey]:
    return Mix(tuple(record["new"]), tuple(record["gone"]), comparison_from(record["without"]))


def _share_change_from(record: Json) -> ProportionChange:
    before, after = (
        Proportion(record[f"{side}_count"], record[f"{side}_total"], record[f"{side}_design_effect"])
        for side in ("previous", "current")
    )
    return ProportionChange(before, after, alpha=record["alpha"])


def issues_from(document: Json, feedback_from: Callable[[Json], Feedback]) -> Issues:
    """The inverse of :func:`issues_record`."""
    downs = document["downs"]
    return Issues(
        issues=tuple(
            Issue(
                one["name"],
                Proportion(one["count"], downs, one["design_effect"]),
                None if one["change"] is None else _share_change_from(one["change"]),
                _DIRECTIONS_OF_VERDICTS[one["verdict"]],
                None if one["example"] is None else feedback_from(one["example"]),
                tuple(one["words"]),
            )
            for one in document["issues"]
        ),
        found=document["found"],
        downs=downs,
        is_complete=document["is_complete"],
    )


def ranking_from(document: Json) -> Ranking[GroupKey]:
    """The inverse of :func:`ranking_record`."""
    groups = tuple(
        RankedGroup[GroupKey](
            one["key"], estimate_from(one), None if one["change"] is None else comparison_from(one["change"])
        )
        for one in document["groups"]
    )
    best = best_groups({one.key: one.estimate for one in groups})
    return Ranking(groups, document["found"], estimate_from(document["total"]), best, document["is_complete"])


def facets_from(document: Json) -> Facets:
    """The inverse of :func:`facets_record`."""
    return Facets(
        agents=_counts_from(document["agents"]),
        tags=_counts_from(document["tags"]),
        context={name: _counts_from(values) for name, values in document["context"].items()},
        entries=document["entries"],
        is_complete=document["is_complete"],
    )


def _counts_from(counts: Iterable[Json]) -> tuple[tuple[str, int], ...]:
    return tuple((one["value"], one["count"]) for one in counts)


def changes_from(document: Json) -> list[SatisfactionChange]:
    """The inverse of :func:`changes_record`."""
    zone = zone_named(document["zone"])
    return [_satisfaction_change_from(one, zone) for one in document["changes"]]


def _satisfaction_change_from(record: Json, zone: ZoneInfo) -> SatisfactionChange:
    return SatisfactionChange(
        _local(record["at"], zone), summary_from(record["before_summary"]), summary_from(record["after_summary"])
    )


def heat_map_from(document: Json) -> list[Cell]:
    """The inverse of :func:`heat_map_record`."""
    return [
        Cell(
            WEEKDAYS.index(one["weekday"]),
            one["hour"],
            summary_from(one),
            Verdict(one["verdict"]),
            date.fromisoformat(one["day"]) if "day" in one else None,
            one["design_effect"],
        )
        for one in document["cells"]
    ]


def _local(text: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(text).astimezone(zone)

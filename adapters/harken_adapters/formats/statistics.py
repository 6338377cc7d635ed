"""Statistics as JSON values, for all hosts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from harken import Comparison, FeedbackQuery, GroupBy, Harken, Interval, InvalidQuery, Period, Summary
from harken.domain.query import Dimension

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class By(Enum):
    """The points of a trend: consecutive periods, or a recurring hour or weekday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    HOUR_OF_DAY = "hour-of-day"
    WEEKDAY = "weekday"


Points = Sequence[tuple[dict[str, Any], Summary]]


def trend_points(hk: Harken, query: FeedbackQuery, by: By, zone: str) -> Points:
    """The points of a trend: the JSON keys that identify each, and its summary."""
    match by:
        case By.HOUR_OF_DAY:
            return [({"hour": hour}, one) for hour, one in enumerate(hk.analytics.by_hour_of_day(query, zone))]
        case By.WEEKDAY:
            summaries = hk.analytics.by_weekday(query, zone)
            return [({"weekday": day}, one) for day, one in zip(_WEEKDAYS, summaries, strict=True)]
        case _:
            points = hk.analytics.trend(query, Period(by.value), zone)
            return [({"start": p.start.isoformat(), "end": p.end.isoformat()}, p.summary) for p in points]


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
        expected = "agent, session, tag or context.NAME"
        raise InvalidQuery(f"Cannot group by {text[:100]!a}; expected {expected}") from None
    if group_by.dimension is Dimension.SLOT:
        raise InvalidQuery(f"For statistics over time, use {over_time}")
    return group_by


def summary_record(summary: Summary) -> dict[str, Any]:
    """A summary as a JSON value. Percentages and lengths have one decimal, sentiment three."""
    record: dict[str, Any] = {
        "total_feedbacks": summary.total,
        "positive": summary.positive,
        "negative": summary.negative,
        "neutral": summary.neutral,
        "satisfaction_score": round(summary.satisfaction, 1),
        "quality_score": round(summary.quality, 1),
        "average_comment_length": round(summary.average_comment_length, 1),
        "comments": summary.comments,
        "by_hour": list(summary.by_hour),
        "interval": _interval_record(summary.interval),
    }
    if summary.average_polarity is not None and summary.average_subjectivity is not None:
        record["average_polarity"] = round(summary.average_polarity, 3)
        record["average_subjectivity"] = round(summary.average_subjectivity, 3)
    return record


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Two summaries and the change between them, in percentage points and counts."""
    return {
        "before": summary_record(comparison.before),
        "after": summary_record(comparison.after),
        "satisfaction_change": round(comparison.satisfaction_change, 1),
        "quality_change": round(comparison.quality_change, 1),
        "total_change": comparison.total_change,
        "interval": _interval_record(comparison.interval),
        "significant": comparison.significant,
    }


def _interval_record(interval: Interval) -> dict[str, float]:
    return {"low": round(interval.low, 1), "high": round(interval.high, 1)}

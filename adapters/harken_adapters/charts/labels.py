"""Formats of numbers and times in charts: English, independent of the locale of the process."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from harken.domain.insight.comparison import Estimate
from harken.domain.summary import Interval, Summary
from harken.domain.texts import amount
from harken.domain.trend import TrendPoint

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: Percentages of fewer thumbs have no decimals.
_MANY: Final = 100
DAY: Final = timedelta(days=1)
#: Separates the ends of ranges, and replaces missing values.
DASH: Final = "\N{EN DASH}"

#: A change that may be chance.
UNCLEAR: Final = "no clear change"


#: Characters that are written from right to left, or that change the direction of text.
_DIRECTED: Final = re.compile(
    "[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_ISOLATES: Final = ("\N{LEFT-TO-RIGHT ISOLATE}", "\N{RIGHT-TO-LEFT ISOLATE}", "\N{FIRST STRONG ISOLATE}")
_END: Final = "\N{POP DIRECTIONAL ISOLATE}"


def isolated(text: str) -> str:
    """A text of others whose direction does not change the order of what is beside it.

    Isolates that it does not close are closed, and others are not. Text from left to right is returned unchanged.
    """
    if not _DIRECTED.search(text):
        return text
    kept, depth = [], 0
    for character in text:
        if character == _END:
            if not depth:
                continue
            depth -= 1
        depth += character in _ISOLATES
        kept.append(character)
    return f"{_ISOLATES[2]}{''.join(kept)}{_END * (depth + 1)}"


def count_text(count: int) -> str:
    """A count: exact up to 99,999, then abbreviated to ``123 k`` or ``1.2 M``."""
    if count < 100_000:
        return f"{count:,}"
    if count < 999_500:
        return f"{count / 1000:.0f} k"
    return f"{count / 1_000_000:,.1f} M"


def quoted(text: str) -> str:
    """A text of others in quotation marks, which replace its own ones."""
    return f"“{isolated(text.strip().strip(chr(34) + '“”'))}”"


def percent_text(value: float, thumbs: int) -> str:
    """A percentage (0 to 100) with one decimal; without decimals below 100 thumbs; a dash if there are none."""
    if not thumbs:
        return DASH
    return f"{value:.{0 if thumbs < _MANY else 1}f}%"


def satisfaction_text(summary: Summary) -> str:
    """The satisfaction of a summary, as a percentage."""
    return percent_text(summary.satisfaction, summary.decided)


def interval_text(interval: Interval, thumbs: int) -> str:
    """An interval in percent with the decimals of :func:`percent_text`, and a dash between its ends."""
    decimals = 0 if thumbs < _MANY else 1
    return f"{interval.low:.{decimals}f} {DASH} {interval.high:.{decimals}f}" if thumbs else DASH


def share_text(share: float) -> str:
    """A share (0 to 1) in whole percent, with ``<1%`` and ``>99%`` for shares that would round to 0% and 100%."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{share * 100:.0f}%"


def day_text(day: date) -> str:
    """``20 Feb``."""
    return f"{day.day} {MONTHS[day.month - 1]}"


def weekday_text(day: date) -> str:
    """``Fri 20 Feb``."""
    return f"{WEEKDAYS[day.weekday()]} {day_text(day)}"


def days_text(first: date, last: date, *, with_year: bool = False) -> str:
    """A range of days, without what both ends share: ``3`` to ``30 Nov``; with years if they differ, and on request."""
    spans_years = first.year != last.year
    until = f"{day_text(last)} {last.year}" if with_year or spans_years else day_text(last)
    if first == last:
        return until
    since = str(first.day) if (first.year, first.month) == (last.year, last.month) else day_text(first)
    return f"{since}{f' {first.year}' if spans_years else ''} {DASH} {until}"


def dated_text(day: date, end: date) -> str:
    """A day of a period with this end: ``20 Feb``, with its year if the period ends in another one."""
    return day_text(day) if day.year == end.year else f"{day_text(day)} {day.year}"


def zone_text(moment: datetime) -> str:
    """The name of the zone of an aware time: ``Europe/Berlin``, ``UTC``."""
    return str(getattr(moment.tzinfo, "key", None) or moment.tzname() or "UTC")


def length_of(points: Sequence[TrendPoint]) -> timedelta:
    """The length of a point on the wall clock, independent of clock changes; ``points`` must not be empty."""
    return points[-1].end.replace(tzinfo=None) - points[-1].start.replace(tzinfo=None)


def bucket_text(length: timedelta) -> str:
    """The length of a point in words: ``hour``, ``3 hours``, ``day``, ``week``."""
    days, hours = length // DAY, round(length / timedelta(hours=1))
    if length < DAY:
        return "hour" if hours <= 1 else f"{hours} hours"
    return {1: "day", 7: "week"}.get(days, f"{days} days")


def span_text(point: TrendPoint) -> str:
    """The time of a point: a day with two hours, a day (``Fri 20 Feb``), or the first and last day of a week."""
    start, end = point.start.replace(tzinfo=None), point.end.replace(tzinfo=None)
    if end - start < DAY:
        return f"{weekday_text(start)}, {start:%H:%M} {DASH} {end:%H:%M}"
    if end - start < 2 * DAY:
        return weekday_text(start)
    return days_text(start.date(), (end - DAY).date())


def moment_text(start: datetime, length: timedelta, end: datetime) -> str:
    """The time of a change with its preposition: ``at Sat 18:00``, ``on Sat 21 Feb``, ``in the week of 16 Feb``.

    Args:
        start: the time.
        length: the length of the points of the trend.
        end: when the trend ends; a week of another year has its year.
    """
    if length < DAY:
        return f"at {WEEKDAYS[start.weekday()]} {start:%H:%M}"
    if length < 7 * DAY:
        return f"on {weekday_text(start)}"
    return f"in the week of {dated_text(start, end)}"


def rating_counts(summary: Summary) -> str:
    """``38 up, 46 neutral, 176 down``."""
    return f"{summary.positive:,} up, {summary.neutral:,} neutral, {summary.negative:,} down"


def estimate_text(estimate: Estimate) -> str:
    """Satisfaction, interval and counts, in one line."""
    summary = estimate.summary
    if not summary.total:
        return "no feedback"
    counts = f"{amount(summary.total, 'response')}: {rating_counts(summary)}"
    if not summary.decided:
        return f"no thumbs; {counts}"
    interval = interval_text(estimate.interval, summary.decided)
    return f"{satisfaction_text(summary)} of {amount(summary.decided, 'thumb')} ({interval}); {counts}"

"""The formats of numbers, times and texts on pages. See also ``harken_adapters.charts.labels``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from markupsafe import Markup

from harken.domain.texts import amount
from harken_adapters.charts.labels import (
    MONTHS,
    count_text,
    day_text,
    isolated,
    quoted,
    share_text,
    weekday_text,
)

__all__ = [
    "age_markup",
    "at_markup",
    "capped_text",
    "clock_markup",
    "count_markup",
    "date_markup",
    "day_text",
    "duration_text",
    "first_upper",
    "join_words",
    "long_day_text",
    "moment_markup",
    "points_text",
    "quoted",
    "share_text",
    "since_text",
    "when_markup",
]

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_LONG_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LONG_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def count_markup(count: int) -> str:
    """A count: exact up to 99,999, then abbreviated, with the exact one as its title."""
    text = count_text(count)
    exact = f"{count:,}"
    return text if text == exact else Markup('<span title="{}">{}</span>').format(exact, text)


def capped_text(count: int, most: int) -> str:
    """A count that ends above a limit: ``100+`` if there are more."""
    return f"{most:,}+" if count > most else f"{count:,}"


def join_words(words: Sequence[str], conjunction: str = "and") -> str:
    """Words of others as a list of a sentence: ``Ann, Ben and Kim``."""
    *others, last = map(isolated, words or [""])
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def points_text(change: float) -> str:
    """A change of a percentage: ``▼ 9.1 points``."""
    arrow = "▲" if change > 0 else "▼"
    return f"{arrow} {abs(change):.1f} points"


def duration_text(duration: timedelta) -> str:
    """A duration or an age with at most two units: ``4 s``, ``12 min``, ``2 h 40 min``, ``3 days``."""
    seconds = max(0, int(duration.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        hours, minutes = divmod(seconds // _MINUTE, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return amount(seconds // _DAY, "day")


def age_markup(age: timedelta) -> Markup:
    """How long ago: ``12 min``."""
    return Markup('<span class="tm">{}</span>').format(duration_text(age))


def clock_markup(moment: datetime) -> Markup:
    """The local time of day: ``18:35``."""
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), f"{moment:%H:%M}")


def moment_markup(moment: datetime, now: datetime | None = None) -> Markup:
    """A local time with its day: ``Sun 22 Feb, 18:35``; with its year, if that is not the one of ``now``."""
    is_other_year = now is not None and moment.year != now.astimezone(moment.tzinfo).year
    text = f"{weekday_text(moment)}{f' {moment.year}' if is_other_year else ''}, {moment:%H:%M}"
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), text)


def date_markup(moment: datetime) -> Markup:
    """A local day with its year: ``22 Feb 2015``."""
    return Markup('<time datetime="{}">{}</time>').format(
        moment.isoformat(), f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"
    )


def since_text(age: timedelta) -> str:
    """How long ago something was that is known to the hour: ``within the hour``, ``3 h ago``, ``2 days ago``."""
    if age.total_seconds() < _HOUR:
        return "within the hour"
    if age.total_seconds() < _DAY:
        return f"{int(age.total_seconds()) // _HOUR} h ago"
    return f"{duration_text(age)} ago"


def when_markup(moment: datetime, now: datetime) -> Markup:
    """A local time, with its day unless that is today: ``18:35``, ``Sun 22 Feb, 18:35``.

    Args:
        moment: the local time.
        now: the current time.
    """
    is_today = moment.date() == now.astimezone(moment.tzinfo).date()
    return clock_markup(moment) if is_today else moment_markup(moment, now)


def at_markup(moment: datetime, now: datetime) -> Markup:
    """A local time to follow a verb: ``at 18:35``, ``on Sun 22 Feb at 18:35``; with its year, if that is not this year.

    Args:
        moment: the local time.
        now: the current time.
    """
    clock, today = clock_markup(moment), now.astimezone(moment.tzinfo).date()
    if moment.date() == today:
        return Markup("at {}").format(clock)
    year = "" if moment.year == today.year else f" {moment.year}"
    return Markup("on {}{} at {}").format(weekday_text(moment), year, clock)


def long_day_text(day: date, today: date) -> str:
    """A day as a heading: ``Sunday 22 February``; with its year, if that is not this year."""
    year = "" if day.year == today.year else f" {day.year}"
    return f"{_LONG_WEEKDAYS[day.weekday()]} {day.day} {_LONG_MONTHS[day.month - 1]}{year}"


def first_upper(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]

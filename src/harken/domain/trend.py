"""Figures over time, in any time zone, added up from quarter-hour slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen

from harken.domain.errors import InvalidQuery
from harken.domain.summary import Summary

MAX_PERIODS: Final = 20_000
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class Period(Enum):
    """How long a point of a trend is: an hour, a local day (23 to 25 hours long), or a local week from Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


@frozen
class TrendPoint:
    """One period of a trend: from ``start`` (included) to ``end`` (not), both in the zone that was asked for."""

    start: datetime
    end: datetime
    summary: Summary


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that IANA name.

    Raises:
        InvalidQuery: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidQuery(f"No time zone is called {name!r}; use a name such as 'Europe/Berlin' or 'UTC'") from None


def trend(slots: Mapping[datetime, Summary], period: Period, zone: ZoneInfo) -> list[TrendPoint]:
    """The summaries of slots (by their start in UTC), added up by local period, oldest first and without gaps.

    Raises:
        InvalidQuery: the first and the last slot are more than 20,000 periods apart.
    """
    sums: dict[datetime, Summary] = {}
    for slot, summary in slots.items():
        start = _start(slot, period, zone)
        sums[start] = sums.get(start, Summary()) + summary
    if not sums:
        return []
    starts = list(_starts(min(sums), max(sums), period, zone))
    return [
        TrendPoint(start.astimezone(zone), end.astimezone(zone), sums.get(start, Summary()))
        for start, end in pairwise(starts)
    ]


def by_hour_of_day(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> tuple[Summary, ...]:
    """The summaries of slots, added up by local hour of day, 0 to 23."""
    return _by(slots, 24, lambda slot: slot.astimezone(zone).hour)


def by_weekday(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> tuple[Summary, ...]:
    """The summaries of slots, added up by local day of the week, Monday to Sunday."""
    return _by(slots, 7, lambda slot: slot.astimezone(zone).weekday())


def _by(slots: Mapping[datetime, Summary], size: int, index: Callable[[datetime], int]) -> tuple[Summary, ...]:
    sums = [Summary()] * size
    for slot, summary in slots.items():
        sums[index(slot)] += summary
    return tuple(sums)


def _start(moment: datetime, period: Period, zone: ZoneInfo) -> datetime:
    """When the local period that holds ``moment`` begins, in UTC."""
    local = moment.astimezone(zone)
    if period is Period.HOUR:
        # Keeps the fold: an hour that the clocks repeat is two hours.
        return local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period is Period.WEEK:
        # Wall clock arithmetic: the same date and hour, whatever the clocks did in between.
        midnight -= _DAY * local.weekday()
    return midnight.astimezone(UTC)


def _starts(first: datetime, last: datetime, period: Period, zone: ZoneInfo) -> Iterator[datetime]:
    """Where the periods from ``first`` to ``last`` begin, in UTC, and where the last one ends."""
    # Half a period past the shortest one's end lies in the next one, however the clocks are changed.
    step = {Period.HOUR: _HOUR, Period.DAY: _DAY * 1.5, Period.WEEK: _DAY * 7.5}[period]
    start = first
    for _ in range(MAX_PERIODS):
        yield start
        following = _start(start + step, period, zone)
        if following == start:
            # Where the clocks go back by half an hour, that hour lasts an hour and a half.
            following = _start(start + step * 1.5, period, zone)
        if start >= last:
            yield following
            return
        start = following
    raise InvalidQuery(
        f"The feedback spans more than {MAX_PERIODS:,} {period.value}s; narrow it with since and until, "
        "or choose a longer period"
    )

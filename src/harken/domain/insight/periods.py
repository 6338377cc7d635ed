"""The period of a query, and the earlier one that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from math import ceil
from typing import Final
from zoneinfo import ZoneInfo

from attrs import evolve, frozen

from harken.domain.errors import InvalidQuery
from harken.domain.instants import SLOT
from harken.domain.query import FeedbackQuery

#: A query without a beginning is about this number of days, today included: each weekday four times.
DEFAULT_DAYS: Final = 28
_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(weeks=1)


@frozen
class ComparedPeriods:
    """Two selections that differ only in their period.

    Attributes:
        before: the earlier one. If that of ``after`` has not ended, it has the same part, to the quarter hour.
        after: the one that is asked about. It has both ``since`` and ``until``.
        before_span: when the earlier period begins and ends, in local time.
        span: when the period begins and ends, in local time.
        zone: the time zone of its days.
        is_running: whether its period has not ended.
    """

    before: FeedbackQuery
    after: FeedbackQuery
    before_span: tuple[datetime, datetime]
    span: tuple[datetime, datetime]
    zone: ZoneInfo
    is_running: bool

    @property
    def length(self) -> timedelta:
        """How long the period is."""
        return self.span[1] - self.span[0]


def compared_periods(
    query: FeedbackQuery, now: datetime, zone: ZoneInfo, *, same_weekdays: bool = False
) -> ComparedPeriods:
    """The period of a query, and the one before it, which is as long.

    Whole local days are compared with whole local days, also where the clocks change. Without ``since``, the period is
    the last 28 days, today included. Without ``until``, it ends with today if it begins at midnight, else now.

    Args:
        query: the selection.
        now: the present.
        zone: the time zone of days.
        same_weekdays: whether the earlier period is a whole number of weeks earlier, even if it does not end where the
            other begins.

    Raises:
        InvalidQuery: the period is empty or has not begun, or there is no time before it.
    """
    try:
        since = query.since or _midnight(now, zone, 1 - DEFAULT_DAYS)
        until = query.until or (_midnight(now, zone, 1) if _is_midnight(since, zone) else now)
        if not since < until or since > now:
            raise InvalidQuery("The period is empty: 'since' must be in the past, and before 'until'")
        earlier = _shift(since, until, zone, same_weekdays=same_weekdays)
        is_running = now < until
        # To the quarter hour, so that the earlier selection stays the same for as long.
        end = min(_next_slot(now), until) if is_running else until
        begin, stop = earlier(since), earlier(end)
        return ComparedPeriods(
            before=evolve(query, since=begin, until=stop),
            after=evolve(query, since=since, until=until),
            before_span=(begin.astimezone(zone), stop.astimezone(zone)),
            span=(since.astimezone(zone), until.astimezone(zone)),
            zone=zone,
            is_running=is_running,
        )
    except OverflowError:
        raise InvalidQuery("There is no time before the period") from None


def _shift(since: datetime, until: datetime, zone: ZoneInfo, *, same_weekdays: bool) -> Callable[[datetime], datetime]:
    """What moves an instant of the period back to the period before."""
    length = until - since
    whole_days = _is_midnight(since, zone) and _is_midnight(until, zone)
    if whole_days:
        length = until.astimezone(zone).date() - since.astimezone(zone).date()
    if same_weekdays:
        length = ceil(length / _WEEK) * _WEEK
    if not whole_days and not same_weekdays:
        return lambda moment: moment - length
    return lambda moment: _instant(moment.astimezone(zone).replace(tzinfo=None) - length, zone)


def _midnight(now: datetime, zone: ZoneInfo, days: int) -> datetime:
    return _begin(now.astimezone(zone).date() + days * _DAY, zone)


def _begin(day: date, zone: ZoneInfo) -> datetime:
    return _instant(datetime.combine(day, time()), zone)


def _is_midnight(moment: datetime, zone: ZoneInfo) -> bool:
    return _begin(moment.astimezone(zone).date(), zone) == moment


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a local time; one that the clocks skip is that of the change."""
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _next_slot(moment: datetime) -> datetime:
    return moment + (datetime.min.replace(tzinfo=UTC) - moment) % SLOT

"""Statistics over time in any time zone, summed from quarter-hour slots."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import frozen

from harken.domain.display import trend_html, trend_text
from harken.domain.errors import InvalidQuery
from harken.domain.insight.comparison import Estimate
from harken.domain.summary import Summary

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

MAX_PERIODS: Final = 20_000
#: The maximum number of points of a fitting period, except for weeks.
MOST_FITTING: Final = 60
_ENOUGH_THUMBS: Final = 20


class Period(Enum):
    """The length of a point of a trend, the shortest first.

    It is an hour, 3 or 6 hours from a multiple of 3 or 6 on the local clock, a local day, or a local week from Monday.
    When the clocks change, the day is an hour shorter or longer, and so are the 3 or 6 hours.
    """

    HOUR = "hour"
    THREE_HOURS = "3-hours"
    SIX_HOURS = "6-hours"
    DAY = "day"
    WEEK = "week"

    @property
    def is_whole_days(self) -> bool:
        """Whether it begins at midnight."""
        return self in {Period.DAY, Period.WEEK}

    @classmethod
    def parse(cls, value: object) -> Period:
        """Return the period with this value, or the period itself.

        Raises:
            InvalidQuery: the value is not one of these.
        """
        try:
            return cls(value)
        except ValueError:
            known = ", ".join(repr(period.value) for period in cls)
            raise InvalidQuery(f"A trend goes by one of {known}; not by {value!r}") from None


#: A period, or its name.
PeriodValue = Period | Literal["hour", "3-hours", "6-hours", "day", "week"]


@frozen
class TrendPoint:
    """One period of a trend, from ``start`` (inclusive) to ``end`` (exclusive), in the requested time zone.

    Attributes:
        start: when it begins.
        end: when it ends.
        summary: its statistics.
        design_effect: how many of its ratings are worth one independent rating, as authors rate several times in a
            period; that of all periods together.
    """

    start: datetime
    end: datetime
    summary: Summary
    design_effect: float = 1.0

    @property
    def estimate(self) -> Estimate:
        """The statistics, with an interval that takes repeated authors into account."""
        return Estimate(self.summary, self.design_effect)

    @property
    def span(self) -> dict[str, str]:
        """Its start and end as JSON values."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}

    def to_dict(self) -> dict[str, Any]:
        """Return its span and statistics as JSON values, named as in the HTTP API."""
        return self.span | self.estimate.to_dict()


class Trend(list[TrendPoint]):
    """The points of a trend, oldest first, without gaps.

    Attributes:
        period: the length of each.
        zone: the IANA time zone.
    """

    def __init__(self, points: Iterable[TrendPoint], period: Period, zone: str) -> None:
        super().__init__(points)
        self.period = period
        self.zone = zone

    def __str__(self) -> str:
        return trend_text(self)

    def _repr_html_(self) -> str:
        return trend_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, named as in the HTTP API."""
        return {"by": self.period.value, "zone": self.zone, "points": [point.to_dict() for point in self]}


def zone_named(name: str) -> ZoneInfo:
    """Return the time zone with this IANA name.

    Raises:
        InvalidQuery: the name is unknown.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - keeps `import harken` light

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidQuery(f"Unknown time zone {name!r}; use a name such as 'Europe/Berlin' or 'UTC'") from None


def trend(slots: Mapping[datetime, Summary], period: Period, zone: ZoneInfo) -> list[TrendPoint]:
    """Sum slots, given by their start in UTC, by local period. Returns the points oldest first, without gaps.

    Raises:
        InvalidQuery: the first and the last slot are more than 20,000 periods apart.
    """
    if not slots:
        return []
    bounds = _bounds(min(slots), max(slots), period, zone)
    parts: list[list[Summary]] = [[] for _ in bounds[1:]]
    for slot, summary in slots.items():
        parts[bisect_right(bounds, slot) - 1].append(summary)
    return [
        TrendPoint(start.astimezone(zone), end.astimezone(zone), Summary.sum_of(part))
        for (start, end), part in zip(pairwise(bounds), parts, strict=True)
    ]


def fitting_period(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> Period:
    """The shortest period with at most 60 points and a median of at least 20 thumbs; weeks if there is none.

    Args:
        slots: the statistics by slot, given by its start in UTC.
        zone: the time zone.
    """
    span = max(slots) - min(slots) if slots else timedelta()
    for period, length in _LENGTHS.items():
        if span > MOST_FITTING * length:
            continue
        points = trend(slots, period, zone)
        if points and len(points) <= MOST_FITTING and _median_thumbs(points) >= _ENOUGH_THUMBS:
            return period
    return Period.WEEK


def _median_thumbs(points: Sequence[TrendPoint]) -> float:
    thumbs = sorted(point.summary.decided for point in points)
    # The same number twice, or the two in the middle.
    return (thumbs[len(thumbs) // 2] + thumbs[~(len(thumbs) // 2)]) / 2


def by_period(slots: Mapping[datetime, Summary], zone: ZoneInfo, period: Period) -> list[tuple[datetime, Summary]]:
    """The local periods that have feedback, oldest first, each with its start and its sum. A repeated hour is one."""
    parts: defaultdict[datetime, list[Summary]] = defaultdict(list)
    for slot, summary in slots.items():
        parts[begin_of(slot.astimezone(zone), period)].append(summary)
    # By way of UTC, as the clocks may skip midnight.
    return [
        (start.replace(tzinfo=zone).astimezone(UTC).astimezone(zone), Summary.sum_of(parts[start]))
        for start in sorted(parts)
    ]


def by_hour_of_day(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> tuple[Summary, ...]:
    """Sum slots by local hour of day, 0 to 23."""
    return _by(slots, 24, lambda slot: slot.astimezone(zone).hour)


def by_weekday(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> tuple[Summary, ...]:
    """Sum slots by local day of the week, Monday to Sunday."""
    return _by(slots, 7, lambda slot: slot.astimezone(zone).weekday())


def _by(slots: Mapping[datetime, Summary], size: int, index: Callable[[datetime], int]) -> tuple[Summary, ...]:
    parts: list[list[Summary]] = [[] for _ in range(size)]
    for slot, summary in slots.items():
        parts[index(slot)].append(summary)
    return tuple(map(Summary.sum_of, parts))


_LENGTHS: Final = {
    Period.HOUR: timedelta(hours=1),
    Period.THREE_HOURS: timedelta(hours=3),
    Period.SIX_HOURS: timedelta(hours=6),
    Period.DAY: timedelta(days=1),
    Period.WEEK: timedelta(days=7),
}


def _bounds(first: datetime, last: datetime, period: Period, zone: ZoneInfo) -> list[datetime]:
    """Return the boundaries of local periods in UTC, from the period of ``first`` to the period of ``last``.

    Local times that the clocks skip are mapped to the instant of the change. Repeated local times begin at their first
    occurrence, but a repeated hour counts as two hours.
    """
    length = _LENGTHS[period]
    # Around a clock change, a local period may begin later than its nominal time, so the range is widened.
    wall = begin_of(first.astimezone(zone), period) - length
    end = begin_of(last.astimezone(zone), period) + 2 * length
    if (end - wall) // length > MAX_PERIODS:
        raise InvalidQuery(
            f"The trend by {period.value!r} would have more than {MAX_PERIODS:,} points; narrow it with since and "
            "until, or choose a longer period"
        )
    bounds: set[datetime] = set()
    while wall <= end:
        shown, shown_again = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        bounds.add(shown)
        if period is Period.HOUR and shown < shown_again:
            bounds.add(shown_again)
        wall += length
    ordered = sorted(bounds)
    return ordered[bisect_right(ordered, first) - 1 : bisect_right(ordered, last) + 1]


def begin_of(local: datetime, period: Period) -> datetime:
    """The local time at which the period of ``local`` begins."""
    hour = local.replace(tzinfo=None, fold=0, minute=0, second=0, microsecond=0)
    if _LENGTHS[period] < _LENGTHS[Period.DAY]:
        return hour - hour.hour * _LENGTHS[Period.HOUR] % _LENGTHS[period]
    midnight = hour.replace(hour=0)
    return midnight - timedelta(days=local.weekday()) if period is Period.WEEK else midnight

"""Timestamps in UTC with microsecond precision, quarter-hour slots, and durations."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

#: Every time zone in use is a multiple of fifteen minutes from UTC, so any local hour, day or week is a sum of slots.
SLOT = timedelta(minutes=15)
_SLOT_MICROSECONDS = SLOT // MICROSECOND

#: The text for a duration without an end.
FOREVER: Final = "forever"
_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}
_WORDS: Final = {"d": "days?|d", "h": "hours?|h", "m": "minutes?|m", "s": "seconds?|s"}
#: With at most nine digits of the largest unit, the value fits into a timedelta.
_DURATION: Final = re.compile(r"\s*".join(rf"(?:([0-9]{{1,9}})\s*(?:{_WORDS[unit]}))?" for unit in _UNITS))


def utc(moment: datetime) -> datetime:
    """Return the same instant in UTC.

    Raises:
        ValueError: ``moment`` has no time zone, or lies outside the years 1 to 9999 in UTC.
    """
    if moment.tzinfo is UTC:
        # UTC repeats no hour, so the fold has no meaning, and storages do not store it.
        return moment.replace(fold=0) if moment.fold else moment
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; use an aware datetime, such as one with tzinfo=UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} lies outside the years 1 to 9999 in UTC") from None


class SkippedTime(ValueError):
    """A local time that does not exist, as the clocks were turned forward over it."""


def parse_instant(text: str, zone: tzinfo = UTC) -> datetime:
    """Parse a date or time in ISO 8601, such as ``2026-01-31`` or ``2026-01-31T12:00Z``.

    A text with an offset keeps it. Otherwise a date is the first instant of that day in ``zone``, and a time is a local
    time in ``zone``; if the clocks show it twice, it is the first of the two.

    Raises:
        SkippedTime: the local time does not exist.
        ValueError: the text is not a date or time, or lies outside the years 1 to 9999 in UTC.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return _local_instant(moment, zone, is_date=_is_date(text))
    # Refused here, as everything that compares or stores the time would fail.
    utc(moment)
    return moment


def _local_instant(moment: datetime, zone: tzinfo, *, is_date: bool) -> datetime:
    # A skipped time has the offset of before, so a skipped midnight is the instant at which the clocks were turned.
    instant = utc(moment.replace(tzinfo=zone))
    if not is_date and instant.astimezone(zone).replace(tzinfo=None, fold=0) != moment:
        raise SkippedTime(
            f"{moment.isoformat()} does not exist in the time zone {zone}, where the clocks were turned forward; "
            "choose another time, or add its offset from UTC, such as +01:00"
        )
    return instant


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def stamp(moment: datetime) -> str:
    """Return a time in ISO 8601 and UTC, with microseconds, such as ``2026-01-31T12:00:00.000000Z``."""
    return f"{utc(moment).isoformat(timespec='microseconds')[:-6]}Z"


def stamp_or_none(moment: datetime | None) -> str | None:
    """:func:`stamp` of a time that may be absent."""
    return None if moment is None else stamp(moment)


def to_microseconds(moment: datetime) -> int:
    """Return the exact number of microseconds since 1970-01-01 UTC; negative for earlier times."""
    return (moment - EPOCH) // MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the instant of a number from :func:`to_microseconds`."""
    return EPOCH + timedelta(microseconds=microseconds)


def to_microseconds_or_none(moment: datetime | None) -> int | None:
    """:func:`to_microseconds` of a time that may be absent."""
    return None if moment is None else to_microseconds(moment)


def from_microseconds_or_none(microseconds: int | None) -> datetime | None:
    """:func:`from_microseconds` of a number that may be absent."""
    return None if microseconds is None else from_microseconds(microseconds)


def slot_number(moment: datetime) -> int:
    """Return the number of quarter-hours between 1970-01-01 UTC and the slot of this instant."""
    return to_microseconds(moment) // _SLOT_MICROSECONDS


def slot_start(number: int) -> datetime:
    """Return the first instant of a slot."""
    return EPOCH + number * SLOT


def parse_duration(text: object) -> timedelta:
    """Parse a duration such as ``"90s"``, ``"15m"``, ``"6h"``, ``"7d"``, ``"1h30m"``, ``"400 days"`` or ``"1 hour"``.

    Raises:
        ValueError: the value is not a duration.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if not match or not any(match.groups()):
        raise ValueError(f"expected a duration such as '90s', '15m', '6h', '7d' or '1h30m', got {text!r}")
    numbers = (int(digits or 0) for digits in match.groups())
    try:
        return sum((number * unit for number, unit in zip(numbers, _UNITS.values(), strict=True)), timedelta())
    except OverflowError:
        raise ValueError(f"{text!r} is too long for a duration") from None


def format_duration(duration: timedelta) -> str:
    """Format whole seconds from 0 on for :func:`parse_duration`: ``"1h30m"``, and ``"0s"`` for zero."""
    parts: list[str] = []
    for name, unit in _UNITS.items():
        number, duration = divmod(duration, unit)
        if number:
            parts.append(f"{number}{name}")
    return "".join(parts) or "0s"

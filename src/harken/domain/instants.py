"""Points in time: always UTC and aware, exact to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

#: Every time zone in use is a multiple of fifteen minutes from UTC, so any local hour, day or week is a sum of slots.
SLOT = timedelta(minutes=15)
_SLOT_MICROSECONDS = SLOT // MICROSECOND


def utc(moment: datetime) -> datetime:
    """The same instant in UTC.

    Raises:
        ValueError: ``moment`` has no time zone, or lies outside the years 1 to 9999 in UTC.
    """
    if moment.tzinfo is UTC:
        # UTC repeats no hour, so a fold means nothing, and storages do not keep it.
        return moment.replace(fold=0) if moment.fold else moment
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; use an aware datetime, such as one with tzinfo=UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} lies outside the years 1 to 9999 in UTC") from None


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exactly; negative before it."""
    return (moment - EPOCH) // MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The inverse of :func:`to_microseconds`."""
    return EPOCH + timedelta(microseconds=microseconds)


def slot_number(moment: datetime) -> int:
    """Which quarter of an hour since 1970-01-01 UTC an instant lies in."""
    return to_microseconds(moment) // _SLOT_MICROSECONDS


def slot_start(number: int) -> datetime:
    """The first instant of a slot."""
    return EPOCH + number * SLOT

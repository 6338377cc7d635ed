"""What the values of a date column mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from shlex import quote
from typing import Any, Final

from harken.domain.instants import EPOCH, utc
from harken.domain.texts import excerpt
from harken.domain.trend import zone_named
from harken_adapters.formats.errors import BadRow, UnusableFile
from harken_adapters.formats.import_options import ImportOptions

ISO: Final = "ISO 8601"
YEAR_FIRST: Final = "year, month, day"
RFC_2822: Final = "RFC 2822"
EXCEL: Final = "Excel serial numbers"
TYPED: Final = "dates of the file"
#: Numbers are dates from 2000 to 2099: seconds since 1970 or parts of them, or days of a spreadsheet. Others are
#: mistakes, such as ids. No number is a date in two of these units.
_SECONDS: Final = range(946_684_800, 4_102_444_800)
_EPOCHS: Final = ((1, "epoch seconds"), (1_000, "epoch milliseconds"), (1_000_000, "epoch microseconds"))
_EXCEL_DAYS: Final = range(36_526, 73_051)
_NUMBERS: Final = (
    "a number must be seconds, milliseconds or microseconds since 1970, or a spreadsheet day number, from 2000 to 2099"
)
_NUMBER: Final = re.compile(r"-?\d{1,18}([.,]\d{1,20})?")
#: Eight digits are a date, as in 20260131.
_DAY: Final = re.compile(r"\d{8}")
#: Times of other programs that are almost ISO 8601: with ``UTC`` or ``GMT``, and with a space before the offset.
_UTC: Final = re.compile(r"(\d[^,A-SU-Za-z]*?)(?:\s*\+00:?00)?\s*(?:UTC|GMT)")
#: With the year first, as 2026/1/31 or 2026.01.31, the order is plain.
_YEAR_FIRST: Final = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:(?:,\s*|\s+|T)(\d{1,2})(:.+))?")
_SPACED_OFFSET: Final = re.compile(r"(\d.*\d)\s+([+-]\d\d:?\d\d)")
#: With the zones that have a name there. Others would be ignored.
_RFC_2822: Final = re.compile(
    r"(?:[A-Za-z]{3},\s*)?\d{1,2}\s+[A-Za-z]{3}\s+\d{4}\s+\d{1,2}:\d\d(?::\d\d)?"
    r"(?:\s+(?:[+-]\d{4}|UTC?|GMT|[ECMP][SD]T))?"
)
#: Day 0 of Excel, which counts a 29 February 1900.
_EXCEL_EPOCH: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - in the zone of the file
#: The years that can be stored.
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_SHOWN_CHARACTERS: Final = 60
#: Formats that a refusal proposes, if they read all examples.
_ORDERS: Final = (("%m", "%d"), ("%d", "%m"))
_DAYS: Final = (
    *(separator.join((*order, year)) for separator in "/-" for year in ("%Y", "%y") for order in _ORDERS),
    # With points, the day is first.
    *(".".join((*order, year)) for year in ("%Y", "%y") for order in reversed(_ORDERS)),
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%a %b %d %Y",
)
_TIMES: Final = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %H:%M:%S", ", %I:%M:%S %p")


class Dates:
    """Reads the dates of a column.

    Args:
        date_format: the format of texts, as in ``strptime``; by default, those forms are read whose meaning is plain.
        zone: the IANA name of the zone of dates without one; UTC by default.

    Raises:
        InvalidQuery: the zone is unknown.
    """

    def __init__(self, *, date_format: str | None = None, zone: str | None = None) -> None:
        self.date_format = date_format
        self.zone_name = zone or "UTC"
        self._zone: tzinfo = zone_named(zone) if zone and zone.upper() != "UTC" else UTC

    @classmethod
    def of(cls, options: ImportOptions) -> Dates:
        """How the dates of a file are read.

        Raises:
            InvalidQuery: the zone is unknown.
        """
        return cls(date_format=options.date_format, zone=options.zone)

    def read(self, value: Any) -> datetime:
        """The time in UTC.

        Raises:
            BadRow: the value is not a date.
        """
        return self.parse(value)[0]

    def parse(self, value: Any) -> tuple[datetime, str, str]:
        """The time in UTC, the form that it has, and ``ambiguous``, ``skipped`` or nothing about its local time.

        A time that occurs twice when clocks are set back is the first of the two. One that is skipped when they are
        set forward is as long after the change as it is after the last time before it.

        Raises:
            BadRow: the value is not a date.
        """
        try:
            found = self._parse(value)
        except (ValueError, OverflowError, TypeError, KeyError):
            found = None
        if found is not None:
            moment, form = found
            if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
                raise BadRow(f"created_at must be in the years {_FIRST_YEAR} to {_LAST_YEAR}, got {moment.isoformat()}")
            if moment.tzinfo is not None:
                return utc(moment), form, ""
            return utc(moment.replace(tzinfo=self._zone)), form, self._doubt(moment)
        if self.date_format and isinstance(value, str):
            expected = f"expected the format {self.date_format!r}"
        elif _is_number(value):
            expected = _NUMBERS
        else:
            expected = "expected one such as 2026-01-31T12:00:00Z; add --date-format for others"
        raise BadRow(f"created_at is not a date: {excerpt(repr(value), _SHOWN_CHARACTERS)}; {expected}")

    def _parse(self, value: Any) -> tuple[datetime, str] | None:
        if isinstance(value, str) and self.date_format:
            text = value.strip()
            return datetime.strptime(text, self.date_format), self.date_format  # noqa: DTZ007 - the zone follows
        return _parse(value)

    def _doubt(self, local: datetime) -> str:
        if self._zone is UTC:
            return ""
        first = local.replace(tzinfo=self._zone, fold=0).utcoffset()
        second = local.replace(tzinfo=self._zone, fold=1).utcoffset()
        if first == second or first is None or second is None:
            return ""
        return "ambiguous" if first > second else "skipped"


class DateForms:
    """Counts the forms of the dates of a column, in a first pass over it."""

    def __init__(self, dates: Dates) -> None:
        self._parse = dates.parse
        self._date_format = dates.date_format
        self.forms: Counter[str] = Counter()
        self.doubts: Counter[str] = Counter()
        self.unread = 0
        #: Up to 20 values that were not read.
        self.examples: list[str] = []
        #: The first and the last time.
        self.earliest, self.latest = _LATEST, _EARLIEST

    def add(self, value: Any) -> None:
        """Count a value."""
        try:
            moment, form, doubt = self._parse(value)
        except BadRow:
            self.unread += 1
            if len(self.examples) < 20 and isinstance(value, str | int | float):
                self.examples.append(str(value).strip())
            return
        self.forms[form] += 1
        if not self.earliest <= moment <= self.latest:
            self.earliest, self.latest = min(moment, self.earliest), max(moment, self.latest)
        if doubt:
            self.doubts[doubt] += 1

    def check(self, column: str) -> None:
        """Refuse a column of which most values are not dates.

        Raises:
            UnusableFile: the message has formats that read them, if there are any.
        """
        if self.unread <= sum(self.forms.values()):
            return
        example = f", such as {excerpt(repr(self.examples[0]), _SHOWN_CHARACTERS)}" if self.examples else ""
        if self.examples and all(map(_is_number, self.examples)) and not self._date_format:
            raise UnusableFile(
                f"The dates in {column!r} cannot be read{example}: {_NUMBERS}. If they are not the dates, add "
                f"--drop {quote(column)}, or read others with --map created_at=COLUMN"
            )
        proposals = " or ".join(f'--date-format "{one}"' for one in _fitting(self.examples))
        proposals = proposals or "--date-format, in which %Y, %m, %d, %H and %M are the parts of a date"
        how = f" with --date-format {quote(self._date_format)}" if self._date_format else ""
        raise UnusableFile(
            f"The dates in {column!r} cannot be read{how}{example}. Say how they are written with {proposals}, "
            "and their time zone with --zone"
        )


def _parse(value: Any) -> tuple[datetime, str] | None:
    if isinstance(value, str):
        return _parse_text(value.strip())
    if isinstance(value, datetime):
        return value, TYPED
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day), TYPED  # noqa: DTZ001 - the zone follows
    if isinstance(value, Mapping) and value.keys() == {"$date"}:
        return _parse_mongodb(value["$date"])
    if type(value) is int and _DAY.fullmatch(str(value)):
        return _parse_text(str(value))
    return _from_number(value) if type(value) in (int, float) else None


def _parse_mongodb(value: Any) -> tuple[datetime, str] | None:
    """The value of ``{"$date": "2026-01-31T12:00:00Z"}``: a text, or milliseconds, which may be in ``$numberLong``."""
    if isinstance(value, Mapping):
        value = int(value["$numberLong"])
    if isinstance(value, int):
        return EPOCH + timedelta(milliseconds=value), "$date"
    found = _parse_text(value)
    return found and (found[0], "$date")


def _parse_text(text: str) -> tuple[datetime, str] | None:
    # Other numbers are not for the ISO parser, which reads some of thirteen digits as a day and a time.
    if text[4:5] != "-" and _NUMBER.fullmatch(text) and not _DAY.fullmatch(text):
        return _from_number(int(text) if text.lstrip("-").isdigit() else float(text.replace(",", ".")))
    try:
        return datetime.fromisoformat(text), ISO
    except ValueError:
        pass
    if match := _UTC.fullmatch(text):
        return datetime.fromisoformat(match[1]).replace(tzinfo=UTC), f"{ISO} with UTC"
    if match := _SPACED_OFFSET.fullmatch(text):
        return datetime.fromisoformat("".join(match.groups())), ISO
    if match := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, hour, rest = match.groups()
        time = f"T{hour:0>2}{rest}" if hour else ""
        return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}{time}"), YEAR_FIRST
    return (parsedate_to_datetime(text), RFC_2822) if _RFC_2822.fullmatch(text) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip()) is not None)


def _from_number(number: float) -> tuple[datetime, str] | None:
    if int(number) in _EXCEL_DAYS:
        return _EXCEL_EPOCH + timedelta(milliseconds=round(number * 86_400_000)), EXCEL
    for per_second, form in _EPOCHS:
        if int(number / per_second) in _SECONDS:
            return EPOCH + timedelta(microseconds=round(number * (1_000_000 // per_second))), form
    return None


def _fitting(examples: Sequence[str]) -> Iterable[str]:
    """The first formats that read all examples: with the month first, and with the day first."""
    if not examples:
        return
    found = 0
    for day in _DAYS:
        for time in _TIMES:
            if all(_fits(one, form := f"{day}{time}") for one in examples):
                yield form
                found += 1
        if found >= 2:
            return


def _fits(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007 - only tried
    except ValueError:
        return False
    return True

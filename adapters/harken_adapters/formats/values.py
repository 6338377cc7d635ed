"""Values in files of other programs: as the few types that rows have, as JSON values, and as text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from harken.domain.instants import stamp

#: Above this, not every integer has a float of its own.
_EXACT: Final = 2**53


def from_library(value: Any) -> Any:
    """A value as ``None``, a boolean, a number, text, a ``datetime``, a list or an object.

    An integral number is an ``int``, as spreadsheets have only floats. NaN is ``None``. A date is its midnight.
    """
    if isinstance(value, _ROW_TYPES):
        return value
    return next((convert(value) for kind, convert in _CONVERSIONS if isinstance(value, kind)), str(value))


def _number(value: float | Decimal) -> float | int | None:
    if math.isnan(value):
        return None
    if math.isfinite(value) and value == int(value) and (isinstance(value, Decimal) or abs(value) < _EXACT):
        return int(value)
    return float(value)


_ROW_TYPES: Final = (type(None), bool, int, str, datetime)
_CONVERSIONS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    ((float, Decimal), _number),
    (date, lambda value: datetime(value.year, value.month, value.day)),  # noqa: DTZ001 - a date has no zone
    (time, time.isoformat),
    (bytes, lambda value: value.decode("utf-8", "backslashreplace")),
    (Mapping, lambda value: {str(name): from_library(part) for name, part in value.items()}),
    ((list, tuple), lambda value: [from_library(part) for part in value]),
)


def to_json(value: Any) -> Any:
    """A value of a row as a JSON value. Dates become ISO 8601, with the zone that they have, if any.

    Numbers that are not finite, which JSON lacks, become text.
    """
    match value:
        case str() | bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return value.isoformat()
        case list():
            return [to_json(part) for part in value]
        case Mapping():
            return {str(name): to_json(part) for name, part in value.items()}
    return value


def is_empty(value: object) -> bool:
    """Whether there is no value: ``None``, an empty text, or a number that is not one, as in tables of numbers."""
    return value is None or value == "" or value != value  # noqa: PLR0124 - NaN is not equal to itself


def canonical_text(value: Any) -> str:
    """The text of a value as it is in a file of texts: numbers without a needless fraction; empty for ``None``."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case int() | float():
            return str(value)
    value = to_json(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def plain(value: Any, *, finite: bool = True) -> Any:
    """A value of the driver as a JSON value: times in ISO 8601 and UTC, bytes in hexadecimal, other types as text.

    Args:
        value: the value; a time without a zone is UTC, as in MongoDB.
        finite: whether numbers that are not finite, which JSON lacks, become text.
    """
    if value is None or type(value) in _JSON:
        return value
    if isinstance(value, float) and (math.isfinite(value) or not finite):
        return value
    if isinstance(value, list | tuple):
        return [plain(item, finite=finite) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item, finite=finite) for name, item in value.items()}
    for kind, convert in _PLAIN:
        if isinstance(value, kind):
            return convert(value)
    return str(value)


def _stamp(moment: datetime) -> str:
    try:
        return stamp(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
    except ValueError:
        # UTC has no such year: the first and the last day of the calendar in another zone.
        return moment.isoformat()


_JSON: Final = (bool, int, str)
#: Drivers have subclasses of these types.
_PLAIN: Final[Sequence[tuple[type, Callable[[Any], str | int]]]] = (
    # Not of a subclass, such as an enumeration.
    (str, str.__str__),
    (int, int.__int__),
    (datetime, _stamp),
    (bytes, bytes.hex),
)

"""Values in files of other programs: as the few types that rows have, as JSON values, and as text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

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
        case datetime():
            return value.isoformat()
        case Mapping():
            return {str(name): to_json(part) for name, part in value.items()}
        case list():
            return [to_json(part) for part in value]
        case float() if not math.isfinite(value):
            return str(value)
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

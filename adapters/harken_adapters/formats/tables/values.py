"""The typed values of spreadsheets and columnar files, as the few types that rows have."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

#: Above this, not every integer has a float of its own.
_EXACT: Final = 2**53


def plain(value: Any) -> Any:
    """A value as ``None``, a boolean, a number, text, a ``datetime``, a list or an object.

    An integral number is an ``int``, as spreadsheets have only floats. NaN is ``None``. A date is its midnight.
    """
    if isinstance(value, _PLAIN):
        return value
    return next((convert(value) for kind, convert in _CONVERSIONS if isinstance(value, kind)), str(value))


def _number(value: float | Decimal) -> float | int | None:
    if math.isnan(value):
        return None
    if math.isfinite(value) and value == int(value) and (isinstance(value, Decimal) or abs(value) < _EXACT):
        return int(value)
    return float(value)


def to_json(value: Any) -> Any:
    """A value from :func:`plain` as a JSON value: dates in ISO 8601."""
    match value:
        case datetime():
            return value.isoformat()
        case Mapping():
            return {name: to_json(part) for name, part in value.items()}
        case list():
            return [to_json(part) for part in value]
    return value


_PLAIN: Final = (type(None), bool, int, str, datetime)
_CONVERSIONS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    ((float, Decimal), _number),
    (date, lambda value: datetime(value.year, value.month, value.day)),  # noqa: DTZ001 - a date has no zone
    (time, time.isoformat),
    (bytes, lambda value: value.decode("utf-8", "backslashreplace")),
    (Mapping, lambda value: {str(name): plain(part) for name, part in value.items()}),
    ((list, tuple), lambda value: [plain(part) for part in value]),
)

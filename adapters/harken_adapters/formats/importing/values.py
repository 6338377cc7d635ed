"""Values of other programs as JSON values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

from harken.domain.instants import stamp


def plain(value: Any, *, finite: bool = True) -> Any:
    """A value as a JSON value: times in ISO 8601, bytes in hexadecimal, other types as text.

    Args:
        value: the value; a time without a zone is UTC.
        finite: whether numbers that are not finite, which JSON lacks, become text.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item, finite=finite) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, finite=finite) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float) and (isfinite(value) or not finite):
        return value
    return next((convert(value) for kind, convert in _AS_JSON if isinstance(value, kind)), str(value))


def _stamp(moment: datetime) -> str:
    return stamp(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)


#: Drivers have subclasses of these types.
_AS_JSON: Final[Sequence[tuple[type, Callable[[Any], str | int]]]] = (
    (str, str),
    (int, int),
    (datetime, _stamp),
    (bytes, bytes.hex),
)


def is_empty(value: object) -> bool:
    """Whether there is no value: ``None``, an empty text, or a number that is not one, as in tables of numbers."""
    return value is None or value == "" or value != value  # noqa: PLR0124 - NaN is not equal to itself


def as_text(value: object) -> object:
    """Numbers as text, whole ones without a fraction; other values unchanged."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

"""Rejected rows in JSON Lines: each with its place, the reason and the row. Corrected, they can be imported again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from harken_adapters.formats.importing.columns import with_session
from harken_adapters.formats.tables.table import Layout

#: The names of the values that locate an entry of a document: its session, and its position in the array, if any.
ENTRY: Final = ("session", "position")
_REASON: Final = "reason"
_ROW: Final = "row"
_PLACES: Final[Sequence[Sequence[str]]] = (("line",), ("position",), ENTRY)


def place_of(layout: Layout) -> Sequence[str]:
    """The names of the values that locate a row of a file: its line or its position."""
    return ("line",) if layout.has_lines else ("position",)


def to_line(names: Sequence[str], place: Sequence[object], reason: str, row: object) -> str:
    """The line of a rejected row, without its end, in ASCII.

    Args:
        names: the names of the values that locate a row.
        place: these values.
        reason: why the row was rejected.
        row: the row as a JSON value.
    """
    return json.dumps({**dict(zip(names, place, strict=True)), _REASON: reason, _ROW: row})


def is_rejected(value: object, places: Iterable[Sequence[str]] = _PLACES) -> bool:
    """Whether a value is the content of such a line, with the names of one of these places."""
    return isinstance(value, dict) and any(value.keys() == {*names, _REASON, _ROW} for names in places)


def unwrap(value: Any) -> tuple[Any, str]:
    """The row that was rejected and ``""``, or its text and why it cannot be imported."""
    if not is_rejected(value):
        return value, "expected a rejected row with its line, reason and row, as in the other lines"
    row, reason = value[_ROW], value[_REASON]
    if value.get("position", 0) is None:
        return json.dumps(row), f"this is not an entry of feedback ({reason}); correct it where it is from"
    if isinstance(row, dict):
        return with_session(row, value["session"]) if "session" in value else row, ""
    text = row if isinstance(row, str) else json.dumps(row)
    return text, f"the row could not be read ({reason}); replace its text by a JSON object such as {{...}}"

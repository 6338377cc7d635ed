"""Feedback as a row of a CSV table (RFC 4180) for programs, and back. Texts are unchanged.

Earlier exports have no column ``replied``. Their texts are guarded: see :mod:`harken_adapters.formats.spreadsheet_csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

from harken import Feedback
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.record import Record, to_record
from harken_adapters.formats.spreadsheet_csv import unguard
from harken_adapters.formats.strict_json import RepeatedMember, dump, parse


def _json_cell(value: object) -> str:
    return dump(value) if value else ""


def _json(cell: str) -> Any:
    return parse(cell) if cell else None


def _number_cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def _plain(value: str | None) -> str:
    return value or ""


def _plain_or_none(cell: str) -> str | None:
    return cell or None


def _truth_cell(value: bool) -> str:
    return "true" if value else "false"


def _truth(cell: str) -> Any:
    # Spreadsheets save them in upper case.
    return _json(cell.lower())


_Codec = tuple[Callable[[Any], str], Callable[[str], Any]]
_TEXT: _Codec = (_plain, _plain_or_none)
_JSON: _Codec = (_json_cell, _json)
_NUMBER: _Codec = (_number_cell, _json)
_TRUTH: _Codec = (_truth_cell, _truth)
#: Whether there is a reply, as it may be empty.
_REPLIED: Final = "replied"

#: How each column is written and read, in the order of the table.
_CODECS: Mapping[str, _Codec] = {
    "id": _TEXT,
    "created_at": _TEXT,
    "session_id": _TEXT,
    "message_id": _TEXT,
    "agent_id": _TEXT,
    "author": _TEXT,
    "rating": _TEXT,
    "comment": _TEXT,
    "tags": _JSON,
    "context": _JSON,
    "sentiment_polarity": _NUMBER,
    "sentiment_subjectivity": _NUMBER,
    "status": _TEXT,
    "moderation": _JSON,
    "reply": _TEXT,
    _REPLIED: _TRUTH,
    "version": _NUMBER,
    "updated_at": _TEXT,
    "withdrawn_at": _TEXT,
    "revisions": _JSON,
    "idempotency_key": _TEXT,
    "fingerprint": _TEXT,
    "vote": _TRUTH,
    "later_keys": _JSON,
}
COLUMNS: Final = tuple(_CODECS)
#: The columns that are guarded in exports without :data:`_REPLIED`.
_GUARDED: Final = frozenset(
    {"id", "session_id", "message_id", "agent_id", "author", "comment", "idempotency_key", "fingerprint"}
)
_WRITERS = tuple((name, write) for name, (write, _) in _CODECS.items())


class TableWriter:
    """Writes feedback as CSV: the header, then a row per entry."""

    def __init__(self, file: TextIO) -> None:
        """``file`` must have been opened with ``newline=""``."""
        self._rows = csv.writer(file)
        self._rows.writerow(COLUMNS)

    def write(self, feedback: Feedback) -> None:
        """Write a row."""
        self._rows.writerow(to_cells(feedback))


def to_cells(feedback: Feedback) -> list[str]:
    """The cells of an entry, in the order of :data:`COLUMNS`."""
    record = to_record(feedback)
    sentiment = record["sentiment"] or {}
    record["sentiment_polarity"] = sentiment.get("polarity")
    record["sentiment_subjectivity"] = sentiment.get("subjectivity")
    record[_REPLIED] = record["reply"] is not None
    return [write(record[name]) for name, write in _WRITERS]


def from_cells(cells: Mapping[str, str]) -> Record:
    """The record of a row. Unknown columns are ignored.

    Raises:
        BadRow: a cell is invalid.
    """
    if is_guarded := _REPLIED not in cells:
        cells = {name: unguard(cell) if name in _GUARDED else cell for name, cell in cells.items()}
    record: Record = {name: _value(name, cell) for name, cell in cells.items() if name in _CODECS}
    if is_guarded:
        record["reply"] = _guarded_reply(cells.get("reply", ""))
    elif record.pop(_REPLIED):
        record["reply"] = record.get("reply") or ""
    polarity, subjectivity = record.pop("sentiment_polarity", None), record.pop("sentiment_subjectivity", None)
    if polarity is not None or subjectivity is not None:
        record["sentiment"] = {"polarity": polarity, "subjectivity": subjectivity}
    return record


def _guarded_reply(cell: str) -> str | None:
    if not cell:
        return None
    # An empty reply is an apostrophe, and a reply of apostrophes has one more.
    return unguard(cell) if cell.strip("'") else cell[1:]


def _value(name: str, cell: str) -> Any:
    try:
        return _CODECS[name][1](cell)
    except RepeatedMember as error:
        raise BadRow(f"{name}: {error}") from None
    except (ValueError, RecursionError):
        raise BadRow(f"{name} of a Harken export must be JSON, got {cell[:100]!r}") from None

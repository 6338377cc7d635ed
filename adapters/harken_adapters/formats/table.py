"""Feedback as a row of a CSV table (RFC 4180), and back.

Spreadsheets run a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, so such a text is prefixed with an
apostrophe. A text that already looks prefixed gets another one, so that removing exactly one restores every text.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from harken import Feedback
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.record import Record, to_record
from harken_adapters.formats.strict_json import RepeatedMember, parse

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")  # noqa: RUF001 - spreadsheets accept the wide forms too
_GUARDED = re.compile(r"'+[=+\-@\t\r＝＋－＠]")  # noqa: RUF001


def guard(text: str) -> str:
    """The text, prefixed if a spreadsheet could run it as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(cell: str) -> str:
    """The inverse of :func:`guard`."""
    return cell[1:] if _GUARDED.match(cell) else cell


def _text_cell(value: str | None) -> str:
    return "" if value is None else guard(value)


def _text(cell: str) -> str | None:
    return unguard(cell) or None


def _reply_cell(value: str | None) -> str:
    """A reply may be empty but present, unlike other texts. An apostrophe represents it."""
    return f"'{value}" if value is not None and not value.strip("'") else _text_cell(value)


def _reply(cell: str) -> str | None:
    if not cell:
        return None
    return cell[1:] if not cell.strip("'") else unguard(cell)


def _json_cell(value: object) -> str:
    return _dump(value) if value else ""


def _json(cell: str) -> Any:
    return parse(cell) if cell else None


def _number_cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def _plain(value: str | None) -> str:
    return value or ""


def _plain_or_none(cell: str) -> str | None:
    return cell or None


_Codec = tuple[Callable[[Any], str], Callable[[str], Any]]
_TEXT: _Codec = (_text_cell, _text)
_PLAIN: _Codec = (_plain, _plain_or_none)
_JSON: _Codec = (_json_cell, _json)
_NUMBER: _Codec = (_number_cell, _json)

#: How each column is written and read, in the order of the table.
_CODECS: Mapping[str, _Codec] = {
    "id": _TEXT,
    "created_at": _PLAIN,
    "session_id": _TEXT,
    "message_id": _TEXT,
    "agent_id": _TEXT,
    "author": _TEXT,
    "rating": _PLAIN,
    "comment": _TEXT,
    "tags": _JSON,
    "context": _JSON,
    "sentiment_polarity": _NUMBER,
    "sentiment_subjectivity": _NUMBER,
    "status": _PLAIN,
    "moderation": _JSON,
    "reply": (_reply_cell, _reply),
    "version": _NUMBER,
    "updated_at": _PLAIN,
    "withdrawn_at": _PLAIN,
    "revisions": _JSON,
    "idempotency_key": _TEXT,
    "fingerprint": _TEXT,
    "vote": (lambda vote: "true" if vote else "false", _json),
    "later_keys": _JSON,
}
COLUMNS = tuple(_CODECS)
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
    return [write(record[name]) for name, write in _WRITERS]


def from_cells(cells: Mapping[str, str]) -> Record:
    """The record of a row. Unknown columns are ignored.

    Raises:
        BadRow: a cell is invalid.
    """
    record: Record = {name: _value(name, cell) for name, cell in cells.items() if name in _CODECS}
    polarity, subjectivity = record.pop("sentiment_polarity", None), record.pop("sentiment_subjectivity", None)
    if polarity is not None or subjectivity is not None:
        record["sentiment"] = {"polarity": polarity, "subjectivity": subjectivity}
    return record


def _value(name: str, cell: str) -> Any:
    try:
        return _CODECS[name][1](cell)
    except RepeatedMember as error:
        raise BadRow(f"{name}: {error}") from None
    except (ValueError, RecursionError):
        raise BadRow(f"{name} of a Harken export must be JSON, got {cell[:100]!r}") from None

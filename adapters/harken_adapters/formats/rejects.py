"""Rejected rows in JSON Lines: each with its place, the reason and the row. Corrected, they can be imported again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from harken_adapters.formats.importing.columns import with_session
from harken_adapters.formats.spreadsheet_csv import is_spreadsheet_export, unguard
from harken_adapters.formats.strict_json import parse
from harken_adapters.formats.tables.table import Layout, Origin, Row

_FILE: Final = "file"
_LINE: Final = "line"
_POSITION: Final = "position"
_APPLICATION: Final = "application"
_SESSION: Final = "session"
#: The names of the values that locate an entry of a document: its application and session, and its position in the
#: array, if any.
ENTRY: Final = (_APPLICATION, _SESSION, _POSITION)
_REASON: Final = "reason"
_ROW: Final = "row"
#: How the row was read: the options of its import; and if it is a text, the names of its columns and their separator.
_MAPPING: Final = "mapping"
_COLUMNS: Final = "columns"
_SEPARATOR: Final = "separator"
#: What a line has at least to be recognised, besides the reason and the row; and what it may have.
_PLACES: Final[Sequence[Sequence[str]]] = ((_LINE,), (_POSITION,), (_SESSION, _POSITION))
_OPTIONAL: Final = frozenset({_FILE, _APPLICATION, _MAPPING, _COLUMNS, _SEPARATOR})


def place_in(application: str, layout: Layout, file: str, position: int) -> Mapping[str, object]:
    """The values that locate a row, by name: the application of its import, its file, and its line or position there.

    So a corrected row is not imported into another application.
    """
    return {_APPLICATION: application, _FILE: file, _LINE if layout.has_lines else _POSITION: position}


def to_line(place: Mapping[str, object], reason: str, row: object, read_as: Mapping[str, object] | None = None) -> str:
    """The line of a rejected row, without its end, in ASCII.

    Args:
        place: the values that locate the row, by name.
        reason: why the row was rejected.
        row: the row as a JSON value.
        read_as: how it was read: :func:`mapping_part` and, for a text, :func:`text_part`.
    """
    return json.dumps({**place, _REASON: reason, _ROW: row, **(read_as or {})})


def mapping_part(mapping: Mapping[str, object]) -> dict[str, object]:
    """The part of ``read_as`` for the options of an import, as in a mapping file."""
    return {_MAPPING: mapping} if mapping else {}


def text_part(layout: Layout, columns: Sequence[str] | None) -> dict[str, object]:
    """The part of ``read_as`` for rows that are a text: how it is separated into these columns."""
    return {_COLUMNS: [*columns], _SEPARATOR: layout.separator} if columns is not None and layout.separator else {}


def is_rejected(value: object) -> bool:
    """Whether a value is the content of such a line, of an import or a migration."""
    return _is_line(value, _PLACES)


def is_difference(value: object) -> bool:
    """Whether a value is the content of such a line of a copy, which only names the application."""
    return _is_line(value, ((_APPLICATION,),))


def _is_line(value: object, places: Iterable[Sequence[str]]) -> bool:
    if not isinstance(value, dict):
        return False
    needed = [{*place, _REASON, _ROW} for place in places]
    return any(names <= value.keys() <= names | _OPTIONAL for names in needed)


def mapping_of(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of the import that rejected a row, as in a mapping file."""
    found = value.get(_MAPPING)
    return found if isinstance(found, Mapping) else {}


def file_of(value: Mapping[str, Any]) -> str:
    """The name of the file of a row that was rejected; empty if that is unknown."""
    return str(value.get(_FILE, ""))


def unwrap(position: int, value: Any, mapping: Mapping[str, Any]) -> Row:
    """The row that was rejected, or its text and why it cannot be imported.

    Args:
        position: the line that has the rejected row.
        value: the content of the line.
        mapping: the options with which the rows of the file are imported.
    """
    if not is_rejected(value):
        return Row(position, value, "expected a rejected row with its line, reason and row, as in the other lines")
    row, reason = value[_ROW], value[_REASON]
    origin = _origin(value)
    if value.get(_POSITION, 0) is None:
        problem = f"this is not an entry of feedback ({reason}); correct it where it is from"
    elif mapping_of(value) != mapping:
        problem = "it is from an import with other options than the first row; import it from a file of its own"
        if origin:
            origin = origin._replace(read_as={**origin.read_as, _MAPPING: mapping_of(value)})
    elif isinstance(row, str):
        row, problem = _parse(row, value, reason)
    else:
        problem = "" if isinstance(row, dict) else _unreadable(reason)
    if problem:
        return Row(position, row if isinstance(row, str) else json.dumps(row), problem, origin)
    return Row(position, with_session(row, value[_SESSION]) if _SESSION in value else row, "", origin)


def _origin(value: Mapping[str, Any]) -> Origin | None:
    if not value.keys() & {_FILE, _APPLICATION, _SESSION}:
        return None
    place, read_as = (_FILE, *ENTRY, _LINE), (_COLUMNS, _SEPARATOR)
    return Origin(*({name: value[name] for name in names if name in value} for names in (place, read_as)))


def _parse(text: str, value: Mapping[str, Any], reason: object) -> tuple[Any, str]:
    """The row in a text, which was corrected: of the format that the file had; or the text, and why it has none."""
    columns = value.get(_COLUMNS)
    if not isinstance(columns, list):
        try:
            row = parse(text)
        except (ValueError, RecursionError):
            return text, _unreadable(reason)
        return (row, "") if isinstance(row, dict) else (text, _unreadable(reason))
    try:
        rows = [*csv.reader(io.StringIO(text, newline=""), delimiter=str(value.get(_SEPARATOR, ",")), strict=True)]
    except (csv.Error, TypeError) as error:
        return text, f"not valid CSV: {error}; is a quote missing or not doubled?"
    if len(rows) != 1 or len(rows[0]) != len(columns):
        found = f"{len(rows)} rows" if len(rows) != 1 else f"{len(rows[0])} cells"
        return text, f"the row has {found}, but there are {len(columns)} columns: {', '.join(map(str, columns))}"
    cells = map(unguard, rows[0]) if is_spreadsheet_export(columns) else rows[0]
    return dict(zip(map(str, columns), cells, strict=True)), ""


def _unreadable(reason: object) -> str:
    return f"the row could not be read ({reason}); replace its text by a JSON object such as {{...}}"

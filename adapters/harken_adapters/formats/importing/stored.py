"""Rows of entries that were exported for a spreadsheet, and are imported into the storage that has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from harken import Feedback, Rating, Submission
from harken.domain.idempotency import IMPORT_ID
from harken.domain.query import label
from harken_adapters.formats.importing.submissions import RATING_GIVEN
from harken_adapters.formats.spreadsheet_csv import ID
from harken_adapters.formats.values import is_empty

#: Spreadsheets save times without seconds.
_PRECISION: Final = timedelta(minutes=1)
#: What an export or an import adds to the context.
_ADDED: Final = (IMPORT_ID, RATING_GIVEN, "status")


def id_of(values: Any, columns: Sequence[str] | None) -> str | None:
    """The id of the entry that a row was exported from; ``None`` if it has none.

    Args:
        values: the values of the row.
        columns: the names of its columns; ``None`` if it is an object.
    """
    if columns is None:
        found = values.get(ID) if isinstance(values, Mapping) else None
    else:
        found = values[columns.index(ID)] if ID in columns else None
    return None if is_empty(found) else str(found)


def change_problem(stored: Feedback, row: Submission) -> str:
    """Why a row is not the stored entry with its id; empty if it is.

    What a spreadsheet does not keep is not compared: seconds, whitespace, the form of numbers, and columns that were
    removed.
    """
    if not (changed := [*_changes(stored, row)]):
        return ""
    return (
        f"The entry {stored.id!r} is stored with another {', '.join(map(repr, changed))}, which an import does not "
        f"change; erase it and import the row again, or empty its {ID} to store it as a new entry"
    )


def _changes(stored: Feedback, row: Submission) -> Iterator[str]:
    """The names of what differs."""
    pairs: list[tuple[str, object, object]] = [
        ("session_id", stored.session_id, row.target.session_id),
        ("message_id", stored.message_id, row.target.message_id),
        ("agent_id", stored.agent_id, row.target.agent_id),
        ("author", stored.author, row.author),
        ("rating", stored.rating.word, Rating.parse(row.rating).word),
        ("comment", stored.comment, row.comment),
        ("tags", [*stored.tags], [*row.tags]),
        *((name, stored.context.get(name), value) for name, value in row.context.items() if name not in _ADDED),
    ]
    yield from (name for name, before, after in pairs if not _is_same(before, after))
    if row.created_at is not None and abs(stored.created_at - row.created_at) >= _PRECISION:
        yield "created_at"


def _is_same(stored: object, given: object) -> bool:
    before, after = _text(stored), _text(given)
    if before == after:
        return True
    try:
        return float(before) == float(after)
    except ValueError:
        return False


def _text(value: Any) -> str:
    return "" if value is None else " ".join(str(label(value)).split())

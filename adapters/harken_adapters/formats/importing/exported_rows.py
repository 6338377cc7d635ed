"""Rows of entries that were exported for a spreadsheet, and are imported into the storage that has them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from math import isclose
from typing import Any, Final

from harken import Feedback, Rating, Submission
from harken.domain.idempotency import IMPORT_ID
from harken.domain.query import label
from harken_adapters.formats.import_options import CONTEXT
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.submissions import MOST_VALUES, RATING_GIVEN
from harken_adapters.formats.spreadsheet_csv import ID
from harken_adapters.formats.values import is_empty

#: Spreadsheets save times without seconds.
_PRECISION: Final = timedelta(minutes=1)
#: They show, and save as CSV, nine decimal places or fewer.
_DIGITS: Final = 1e-6
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


def compared_names(plan: Plan) -> Collection[str]:
    """The names of the fields and of the context values, as ``context.NAME``, that a file has, or ``--set`` gives."""
    reason = ("tags",) if plan.reason else ()
    return {*plan.fields, *plan.options.constants, *reason, *(CONTEXT + name for name in plan.context.values())}


def change_problem(stored: Feedback, row: Submission, compared: Collection[str]) -> str:
    """Why a row is not the stored entry with its id; empty if it is.

    What a spreadsheet does not keep is not compared: seconds, whitespace, the form of numbers in the context, and
    columns that were removed.

    Args:
        stored: the entry.
        row: the row.
        compared: the names of what the file has, see :func:`compared_names`.
    """
    if not (changed := [*_changes(stored, row, compared)]):
        return ""
    return (
        f"The entry {stored.id!r} is stored with another {', '.join(map(repr, changed))}, which an import does not "
        f"change; erase it and import the row again, or empty its {ID} to store it as a new entry"
    )


def _changes(stored: Feedback, row: Submission, compared: Collection[str]) -> Iterator[str]:
    """The names of what differs."""
    texts: list[tuple[str, object, object]] = [
        ("session_id", stored.session_id, row.target.session_id),
        ("message_id", stored.message_id, row.target.message_id),
        ("agent_id", stored.agent_id, row.target.agent_id),
        ("author", stored.author, row.author),
        ("rating", stored.rating.word, Rating.parse(row.rating).word),
        ("comment", stored.comment, row.comment),
        ("tags", [*stored.tags], [*row.tags]),
    ]
    yield from (name for name, before, after in texts if name in compared and _text(before) != _text(after))
    if "created_at" in compared and (row.created_at is None or abs(stored.created_at - row.created_at) >= _PRECISION):
        yield "created_at"
    for part in ("polarity", "subjectivity"):
        name = f"sentiment_{part}"
        if name in compared and not _is_near(getattr(stored.sentiment, part, None), getattr(row.sentiment, part, None)):
            yield name
    for name in _context_names(row, compared):
        if not _is_same_value(stored.context.get(name), row.context.get(name)):
            yield name


def _context_names(row: Submission, compared: Collection[str]) -> Iterable[str]:
    """The names of the context values that are compared. Those that a row has too many of are not in its context."""
    names = dict.fromkeys(row.context)
    if len(row.context) < MOST_VALUES:
        names |= dict.fromkeys(sorted(name.removeprefix(CONTEXT) for name in compared if name.startswith(CONTEXT)))
    return (name for name in names if name not in _ADDED)


def _is_same_value(stored: object, given: object) -> bool:
    before, after = _text(stored), _text(given)
    if before == after:
        return True
    try:
        return float(before) == float(after)
    except ValueError:
        return False


def _is_near(stored: float | None, given: float | None) -> bool:
    """Whether both are the same number, to the digits that a spreadsheet shows."""
    if stored is None or given is None:
        return stored is given
    return isclose(stored, given, abs_tol=_DIGITS)


def _text(value: Any) -> str:
    return "" if value is None else " ".join(str(label(value)).split())

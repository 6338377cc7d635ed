"""Feedback as a CSV table for spreadsheets: one column for each context name, and no cell that is run as a formula.

Spreadsheets run a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, so such a text is prefixed with an
apostrophe. A text that already looks prefixed gets another one, so that removing exactly one restores every text.

The columns are those that an import knows, with :data:`ID`, by which an import recognises the table.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TextIO

from attrs import Factory, field, frozen

from harken import Feedback, Sentiment
from harken.domain.idempotency import IMPORT_ID
from harken.domain.query import label
from harken_adapters.formats.errors import ChangedMeanwhile
from harken_adapters.formats.import_options import CONTEXT, FIELDS
from harken_adapters.formats.importing.columns import simplified
from harken_adapters.formats.strict_json import dump

_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")  # noqa: RUF001 - spreadsheets accept the wide forms too
_GUARDED = re.compile(r"'+[=+\-@\t\r＝＋－＠]")  # noqa: RUF001
#: What spreadsheets read as a Boolean value. Texts in the context that they would change are guarded too.
_TRUTH = re.compile("'*(true|false)", re.IGNORECASE)

#: The column of the id, which no other program writes.
ID: Final = "harken_id"
#: People look for the date first.
_FIRST_COLUMNS: Final = ("created_at", *(name for name in FIELDS if name != "created_at"))
#: Context names that an import, which knows them as columns, reads as something else.
_RESERVED: Final = frozenset({ID, "status", "id", "version", "reason", "context", "sentiment"})
_FIELDS: Final = frozenset(map(simplified, FIELDS))
#: Further context names share the column ``context``, as JSON: spreadsheets have at most 16,384 columns.
_MOST_NAMES: Final = 500


def guard(text: str) -> str:
    """The text, prefixed if a spreadsheet could run it as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(cell: str) -> str:
    """The inverse of :func:`guard`."""
    return cell[1:] if _GUARDED.match(cell) else cell


def unguard_context(cell: str) -> str:
    """The text of a cell of the context: ``true`` or ``false`` for what spreadsheets make of these values."""
    if _TRUTH.fullmatch(cell):
        return cell[1:] if cell.startswith("'") else cell.lower()
    return unguard(cell)


def is_spreadsheet_export(header: Iterable[str]) -> bool:
    """Whether a table with these columns was written by :class:`SpreadsheetWriter`: its texts are guarded."""
    return ID in header


@frozen
class ContextColumns:
    """The context names of feedback, as columns, except that of the import.

    Attributes:
        names: the names that have a column, sorted.
        has_more: whether there are further names.
    """

    names: Sequence[str]
    has_more: bool = False
    _known: frozenset[str] = field(init=False, default=Factory(lambda self: frozenset(self.names), takes_self=True))

    @classmethod
    def of(cls, feedback: Iterable[Feedback]) -> ContextColumns:
        """The columns for all of this feedback."""
        names: set[str] = set()
        has_more = False
        for one in feedback:
            new = one.context.keys() - names - {IMPORT_ID}
            has_more = has_more or len(names) + len(new) > _MOST_NAMES
            names.update(sorted(new)[: _MOST_NAMES - len(names)])
        return cls(sorted(names), has_more)

    @property
    def header(self) -> list[str]:
        """The names of the columns: those of the context, or ``context.NAME`` for a name that means something else."""
        columns = [CONTEXT + name if _is_reserved(name) else name for name in self.names]
        return [*columns, "context"] if self.has_more else columns

    def cells(self, feedback: Feedback) -> list[str]:
        """The cells of an entry.

        Raises:
            ChangedMeanwhile: it has a name without a column.
        """
        context = feedback.context
        cells = [_context_cell(context, name) for name in self.names]
        others = {name: context[name] for name in context.keys() - self._known - {IMPORT_ID}}
        if others and not self.has_more:
            raise ChangedMeanwhile(f"Feedback with the new context name {min(others)!r} was added; export again")
        return [*cells, dump(others) if others else ""] if self.has_more else cells


class SpreadsheetWriter:
    """Writes feedback as CSV for spreadsheets: a byte order mark, the header, then a row per entry.

    Args:
        file: it must have been opened with ``newline=""``.
        context: the columns of the context.
        with_status: whether there is a column for the moderation status, or ``withdrawn``.
    """

    def __init__(self, file: TextIO, context: ContextColumns, *, with_status: bool) -> None:
        self._context = context
        self._with_status = with_status
        # Without the mark, Excel takes UTF-8 for a legacy encoding.
        file.write("\ufeff")
        self._rows = csv.writer(file)
        self._rows.writerow([*_FIRST_COLUMNS, *(["status"] if with_status else []), *context.header, ID])

    def write(self, feedback: Feedback) -> None:
        """Write a row."""
        status = "withdrawn" if feedback.withdrawn else feedback.moderation.status.value
        self._rows.writerow(
            [
                # Spreadsheets do not recognise a time with T and Z, or with a fraction of a second.
                f"{feedback.created_at:%Y-%m-%d %H:%M:%S}",
                *map(_text_cell, (feedback.session_id, feedback.message_id, feedback.agent_id, feedback.author)),
                feedback.rating.word,
                guard(feedback.comment),
                _tags_cell(feedback.tags),
                *_sentiment_cells(feedback.sentiment),
                *([status] if self._with_status else []),
                *self._context.cells(feedback),
                guard(feedback.id),
            ]
        )


def _is_reserved(name: str) -> bool:
    return name in _RESERVED or simplified(name) in _FIELDS or guard(name) != name


def _text_cell(value: str | None) -> str:
    return "" if value is None else guard(value)


def _tags_cell(tags: Sequence[str]) -> str:
    """One tag is a text; several are a JSON list."""
    if len(tags) == 1 and not tags[0].startswith("["):
        return guard(tags[0])
    return dump(tags) if tags else ""


def _sentiment_cells(sentiment: Sentiment | None) -> Sequence[str]:
    return ("", "") if sentiment is None else (repr(sentiment.polarity), repr(sentiment.subjectivity))


def _context_cell(context: Mapping[str, str | float | bool | None], name: str) -> str:
    value = context.get(name)
    if isinstance(value, str) and _TRUTH.fullmatch(value) and value not in ("true", "false"):
        return f"'{value}"
    # Numbers are not guarded: they cannot be other formulas than themselves.
    return _text_cell(value) if isinstance(value, str | None) else str(label(value))

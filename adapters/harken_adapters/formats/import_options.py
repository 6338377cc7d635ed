"""What a user, a preset or a mapping file says about the files to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import field, frozen

from harken.domain.rules import name_problem
from harken.domain.texts import no_such

#: The formats of files, and their names for people.
FORMATS: Final[Mapping[str, str]] = {
    "csv": "CSV",
    "jsonl": "JSON Lines",
    "json": "JSON",
    "xlsx": "Excel (.xlsx)",
    "parquet": "Parquet",
    "arrow": "Arrow",
}
#: The fields that columns are mapped to, besides ``context.NAME``. Columns with the name of a field need no mapping.
FIELDS: Final = (
    "session_id",
    "message_id",
    "agent_id",
    "author",
    "rating",
    "comment",
    "created_at",
    "tags",
    "sentiment_polarity",
    "sentiment_subjectivity",
)
#: The prefix of a field in the context.
CONTEXT: Final = "context."


def field_problem(name: str) -> str | None:
    """Why this is not the name of a field; ``None`` if it is."""
    if name.startswith(CONTEXT):
        problem = name_problem("context", name.removeprefix(CONTEXT))
        return problem.message if problem else None
    return None if name in FIELDS else no_such("field", name, (*FIELDS, f"{CONTEXT}NAME"))


@frozen(kw_only=True)
class ImportOptions:
    """How files are read and what their columns mean, where that is not as it was detected.

    Attributes:
        format: ``csv``, ``jsonl``, ``json``, ``xlsx``, ``parquet`` or ``arrow``.
        encoding: the encoding of a text file.
        separator: the separator of CSV.
        skip_rows: the number of rows before the names of the columns.
        key: the dotted path of the list in a JSON document.
        sheet: the name of the sheet of a spreadsheet.
        columns: the column of a field, such as ``{"comment": "text"}``; a dotted path for a value in an object, with
            a number from 0 for an element of a list. The column must occur in the file. Of a sequence of columns, a row
            takes the first that has a value in it; none of them needs to occur in the file.
        constants: the value of a field in rows without one.
        scale: how ratings on a scale are read: ``stars``, ``nps`` or ``0..1``.
        ratings: the rating of a value, such as ``{"5": "up", "other": "down"}``. They have precedence over the scale.
        date_format: the format of dates, as in ``strptime``.
        zone: the time zone of dates without one.
        drop: the columns to leave out, if they occur.
        only: the only columns to read, besides those of fields; ``None`` for all.
        context: whether other columns go into the context.
        typed_columns: the columns of ``drop`` and ``only`` in the command, with the option of each. They must occur.
        typed_ratings: the values of ``ratings`` in the command.
        mapping_file: the mapping file of a user that they are from. Columns that are misspelt in it are refused.
    """

    format: str | None = None
    encoding: str | None = None
    separator: str | None = None
    skip_rows: int | None = None
    key: str | None = None
    sheet: str | None = None
    columns: Mapping[str, str | Sequence[str]] = field(factory=dict)
    constants: Mapping[str, str] = field(factory=dict)
    scale: str | None = None
    ratings: Mapping[str, str] = field(factory=dict)
    date_format: str | None = None
    zone: str | None = None
    drop: Sequence[str] = ()
    only: Sequence[str] | None = None
    context: bool = True
    typed_columns: Mapping[str, str] = field(factory=dict)
    typed_ratings: Sequence[str] = ()
    mapping_file: str | None = field(default=None, eq=False)

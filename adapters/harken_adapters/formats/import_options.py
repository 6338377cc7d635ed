"""What a user, a preset or a mapping file says about the files to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen


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
        columns: the column of a field, such as ``{"comment": "text"}``; a dotted path for a value in an object.
        constants: the value of a field in rows without one.
        scale: how ratings on a scale are read: ``stars``, ``nps`` or ``0..1``.
        ratings: the rating of a value, such as ``{"5": "up", "other": "down"}``.
        date_format: the format of dates, as in ``strptime``.
        zone: the time zone of dates without one.
        drop: the columns to leave out.
        only: the only columns to read, besides those of fields; ``None`` for all.
        context: whether other columns go into the context.
    """

    format: str | None = None
    encoding: str | None = None
    separator: str | None = None
    skip_rows: int | None = None
    key: str | None = None
    sheet: str | None = None
    columns: Mapping[str, str] = field(factory=dict)
    constants: Mapping[str, str] = field(factory=dict)
    scale: str | None = None
    ratings: Mapping[str, str] = field(factory=dict)
    date_format: str | None = None
    zone: str | None = None
    drop: Sequence[str] = ()
    only: Sequence[str] | None = None
    context: bool = True

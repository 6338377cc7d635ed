"""Spreadsheets: ``.xlsx``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetMetadata,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.tables.compression import check_archive
from harken_adapters.formats.tables.header import count_left_out, find_names, unique_names
from harken_adapters.formats.tables.source import Source
from harken_adapters.formats.tables.table import Layout, Record, Table
from harken_adapters.formats.tables.values import plain, to_json

_SAMPLE_ROWS: Final = 1_000


class SpreadsheetTable(Table):
    """A row for each row of a sheet with a cell that is not empty. Cells have their types; dates have no zone.

    The sheet is kept in memory: it has at most 1,048,576 rows.
    """

    columns: Sequence[str]

    def __init__(self, source: Source, options: ImportOptions) -> None:
        """Read the sheet.

        Raises:
            UnusableFile: the file is damaged, there is no such sheet, or it does not begin with a row of column names.
        """
        self.name = source.name
        self._source = source
        self._read = 0
        self._sheet, place = _load(source, options.sheet)
        rows = [row for row in islice(self._rows(), _SAMPLE_ROWS) if row.position > (options.skip_rows or 0)]
        if not rows:
            raise UnusableFile(f"{self.name} has no row of column names in {place}")
        index = find_names([row.values for row in rows]) if options.skip_rows is None else 0
        self._names_at = rows[index].position
        self.columns = unique_names(rows[index].values)
        left_out = count_left_out([row.values for row in rows[index + 1 :]])
        skipped = self._names_at - 1 if index or options.skip_rows else 0
        self.layout = Layout("xlsx", place=place, skipped=skipped, left_out=left_out)

    def records(self) -> Iterator[Record]:
        """A record for each row: its values."""
        rows = (row for row in self._rows() if row.position > self._names_at)
        yield from islice(rows, self.layout.left_out, None)

    def raw(self, record: Record) -> object:
        """The values by column name; dates in ISO 8601."""
        return dict(zip(self.columns, map(to_json, record.values), strict=True))

    @property
    def left_for_later(self) -> bool:
        """Never, as a spreadsheet is written as a whole."""
        return False

    @property
    def progress(self) -> tuple[int, int | None]:
        """The rows that were read, and their number."""
        return self._read, self._sheet.total_height + 1

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _rows(self) -> Iterator[Record]:
        """The rows that are not empty, with their numbers in the sheet."""
        for number, cells in enumerate(self._sheet.iter_rows(), 1):
            self._read = number
            values = [None if cell == "" else plain(cell) for cell in cells]
            if any(value is not None for value in values):
                yield Record(self._read, values)


def _is_visible(sheet: SheetMetadata) -> bool:
    return sheet.visible is SheetVisibleEnum.Visible and sheet.typ is SheetTypeEnum.WorkSheet


def _load(source: Source, name: str | None) -> tuple[CalamineSheet, str]:
    """The named sheet, or else the first visible one, and what it is."""
    check_archive(source)
    try:
        book = CalamineWorkbook.from_filelike(source.open())
        visible = [sheet.name for sheet in book.sheets_metadata if _is_visible(sheet)]
        if name is not None and name not in book.sheet_names:
            raise UnusableFile(f"{source.name} has no sheet {name!r}; its sheets are {', '.join(book.sheet_names)}")
        chosen = name or (visible or book.sheet_names)[0]
        others = f", the first of {len(visible)}" if name is None and len(visible) > 1 else ""
        return book.get_sheet_by_name(chosen), f"sheet {chosen!r}{others}"
    except PasswordError as error:
        raise UnusableFile(f"{source.name} has a password; save it without one") from error
    except CalamineError as error:
        raise UnusableFile(f"{source.name} is a damaged spreadsheet: {error}") from error

"""Spreadsheets: ``.xlsx``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, islice, repeat
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

from harken.domain.texts import amount, listed, no_such
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.tables.compression import read_members
from harken_adapters.formats.tables.formulas import RELATIONS, WORKBOOK, Book, Formulas, column_number
from harken_adapters.formats.tables.header import count_left_out, find_names, unique_names
from harken_adapters.formats.tables.source import Source
from harken_adapters.formats.tables.table import Layout, Row
from harken_adapters.formats.tables.typed_table import TypedTable
from harken_adapters.formats.values import from_library

_SHOWN_SHEETS: Final = 10
_SAMPLE_ROWS: Final = 1_000
#: The library allocates all cells up to the last row and the last column of a sheet, 16 bytes each.
_MAX_CELLS: Final = 1 << 25
_SHEETS: Final = "xl/worksheets/"
#: The place of a cell, such as ``B7``, or the number of a row.
_PLACE: Final = re.compile(rb"""\sr=["']([A-Za-z]*)([0-9]{1,40})["']""")
_FORMULA: Final = re.compile(rb"<(?:\w+:)?f[\s/>]")
#: The beginning of a row or a cell, with its place.
_BEGINNING: Final = re.compile(rb"""<(?:\w+:)?(?:row|c)(?:\s[^<>]*?)?\sr=["']([A-Za-z]*)([0-9]{1,40})["']""")
_LONGEST_BEGINNING: Final = 1_024
#: More than the length of a place, which may be divided between two pieces.
_OVERLAP: Final = 64


class SpreadsheetTable(TypedTable):
    """A row for each row of a sheet with a cell that is not empty. Cells have their types; dates have no zone.

    A formula without a result is its text, as a comment that begins with ``=`` is one for some programs.

    The sheet is kept in memory: it has at most 1,048,576 rows.
    """

    def __init__(self, source: Source, options: ImportOptions) -> None:
        """Read the sheet.

        Raises:
            UnusableFile: the file is damaged, has no sheet of this name, or does not begin with a row of names.
        """
        super().__init__(source)
        with_formulas = _scan_sheets(source)
        self._sheet, place = _load(source, options.sheet)
        self._formulas = _formulas_of(source, self._sheet.name, with_formulas)
        if count := sum(map(len, self._formulas.values())):
            place += f", {amount(count, 'formula')} without a result read as text"
        self._width = max([self._sheet.total_width + 1, *map(max, self._formulas.values())])
        self._total = self._sheet.total_height + 1
        rows = [row for row in islice(self._rows(), _SAMPLE_ROWS) if row.position > (options.skip_rows or 0)]
        if not rows:
            raise UnusableFile(f"{self.name} has no row of column names in {place}")
        index = find_names([row.values for row in rows], self.name) if options.skip_rows is None else 0
        self._names_at = rows[index].position
        self.columns = unique_names(rows[index].values, self.name)
        left_out = count_left_out(rows[index].values, [row.values for row in rows[index + 1 :]])
        skipped = self._names_at - 1 if index or options.skip_rows else 0
        self.layout = Layout("xlsx", place=place, skipped=skipped, left_out=left_out)

    def rows(self) -> Iterator[Row]:
        """The rows with a value."""
        rows = (row for row in self._rows() if row.position > self._names_at)
        yield from islice(rows, self.layout.left_out, None)

    def _rows(self) -> Iterator[Row]:
        """The rows that are not empty, with their numbers in the sheet."""
        more = max(0, max(self._formulas, default=0) - self._sheet.total_height - 1)
        for number, cells in enumerate(chain(self._sheet.iter_rows(), repeat([], more)), 1):
            self._read = number
            values = [None if cell == "" else from_library(cell) for cell in cells]
            values += [None] * (self._width - len(values))
            for column, formula in self._formulas.get(number, {}).items():
                values[column - 1] = formula
            if any(value is not None for value in values):
                yield Row(self._read, values)


def _is_visible(sheet: SheetMetadata) -> bool:
    return sheet.visible is SheetVisibleEnum.Visible and sheet.typ is SheetTypeEnum.WorkSheet


def _load(source: Source, name: str | None) -> tuple[CalamineSheet, str]:
    """The named sheet, or else the first visible one, and what it is."""
    try:
        book = CalamineWorkbook.from_filelike(source.open())
        if not book.sheet_names:
            raise UnusableFile(f"{source.name} has no sheet")
        visible = [sheet.name for sheet in book.sheets_metadata if _is_visible(sheet)]
        if name is not None and name not in book.sheet_names:
            raise UnusableFile(f"{source.name}: {no_such('sheet', name, book.sheet_names)}")
        chosen = name or (visible or book.sheet_names)[0]
        more = [repr(one) for one in visible if one != chosen]
        others = f" (--sheet reads another: {listed(more, _SHOWN_SHEETS)})" if name is None and more else ""
        return book.get_sheet_by_name(chosen), f"sheet {chosen!r}{others}"
    except PasswordError as error:
        raise UnusableFile(f"{source.name} has a password; save it without one") from error
    except CalamineError as error:
        raise UnusableFile(f"{source.name} is a damaged spreadsheet: {error}") from error


def _scan_sheets(source: Source) -> Collection[str]:
    """The names of the sheets, in the archive, that have formulas.

    All of the file is read before the library does, so that neither its size nor a distant cell fills the memory.

    Raises:
        UnusableFile: a sheet is too large.
    """
    with_formulas: set[str] = set()
    for name, chunks in read_members(source):
        if not name.startswith(_SHEETS):
            for _ in chunks:
                pass
            continue
        repeats = _Repeats()
        size, has_formulas = _count_cells(map(repeats.add, chunks))
        if repeats.found:
            raise UnusableFile(
                f"{source.name} has a sheet in which a row or a cell occurs twice; open it in a spreadsheet, and save "
                "it again"
            )
        if size > _MAX_CELLS:
            raise UnusableFile(
                f"{source.name} has a sheet with {size:,} cells up to its last row and column; delete the cells that "
                "are far from the table, or save it as CSV"
            )
        if has_formulas:
            with_formulas.add(name)
    return with_formulas


def _formulas_of(source: Source, sheet: str, with_formulas: Collection[str]) -> Mapping[int, Mapping[int, str]]:
    """The formulas of a sheet that have no result, by row and column."""
    if not with_formulas:
        return {}
    book = Book(_member(source, WORKBOOK), _member(source, RELATIONS))
    file = book.file_of(sheet)
    if file is None or file not in with_formulas:
        return {}
    return Formulas(_member(source, file), zero_is_none=book.calculates_on_load).by_row


def _member(source: Source, name: str) -> Iterator[bytes]:
    """A file in the archive, in pieces; nothing if there is none."""
    for found, chunks in read_members(source):
        if found == name:
            yield from chunks


def _count_cells(chunks: Iterable[bytes]) -> tuple[int, bool]:
    """The number of cells up to the last row and column of a sheet, and whether there are formulas in it."""
    names = {b""}
    last_row = 0
    rest = b""
    has_formulas = False
    for chunk in chunks:
        text = rest + chunk
        has_formulas = has_formulas or _FORMULA.search(text) is not None
        rest = text[-_OVERLAP:]
        if places := _PLACE.findall(text):
            columns, rows = zip(*places, strict=True)
            names.update(columns)
            last_row = max(last_row, *map(int, rows))
    return last_row * max(column_number(letters.decode()) for letters in names), has_formulas


class _Repeats:
    """Finds rows and cells that occur twice in a sheet, of which a program would read either.

    Attributes:
        found: whether there is one, or a row is far before one with a smaller number.
    """

    def __init__(self) -> None:
        self.found = False
        self._rest = b""
        self._row = 0
        #: The places that were seen in this row.
        self._seen: set[tuple[bytes, bytes]] = set()

    def add(self, chunk: bytes) -> bytes:
        """Look at a piece of the sheet, and return it."""
        text = self._rest + chunk
        # The last element may be divided between two pieces.
        end = max(text.rfind(b"<"), 0)
        self._rest = text[end : end + _LONGEST_BEGINNING]
        if places := _BEGINNING.findall(text, 0, end):
            rows = [int(row) for _, row in places]
            new = set(places)
            is_new = len(new) == len(places) and new.isdisjoint(self._seen) and min(rows) >= self._row
            self.found = self.found or not is_new
            self._row = max(rows)
            self._seen = {place for place in new | self._seen if int(place[1]) == self._row}
        return chunk

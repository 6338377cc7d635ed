"""Tables that Harken exported for spreadsheets, also if a spreadsheet saved them again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harken_adapters.formats.import_options import FIELDS
from harken_adapters.formats.spreadsheet_csv import ID, unguard, unguard_context
from harken_adapters.formats.tables.table import Row, Table


class SpreadsheetExport(Table):
    """The rows of a table with the column :data:`ID`, without the guards of texts.

    Columns may have been added, moved or removed.
    """

    def __init__(self, table: Table) -> None:
        columns = table.columns or ()
        self._table = table
        self._context = [number for number, column in enumerate(columns) if column not in (*FIELDS, ID)]
        self.name = table.name
        self.layout = table.layout
        self.columns = columns

    def rows(self) -> Iterator[Row]:
        """The rows of the file; texts are without the apostrophe that the export added."""
        for row in self._table.rows():
            yield row if row.problem else row._replace(values=self._cells(row.values))
        self.left_for_later = self._table.left_for_later
        self.last_is_open = self._table.last_is_open

    def _cells(self, values: list[Any]) -> list[Any]:
        cells = [unguard(value) if type(value) is str else value for value in values]
        for number in self._context:
            if type(value := values[number]) is str:
                cells[number] = unguard_context(value)
        return cells

    def raw(self, row: Row) -> object:
        """The row without guards, as an object by column name; the text of a row that cannot be read."""
        return self._table.raw(row)

    @property
    def progress(self) -> tuple[int, int | None]:
        """How much was read, and the total."""
        return self._table.progress

    def close(self) -> None:
        """Close the file."""
        self._table.close()

"""What the tables in files with typed values have in common."""

from __future__ import annotations

from collections.abc import Sequence

from harken_adapters.formats.tables.source import Source
from harken_adapters.formats.tables.table import Row, Table
from harken_adapters.formats.values import to_json


class TypedTable(Table):
    """The rows of a file whose values have types. It is written as a whole, so no row is incomplete."""

    columns: Sequence[str]

    def __init__(self, source: Source) -> None:
        """Read nothing yet."""
        self.name = source.name
        self._source = source
        self._read = 0
        self._total: int | None = None

    def raw(self, row: Row) -> object:
        """The values by column name; dates in ISO 8601."""
        return dict(zip(self.columns, map(to_json, row.values), strict=True))

    @property
    def progress(self) -> tuple[int, int | None]:
        """The rows that were read, and their number if it is known."""
        return self._read, self._total

    def close(self) -> None:
        """Close the file."""
        self._source.close()

"""What the tables in text files have in common."""

from __future__ import annotations

from harken_adapters.formats.tables.compression import FileContent
from harken_adapters.formats.tables.encoding import Encoding, readable
from harken_adapters.formats.tables.table import Row, Table


class TextTable(Table):
    """The rows of a text file. Unless the file has columns, they are objects."""

    def __init__(self, content: FileContent, encoding: Encoding) -> None:
        """Read nothing yet."""
        self.name = content.source.name
        self._content = content
        self._encoding = encoding

    def raw(self, row: Row) -> object:
        """The row as an object, or the text of a row that cannot be read. Invalid bytes are escaped."""
        if isinstance(row.values, str):
            return readable(row.values)
        if self.columns is None:
            return row.values
        return dict(zip(self.columns, map(readable, row.values), strict=True))

    @property
    def progress(self) -> tuple[int, int | None]:
        """The bytes of the file that were read, and its size."""
        return self._content.source.position, self._content.source.size

    def close(self) -> None:
        """Close the file."""
        self._content.source.close()

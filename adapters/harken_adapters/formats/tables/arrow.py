"""Columnar files: Parquet and Arrow (also known as Feather)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyarrow  # type: ignore[import-untyped] # it has no types
from pyarrow import ipc, parquet

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.tables.header import unique_names
from harken_adapters.formats.tables.source import Source
from harken_adapters.formats.tables.table import Layout, Row
from harken_adapters.formats.tables.typed_table import TypedTable
from harken_adapters.formats.values import from_library

_BATCH: Final = 1_000


class ArrowTable(TypedTable):
    """A row for each row of the file with a value. Values have their types; dates have the zone of their column."""

    def __init__(self, source: Source, format_: str) -> None:
        """Read the schema.

        Args:
            source: the file.
            format_: ``parquet`` or ``arrow``.

        Raises:
            UnusableFile: the file is damaged, or a column name is repeated.
        """
        super().__init__(source)
        self.layout = Layout(format_)
        with self._open() as file:
            self.columns = unique_names((file.schema_arrow if format_ == "parquet" else file.schema).names, self.name)
            self._total = file.metadata.num_rows if format_ == "parquet" else None

    def rows(self) -> Iterator[Row]:
        """The rows with a value."""
        self._read = 0
        for batch in self._batches():
            for row in zip(*map(_values, batch.columns), strict=True):
                self._read += 1
                if any(value is not None and value != "" for value in row):
                    yield Row(self._read, row)

    def _open(self) -> Any:
        try:
            if self.layout.format == "parquet":
                # Without a buffer for whole row groups.
                return parquet.ParquetFile(self._source.open(), pre_buffer=False)
            return ipc.open_file(self._source.open())
        except (pyarrow.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _batches(self) -> Iterator[Any]:
        """The rows in pieces."""
        try:
            with self._open() as file:
                for batch in self._stored_batches(file):
                    # Damaged offsets would read any memory.
                    batch.validate(full=True)
                    yield from (batch.slice(start, _BATCH) for start in range(0, batch.num_rows, _BATCH))
        except (pyarrow.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _stored_batches(self, file: Any) -> Iterator[Any]:
        if self.layout.format == "parquet":
            # Threads would read several columns ahead.
            return iter(file.iter_batches(_BATCH, use_threads=False))
        return map(file.get_batch, range(file.num_record_batches))

    def _damaged(self, error: Exception) -> UnusableFile:
        return UnusableFile(f"{self.name} is a damaged {self.layout.format} file: {error}")


def _values(column: Any) -> list[Any]:
    """The values of a column as Python objects. One that Python lacks, such as the year 99999, is a text."""
    kind = column.type
    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
        # Python's dates have microseconds.
        column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError, LookupError):
        values = [_value_or_text(scalar) for scalar in column]
    is_plain = pyarrow.types.is_string(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_boolean(kind)
    return values if is_plain else [from_library(value) for value in values]


def _value_or_text(scalar: Any) -> Any:
    """The value as a Python object; if there is none, such as for a time in an unknown zone, a text."""
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, LookupError):
        pass
    kind = scalar.type
    if pyarrow.types.is_timestamp(kind) and kind.tz:
        return f"{scalar.cast(pyarrow.timestamp(kind.unit)).cast(pyarrow.string())} {kind.tz}"
    try:
        return str(scalar.cast(pyarrow.string()))
    except pyarrow.ArrowException:
        return f"<{kind} out of range>"

"""Tables of files that tests write."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.tables.opening import open_table
from harken_adapters.formats.tables.table import Row, Table


@contextmanager
def table_of(data: bytes | str, name: str = "file.csv", **options: Any) -> Iterator[Table]:
    """The table of a file with this content."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        table = open_table(str(path), ImportOptions(**options))
        try:
            yield table
        finally:
            table.close()


def records_of(data: bytes | str, name: str = "file.csv", **options: Any) -> list[Row]:
    """The records of a file with this content."""
    with table_of(data, name, **options) as table:
        return list(table.rows())


def rows_of(data: bytes | str, name: str = "file.csv", **options: Any) -> list[Any]:
    """The rows of a file with this content, all of which can be read, as JSON values."""
    with table_of(data, name, **options) as table:
        records = list(table.rows())
        assert [record.problem for record in records] == [""] * len(records)
        return [table.raw(record) for record in records]

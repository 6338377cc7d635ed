"""Writes the same rows as files of many shapes."""

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter

Rows = Sequence[Sequence[str]]


def table_text(names: Sequence[str], rows: Rows, separator: str = ",") -> str:
    """The text of a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows([names, *rows])
    return text.getvalue()


def objects(names: Sequence[str], rows: Rows) -> list[dict[str, str | None]]:
    """The rows as objects. Empty cells are null."""
    return [{name: cell or None for name, cell in zip(names, row, strict=True)} for row in rows]


def _csv(path: Path, names: Sequence[str], rows: Rows) -> None:
    path.write_bytes(table_text(names, rows).encode())


def _semicolons(path: Path, names: Sequence[str], rows: Rows) -> None:
    path.write_bytes(table_text(names, rows, ";").encode())


def _utf16(path: Path, names: Sequence[str], rows: Rows) -> None:
    path.write_bytes(table_text(names, rows).encode("utf-16"))


def _gzip(path: Path, names: Sequence[str], rows: Rows) -> None:
    path.write_bytes(gzip.compress(table_text(names, rows).encode()))


def _json(path: Path, names: Sequence[str], rows: Rows) -> None:
    path.write_text(json.dumps(objects(names, rows)))


def _jsonl(path: Path, names: Sequence[str], rows: Rows) -> None:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in objects(names, rows)))


def _xlsx(path: Path, names: Sequence[str], rows: Rows) -> None:
    with xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([names, *rows]):
            for column, cell in enumerate(row):
                if cell:
                    sheet.write_string(number, column, cell)


def _parquet(path: Path, names: Sequence[str], rows: Rows) -> None:
    columns = zip(*([cell or None for cell in row] for row in rows), strict=True)
    arrays = [pa.array(column, pa.string()) for column in columns]
    pq.write_table(pa.table(arrays, names=list(names)), path)


_WRITERS: Final = {
    "csv": (".csv", _csv),
    "semicolons": (".csv", _semicolons),
    "utf-16": (".csv", _utf16),
    "gzip": (".csv.gz", _gzip),
    "json": (".json", _json),
    "jsonl": (".jsonl", _jsonl),
    "xlsx": (".xlsx", _xlsx),
    "parquet": (".parquet", _parquet),
}
#: One of each format.
FORMATS: Final = ("csv", "jsonl", "json", "xlsx", "parquet")


def write_shape(folder: Path, shape: str, names: Sequence[str], rows: Rows) -> Path:
    """Write a file of this shape, and return its path."""
    suffix, write = _WRITERS[shape]
    path = folder / f"feedback{suffix}"
    write(path, names, rows)
    return path

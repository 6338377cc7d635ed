"""Real feedback in the shapes that other programs write."""

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xlsxwriter
from pyarrow import parquet

from import_files import table_of
from shared_data import AIRLINES, needs_real_feedback


def text_of(rows: list[dict[str, str]], separator: str = ",") -> str:
    """The rows as CSV."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0], delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def spreadsheet_of(rows: list[dict[str, str]]) -> bytes:
    """The rows in a spreadsheet, in which numbers are numbers."""
    data = io.BytesIO()
    with xlsxwriter.Workbook(data, {"strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet()
        for index, row in enumerate([list(rows[0]), *(list(row.values()) for row in rows)]):
            sheet.write_row(index, 0, row)
    return data.getvalue()


def parquet_of(rows: list[dict[str, str]]) -> bytes:
    """The rows in Parquet."""
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


SHAPES: dict[str, Any] = {
    "original.csv": text_of,
    "semicolon.csv": lambda rows: text_of(rows, ";"),
    "tab.tsv": lambda rows: text_of(rows, "\t"),
    "utf16.csv": lambda rows: text_of(rows).encode("utf-16"),
    "latin.csv": lambda rows: text_of(rows, ";").encode("cp1252", "replace"),
    "titled.csv": lambda rows: f"Feedback of a week\r\n\r\n{text_of(rows)}",
    "packed.csv.gz": lambda rows: gzip.compress(text_of(rows).encode()),
    "list.json": lambda rows: json.dumps(rows, indent=1),
    "page.json": lambda rows: json.dumps({"total": len(rows), "data": {"items": rows}}),
    "lines.jsonl": lambda rows: "".join(f"{json.dumps(row)}\n" for row in rows),
    "sheet.xlsx": spreadsheet_of,
    "columns.parquet": parquet_of,
}


@needs_real_feedback
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_has_the_same_rows(name: str) -> None:
    """Real feedback is read equal from every shape, without options."""
    with AIRLINES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    data = SHAPES[name](rows)
    if name == "latin.csv":
        rows = [{key: cell.encode("cp1252", "replace").decode("cp1252") for key, cell in row.items()} for row in rows]
    with table_of(data, name) as table:
        read = [table.raw(record) for record in table.rows()]
    # Spreadsheets have no empty text.
    assert [{key: cell or "" for key, cell in row.items()} for row in read if isinstance(row, dict)] == rows


CODE = """
import re, sys
from pathlib import Path
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.tables.opening import open_table
table = open_table(sys.argv[1], ImportOptions())
rows = sum(1 for record in table.rows())
# The peak of this program, without that of the one that started it.
print(rows, int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a program used at most")
@pytest.mark.parametrize("name", ["file.csv", "file.csv.gz", "file.jsonl", "list.json", "page.json"])
def test_memory_does_not_depend_on_the_size(tmp_path: Path, name: str) -> None:
    """A file of 60 MB or more is read within 60 MB, of which the interpreter and its modules take half."""
    row = {"id": 1, "comment": "The flight was late, and " * 10, "rating": "down"}
    number = 220_000
    path = tmp_path / name
    if "csv" in name:
        text = "id,comment,rating\n" + f'1,"{row["comment"]}",down\n' * number
    elif name == "file.jsonl":
        text = f"{json.dumps(row)}\n" * number
    else:
        text = f"[{', '.join([json.dumps(row)] * number)}]"
    if name == "page.json":
        text = f'{{"next": null, "items": {text}, "more": {text}}}'.replace('"more": [{', '"more": [0, {')
    data = text.encode()
    path.write_bytes(gzip.compress(data, compresslevel=1) if name.endswith(".gz") else data)
    assert len(data) > 50 << 20
    found = subprocess.run([sys.executable, "-c", CODE, str(path)], capture_output=True, check=True, text=True)
    rows, megabytes = map(int, found.stdout.split())
    assert rows == number
    assert megabytes < 60

"""Finding files, and recognising what they are."""

import gzip
import io
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from harken import MissingExtra
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.tables import compression
from harken_adapters.formats.tables.opening import expand, open_table
from import_files import raw_rows, records_of, table_of

CSV = "id,comment\n1,good\n2,bad\n"
ROWS = [{"id": "1", "comment": "good"}, {"id": "2", "comment": "bad"}]


def zipped(files: dict[str, str]) -> bytes:
    """A zip archive."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def a_spreadsheet() -> bytes:
    """A spreadsheet with one row of names."""
    data = io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        book.add_worksheet().write_row(0, 0, ["id", "comment"])
    return data.getvalue()


def a_database(folder: Path) -> bytes:
    """An SQLite database."""
    connection = sqlite3.connect(folder / "x.db")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    return (folder / "x.db").read_bytes()


# --- paths ------------------------------------------------------------------------------------------------------------


def test_patterns_are_replaced_by_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns match files in order; each file is named once, and a file whose name looks like a pattern is itself."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.csv", "a.csv", "a[1].csv", "sub/c.csv", "d.json"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(CSV)
    assert expand(["b.csv", "*.csv", "-"]) == ["b.csv", "a.csv", "a[1].csv", "-"]
    assert expand(["a[1].csv", "**/*.json"]) == ["a[1].csv", "d.json"]
    assert expand([str(tmp_path / "sub" / "?.csv")]) == [str(tmp_path / "sub" / "c.csv")]
    for path, message in (("x.csv", "no file x.csv"), ("x*", "No file matches"), ("sub", r"is a folder.*sub/\*\.csv")):
        with pytest.raises(UnusableFile, match=message):
            expand(["b.csv", path])


def test_a_missing_file_is_refused() -> None:
    """The error has the path and the reason."""
    with pytest.raises(UnusableFile, match=r"Cannot read missing\.csv: No such file"):
        open_table("missing.csv", ImportOptions())


# --- compression ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["file.csv.gz", "file.csv", "file.gz", "file.CSV.GZ", "file"])
def test_gzip_is_recognised(name: str) -> None:
    """A compressed file is recognised by its content, also one of several parts."""
    for data in (gzip.compress(CSV.encode()), gzip.compress(CSV[:15].encode()) + gzip.compress(CSV[15:].encode())):
        with table_of(data, name) as table:
            assert (table.layout.format, table.layout.compression) == ("csv", "gzip")
            assert [table.raw(record) for record in table.rows()] == ROWS
            assert table.progress == (len(data), len(data))


def test_a_zip_archive_with_one_file() -> None:
    """The only file is read; what archivers add is ignored."""
    with table_of(zipped({"reviews.csv": CSV, "__MACOSX/._reviews.csv": "x", "a/.DS_Store": "x"}), "file.zip") as table:
        assert (table.layout.format, table.layout.compression) == ("csv", "zip")
        assert [table.raw(record) for record in table.rows()] == ROWS
    assert raw_rows(zipped({"reviews.jsonl": json.dumps(ROWS)}), "file.zip") == ROWS


def test_other_archives_are_refused() -> None:
    """An archive with several files or none, or one that is damaged or encrypted, is refused with what to do."""
    cases = [
        (zipped({}), "is a zip archive without a file"),
        (zipped({"a.csv": CSV, "b.csv": CSV}), r"with 2 files; unpack it and import them: a\.csv, b\.csv$"),
        (zipped({f"{letter}.csv": CSV for letter in "abcdefg"}), r"with 7 files.*e\.csv and 2 more$"),
        (zipped({"a.csv": CSV * 100})[:-30], "is a damaged zip file"),
        (zipped({"mimetype": "application/vnd.oasis", "content.xml": ""}), "office program; save its table as .xlsx"),
        (gzip.compress(CSV.encode(), mtime=0)[:-10], "is a damaged gzip file"),
        (gzip.compress(CSV.encode(), mtime=0)[:-8] + bytes(8), "is a damaged gzip file"),
        (gzip.compress(a_spreadsheet(), mtime=0), r"is Excel \(.xlsx\) in gzip; unpack it first"),
    ]
    encrypted = bytearray(zipped({"a.csv": CSV}))
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    for data, message in [*cases, (bytes(encrypted), r"encrypted zip archive; unpack it and import a\.csv")]:
        with pytest.raises(UnusableFile, match=message):
            records_of(data, "file.zip")


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that expands to far more than its size is refused before all of it was unpacked."""
    monkeypatch.setattr(compression, "MAX_EXPANDED", 1 << 20)
    text = "id,comment\n" + "1,good\n" * 1_000_000
    for data in (gzip.compress(text.encode()), zipped({"file.csv": text})):
        with pytest.raises(UnusableFile, match="expands to more than 200 times its size; unpack it first"):
            records_of(data)
    sheet = io.BytesIO(a_spreadsheet())
    with zipfile.ZipFile(sheet, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/more.xml", bytes(8 << 20))
    with pytest.raises(UnusableFile, match="expands to more than 200 times its size"):
        records_of(sheet.getvalue(), "file.xlsx")
    less = "id,comment\n" + "".join(f"{number},good\n" for number in range(200_000))
    assert len(records_of(gzip.compress(less.encode()))) == 200_000


def test_a_spreadsheet_that_is_larger_than_it_says_is_refused() -> None:
    """The sizes in the directory of an archive are checked before a library reads it into memory."""
    lying = bytearray(zipped({"xl/workbook.xml": "x" * 1_000}))
    entry = lying.index(b"PK\x01\x02")
    for at in (22, entry + 24):  # the size in the header of the member, and in the directory
        lying[at : at + 4] = (10).to_bytes(4, "little")
    with pytest.raises(UnusableFile, match="is damaged: Bad CRC-32"):
        records_of(bytes(lying), "file.xlsx")


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["file.csv", "file.jsonl", "file.txt", "file.csv.gz"])
@pytest.mark.parametrize("data", [b"", b"\r\n\n ", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(name: str, data: bytes) -> None:
    """An empty file is not imported successfully."""
    with pytest.raises(UnusableFile, match=f"{name} is empty"):
        raw_rows(gzip.compress(data) if name.endswith(".gz") else data, name)


def test_content_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    """What a file is in truth is said, under any suffix, and what to do."""
    cases: list[tuple[bytes, str]] = [
        (b"%PDF-1.7\n", "is a PDF file; export the feedback as CSV instead"),
        (a_database(tmp_path), "is an SQLite database; .*harken copy"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "old or encrypted file of Excel; save it as .xlsx"),
        (b"<!DOCTYPE html><html><body><table>", "is HTML"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>', "is XML"),
        ("\n<html>".encode("utf-16"), "is HTML"),
        (b"BZh91AY&SY", "is compressed with bzip2; unpack it first"),
        (b"id," + bytes(range(1, 9)) * 20, "is binary data in an unknown format"),
    ]
    for data, message in cases:
        for name in ("file.csv", "file.jsonl", "file"):
            with pytest.raises(UnusableFile, match=message):
                raw_rows(data, name)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (a_spreadsheet(), "file.csv", r"is Excel \(.xlsx\), although it is named .csv; .*--format xlsx"),
        (b'{"id": 1}\n', "file.csv", "is JSON Lines, although it is named .csv; rename it, or add --format jsonl"),
        (b'[{"id": 1}]', "file.csv.gz", "is JSON, although it is named .csv; rename it, or add --format json"),
        (CSV.encode(), "file.jsonl", "is CSV, although it is named .jsonl; rename it, or add --format csv"),
        (CSV.encode(), "file.xlsx", "is CSV, although it is named .xlsx"),
        (CSV.encode(), "file.parquet", "is CSV, although it is named .parquet"),
        (gzip.compress(CSV.encode(), mtime=0), "file.zip", "is gzip, although it is named .zip"),
        (zipped({"a.csv": CSV}), "file.csv.gzip", "is zip, although it is named .gzip"),
        (zipped({"a.csv": CSV}), "file.xlsx", "is CSV in zip, although it is named .xlsx"),
        (CSV.encode(), "file.csv.gzip", "is CSV, although it is named .gzip; rename it, or add --format csv"),
        (CSV.encode(), "file.zip", "is CSV, although it is named .zip"),
        (a_spreadsheet(), "file.zip", r"is Excel \(.xlsx\), although it is named .zip; .*--format xlsx"),
        (b'{"id": 1}\n', "file.json.gzip", "is JSON Lines, although it is named .gzip; .*--format jsonl"),
    ],
)
def test_content_that_is_not_what_the_suffix_says_is_refused(data: bytes, name: str, message: str) -> None:
    """If content and suffix differ, the file is refused with the option that reads it."""
    data = gzip.compress(data) if name.endswith(".gz") else data
    with pytest.raises(UnusableFile, match=message):
        raw_rows(data, name)
    raw_rows(data, name, format=message.rsplit("format ", 1)[1] if "--format" in message else "csv")


def test_a_named_format_must_be_that_of_the_content() -> None:
    """Text is read as the named format; a spreadsheet is not text."""
    with pytest.raises(UnusableFile, match=r"is Excel \(.xlsx\), not CSV"):
        raw_rows(a_spreadsheet(), "file.xlsx", format="csv")
    with pytest.raises(UnusableFile, match="is CSV, not Parquet"):
        raw_rows(CSV, format="parquet")
    assert raw_rows('{"a"\n1\n', "file.jsonl", format="csv") == [{'{"a"': "1"}]


@pytest.mark.parametrize("name", ["file.txt", "file.log", "file", "file.tsv"])
def test_unknown_suffixes(name: str) -> None:
    """Without a known suffix, the content decides."""
    assert raw_rows(CSV, name) == ROWS


@pytest.mark.parametrize("package", ["python_calamine", "pyarrow"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spreadsheets and columnar files need packages; the error names the extra."""
    for module in ("xlsx", "arrow"):
        monkeypatch.delitem(sys.modules, f"harken_adapters.formats.tables.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    data = a_spreadsheet() if package == "python_calamine" else b"PAR1"
    with pytest.raises(MissingExtra, match=rf"needs the package '{package}'; try pip install \"harken\[files\]\""):
        raw_rows(data, "file")


# --- stdin and changing files -----------------------------------------------------------------------------------------


def test_stdin_is_read_twice() -> None:
    """A pipe is copied, so that its rows can be read repeatedly."""
    code = """
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.tables import compression
from harken_adapters.formats.tables.opening import open_table
table = open_table("-", ImportOptions())
print(table.name, len(list(table.rows())), len(list(table.rows())), table.progress, table.left_for_later)
"""
    found = subprocess.run([sys.executable, "-c", code], input=CSV.encode(), capture_output=True, check=True)
    assert found.stdout.decode().split(" ", 3) == ["stdin", "2", "2", f"({len(CSV)}, {len(CSV)}) False\n"]


def test_a_named_pipe_is_read_twice(tmp_path: Path) -> None:
    """The same for the pipe of a shell, such as ``<(...)``."""
    read, write = os.pipe()
    os.write(write, CSV.encode())
    os.close(write)
    table = open_table(f"/dev/fd/{read}", ImportOptions())
    os.close(read)
    assert [len(list(table.rows())) for _ in range(2)] == [2, 2]
    table.close()


@pytest.mark.parametrize("change", ["truncated", "overwritten"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_is_overwritten_is_refused(tmp_path: Path, change: str, compressed: bool) -> None:
    """If the bytes of a file change after it was opened, no rows of another content are read silently."""
    path = tmp_path / "file.csv"
    data = ("id,comment\n" + "".join(f"{number},good\n" for number in range(100_000))).encode()
    other = data.replace(b"good", b"fine")
    path.write_bytes(gzip.compress(data, mtime=0) if compressed else data)
    table = open_table(str(path), ImportOptions())
    size = path.stat().st_size
    with path.open("r+b") as file:
        if change == "truncated":
            file.truncate(size // 2)
        else:
            file.write((gzip.compress(other, mtime=0) if compressed else other)[:size])
    rows: list[Any] = []
    with pytest.raises(UnusableFile, match="was overwritten while it was read; import it again"):
        rows.extend(table.rows())
    assert not any(record.values[1] == "fine" for record in rows)
    table.close()


def test_a_file_that_is_replaced_is_read_as_it_was(tmp_path: Path) -> None:
    """If another file takes its name, as when logs are rotated, the opened one is read."""
    path = tmp_path / "file.csv"
    path.write_text(CSV)
    table = open_table(str(path), ImportOptions())
    (tmp_path / "new").write_text("id,comment\n9,new\n")
    (tmp_path / "new").replace(path)
    assert [table.raw(record) for record in table.rows()] == ROWS
    table.close()


#: The end of a file that another program may be writing, and the number of rows that are read before it.
UNFINISHED = [
    ("file.csv", "id,comment\n1,good\n2", 1),
    ("file.csv", 'id,comment\n1,good\n2,"open', 1),
    ("file.csv", 'id,comment\n1,good\n2,"open\nand', 1),
    ("file.csv", 'id,comment\n1,"good"\n2,"a"b', 1),
    ("file.csv", b"id,comment\n1,\xc3\xa9\n2,a\xc3", 1),
    ("file.csv", "id,comment\r\n1,good\r\n2".encode("utf-16") + b"\x20", 1),
    ("file.jsonl", '{"id": 1}\n{"id": 2', 1),
    ("file.jsonl", b'{"id": "\xc3\xa9"}\n{"id": "a\xc3', 1),
]


@pytest.mark.parametrize(("name", "data", "rows"), UNFINISHED)
def test_an_incomplete_last_row_is_left(name: str, data: str | bytes, rows: int) -> None:
    """A last row without a line end that cannot be read is left for the next run; in a compressed one it is invalid."""
    with table_of(data, name, separator="," if "csv" in name else None) as table:
        assert [record.problem for record in table.rows()] == [""] * rows
        assert table.left_for_later
        assert [record.problem for record in table.rows()] == [""] * rows
    raw = data.encode() if isinstance(data, str) else data
    with table_of(gzip.compress(raw), name, separator="," if "csv" in name else None) as table:
        assert any(record.problem for record in table.rows())
        assert not table.left_for_later


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("file.csv", "id,comment\n1,good\n2,bad"),
        ("file.csv", 'id,comment\n1,good\n2,"bad"'),
        ("file.csv", "id,comment\r1,good\r2,bad"),
        ("file.csv", "id,comment,,\n1,good,,\n2,bad"),
        ("file.jsonl", '{"id": 1}\n{"id": 2}'),
    ],
)
def test_a_complete_last_row_is_read(name: str, data: str) -> None:
    """A last row without a line end that can be read is complete."""
    with table_of(data, name) as table:
        assert [record.problem for record in table.rows()] == ["", ""]
        assert not table.left_for_later


@pytest.mark.parametrize(
    ("data", "problems"),
    [
        ("a,b\n1,good\n2\n", [False, True]),
        ("a,b\n1,good\n2,x,y", [False, True]),
        ('a,b\n1,"open\n', [True]),
        ('a,b\n1,"open\n2,good\n3,good', [True, False, False]),
    ],
)
def test_other_invalid_rows_at_the_end_are_rejected(data: str, problems: list[bool]) -> None:
    """A row with a line end, or with more cells than columns, or followed by other rows, is not incomplete."""
    with table_of(data) as table:
        assert [bool(record.problem) for record in table.rows()] == problems
        assert not table.left_for_later


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("file.csv", "id,comment\n1,good\n2,ba", "d\n3,new\n"),
        ("file.csv", 'id,comment\n1,good\n2,"b\n', 'a"\n3,new\n'),
        ("file.csv", 'id,comment\n1,good\n2,"b\na', '"\n3,new\n'),
        ("file.jsonl", '{"id": 1}\n{"id": 2}', " \n"),
    ],
)
def test_a_growing_file(tmp_path: Path, name: str, before: str, after: str) -> None:
    """If a file has grown, a last row without a line end is left, although it seems complete; new rows are not read."""
    path = tmp_path / name
    path.write_text(before)
    table = open_table(str(path), ImportOptions())
    with path.open("a") as file:
        file.write(after)
    for _ in range(2):
        assert [record.problem for record in table.rows()] == [""]
        assert table.left_for_later
    table.close()
    table = open_table(str(path), ImportOptions())
    assert not any(record.problem for record in table.rows())
    assert not table.left_for_later
    table.close()


def test_a_growing_file_is_read_as_it_was(tmp_path: Path) -> None:
    """What is appended while a file is read is left for the next run, so that all passes have the same rows."""
    path = tmp_path / "file.csv"
    path.write_text(CSV)
    table = open_table(str(path), ImportOptions())
    for _ in range(3):
        with path.open("a") as file:
            file.write("3,new\n")
        assert [table.raw(record) for record in table.rows()] == ROWS
        assert not table.left_for_later
    table.close()


@given(
    st.lists(st.text('a",é😡;', max_size=6), min_size=1, max_size=5), st.sampled_from(["csv", "jsonl"]), st.floats(0, 1)
)
def test_a_file_can_end_anywhere(texts: list[str], format_: str, share: float) -> None:
    """Wherever a file ends that is being written, no row is rejected, and all rows with a line end are read."""
    if format_ == "csv":
        rows = [f'{number},"{text.replace(chr(34), chr(34) * 2)}"' for number, text in enumerate(texts)]
        begin, options = b"id,text\n", {"separator": ",", "encoding": "utf-8"}
    else:
        rows = [json.dumps({"id": number, "text": text}, ensure_ascii=False) for number, text in enumerate(texts)]
        begin, options = b'{"id": -1}\n', {"encoding": "utf-8"}
    data = "".join(f"{row}\n" for row in rows).encode()
    part = data[: int(share * len(data))]
    with table_of(begin + part, f"file.{format_}", **options) as table:
        records = list(table.rows())
        is_left = table.left_for_later
    expected = records_of(begin + data, f"file.{format_}", **options)
    complete = part.count(b"\n") + (format_ == "jsonl")
    assert records[:complete] == expected[:complete]
    assert [record.problem for record in records[complete:]] == [""] * (len(records) - complete)
    # The rest is left, or looks like a row.
    assert len(records) + is_left == complete + (not part.endswith(b"\n") and part != b"")

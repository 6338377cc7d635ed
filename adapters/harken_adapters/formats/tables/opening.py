"""Opens files of any format: what the options do not say is detected from the content."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harken.configuration.extras import requires
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import FORMATS, ImportOptions
from harken_adapters.formats.spreadsheet_csv import is_spreadsheet_export
from harken_adapters.formats.tables.compression import ZIP_MAGIC, FileContent, unpack
from harken_adapters.formats.tables.csv_table import CsvTable
from harken_adapters.formats.tables.encoding import detect_encoding
from harken_adapters.formats.tables.json_array import JsonArrayTable
from harken_adapters.formats.tables.json_document import JsonDocument
from harken_adapters.formats.tables.json_lines import JsonLinesTable
from harken_adapters.formats.tables.source import STANDARD, Source
from harken_adapters.formats.tables.spreadsheet_export import SpreadsheetExport
from harken_adapters.formats.tables.table import Table

#: The formats that a suffix promises. JSON is written on lines and as a list, under either suffix.
_SUFFIXES: Final = {
    ".csv": ("csv",),
    ".tsv": ("csv",),
    ".tab": ("csv",),
    ".psv": ("csv",),
    ".json": ("json", "jsonl"),
    ".jsonl": ("json", "jsonl"),
    ".ndjson": ("json", "jsonl"),
    ".xlsx": ("xlsx",),
    ".xlsm": ("xlsx",),
    ".parquet": ("parquet",),
    ".arrow": ("arrow",),
    ".feather": ("arrow",),
}
_COMPRESSED: Final = {".gz": "gzip", ".gzip": "gzip", ".zip": "zip"}
#: The suffixes of formats that are not text, in which nothing is compressed as a whole.
_NEVER_COMPRESSED: Final = (".xlsx", ".xlsm", ".parquet", ".arrow", ".feather")
_JSON_LINES: Final = (".jsonl", ".ndjson")
_LIST_OF_OBJECTS: Final = re.compile(r"\[\s*[{\]]")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_OPENING: Final = re.compile(r"[{\[]")
_CLOSING: Final = re.compile(r"[}\]]")
#: The number of lines by which the format of text is recognised.
_LOOKED_AT: Final = 100
_BINARY: Final = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"))
#: How files begin that cannot be imported, what they are, and what to do.
_OTHERS: Final = (
    (b"%PDF", "a PDF file", "export the feedback as CSV instead"),
    (
        b"SQLite format 3\0",
        "an SQLite database",
        "export the feedback as CSV first, or use harken copy if it is Harken's",
    ),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old or encrypted file of Excel",
        "save it as .xlsx or CSV, without a password",
    ),
    (b"BZh", "compressed with bzip2", "unpack it first"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    (b"\x89PNG", "an image", "export the feedback as CSV instead"),
    (b"\xff\xd8\xff", "an image", "export the feedback as CSV instead"),
)
_MARKUP: Final = re.compile(r"\s*<(!doctype|html|head|meta|style|table|\?xml)\b", re.IGNORECASE)
_CONTROL: Final = re.compile("[\0-\x08\x0e-\x1f]")


def expand(paths: Sequence[str]) -> list[str]:
    """The paths of files, with each pattern, such as ``exports/*.csv``, replaced by the files that match it, sorted.

    Raises:
        UnusableFile: no file matches a pattern, or a path is a folder.
    """
    found: dict[str, None] = {}
    for path in paths:
        found.update(dict.fromkeys(_matches(path)))
    return list(found)


def _matches(path: str) -> list[str]:
    if path == STANDARD or (Path(path).exists() and not Path(path).is_dir()):
        return [path]
    if Path(path).is_dir():
        raise UnusableFile(f"{path} is a folder; name its files, such as {Path(path) / '*.csv'}")
    if not glob.has_magic(path):
        raise UnusableFile(f"There is no file {path}")
    files = sorted(match for match in glob.glob(path, recursive=True) if Path(match).is_file())  # noqa: PTH207
    if not files:
        raise UnusableFile(f"No file matches {path}")
    return files


def open_table(path: str, options: ImportOptions) -> Table:
    """Open a file, ``-`` for stdin, and detect what the options do not say. The caller closes the table.

    Raises:
        UnusableFile: the file cannot be read, or is not what its suffix or the options say.
        MissingExtra: a package for the format is not installed.
    """
    source = Source(path)
    try:
        table = _open(source, options)
    except BaseException:
        source.close()
        raise
    return SpreadsheetExport(table) if table.columns and is_spreadsheet_export(table.columns) else table


def _open(source: Source, options: ImportOptions) -> Table:
    content = unpack(source)
    start = next(content.chunks(), b"")
    if not start:
        raise UnusableFile(f"{source.name} is empty")
    found = "xlsx" if start.startswith(ZIP_MAGIC) else _binary_format(source.name, start)
    if found is None:
        return _open_text(content, options)
    if content.compression:
        raise UnusableFile(f"{source.name} is {FORMATS[found]} in {content.compression}; unpack it first")
    _check_format(content, found, options)
    with requires(f"Reading {FORMATS[found]}", "files"):
        if found == "xlsx":
            from harken_adapters.formats.tables.xlsx import SpreadsheetTable  # noqa: PLC0415 - needs an extra

            return SpreadsheetTable(source, options)
        from harken_adapters.formats.tables.arrow import ArrowTable  # noqa: PLC0415 - needs an extra

        return ArrowTable(source, found)


def _open_text(content: FileContent, options: ImportOptions) -> Table:
    encoding = detect_encoding(content, options.encoding)
    start = next(encoding.decode(content.chunks()), "")
    if not start.strip():
        raise UnusableFile(f"{content.source.name} is empty")
    _refuse_other_text(content.source.name, start, is_named=options.format is not None)
    found = _text_format(start, _suffix(content))
    if options.format in ("csv", "json", "jsonl"):
        found = options.format
    elif options.key and found == "jsonl" and not _has_two_rows(start):
        found = "json"
    _check_format(content, found, options)
    if options.key and found == "jsonl":
        raise UnusableFile(
            f"{content.source.name} is JSON Lines, in which nothing is under {options.key!r}; leave out --key"
        )
    if found == "csv":
        return CsvTable(content, encoding, options)
    if found == "jsonl":
        return JsonLinesTable(content, encoding)
    return JsonArrayTable(content, encoding, options.key)


def _binary_format(name: str, start: bytes) -> str | None:
    """The format of a file that is not text.

    Raises:
        UnusableFile: it cannot be imported.
    """
    for magic, what, remedy in _OTHERS:
        if start.startswith(magic):
            raise UnusableFile(f"{name} is {what}; {remedy}")
    return next((found for magic, found in _BINARY if start.startswith(magic)), None)


def _refuse_other_text(name: str, start: str, *, is_named: bool) -> None:
    if match := _MARKUP.match(start):
        what = "XML" if match[1].startswith("?") else "HTML"
        raise UnusableFile(f"{name} is {what}; export the feedback as CSV instead")
    if not is_named and len(_CONTROL.findall(start)) * 10 > len(start):
        raise UnusableFile(
            f"{name} is binary data in an unknown format; if it is text with control characters, add --format csv"
        )


def _text_format(start: str, suffix: str) -> str:
    """Whether text is CSV, JSON Lines or a JSON document."""
    is_json = "json" in _SUFFIXES.get(suffix, ())
    lines = _lines(start)
    first = lines[0].lstrip()
    if first.startswith("["):
        return "json" if is_json or _LIST_OF_OBJECTS.match(start.lstrip()) else "csv"
    if not first.startswith("{"):
        return "jsonl" if is_json and any(line.lstrip().startswith("{") for line in lines) else "csv"
    if len(lines) > 1:
        return "json" if not _is_object(first) and _goes_on(lines) else "jsonl"
    return "jsonl" if suffix in _JSON_LINES or _is_row(first) else "json"


def _lines(start: str) -> list[str]:
    return [line for line in start.split("\n", _LOOKED_AT) if line.strip()]


def _has_two_rows(start: str) -> bool:
    first, *later = _lines(start)
    return bool(later) and _is_object(first) and _is_object(later[0])


def _goes_on(lines: Sequence[str]) -> bool:
    """Whether the JSON of the first line goes on in the next one. It does not if it is a row that was cut off."""
    outside = _STRING.sub("", lines[0])
    is_open = '"' not in outside and len(_OPENING.findall(outside)) > len(_CLOSING.findall(outside))
    return is_open and not all(map(_is_object, lines[1:3]))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_row(line: str) -> bool:
    """Whether the only line of a file is a row, and not a document with a list of rows."""
    return _is_object(line) and not any(JsonDocument("", iter([line])).lists())


def _check_format(content: FileContent, found: str, options: ImportOptions) -> None:
    """Raise ``UnusableFile`` if the format is not the named one, or else not that of the suffix."""
    name = content.source.name
    if options.format:
        if options.format != found:
            raise UnusableFile(f"{name} is {FORMATS[found]}, not {FORMATS.get(options.format, options.format)}")
        return
    outer = Path(name.lower()).suffix
    if _COMPRESSED.get(outer, content.compression) != content.compression:
        wrong, what = outer, content.compression or FORMATS[found]
    elif content.compression and outer in _NEVER_COMPRESSED:
        wrong, what = outer, f"{FORMATS[found]} in {content.compression}"
    elif found not in _SUFFIXES.get(suffix := _suffix(content), (found,)):
        wrong, what = suffix, FORMATS[found]
    else:
        return
    raise UnusableFile(f"{name} is {what}, although it is named {wrong}; rename it, or add --format {found}")


def _suffix(content: FileContent) -> str:
    """The suffix in lower case, without that of a compression."""
    path = Path((content.member or content.source.name).lower())
    return path.with_suffix("").suffix if path.suffix in _COMPRESSED else path.suffix

"""Reads CSV and JSON Lines row by row. An invalid row does not affect others."""

from __future__ import annotations

import csv
import json
import re
from abc import ABC, abstractmethod
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import TextIOWrapper
from itertools import count
from typing import Any, BinaryIO, Final, NamedTuple

from harken import Feedback, Submission
from harken_adapters.formats.errors import BadRow, UnusableFile
from harken_adapters.formats.mapping import CellMapping, Columns, KeyMapping, Submissions, unique
from harken_adapters.formats.record import from_record, is_export
from harken_adapters.formats.spreadsheet import SpreadsheetReader, is_spreadsheet
from harken_adapters.formats.strict_json import RepeatedMember, parse
from harken_adapters.formats.table import from_cells

#: The longest row of a file from another program. A longer one is invalid, or has an unclosed quote.
MAX_ROW_CHARACTERS: Final = 1 << 18
#: The longest row of a Harken export, which has up to 100 revisions.
MAX_EXPORTED_CHARACTERS: Final = 1 << 24
_SHOWN_CHARACTERS: Final = 1_000
_SHOWN_NAME: Final = 100
_LINE_ENDS = ("\n", "\r")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TOO_LONG = "the row is too long"
_NOT_UTF8 = "the row is not UTF-8; save the file as UTF-8 and import it again"


class Row(NamedTuple):
    """One row: the line it starts on, its raw value, and its content, or the reason why it has none."""

    line: int
    raw: Any
    content: Submission | Feedback | None
    reason: str = ""


class Source(ABC):
    """A file of feedback, read once."""

    def __init__(self, file: BinaryIO, columns: Columns, application: str) -> None:
        self._file = file
        self._columns = columns
        self._application = application
        self._submissions = Submissions(application)

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """All rows, in order.

        Raises:
            UnusableFile: the file cannot be imported.
        """

    @abstractmethod
    def rejection(self, row: Row, reason: str) -> tuple[str, object]:
        """The reason why a row is rejected, and the row as a JSON value."""


# --- JSON Lines -------------------------------------------------------------------------------------------------------


class JsonLinesSource(Source):
    """One JSON object per line. Blank lines are skipped."""

    def rows(self) -> Iterator[Row]:
        """A row for each line that is not blank."""
        mapping = KeyMapping(self._columns)
        lines = iter(partial(self._file.readline, MAX_EXPORTED_CHARACTERS), b"")
        for line, data in zip(count(1), lines, strict=False):
            if len(data) == MAX_EXPORTED_CHARACTERS and not data.endswith(b"\n"):
                _skip_line(self._file.readline, (b"\n",))
                yield Row(line, _text(data[:_SHOWN_CHARACTERS]), None, _TOO_LONG)
                continue
            if line == 1:
                _refuse_utf16(data)
                data = data.removeprefix(BOM_UTF8)  # noqa: PLW2901 - the mark is not part of the line
            if data.strip():
                yield self._row(line, data, mapping)

    def rejection(self, row: Row, reason: str) -> tuple[str, object]:
        """The reason unchanged, and the line as JSON, or as text if it is not valid JSON."""
        return reason, row.raw

    def _row(self, line: int, data: bytes, mapping: KeyMapping) -> Row:
        raw: Any = None
        try:
            raw = _object(data)
            if is_export(raw):
                return Row(line, raw, from_record(raw, self._application))
            return Row(line, raw, self._submissions.make(*mapping.values(raw)))
        except BadRow as error:
            return Row(line, _text(data) if raw is None else raw, None, str(error))


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = parse(data.decode())
    except UnicodeDecodeError:
        raise BadRow(_NOT_UTF8) from None
    except json.JSONDecodeError as error:
        raise BadRow(f"not valid JSON: {error.msg} at character {error.colno}") from None
    except RepeatedMember as error:
        raise BadRow(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise BadRow(f"the JSON exceeds a limit: {error}") from None
    if not isinstance(value, dict):
        raise BadRow(f"expected a JSON object such as {{...}}, got {type(value).__name__}")
    return value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace").rstrip("\r\n")


def _skip_line(readline: Callable[[int], Any], ends: Any) -> None:
    while piece := readline(MAX_ROW_CHARACTERS):
        if piece.endswith(ends):
            return


def _refuse_utf16(start: bytes) -> None:
    if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise UnusableFile("The file is UTF-16; save it as UTF-8 and import it again")


# --- CSV --------------------------------------------------------------------------------------------------------------


class _TooLong(Exception):
    """A record exceeds the maximum length."""


class _Lines:
    """The physical lines of a CSV file, with their numbers. Reading can go back to the start of the current record."""

    def __init__(self, text: TextIOWrapper) -> None:
        self._readline = text.readline
        self._again: list[str] = []
        self._taken: list[str] = []
        self._size = 0
        self._number = 0
        self.longest = MAX_ROW_CHARACTERS

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._readline(self.longest)
        if not line:
            raise StopIteration
        self._number += 1
        self._taken.append(line)
        self._size += len(line)
        if self._size >= self.longest:
            if not line.endswith(_LINE_ENDS):
                _skip_line(self._readline, _LINE_ENDS)
            raise _TooLong
        return line

    def begin(self) -> int:
        """Start a new record. Returns the number of its first line."""
        self._taken.clear()
        self._size = 0
        return self._number + 1

    def record(self) -> str:
        """The text of the current record."""
        return "".join(self._taken).rstrip("\r\n")

    def go_back(self) -> str:
        """Discard the current record and continue after its first line, which is returned."""
        first, *rest = self._taken
        self._again.extend(reversed(rest))
        self._number -= len(rest)
        return first.rstrip("\r\n")


def _records(lines: _Lines) -> Iterator[tuple[int, Any, str]]:
    """The line and cells of each record, and ``""``. For an invalid one: its line, the line's text, and the reason."""
    # Tuples, because objects for each row would take as long as the reading.
    # Strict, because a lenient reader could read half of the file as one cell, and drop quotes from others.
    reader = csv.reader(lines, strict=True)
    while True:
        line = lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, lines.go_back(), f"not valid CSV: {error}; is a quote missing or not doubled?"
        except _TooLong:
            yield line, lines.go_back()[:_SHOWN_CHARACTERS], f"{_TOO_LONG}; is a quote missing?"
        else:
            if any(cells):
                yield line, cells, ""


class CsvSource(Source):
    """CSV as in RFC 4180, with a header row. Rows with only empty cells are skipped.

    A record with an unclosed quote, or with one that is not doubled inside quotes, is invalid. Reading continues with
    the line after its first one, so that the following rows are not lost.
    """

    _header: Sequence[str] = ()

    def rows(self) -> Iterator[Row]:
        """A row for each record with a cell that is not empty."""
        # Invalid UTF-8 becomes surrogates, which valid UTF-8 never decodes to, so only its row is rejected.
        text = TextIOWrapper(self._file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        try:
            # This limit is global, so it is only ever raised. _Lines limits the length of rows.
            csv.field_size_limit(max(csv.field_size_limit(), MAX_EXPORTED_CHARACTERS))
            yield from self._rows(_Lines(text))
        finally:
            text.detach()

    def rejection(self, row: Row, reason: str) -> tuple[str, object]:
        """The reason, and the cells by column name, or the line as text if it is not valid CSV."""
        if _SURROGATE.search("".join(row.raw)):
            reason = _NOT_UTF8
        if isinstance(row.raw, str):
            return reason, _readable(row.raw)
        return reason, dict(zip(self._header, map(_readable, row.raw), strict=True))

    def _rows(self, lines: _Lines) -> Iterator[Row]:
        records = _records(lines)
        _, header, problem = next(records, (1, [], "this file is empty"))
        if problem:
            raise UnusableFile(f"A CSV file must begin with a row of column names: {problem}")
        _refuse_utf16(header[0].encode("utf-8", "surrogateescape"))
        self._header = _unique_names(header)
        to_content = self._content_of(lines)
        width = len(header)
        for line, cells, problem in records:
            if problem:
                yield Row(line, cells, None, problem)
            elif len(cells) != width:
                yield Row(line, lines.record(), None, f"the row has {len(cells)} cells, but there are {width} columns")
            else:
                yield _row(line, cells, to_content)

    def _content_of(self, lines: _Lines) -> Callable[[Sequence[str]], Submission | Feedback]:
        """The function that converts the cells of a row."""
        if is_export(self._header):
            lines.longest = MAX_EXPORTED_CHARACTERS
            return self._restore
        if is_spreadsheet(self._header):
            return self._content_of_spreadsheet()
        make, values = self._submissions.make, CellMapping(self._header, self._columns).values
        return lambda cells: make(*values(cells))

    def _content_of_spreadsheet(self) -> Callable[[Sequence[str]], Submission | Feedback]:
        read = SpreadsheetReader(self._header)
        mapped = {name: name for name in read.context} | dict(self._columns.mapped)
        columns = Columns(mapped, self._columns.constants)
        make, values = self._submissions.make, CellMapping(read.header, columns).values
        return lambda cells: make(*values(read.cells(cells)))

    def _restore(self, cells: Sequence[str]) -> Feedback:
        return from_record(from_cells(dict(zip(self._header, cells, strict=True))), self._application)


def _row(line: int, cells: Sequence[str], to_content: Callable[[Sequence[str]], Submission | Feedback]) -> Row:
    try:
        return Row(line, cells, to_content(cells))
    except BadRow as error:
        return Row(line, cells, None, str(error))


def _unique_names(header: Sequence[str]) -> list[str]:
    """The column names. Several columns may have no name; these are made unique."""
    stripped = [column.strip() for column in header]
    if repeated := next((name for name in stripped if name and stripped.count(name) > 1), None):
        raise UnusableFile(f"The column {repeated[:_SHOWN_NAME]!r} appears twice; remove or rename one")
    names: list[str] = []
    for name in stripped:
        names.append(name or unique(name, [*filter(None, stripped), *names]))
    return names


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

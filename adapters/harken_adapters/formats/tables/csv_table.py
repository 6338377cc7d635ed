"""CSV as in RFC 4180, with any separator, also after rows that are not part of the table."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.record import is_export
from harken_adapters.formats.tables.compression import FileContent
from harken_adapters.formats.tables.csv_records import LINE_ENDS, CsvRecords
from harken_adapters.formats.tables.encoding import INVALID, Encoding, readable
from harken_adapters.formats.tables.header import (
    cell_count,
    count_left_out,
    find_names,
    names_with_answers,
    unique_names,
)
from harken_adapters.formats.tables.lines import (
    MAX_EXPORTED_CHARACTERS,
    MAX_ROW_CHARACTERS,
    TOO_LONG,
    Lines,
)
from harken_adapters.formats.tables.table import Layout, Row
from harken_adapters.formats.tables.text_table import TextTable

_SEPARATORS: Final = (",", ";", "\t", "|")
#: What spreadsheets write as the first line to name the separator.
_SEPARATOR_LINE: Final = re.compile('"?sep=([^"])"?')
#: How a separator can be typed.
_TYPED: Final = {"tab": "\t", "\\t": "\t"}
_SAMPLE_LINES: Final = 1_000


class CsvTable(TextTable):
    """A row for each record with a cell that is not empty.

    A record with an unclosed quote, or with one that is not doubled inside quotes, cannot be read. Reading continues
    with the line after its first one, so that the following rows are not lost.
    """

    columns: Sequence[str]

    def __init__(self, content: FileContent, encoding: Encoding, options: ImportOptions) -> None:
        """Read the names of the columns.

        Raises:
            UnusableFile: the file does not begin with a row of column names, or a name is repeated.
        """
        # This limit is global, so it is only ever raised. The length of rows is limited here.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_EXPORTED_CHARACTERS))
        super().__init__(content, encoding)
        lists = Lines(content, encoding, any_end=True, longest=MAX_ROW_CHARACTERS)
        sample = next(filter(None, lists), [])[:_SAMPLE_LINES]
        self._separator, first = _separator_and_first_line(sample, options)
        header, left_out, rows = self._find_header(CsvRecords([sample], self._separator, start=first), options)
        self.columns = unique_names([readable(name) for name in header.values], self.name)
        self._header_line = header.position
        #: The number of columns without those at the end that have no name.
        self._named = max((index for index, name in enumerate(header.values, 1) if name.strip()), default=0)
        #: How many cells a row has at least. Some programs never write the last columns that they name.
        self._fewest = min(self._named, max((len(row.values) for row in rows), default=self._named))
        self._longest = MAX_EXPORTED_CHARACTERS if is_export(self.columns) else MAX_ROW_CHARACTERS
        self.layout = Layout(
            "csv",
            encoding.name,
            self._separator,
            content.compression,
            skipped=header.position - 1 if any(line.strip() for line in sample[: header.position - 1]) else 0,
            left_out=left_out,
            encoding_is_guess=encoding.is_guess,
        )

    def rows(self) -> Iterator[Row]:
        """The cells of each row, or its text if their number differs from that of the columns."""
        self.left_for_later = False
        lines = Lines(self._content, self._encoding, any_end=True, longest=self._longest)
        records = CsvRecords(lines, self._separator, longest=self._longest, start=self._header_line)
        width, all_valid = len(self.columns), self._encoding.is_valid
        for record in islice(records, 1 + self.layout.left_out, None):
            _, cells, problem, _ = record
            if len(cells) == width and all_valid and not problem:
                if cells[0] or any(cells):
                    yield record
            elif any(cells):
                if self._is_unfinished(record, records):
                    self.left_for_later = True
                    return
                yield record if problem else self._check(record, records)
        self.left_for_later = lines.last_is_left
        self.last_is_open = lines.last_is_open

    def _find_header(self, records: Iterable[Row], options: ImportOptions) -> tuple[Row, int, Sequence[Row]]:
        """The record with the names of the columns, the number of records after it that are not data, and the rest."""
        rows = [record for record in records if any(record.values)]
        if not rows or rows[0].problem:
            problem = rows[0].problem if rows else "there is no row"
            if problem.startswith(TOO_LONG):
                # With names of nine characters.
                columns = round(MAX_ROW_CHARACTERS / 10, -3)
                problem = (
                    f"the first one has more than {MAX_ROW_CHARACTERS:,} characters, which are about {columns:,.0f} "
                    "columns; leave out columns, or is a quote missing?"
                )
            raise UnusableFile(f"{self.name}: A CSV file must begin with a row of column names: {problem}")
        rows = [row for row in rows if not row.problem]
        index = 0
        if options.skip_rows is None:
            index = find_names([row.values for row in rows], self.name, self._quoting_hint(rows))
        later = [row.values for row in rows[index + 1 :]]
        left_out = count_left_out(rows[index].values, later)
        names = rows[index]._replace(values=names_with_answers(rows[index].values, later))
        return names, left_out, rows[index + 1 + left_out :]

    def _quoting_hint(self, rows: Sequence[Row]) -> str:
        """What may be wrong if rows have more cells than the first one."""
        separator = self._shown_separator
        wider = next((row.position for row in rows if len(row.values) > len(rows[0].values)), None)
        where = f"line {wider} has" if wider else "a row has"
        separators = "tabs" if self._separator == "\t" else separator
        return f". The file is separated by {separators}; if {where} a text with {separator} in it, put it in quotes"

    @property
    def _shown_separator(self) -> str:
        return "a tab" if self._separator == "\t" else repr(self._separator)

    def _check(self, record: Row, records: CsvRecords) -> Row:
        """The record with as many cells as there are columns, or with a problem."""
        line, cells, *_ = record
        width = len(self.columns)
        if not any(cells[width:]) and len(cells) >= self._fewest:
            # Spreadsheets add empty cells to some rows, and leave them out of others.
            cells = [*cells[:width], *[""] * (width - len(cells))]
        if len(cells) != width:
            columns = "there is 1 column" if width == 1 else f"there are {width} columns"
            problem = f"the row has {cell_count(len(cells))}, but {columns}"
            if len(cells) > width:
                problem += f"; is a text with {self._shown_separator} in it not in quotes?"
            return Row(line, "".join(records.taken).rstrip("\r\n"), problem)
        return Row(line, cells, self._encoding.describe_invalid() if INVALID.search("".join(cells)) else "")

    def _is_unfinished(self, record: Row, records: CsvRecords) -> bool:
        """Whether a record that is not as expected is the last one, of which another program has written a part."""
        if not self._content.may_grow or record.problem.startswith(TOO_LONG):
            return False
        has_end = records.taken[-1].endswith(LINE_ENDS)
        if records.is_open:
            # If the following lines are rows, the quote is a mistake.
            following = CsvRecords([records.taken[1:]], self._separator, longest=self._longest)
            is_last = not any(len(row.values) == len(self.columns) for row in following if not row.problem)
            return is_last and (not has_end or self._content.source.has_grown)
        if has_end:
            return False
        if record.problem:
            return len(records.taken) == 1
        return len(record.values) < self._named or INVALID.match(record.values[-1][-1:]) is not None


def _separator_and_first_line(sample: list[str], options: ImportOptions) -> tuple[str, int]:
    """The separator, and the number of the first line that may have the names of the columns."""
    named = _SEPARATOR_LINE.fullmatch(sample[0].rstrip("\r\n")) if sample else None
    first = 1 + max(options.skip_rows or 0, 1 if named else 0)
    separator = _TYPED.get((options.separator or "").lower(), options.separator)
    if separator is None:
        separator = named[1] if named else _detect_separator(sample[first - 1 :])
    if len(separator) != 1 or separator in '"\r\n':
        raise UnusableFile(f"The separator of CSV is one character, such as ';', or tab, got {separator!r}")
    return separator, first


def _detect_separator(sample: list[str]) -> str:
    """The separator that splits the most rows into the same number of cells, which is that of the first row."""

    def quality(separator: str) -> tuple[bool, float, int]:
        rows = CsvRecords([sample], separator)
        widths = [len(row.values) for row in rows if any(row.values) and not row.problem]
        split = [width for width in widths if width > 1]
        if not split:
            return False, 0.0, 0
        [(usual, times)] = Counter(split).most_common(1)
        return widths[0] == usual, times / len(sample), usual

    return max(_SEPARATORS, key=quality)

"""The records in the lines of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from harken_adapters.formats.tables.lines import MAX_ROW_CHARACTERS, SHOWN_CHARACTERS, TOO_LONG
from harken_adapters.formats.tables.table import Row

LINE_ENDS: Final = ("\n", "\r")
_OPEN: Final = "unexpected end of data"
_UNDOUBLED: Final = "is a quote missing or not doubled?"
#: What some programs write for a quote in a text, which is not CSV.
_ESCAPE: Final = '\\"'
_ESCAPED: Final = 'a quote in a text must be doubled, as in "a ""b"" c", not written with a backslash'


class _TooLong(Exception):
    """A record exceeds the maximum length."""


class CsvRecords:
    """The records in lines of CSV. For an invalid one, its first line; reading continues with the line after that.

    Attributes:
        is_open: whether the current record has a quote that is open at the end of the file.
    """

    def __init__(
        self, lists: Iterable[list[str]], separator: str, *, longest: int = MAX_ROW_CHARACTERS, start: int = 1
    ) -> None:
        """Read nothing yet.

        Args:
            lists: the lines with their ends, as :class:`Lines` gives them.
            separator: the separator.
            longest: the length in characters from which a line is too long, and about which a record is.
            start: the number of the line to begin with.
        """
        self._lists = _from_line(lists, start)
        self._separator = separator
        self._longest = longest
        self._start = start  # the line on which the current record starts
        self._before = 0  # the number of lines before those of the reader
        self._reader = csv.reader(())
        self._kept: list[str] = []  # lines that may be read again
        self._kept_from = start  # the number of the first of them
        self._ends_long = False  # whether the last one is too long
        self.is_open = False

    @property
    def taken(self) -> list[str]:
        """The lines of the current record."""
        stop = self._before + self._reader.line_num + 1
        return self._kept[self._start - self._kept_from : stop - self._kept_from]

    def __iter__(self) -> Iterator[Row]:
        while True:
            self._before = self._start - 1
            # Strict, because a lenient reader could read half of the file as one cell, and drop quotes from others.
            self._reader = csv.reader(chain.from_iterable(self._from_start()), delimiter=self._separator, strict=True)
            try:
                yield from self._valid()
            except csv.Error as error:
                self.is_open = str(error) == _OPEN
                line = self._first_line()
                yield Row(self._start, line, f"not valid CSV: {error}; {_ESCAPED if _ESCAPE in line else _UNDOUBLED}")
                self.is_open = False
            except _TooLong:
                yield Row(self._start, self._first_line()[:SHOWN_CHARACTERS], f"{TOO_LONG}; is a quote missing?")
            else:
                return
            self._start += 1

    def _valid(self) -> Iterator[Row]:
        """The records up to an invalid one."""
        reader, first = self._reader, self._before + 1
        start = first
        for cells in reader:
            # Faster than the constructor of a named tuple.
            yield tuple.__new__(Row, (start, cells, "", None))
            self._start = start = first + reader.line_num

    def _first_line(self) -> str:
        return self._kept[self._start - self._kept_from].rstrip("\r\n")

    def _from_start(self) -> Iterator[list[str]]:
        """The lines from the start of the current record."""
        again = self._kept[self._start - self._kept_from :]
        if self._ends_long and again:
            yield again[:-1]
            raise _TooLong
        yield again
        for lines in self._lists:
            del self._kept[: self._start - self._kept_from]
            self._kept_from = self._start
            size = sum(map(len, self._kept))
            self._kept += lines
            self._ends_long = len(lines) == 1 and len(lines[0]) >= self._longest
            if self._ends_long or size >= self._longest:
                raise _TooLong
            yield lines


def _from_line(lists: Iterable[list[str]], line: int) -> Iterator[list[str]]:
    """The lines from the one with a number."""
    skipped = line - 1
    for lines in lists:
        yield lines[skipped:]
        skipped = max(0, skipped - len(lines))

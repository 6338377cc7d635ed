"""JSON Lines: an object on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, count
from typing import Final

from harken_adapters.formats.rejects import is_rejected, unwrap
from harken_adapters.formats.strict_json import RepeatedMember, parse
from harken_adapters.formats.tables.compression import Content
from harken_adapters.formats.tables.encoding import INVALID, Encoding, readable
from harken_adapters.formats.tables.lines import MAX_EXPORTED_CHARACTERS, SHOWN_CHARACTERS, TOO_LONG, Lines
from harken_adapters.formats.tables.table import Layout, Record, Table

_INVALID_JSON: Final = "not valid JSON"


class JsonLinesTable(Table):
    """A row for each line that is not blank. In the rejected rows of an earlier import, it is the rejected row."""

    columns = None

    def __init__(self, content: Content, encoding: Encoding) -> None:
        """Look at the first row."""
        self.name = content.source.name
        self._content = content
        self._encoding = encoding
        self._left = False
        first = next(self._rows(self._lines()), None)
        is_rejects = first is not None and not first.problem and is_rejected(first.values)
        self.layout = Layout("jsonl", encoding.name, compression=content.compression, is_rejects=is_rejects)

    def records(self) -> Iterator[Record]:
        """A record for each row: its object, or its text if it cannot be read."""
        lines = self._lines()
        records = self._rows(lines)
        yield from map(_unwrapped, records) if self.layout.is_rejects else records
        self._left = self._left or lines.last_is_left

    def raw(self, record: Record) -> object:
        """The object, or the text of a row that cannot be read. Invalid bytes are escaped."""
        return readable(record.values) if isinstance(record.values, str) else record.values

    @property
    def left_for_later(self) -> bool:
        """Whether the last row was incomplete."""
        return self._left

    @property
    def progress(self) -> tuple[int, int | None]:
        """The bytes of the file that were read, and its size."""
        return self._content.source.position, self._content.source.size

    def close(self) -> None:
        """Close the file."""
        self._content.source.close()

    def _lines(self) -> Lines:
        return Lines(self._content, self._encoding, any_end=False, longest=MAX_EXPORTED_CHARACTERS)

    def _rows(self, lines: Lines) -> Iterator[Record]:
        self._left = False
        all_valid = self._encoding.is_valid
        for number, line in zip(count(1), chain.from_iterable(lines), strict=False):
            if len(line) >= MAX_EXPORTED_CHARACTERS:
                yield Record(number, line[:SHOWN_CHARACTERS], TOO_LONG)
                continue
            text = line.rstrip("\r\n")
            if not text or text.isspace():
                continue
            if not all_valid and INVALID.search(text):
                record = Record(number, text, self._encoding.describe_invalid())
            else:
                record = _parse(number, text)
            if record.problem and self._content.may_grow and not line.endswith("\n") and _is_cut_off(record):
                self._left = True
                return
            yield record


def _parse(number: int, text: str) -> Record:
    try:
        value = parse(text)
    except json.JSONDecodeError as error:
        return Record(number, text, f"{_INVALID_JSON}: {error.msg} at character {error.colno}")
    except RepeatedMember as error:
        return Record(number, text, str(error))
    except (ValueError, RecursionError) as error:
        return Record(number, text, f"the JSON exceeds a limit: {error}")
    return Record(number, value) if isinstance(value, dict) else Record(number, text, describe_other(value))


def describe_other(value: object) -> str:
    """Why a JSON value that is not an object is rejected."""
    return f"expected a JSON object such as {{...}}, got {type(value).__name__}"


def _is_cut_off(record: Record) -> bool:
    """Whether the row could become valid if more is written."""
    return record.problem.startswith(_INVALID_JSON) or INVALID.search(record.values) is not None


def _unwrapped(record: Record) -> Record:
    return record if record.problem else Record(record.position, *unwrap(record.values))

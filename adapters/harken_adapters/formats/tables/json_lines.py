"""JSON Lines: an object on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, count
from typing import Final

from attrs import evolve

from harken_adapters.formats.rejects import file_of, is_rejected, mapping_of, unwrap
from harken_adapters.formats.strict_json import RepeatedMember, parse
from harken_adapters.formats.tables.compression import FileContent
from harken_adapters.formats.tables.encoding import INVALID, Encoding
from harken_adapters.formats.tables.lines import MAX_EXPORTED_CHARACTERS, SHOWN_CHARACTERS, TOO_LONG, Lines
from harken_adapters.formats.tables.table import Layout, Row
from harken_adapters.formats.tables.text_table import TextTable

_INVALID_JSON: Final = "not valid JSON"


class JsonLinesTable(TextTable):
    """A row for each line that is not blank. In the rejected rows of an earlier import, it is the rejected row."""

    columns = None

    def __init__(self, content: FileContent, encoding: Encoding) -> None:
        """Look at the first row."""
        super().__init__(content, encoding)
        first = next(self._rows(self._lines()), None)
        is_rejects = first is not None and not first.problem and is_rejected(first.values)
        self.layout = Layout(
            "jsonl",
            encoding.name,
            compression=content.compression,
            is_rejects=is_rejects,
            encoding_is_guess=encoding.is_guess,
        )
        if first and is_rejects:
            self.layout = evolve(self.layout, rejected_from=file_of(first.values), mapping=mapping_of(first.values))

    def rows(self) -> Iterator[Row]:
        """The objects, or the text of a row that cannot be read."""
        lines = self._lines()
        rows = self._rows(lines)
        yield from map(self._unwrapped, rows) if self.layout.is_rejects else rows
        self.left_for_later |= lines.last_is_left

    def _unwrapped(self, row: Row) -> Row:
        return row if row.problem else unwrap(row.position, row.values, self.layout.mapping)

    def _lines(self) -> Lines:
        return Lines(self._content, self._encoding, any_end=False, longest=MAX_EXPORTED_CHARACTERS)

    def _rows(self, lines: Lines) -> Iterator[Row]:
        self.left_for_later = False
        all_valid = self._encoding.is_valid
        for number, line in zip(count(1), chain.from_iterable(lines), strict=False):
            if len(line) >= MAX_EXPORTED_CHARACTERS:
                yield Row(number, line[:SHOWN_CHARACTERS], TOO_LONG)
                continue
            text = line.rstrip("\r\n")
            if not text or text.isspace():
                continue
            if not all_valid and INVALID.search(text):
                row = Row(number, text, self._encoding.describe_invalid())
            else:
                row = _parse(number, text)
            if row.problem and self._content.may_grow and not line.endswith("\n") and _is_cut_off(row):
                self.left_for_later = True
                return
            yield row


def _parse(number: int, text: str) -> Row:
    try:
        value = parse(text)
    except json.JSONDecodeError as error:
        return Row(number, text, f"{_INVALID_JSON}: {error.msg} at character {error.colno}")
    except RepeatedMember as error:
        return Row(number, text, str(error))
    except (ValueError, RecursionError) as error:
        return Row(number, text, f"the JSON exceeds a limit: {error}")
    return Row(number, value) if isinstance(value, dict) else Row(number, text, describe_other(value))


def describe_other(value: object) -> str:
    """Why a JSON value that is not an object is rejected."""
    return f"expected a JSON object such as {{...}}, got {type(value).__name__}"


def _is_cut_off(row: Row) -> bool:
    """Whether the row could become valid if more is written."""
    return row.problem.startswith(_INVALID_JSON) or INVALID.search(row.values) is not None

"""Formulas of a spreadsheet without a result, as programs write them that do not calculate."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from xml.parsers.expat import ExpatError, ParserCreate

#: The parts of an archive that lead to the file of a sheet.
WORKBOOK: Final = "xl/workbook.xml"
RELATIONS: Final = "xl/_rels/workbook.xml.rels"
_CELL: Final = re.compile("([A-Z]{1,3})([0-9]{1,7})")


class Book:
    """What a workbook says about its sheets.

    Attributes:
        calculates_on_load: whether the program that opens it calculates all results, so that those in it are not real.
    """

    def __init__(self, workbook: Iterable[bytes], relations: Iterable[bytes]) -> None:
        """Read both files, in pieces. What cannot be read is left out: the library that reads the sheets reports it."""
        self.calculates_on_load = False
        self._ids: dict[str, str] = {}
        self._files: dict[str, str] = {}
        _parse(workbook, start=self._workbook_element)
        _parse(relations, start=self._relation)

    def file_of(self, sheet: str) -> str | None:
        """The name of the file of a sheet in the archive; ``None`` if it is unknown."""
        target = self._files.get(self._ids.get(sheet, ""))
        return target and posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")

    def _workbook_element(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "sheet":
            related = next((value for key, value in attributes.items() if _local(key) == "id"), "")
            self._ids[attributes.get("name", "")] = related
        elif name == "calcPr":
            self.calculates_on_load = attributes.get("fullCalcOnLoad") in ("1", "true")

    def _relation(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "Relationship":
            self._files[attributes.get("Id", "")] = attributes.get("Target", "")


class Formulas:
    """The formulas of a sheet that have a text, but no result. One that is shared has its text only in its first cell.

    Attributes:
        by_row: the texts of formulas by row, and by column in it, both from 1, such as ``{2: {3: "=A2"}}``.
    """

    def __init__(self, sheet: Iterable[bytes], *, zero_is_none: bool) -> None:
        """Read the file of a sheet in pieces.

        Args:
            sheet: the file.
            zero_is_none: whether the result 0 is none, as some programs write it for all formulas.
        """
        self.by_row: dict[int, dict[int, str]] = {}
        self._without = ("", "0") if zero_is_none else ("",)
        self._place: tuple[int, int] | None = None
        self._formula = ""
        self._value = ""
        self._reads = ""  # the element whose text is read
        _parse(sheet, start=self._start, end=self._end, text=self._text)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "c":
            match = _CELL.fullmatch(attributes.get("r", ""))
            self._place = (int(match[2]), column_number(match[1])) if match else None
            self._formula = self._value = ""
        elif name in ("f", "v"):
            self._reads = name

    def _text(self, text: str) -> None:
        if self._reads == "f":
            self._formula += text
        elif self._reads == "v":
            self._value += text

    def _end(self, name: str) -> None:
        if name in ("f", "v"):
            self._reads = ""
        elif name == "c" and self._place and self._formula and self._value.strip() in self._without:
            row, column = self._place
            self.by_row.setdefault(row, {})[column] = f"={self._formula}"


def column_number(letters: str) -> int:
    """The number of a column from 1: that of ``B`` is 2, and that of ``AA`` is 27."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _parse(chunks: Iterable[bytes], *, start: Any, end: Any = None, text: Any = None) -> None:
    """Call functions for the elements and texts of XML, with the names of elements without their prefixes."""
    parser = ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, attributes: start(_local(name), attributes)
    if end:
        parser.EndElementHandler = lambda name: end(_local(name))
    if text:
        parser.CharacterDataHandler = text
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)
    except ExpatError:
        # The library that reads the sheet reports what is damaged.
        return


def _local(name: str) -> str:
    return name.rpartition(":")[2]

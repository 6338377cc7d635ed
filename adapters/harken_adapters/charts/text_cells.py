"""Text in a terminal: how wide it is, what may be printed, and what stands for signs that the encoding lacks."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

#: What every line fits into, in cells.
COLUMNS: Final = 80
#: Columns of a bar chart by eighths of a cell; the first is empty.
EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_UNICODE: Final = "▁▂▃▄▅▆▇█░▒●○─├┤┊…\N{EN DASH}▲▼·≈■"
_ASCII: Final = "..::==##/%Oo-||:~-^v.~#"
_REPLACEMENTS: Final = str.maketrans(_UNICODE, _ASCII)


def printable(lines: Iterable[str], encoding: str) -> str:
    """The lines as one text that the encoding can represent, without spaces at their ends.

    Block and line signs become ASCII if the encoding lacks any of them; any other character that it lacks becomes a
    question mark.
    """
    text = "\n".join(line.rstrip() for line in lines)
    if not _can_encode(_UNICODE, encoding):
        text = text.translate(_REPLACEMENTS)
    return text.encode(encoding, "replace").decode(encoding)


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def plain(text: str) -> str:
    """The text without what could steer a terminal: controls become spaces, invisible format characters vanish."""
    return "".join(map(_plain_character, text))


def _plain_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category.startswith("C") or category in {"Zl", "Zp"} else character


def cells(text: str) -> int:
    """How many cells of a terminal a plain text takes."""
    return sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def cut(text: str, width: int) -> str:
    """A plain text in at most so many cells; a text that is too long ends with an ellipsis."""
    if cells(text) <= width:
        return text
    return f"{_start(text, width - 1)}…"


def left(text: str, width: int) -> str:
    """The text made plain, cut and filled with spaces at its right, in exactly so many cells."""
    fitting = cut(plain(text), width)
    return fitting + " " * (width - cells(fitting))


def right(text: str, width: int) -> str:
    """The same, with the spaces at its left."""
    fitting = cut(plain(text), width)
    return " " * (width - cells(fitting)) + fitting


def wrapped(text: str, width: int = COLUMNS) -> Iterator[str]:
    """The text made plain, in lines of at most so many cells, broken at spaces where possible."""
    line = ""
    for word in plain(text).split():
        for part in _parts(word, width):
            longer = f"{line} {part}" if line else part
            if cells(longer) > width:
                yield line
                longer = part
            line = longer
    if line:
        yield line


def _parts(word: str, width: int) -> Iterator[str]:
    while cells(word) > width:
        start = _start(word, width)
        yield start
        word = word[len(start) :]
    yield word


def _start(text: str, width: int) -> str:
    """The longest start of a text that fits."""
    used = 0
    for place, character in enumerate(text):
        used += _cells_of(character)
        if used > width:
            return text[:place]
    return text

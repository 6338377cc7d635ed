"""Text for terminals: its width in cells, removal of control characters, and ASCII instead of block characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

#: A space that is not after a single sign, such as that of a legend, and not before a dash.
_SPACE: Final = re.compile(r"(?<! \W) (?!\N{EN DASH} )")
#: The width of a line unless another is given, in cells.
COLUMNS: Final = 80
_UNICODE: Final = "▁▂▃▄▅▆▇█░▒●○─├┤┊…\N{EN DASH}▲▼·≈“”"
_ASCII: Final = '..::==##/%Oo-||:~-^v.~""'
_REPLACEMENTS: Final = str.maketrans(_UNICODE, _ASCII)


def encode_text(text: str, encoding: str) -> str:
    """The text in characters that the encoding can represent, one for each of its characters.

    If the encoding lacks any of the block and line characters, all of them are replaced by ASCII. Other characters that
    it lacks become question marks.

    Raises:
        LookupError: the encoding is unknown.
    """
    if not _can_encode(_UNICODE, encoding):
        text = text.translate(_REPLACEMENTS)
    return text.encode(encoding, "replace").decode(encoding)


def join_lines(lines: Iterable[str]) -> str:
    """The lines as a text without trailing spaces."""
    return "\n".join(line.rstrip() for line in lines)


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def remove_controls(text: str) -> str:
    """The text without characters that could control a terminal.

    Control characters and line separators become spaces, invisible format characters are removed.
    """
    return "".join(map(_replace_control, text))


def _replace_control(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category.startswith("C") or category in {"Zl", "Zp"} else character


def count_cells(text: str) -> int:
    """The width of a text without control characters, in cells: wide characters take two, combining ones none."""
    return sum(map(_width_of, text))


def _width_of(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def align_left(text: str, width: int) -> str:
    """The text in exactly ``width`` cells: without control characters, truncated with an ellipsis or padded."""
    fitting = _truncate(remove_controls(text), width)
    return fitting + " " * (width - count_cells(fitting))


def align_right(text: str, width: int) -> str:
    """The same as :func:`align_left`, padded at the left."""
    fitting = _truncate(remove_controls(text), width)
    return " " * (width - count_cells(fitting)) + fitting


def _truncate(text: str, width: int) -> str:
    return text if count_cells(text) <= width else f"{_take_cells(text, width - 1)}…"[:width]


def wrap_text(text: str, width: int) -> Iterator[str]:
    """The text without control characters, in lines of at most ``width`` cells.

    Lines break at spaces, except after a sign and next to the dash of a range; words longer than a line are split.
    """
    line = ""
    for word in _SPACE.split(" ".join(remove_controls(text).split())):
        for part in _split_word(word, width):
            longer = f"{line} {part}" if line else part
            if count_cells(longer) > width:
                yield line
                longer = part
            line = longer
    if line:
        yield line


def _split_word(word: str, width: int) -> Iterator[str]:
    while count_cells(word) > width:
        start = _take_cells(word, width)
        yield start
        word = word[len(start) :]
    yield word


def _take_cells(text: str, width: int) -> str:
    """The longest prefix that fits."""
    used = 0
    for index, character in enumerate(text):
        used += _width_of(character)
        if used > width:
            return text[:index]
    return text

"""The lines of a text, in lists."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from harken_adapters.formats.tables.compression import FileContent
from harken_adapters.formats.tables.encoding import Encoding

#: The longest row of a file from another program. A longer one is invalid, or has an unclosed quote.
MAX_ROW_CHARACTERS: Final = 1 << 18
#: The longest row of a Harken export, which has up to 100 revisions.
MAX_EXPORTED_CHARACTERS: Final = 1 << 24
SHOWN_CHARACTERS: Final = 1_000
TOO_LONG: Final = "the row is too long"


class Lines:
    """The lines of a text. Each list of lines is read at once, as that is much faster than line by line.

    Attributes:
        last_is_left: whether the last line was left out, as it has no end and the file has grown since it was opened.
        last_is_open: whether the last line has no end, although the file may grow.
    """

    def __init__(self, content: FileContent, encoding: Encoding, *, any_end: bool, longest: int) -> None:
        r"""Read nothing yet.

        Args:
            content: the file.
            encoding: its encoding.
            any_end: whether lines end with ``\\n``, ``\\r`` or ``\\r\\n``; else only with ``\\n``.
            longest: the length in characters from which a line is too long.
        """
        self._content = content
        self._encoding = encoding
        self._newline = "" if any_end else "\n"
        self._ends = ("\n", "\r") if any_end else ("\n",)
        self._longest = longest
        self.last_is_left = False
        self.last_is_open = False

    def __iter__(self) -> Iterator[list[str]]:
        """Lists of lines with their ends; some are empty. A line that is too long is cut off, and alone in its list."""
        rest = ""
        skips = False
        for chunk in self._encoding.decode(self._content.chunks()):
            lines, rest = self._split(rest, chunk)
            if skips and lines:
                del lines[0]
                skips = False
            if lines and len(lines[0]) >= self._longest:
                yield [lines.pop(0)[: self._longest]]
            yield lines
            if len(rest) >= self._longest and not skips:
                yield [rest[: self._longest]]
                skips = True
            if skips:
                rest = rest[-1:]
        if rest and not skips:
            yield from self._last(rest)

    def _split(self, rest: str, chunk: str) -> tuple[list[str], str]:
        """The complete lines, and the rest."""
        if not any(end in chunk for end in self._ends) and not rest.endswith(self._ends):
            return [], rest + chunk
        lines = io.StringIO(rest + chunk, self._newline).readlines()
        # A line that ends with "\r" may go on with "\n".
        return (lines[:-1], lines[-1]) if lines and not lines[-1].endswith("\n") else (lines, "")

    def _last(self, line: str) -> Iterator[list[str]]:
        is_complete = line.endswith(self._ends) or not self._content.may_grow
        self.last_is_open = not is_complete
        self.last_is_left = self.last_is_open and self._content.source.has_grown
        if not self.last_is_left:
            yield [line]

"""The secrets of a channel, hidden in what its receiver says: many receivers quote the request that they refuse."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote

from harken_adapters.notifiers.wording import one_line

HIDDEN: Final = "***"
#: A shorter segment of a path, or one that may be a word, such as ``services``, is hidden only with the whole path.
_SHORTEST_SEGMENT: Final = 6
_WORD: Final = re.compile(r"[a-z]{1,15}")
#: A shorter value of a query is hidden only with its name.
_SHORTEST_VALUE: Final = 4


class Secrets:
    """Texts to hide in lines, in any spelling: as they are, or escaped for a URL, JSON or HTML."""

    def __init__(self, texts: Iterable[str]) -> None:
        # The longest first, so that nothing is left of one that contains another.
        known = sorted({one_line(text) for text in texts} - {""}, key=len, reverse=True)
        spelled = "|".join("".join(map(_spellings, text)) for text in known)
        self._pattern = re.compile(spelled, re.IGNORECASE) if spelled else None

    def hide(self, text: str) -> str:
        """The text with ``***`` in place of each secret."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


def secrets_of(target: str) -> Iterator[str]:
    """The parts of a path with a query that may be secret: both, long segments of the path, and the values."""
    path, _, query = target.partition("?")
    segments = [part for part in path.split("/") if len(part) >= _SHORTEST_SEGMENT and not _WORD.fullmatch(part)]
    # Receivers quote a path as it was sent, or decoded.
    for part in (target, path, query, *segments):
        if part != "/":
            yield part
            yield unquote(part)
    for name, value in parse_qsl(query, keep_blank_values=True):
        secret = value or name
        yield secret if len(secret) >= _SHORTEST_VALUE else f"{name}={value}"


def _spellings(character: str) -> str:
    """A pattern of all spellings of a character."""
    if character.isascii() and character.isalnum():
        return character
    utf16 = character.encode("utf-16-be", "surrogatepass")
    units = (utf16[place : place + 2].hex() for place in range(0, len(utf16), 2))
    spellings = [
        # JSON escapes some characters by backslashes, and each of those when it is quoted once more.
        r"\\{0,3}" + re.escape(character),
        "".join(rf"\\{{1,3}}u{unit}" for unit in units),
        "".join(f"%(?:25)?{byte:02x}" for byte in character.encode("utf-8", "surrogatepass")),
        re.escape(html.escape(character)),
        f"&#(?:{ord(character)}|x0?{ord(character):x});",
    ]
    if character in " +":
        spellings += [" ", r"\+"]
    return f"(?:{'|'.join(spellings)})"

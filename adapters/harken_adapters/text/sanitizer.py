"""Plain text out of whatever was sent: markup goes, and a person's ``<3`` stays."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from html import unescape
from itertools import islice
from typing import Final

from harken.domain.rules import text_problem
from harken_adapters.text.elements import ELEMENTS
from harken_adapters.text.missing import missing

#: Elements whose content goes with them: a person wrote none of it.
_HIDDEN: Final = frozenset({"script", "style"})
#: What is wrapped deeper than this was never meant to be read. A long text is read only twice.
_MAX_ROUNDS: Final = 6
_LONG: Final = 5_000
#: How many tags may turn out not to end, at the end of the text, and how many characters may be read again for them. A
#: person leaves out a quotation mark now and then.
_MAX_UNFINISHED: Final = 30
_MAX_READ_AGAIN: Final = 30_000
_FEW_UNFINISHED: Final = 3

# A tag as HTML's tokenizer reads it. The quantifiers give nothing back, so that no text makes the search slow.
_SPACE = r"[\t\n\f\r ]"
_GAP = r"[\t\n\f\r /]"
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\t\n\f\r >"'][^\t\n\f\r >]*+)"""
_ATTRIBUTE = rf"[^\t\n\f\r />][^\t\n\f\r />=]*+(?:{_SPACE}*+={_SPACE}*+{_VALUE}?+)?+"

_FLAGS: Final = re.IGNORECASE | re.ASCII
#: A ``<`` that may begin markup. Every other one is a person's.
_BEGINNING: Final = re.compile(r"<[a-z/!?]", _FLAGS)
#: The beginning of a tag that may be one of a known element, and the rest of any tag.
_NAMED: Final = re.compile(r"<(/?)([a-z][a-z0-9-]*+)(?=[\t\n\f\r />])", _FLAGS)
_REST_OF_TAG: Final = re.compile(rf"(?:{_GAP}++|{_ATTRIBUTE})*+>", _FLAGS)
#: After a name: a value has begun. Nobody writes that in a sentence, so it is markup even if it is not finished.
_VALUE_BEGUN: Final = re.compile(rf"{_GAP}++[a-z][\w:.-]*+{_SPACE}*+=", _FLAGS)
#: What is markup in any case, and what ends at the next ``>``.
_ALWAYS: Final = re.compile(r"</?(?:script|style)(?![^\t\n\f\r />])|<!--", _FLAGS)
_DECLARATION: Final = re.compile(r"<(?:!doctype(?=[\t\n\f\r >])|!\[CDATA\[|\?[a-z])[^>]*+>", _FLAGS)
#: What runs a script, and the beginning of a tag with that. A browser runs it, whether it knows the element or not.
_HANDLER: Final = rf"""[\t\n\f\r /"']on[a-z]++{_SPACE}*+="""
_HANDLERS: Final = re.compile(_HANDLER, _FLAGS)
_HANDLED: Final = re.compile(rf"<[a-z][^\t\n\f\r />]*+(?=[^>]*{_HANDLER})", _FLAGS)
#: A whole tag of an element whose content is text. To the parser one is as good as the other: it need not know that
#: tables, forms, pictures and formulas would move or lose the text in them.
_TAG: Final = re.compile(r"</?(?!(?:script|style)[\t\n\f\r />])[a-z].*>", re.IGNORECASE | re.ASCII | re.DOTALL)
_ANY_TAG: Final = "<wbr>"
#: What a parser reads otherwise than as itself: outside of markup other characters stand in for these.
_READ_OTHERWISE: Final = "<&\r\n\ufeff"


class Nh3Sanitizer:
    """Removes markup with nh3, a parser that reads HTML as browsers do, and leaves plain text as it is.

    Markup is a complete tag of an element that browsers know, any tag that would run a script, a comment, and the like.
    It goes, and with ``script`` and ``style`` all that is in them. Everything else is text: it is neither
    escaped nor unescaped here, so whoever shows it on a page escapes it, once.

    Raises:
        MissingExtra: nh3 is not installed.
    """

    def __init__(self) -> None:
        try:
            from nh3 import clean  # noqa: PLC0415 - it may be missing
        except ModuleNotFoundError as error:
            raise missing("Nh3Sanitizer", "nh3") from error
        self._clean = clean

    def sanitize(self, text: str) -> str:
        """The text without markup; sanitizing that once more changes nothing.

        Text that every rule refuses, with a NUL or a lone surrogate, comes back as it is.
        """
        if "<" not in text or text_problem("comment", text):
            return text
        reader = _Reader()
        for _ in range(_MAX_ROUNDS if len(text) < _LONG else 2):
            pieces = reader.split(text)
            if reader.gave_up:
                break
            if len(pieces) == 1:
                return text
            text = self._without_markup(pieces)
        return text.replace("<", "")

    def _without_markup(self, pieces: list[str]) -> str:
        """The text of pieces of which every second one is markup."""
        stand_ins = _stand_ins("".join(pieces))
        forth = str.maketrans(dict(zip(_READ_OTHERWISE, stand_ins, strict=True)))
        back = str.maketrans(dict(zip(stand_ins, _READ_OTHERWISE, strict=True)))
        html = "".join(_plainer(piece) if index % 2 else piece.translate(forth) for index, piece in enumerate(pieces))
        cleaned = self._clean(html, tags=set(), attributes={}, clean_content_tags=set(_HIDDEN))
        # What the parser wrote as an entity is its own way of writing text: ours were stood in for.
        return unescape(cleaned).translate(back)


class _Reader:
    """Tells markup from text, in a time that grows no faster than the text.

    Whether a tag ends is only known at its end, and where none does, each is looked for up to the end of the text. So
    a reader gives up after a few of them.
    """

    def __init__(self) -> None:
        self._unfinished = 0
        self._read_again = 0

    @property
    def gave_up(self) -> bool:
        """Whether too many tags did not end."""
        many = self._unfinished > _MAX_UNFINISHED or self._read_again > _MAX_READ_AGAIN
        return many and self._unfinished > _FEW_UNFINISHED

    def split(self, text: str) -> list[str]:
        """Pieces of the text, of which every second one is markup."""
        last = text.rfind(">")
        handlers = [handler.start() for handler in _HANDLERS.finditer(text)]
        pieces, kept = [], 0
        beginning = _BEGINNING.search(text)
        while beginning and not self.gave_up:
            start = beginning.start()
            end = self._end(text, start, closed=start < last, handlers=handlers)
            if end is not None:
                pieces += [text[kept:start], text[start:end]]
                kept = end
            beginning = _BEGINNING.search(text, end or start + 1)
        return [*pieces, text[kept:]]

    def _end(self, text: str, start: int, *, closed: bool, handlers: Sequence[int]) -> int | None:
        """Where the markup ends that begins at ``start``, if it is markup; ``closed`` if there is a ``>`` after it."""
        named = _NAMED.match(text, start)
        if named and named[2].lower() in ELEMENTS:
            if closed and (end := self._end_of_tag(text, named)):
                return end
            if not named[1] and (begun := _VALUE_BEGUN.match(text, named.end())):
                return begun.end()
        if always := _ALWAYS.match(text, start):
            return always.end()
        if not closed:
            return None
        if _is_handled(text, start, handlers) and (end := self._end_of_tag(text, _HANDLED.match(text, start))):
            return end
        declaration = _DECLARATION.match(text, start)
        return declaration.end() if declaration else None

    def _end_of_tag(self, text: str, beginning: re.Match[str] | None) -> int | None:
        end = _REST_OF_TAG.match(text, beginning.end()) if beginning else None
        if end is None:
            self._unfinished += 1
            self._read_again += len(text)
            return None
        return end.end()


def _is_handled(text: str, start: int, handlers: Sequence[int]) -> bool:
    """Whether there is a handler before the next ``>``."""
    following = bisect_right(handlers, start)
    return following < len(handlers) and handlers[following] < text.find(">", start)


def _plainer(markup: str) -> str:
    return _ANY_TAG if _TAG.fullmatch(markup) else markup


def _stand_ins(text: str) -> str:
    """As many characters as are read otherwise, none of which is in the text: from those that mean nothing on."""
    there = set(text)
    free = (character for character in map(chr, range(0xFDD0, 0x110000)) if character not in there)
    return "".join(islice(free, len(_READ_OTHERWISE)))

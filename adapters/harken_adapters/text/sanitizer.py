"""Removes markup from comments, and keeps plain text such as ``<3``."""

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

#: Elements that are removed with their content.
_HIDDEN: Final = frozenset({"script", "style"})
#: The maximum number of passes, for tags inside tags. A long text is read only twice.
_MAX_ROUNDS: Final = 6
_LONG: Final = 5_000
#: Limits for unclosed tags: their number, and the number of characters that are read again for them. A few are normal,
#: such as after a missing quotation mark.
_MAX_UNCLOSED: Final = 30
_MAX_READ_AGAIN: Final = 30_000
_FEW_UNCLOSED: Final = 3

# A tag as in the tokenizer of HTML. The quantifiers are possessive, so that no text makes the search slow.
_SPACE = r"[\t\n\f\r ]"
_GAP = r"[\t\n\f\r /]"
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\t\n\f\r >"'][^\t\n\f\r >]*+)"""
_ATTRIBUTE = rf"[^\t\n\f\r />][^\t\n\f\r />=]*+(?:{_SPACE}*+={_SPACE}*+{_VALUE}?+)?+"

_FLAGS: Final = re.IGNORECASE | re.ASCII
#: A ``<`` that may begin markup. Every other one is text.
_BEGINNING: Final = re.compile(r"<[a-z/!?]", _FLAGS)
#: The beginning of a tag that may be of a known element, and the rest of any tag.
_NAMED: Final = re.compile(r"<(/?)([a-z][a-z0-9-]*+)(?=[\t\n\f\r />])", _FLAGS)
_REST_OF_TAG: Final = re.compile(rf"(?:{_GAP}++|{_ATTRIBUTE})*+>", _FLAGS)
#: The beginning of an attribute value after a name. It is markup even if the tag is not closed.
_VALUE_BEGUN: Final = re.compile(rf"{_GAP}++[a-z][\w:.-]*+{_SPACE}*+=", _FLAGS)
#: Markup in any case, and markup that ends at the next ``>``.
_ALWAYS: Final = re.compile(r"</?(?:script|style)(?![^\t\n\f\r />])|<!--", _FLAGS)
_DECLARATION: Final = re.compile(r"<(?:!doctype(?=[\t\n\f\r >])|!\[CDATA\[|\?[a-z])[^>]*+>", _FLAGS)
#: An event handler, and the beginning of a tag with one. Browsers run it even in unknown elements.
_HANDLER: Final = rf"""[\t\n\f\r /"']on[a-z]++{_SPACE}*+="""
_HANDLERS: Final = re.compile(_HANDLER, _FLAGS)
_HANDLED: Final = re.compile(rf"<[a-z][^\t\n\f\r />]*+(?=[^>]*{_HANDLER})", _FLAGS)
#: A complete tag of an element whose content is text. It is replaced by a simple tag, so that the parser does not move
#: or lose text in tables, forms, pictures and formulas.
_TAG: Final = re.compile(r"</?(?!(?:script|style)[\t\n\f\r />])[a-z].*>", re.IGNORECASE | re.ASCII | re.DOTALL)
_ANY_TAG: Final = "<wbr>"
#: Characters that the parser would change. In text they are replaced by placeholders.
_CHANGED_BY_PARSER: Final = "<&\r\n\ufeff"


class Nh3Sanitizer:
    """Removes markup with nh3, which parses HTML like browsers, and keeps plain text unchanged.

    Markup is a complete tag of a known element, any tag with an event handler, a comment, or a declaration. ``script``
    and ``style`` are removed with their content. The text is neither escaped nor unescaped, so it must be escaped once
    when it is inserted into a page.

    Raises:
        MissingExtra: nh3 is not installed.
    """

    def __init__(self) -> None:
        try:
            from nh3 import clean  # noqa: PLC0415 - may be missing
        except ModuleNotFoundError as error:
            raise missing("Nh3Sanitizer", "nh3") from error
        self._clean = clean

    def sanitize(self, text: str) -> str:
        """The text without markup. Sanitising the result again does not change it.

        Text with a NUL or a lone surrogate, which the rules reject, is returned unchanged.
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
        """The text of alternating pieces of text and markup."""
        placeholders = _placeholders("".join(pieces))
        encode = str.maketrans(dict(zip(_CHANGED_BY_PARSER, placeholders, strict=True)))
        decode = str.maketrans(dict(zip(placeholders, _CHANGED_BY_PARSER, strict=True)))
        html = "".join(_simplify(piece) if index % 2 else piece.translate(encode) for index, piece in enumerate(pieces))
        cleaned = self._clean(html, tags=set(), attributes={}, clean_content_tags=set(_HIDDEN))
        # Any entity was added by the parser, as those of the text were replaced.
        return unescape(cleaned).translate(decode)


class _Reader:
    """Splits text and markup in linear time.

    The end of an unclosed tag is searched for up to the end of the text, so a reader gives up after a few of them.
    """

    def __init__(self) -> None:
        self._unclosed = 0
        self._read_again = 0

    @property
    def gave_up(self) -> bool:
        """Whether there were too many unclosed tags."""
        many = self._unclosed > _MAX_UNCLOSED or self._read_again > _MAX_READ_AGAIN
        return many and self._unclosed > _FEW_UNCLOSED

    def split(self, text: str) -> list[str]:
        """Alternating pieces of text and markup."""
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
        """The end of the markup that begins at ``start``; ``None`` for text. ``closed``: there is a ``>`` after it."""
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
        if _has_handler(text, start, handlers) and (end := self._end_of_tag(text, _HANDLED.match(text, start))):
            return end
        declaration = _DECLARATION.match(text, start)
        return declaration.end() if declaration else None

    def _end_of_tag(self, text: str, beginning: re.Match[str] | None) -> int | None:
        end = _REST_OF_TAG.match(text, beginning.end()) if beginning else None
        if end is None:
            self._unclosed += 1
            self._read_again += len(text)
            return None
        return end.end()


def _has_handler(text: str, start: int, handlers: Sequence[int]) -> bool:
    """Whether there is an event handler before the next ``>``."""
    following = bisect_right(handlers, start)
    return following < len(handlers) and handlers[following] < text.find(">", start)


def _simplify(markup: str) -> str:
    return _ANY_TAG if _TAG.fullmatch(markup) else markup


def _placeholders(text: str) -> str:
    """A character that is not in the text for each one that the parser would change, starting with noncharacters."""
    used = set(text)
    free = (character for character in map(chr, range(0xFDD0, 0x110000)) if character not in used)
    return "".join(islice(free, len(_CHANGED_BY_PARSER)))

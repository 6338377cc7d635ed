"""Plain text out of whatever was sent: markup goes, and a person's ``<3`` stays."""

from __future__ import annotations

import re
from html import unescape
from itertools import islice
from typing import Final

from harken.domain.rules import text_problem
from harken_adapters.text.elements import ELEMENTS
from harken_adapters.text.missing import missing

#: Elements whose content goes with them: a person wrote none of it.
_HIDDEN: Final = frozenset({"script", "style"})
#: What is deeper wrapped up than this was never meant to be read.
_MAX_ROUNDS: Final = 10
#: The square of 2,000: looking at markup takes time that grows with the length and with each ``<`` in it.
_MAX_EFFORT: Final = 4_000_000

# A tag as HTML's tokenizer reads it. The quantifiers give nothing back, so that no text makes the search slow.
_SPACE = r"[\t\n\f\r ]"
_GAP = r"[\t\n\f\r /]"
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\t\n\f\r >"'][^\t\n\f\r >]*+)"""
_ATTRIBUTE = rf"[^\t\n\f\r />][^\t\n\f\r />=]*+(?:{_SPACE}*+={_SPACE}*+{_VALUE}?+)?+"
_REST = rf"(?:{_GAP}++|{_ATTRIBUTE})*+>"
_KNOWN = "|".join(sorted(ELEMENTS, key=len, reverse=True))
_HANDLER = rf"""(?=[^>]*[\t\n\f\r /"']on[a-z]+{_SPACE}*=)"""

#: What is given to the parser as markup. Every other ``<`` is a person's.
_MARKUP: Final = re.compile(
    "("
    + "|".join(
        (
            rf"</?(?:{_KNOWN})(?=[\t\n\f\r />]){_REST}",
            # Not finished, but already with a value: nobody writes that in a sentence.
            rf"<(?:{_KNOWN}){_GAP}+[a-z][\w:.-]*{_SPACE}*=",
            r"</?(?:script|style)(?![^\t\n\f\r />])",
            # A browser knows no such element, and runs its scripts all the same.
            rf"<[a-z][^\t\n\f\r />]*+{_HANDLER}{_REST}",
            r"<!--",
            r"<!doctype(?=[\t\n\f\r >])[^>]*>",
            r"<!\[CDATA\[[^>]*>",
            r"<\?[a-z][^>]*>",
        )
    )
    + ")",
    re.IGNORECASE | re.ASCII,
)
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
        if text.count("<") * len(text) > _MAX_EFFORT:
            return text.replace("<", "")
        for _ in range(_MAX_ROUNDS):
            pieces = _MARKUP.split(text)
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


def _plainer(markup: str) -> str:
    return _ANY_TAG if _TAG.fullmatch(markup) else markup


def _stand_ins(text: str) -> str:
    """As many characters as are read otherwise, none of which is in the text: from those that mean nothing on."""
    free = (character for character in map(chr, range(0xFDD0, 0x110000)) if character not in text)
    return "".join(islice(free, len(_READ_OTHERWISE)))

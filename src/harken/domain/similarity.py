"""Equal and nearly equal comments, such as the copies of one advertisement."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import normalize

from attrs import frozen

#: How much of a comment is compared, in code points.
MAX_COMPARED: Final = 1_000
#: Shorter texts are similar only if they are equal: many people write nearly the same few words.
_MIN_LENGTH: Final = 30
#: The share of shingles that nearly equal texts have in common at least (the Jaccard index).
_SIMILARITY: Final = 0.7
#: The length of a shingle in characters. Unlike words, it suits scripts that do not separate words.
_SHINGLE: Final = 3
_WORD: Final = re.compile(r"[^\W_]+")


@frozen
class Sketch:
    """What is compared of a comment: its normalised text, and the shingles of a longer one.

    Letter case, punctuation and white space do not count; links that differ in a few characters hardly do.
    """

    text: str
    shingles: frozenset[str]

    @classmethod
    def of(cls, comment: str) -> Sketch:
        """Return the sketch of the first 1,000 code points of a comment."""
        # Cut again: one code point can become 18.
        plain = normalize("NFKC", comment[:MAX_COMPARED]).casefold()[:MAX_COMPARED]
        # A comment without letters and digits, such as one of emoji, is compared unchanged, except for white space.
        text = " ".join(_WORD.findall(plain)) or "".join(plain.split())
        if len(text) < _MIN_LENGTH:
            return cls(text, frozenset())
        return cls(text, frozenset(text[start : start + _SHINGLE] for start in range(len(text) - _SHINGLE + 1)))

    def is_similar(self, other: Sketch) -> bool:
        """Whether the texts are equal, or have 70% of the shingles of both in common. Empty texts are not similar."""
        if self.text == other.text:
            return bool(self.text)
        fewer, more = sorted((len(self.shingles), len(other.shingles)))
        if not fewer or fewer < _SIMILARITY * more:
            return False
        common = len(self.shingles & other.shingles)
        return common >= _SIMILARITY * (fewer + more - common)

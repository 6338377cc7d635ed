"""Text search in comments: which comments have the words of a search, and where.

Comments and searches are compared in Unicode's form NFKC without case, so that ``ﬁne``, ``FINE`` and ``fine`` are
equal. A word is a run of letters, digits and combining marks; each emoji is a word. Scripts without spaces are searched
by letter: each letter of theirs is a word here, so that any part of a text is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Final
from unicodedata import normalize

from attrs import field, frozen

from harken.domain.errors import InvalidQuery
from harken.domain.insight.terms import UNSPACED, combining_marks, shorten_mark_runs

#: Stored with search indexes. An index of another version is not used.
SEARCH_VERSION: Final = 1
#: The maximum number of words of a search, and of its characters.
MAX_SEARCH_WORDS: Final = 32
MAX_SEARCH_LENGTH: Final = 1_000

_QUOTES: Final = str.maketrans(dict.fromkeys("“”„‟«»", '"'))
#: Unicode ignores these when it compares texts: soft hyphens, joiners and other invisible characters, and the selectors
#: of variants of symbols.
_INVISIBLE: Final = "\u00ad\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff"
_IGNORED: Final = re.compile(f"[{_INVISIBLE}]+")
_HALF_WIDTH_VOICING: Final = "\uff9e\uff9f"
#: Letters of Hangul, of which a syllable may be composed, also in their compatible forms; and its syllables.
_HANGUL_LETTERS: Final = "\u1100-\u11ff\u3131-\u318e\uffa0-\uffdc"
_HANGUL: Final = f"{_HANGUL_LETTERS}\uac00-\ud7a3"
# Also the later extensions of Han.
_LETTER_BY_LETTER: Final = f"{UNSPACED}\U00020000-\U0003ffff"
_EMOJI: Final = "\u2600-\u27bf\U0001f300-\U0001faff"
_ASCII_WORD: Final = re.compile("[a-z0-9]+")
_QUOTED: Final = re.compile(r'"([^"]*)"?|([^"\s]+)')

#: Consecutive words.
Phrase = tuple[str, ...]


@cache
def _word() -> re.Pattern[str]:
    letter = rf"[^\W_{_LETTER_BY_LETTER}]"
    # Most words have no mark: the lookahead is faster than the set of marks.
    marked = rf"(?![\0-\u02ff])[{combining_marks()}]+{letter}*"
    return re.compile(rf"{letter}+(?:{marked})*|[{_LETTER_BY_LETTER}{_EMOJI}]")


@cache
def _cluster() -> re.Pattern[str]:
    """The parts of a comment that can be folded one by one: a run of ASCII, or a character with what joins it."""
    joined = f"[{combining_marks()}{_INVISIBLE}{_HALF_WIDTH_VOICING}]"
    hangul = rf"[{_HANGUL}](?:{joined}|[{_HANGUL_LETTERS}])*"
    return re.compile(rf"[\0-\x7f]+(?!{joined})|{hangul}|.{joined}*", re.DOTALL)


@cache
def _lone_letter() -> re.Pattern[str]:
    return re.compile(f"[{_LETTER_BY_LETTER}]")


@lru_cache(maxsize=256)
def _ascii_patterns(phrases: tuple[Phrase, ...]) -> list[re.Pattern[str]]:
    """What finds each phrase in a folded comment of ASCII, without splitting it."""
    # A pattern that starts with text is found faster than one that starts with the assertion.
    return [
        re.compile(
            rf"{phrase[0]}(?<![a-z0-9]{phrase[0]}){''.join(f'[^a-z0-9]++{word}' for word in phrase[1:])}(?![a-z0-9])"
        )
        for phrase in phrases
    ]


@frozen
class TextSearch:
    """The words that a comment must have: each of the phrases, in any order.

    Attributes:
        phrases: the words of each must follow each other in the comment.
    """

    phrases: tuple[Phrase, ...]
    words: frozenset[str] = field(init=False, repr=False, eq=False)

    @words.default
    def _words(self) -> frozenset[str]:
        return frozenset(word for phrase in self.phrases for word in phrase)

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(text: str) -> TextSearch:
        """The search that a person writes: words, and phrases in quotation marks.

        What is written without a space is a phrase as well, such as ``wi-fi`` or ``don't``.

        Raises:
            InvalidQuery: it has no word, or too many, or is too long.
        """
        if len(text) > MAX_SEARCH_LENGTH:
            raise InvalidQuery(f"text must have at most {MAX_SEARCH_LENGTH:,} characters, got {len(text):,}")
        parts = _QUOTED.findall(text.translate(_QUOTES))
        phrases = tuple(dict.fromkeys(tuple(search_words(quoted or plain)) for quoted, plain in parts))
        search = TextSearch(tuple(filter(None, phrases)))
        if not search.phrases:
            raise InvalidQuery(f"text must have at least one word to search for, got {text[:100]!r}")
        if (count := sum(map(len, search.phrases))) > MAX_SEARCH_WORDS:
            raise InvalidQuery(
                f"text must have at most {MAX_SEARCH_WORDS} words, got {count}; in scripts without spaces, each letter "
                "is a word"
            )
        return search

    def is_in(self, comment: str) -> bool:
        """Whether the comment has all phrases."""
        folded = _fold(comment)
        # Rejects most comments without splitting them.
        if not all(word in folded for word in self.words):
            return False
        if folded.isascii():
            return all(pattern.search(folded) for pattern in _ascii_patterns(self.phrases))
        found = _split(folded)
        if not self.words.issubset(found):
            return False
        return all(len(phrase) == 1 or _starts(found, phrase) for phrase in self.phrases)

    def spans(self, comment: str) -> tuple[tuple[int, int], ...]:
        """Where the comment has any of the phrases, to highlight them: start and end (exclusive), in code points.

        They are sorted and do not overlap.
        """
        places = list(_places(comment))
        found = [word for word, _, _ in places]
        spans = sorted(
            (places[start][1], places[start + len(phrase) - 1][2])
            for phrase in self.phrases
            for start in _starts(found, phrase)
        )
        merged: list[tuple[int, int]] = []
        for start, end in spans:
            if merged and start < merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        return tuple(merged)

    @property
    def terms(self) -> frozenset[str]:
        """What :func:`search_terms` has of each comment that is found: the words, and pairs of lone letters.

        A letter is left out if it is in a pair, as pairs are rarer.
        """
        pairs = {pair for phrase in self.phrases for pair in _letter_pairs(phrase)}
        paired = {letter for pair in pairs for letter in pair}
        return frozenset(pairs | (self.words - paired))


def search_words(text: str) -> list[str]:
    """The words of a comment, in order, as a search compares them."""
    return _split(_fold(text))


def search_terms(comment: str) -> set[str]:
    """What an index has of a comment: its words and, in scripts without spaces, the pairs of adjacent letters."""
    words = search_words(comment)
    if comment.isascii():
        return set(words)
    return {*words, *_letter_pairs(words)}


def _letter_pairs(words: Sequence[str]) -> Iterator[str]:
    is_letter = _lone_letter().match
    return (f"{first}{second}" for first, second in pairwise(words) if is_letter(first) and is_letter(second))


def _split(folded: str) -> list[str]:
    return _ASCII_WORD.findall(folded) if folded.isascii() else _word().findall(folded)


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    visible = shorten_mark_runs(_IGNORED.sub("", text))
    return normalize("NFKC", normalize("NFKC", visible).casefold())


def _starts(words: Sequence[str], phrase: Phrase) -> list[int]:
    """Where the phrase starts in the words."""
    first, length = phrase[0], len(phrase)
    return [
        place
        for place, word in enumerate(words)
        if word == first and (length == 1 or tuple(words[place : place + length]) == phrase)
    ]


def _places(comment: str) -> Iterator[tuple[str, int, int]]:
    """Yield the words of a comment, each with its start and end in the comment."""
    folded, starts, ends = _folded_with_places(comment)
    pattern = _ASCII_WORD if folded.isascii() else _word()
    for found in pattern.finditer(folded):
        yield found[0], starts[found.start()], ends[found.end() - 1]


def _folded_with_places(comment: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """The folded comment, and where each of its characters comes from: the starts and ends of places in the comment."""
    if comment.isascii():
        return comment.lower(), range(len(comment)), range(1, len(comment) + 1)
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    # Texts repeat their characters.
    folds: dict[str, str] = {}
    for found in _cluster().finditer(comment):
        cluster, (start, end) = found[0], found.span()
        if (part := folds.get(cluster)) is None:
            part = folds[cluster] = _fold(cluster)
        parts.append(part)
        if cluster.isascii():
            starts += range(start, end)
            ends += range(start + 1, end + 1)
        else:
            starts += [start] * len(part)
            ends += [end] * len(part)
    return "".join(parts), starts, ends

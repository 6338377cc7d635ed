"""The terms of comments, and how many thumbs-up and thumbs-down comments contain each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from typing import Final
from unicodedata import category, normalize
from zlib import crc32

from attrs import frozen

from harken.domain.feedback import Content, Feedback, Rating, Sentiment

#: Stored with counts. Counts of another version are rebuilt from the comments.
TOKENIZER_VERSION: Final = 2
MAX_WORD: Final = 40
_BUCKETS: Final = 1 << 16
_NUMBER_BUCKETS: Final = 1 << 12

#: Scripts that are written without spaces: Thai, Lao, Burmese, Khmer, Hiragana, Katakana and Han.
UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# The blocks in which Unicode has combining marks; the other marks only select variants of symbols and ideographs.
_FIRST_MARK, _LAST_MARK = 0x300, 0x1EFFF


@cache
def _token() -> re.Pattern[str]:
    """A run of an unspaced script, a word with apostrophes, joiners and combining marks, or a mark of feeling."""
    letter = rf"[^\W_{UNSPACED}]"
    # Most words have no mark: the lookahead is faster than the set of marks.
    word = rf"{letter}+(?:['\u200c\u200d]{letter}+|(?![\0-\u02ff])[{combining_marks()}]+{letter}*)*"
    return re.compile(rf"([{UNSPACED}]+)|({word}|[!?\u2600-\u27bf\U0001f300-\U0001faff])")


@cache
def _address() -> re.Pattern[str]:
    return re.compile(rf"(?:https?://|www\.)\S+|@[\w{combining_marks()}]+")


@cache
def _long_runs() -> re.Pattern[str]:
    """More than 30 marks of one letter, as in Unicode's stream-safe text format (Unicode Standard Annex 15)."""
    return re.compile(rf"([{combining_marks()}]{{30}})[{combining_marks()}]+")


@cache
def combining_marks() -> str:
    """All combining marks. Finding them takes about 20 ms, so this is not done on import."""
    return "".join(chr(code) for code in range(_FIRST_MARK, _LAST_MARK + 1) if category(chr(code)).startswith("M"))


def words(comment: str) -> list[str]:
    """The words of a comment, in lower case and in order; in scripts without spaces, the pairs of letters.

    Web addresses and handles (``@name``) are left out. Each ``!``, ``?`` and emoji is a word. Combining marks, such as
    the vowel signs of Hindi and the points of Hebrew, are part of words. Words are in Unicode's normalisation form C,
    so that it does not matter how accents are encoded, and cut to 40 characters.
    """
    found: list[str] = []
    for unspaced, word in _token().findall(_address().sub(" ", _normalise(comment))):
        if word:
            found.append(word[:MAX_WORD])
        else:
            found += map("".join, pairwise(unspaced)) if len(unspaced) > 1 else unspaced
    return found


def _normalise(comment: str) -> str:
    text = comment.lower()
    if text.isascii():
        return text
    return normalize("NFC", shorten_mark_runs(text)).replace("\u2019", "'")


def shorten_mark_runs(text: str) -> str:
    """Drop the marks of a letter after the 30th.

    Normalising a run of marks takes a time in the square of its length.
    """
    return _long_runs().sub(r"\1", text)


def terms(comment: str, sentiment: Sentiment | None) -> frozenset[str]:
    """What a comment is counted under: each of its words once, each pair of adjacent words, and how it sounded.

    A pair is one of 65,536 buckets (``#`` and four hexadecimal digits), so that their number is bounded and no phrase
    can be read from counts. For the same reasons, a word with a digit, such as the number of an order, is one of 4,096
    buckets (``%`` and three hexadecimal digits). What the sentiment analyser said when the comment was accepted is
    ``~`` and its polarity in quarters, -4 to 4.
    """
    found = words(comment)
    pairs = {f"#{crc32(f'{first} {second}'.encode()) % _BUCKETS:04x}" for first, second in pairwise(found)}
    sound = () if sentiment is None else (sound_term(sentiment),)
    return frozenset().union(map(_word_term, found), pairs, sound)


def _word_term(word: str) -> str:
    if word.isalpha() or not any(map(str.isdigit, word)):
        return word
    return f"%{crc32(word.encode()) % _NUMBER_BUCKETS:03x}"


def sound_term(sentiment: Sentiment) -> str:
    """The term of what the analyser said: ``~`` and the polarity in quarters, rounded half to even."""
    return f"~{round(4 * sentiment.polarity)}"


@frozen
class TermCounts:
    """Counts of terms: how many rated comments contain each, by rating. A commutative monoid with removal.

    :class:`TermTally` adds and removes counts, in any order; ``TermCounts()`` is zero. Comments are counted once for
    each term that they contain, however often. Terms that no comment contains are not listed. Neutral feedback and
    feedback without a comment count nothing.

    Attributes:
        ups: thumbs-up comments by term.
        downs: thumbs-down comments by term.
        up: thumbs-up comments.
        down: thumbs-down comments.
    """

    ups: Mapping[str, int] = {}
    downs: Mapping[str, int] = {}
    up: int = 0
    down: int = 0

    @classmethod
    def fold(cls, feedback: Iterable[Feedback]) -> TermCounts:
        """The counts of many, one after the other: what every faster way must equal."""
        tally = TermTally()
        for one in feedback:
            tally.add(one.content)
        return tally.counts

    @property
    def total(self) -> int:
        """All comments that were counted."""
        return self.up + self.down

    def may_include(self, terms: Iterable[str], *, is_up: bool) -> bool:
        """Whether a comment with these terms can be among those that were counted, so that it could be removed."""
        comments, counts = (self.up, self.ups) if is_up else (self.down, self.downs)
        return comments > 0 and all(term in counts for term in terms)


class TermTally:
    """Counts of terms that comments are added to, and removed from, in place."""

    def __init__(self, counts: TermCounts | None = None) -> None:
        counts = counts or TermCounts()
        self._terms = {Rating.UP: dict(counts.ups), Rating.DOWN: dict(counts.downs)}
        self._comments = {Rating.UP: counts.up, Rating.DOWN: counts.down}

    def add(self, content: Content, *, sign: int = 1) -> None:
        """Count a comment, or remove it with the sign -1. Without a comment or a thumb there is nothing to count."""
        if not content.comment or content.rating is Rating.NEUTRAL:
            return
        self._comments[content.rating] += sign
        counts = self._terms[content.rating]
        for term in terms(content.comment, content.sentiment):
            count = counts.get(term, 0) + sign
            if count:
                counts[term] = count
            else:
                del counts[term]

    def add_counts(self, counts: TermCounts, *, sign: int = 1) -> None:
        """Add what was counted elsewhere, or remove it with the sign -1."""
        for rating, more, comments in ((Rating.UP, counts.ups, counts.up), (Rating.DOWN, counts.downs, counts.down)):
            self._comments[rating] += sign * comments
            total = self._terms[rating]
            for term, count in more.items():
                if left := total.get(term, 0) + sign * count:
                    total[term] = left
                else:
                    del total[term]

    @property
    def counts(self) -> TermCounts:
        """The counts by now."""
        ups, downs = self._terms[Rating.UP], self._terms[Rating.DOWN]
        return TermCounts(dict(ups), dict(downs), self._comments[Rating.UP], self._comments[Rating.DOWN])

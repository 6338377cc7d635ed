"""The terms of comments, and how many thumbs-up and thumbs-down comments contain each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final
from zlib import crc32

from attrs import frozen

from harken.domain.feedback import Content, Feedback, Rating, Sentiment

#: Stored with counts. Counts of another version are rebuilt from the comments.
TOKENIZER_VERSION: Final = 1
MAX_WORD: Final = 40
_BUCKETS: Final = 1 << 16

# Scripts that are written without spaces: Thai, Lao, Burmese, Khmer, Hiragana, Katakana and Han.
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_LETTER: Final = rf"(?:(?![{_UNSPACED}])[^\W_])"
#: A run of an unspaced script, a word with apostrophes inside, or a mark of feeling.
_TOKEN: Final = re.compile(rf"([{_UNSPACED}]+)|({_LETTER}+(?:'{_LETTER}+)*|[!?\u2600-\u27bf\U0001f300-\U0001faff])")
_ADDRESSES: Final = re.compile(r"(?:https?://|www\.)\S+|@\w+")


def words(comment: str) -> list[str]:
    """The words of a comment, in lower case and in order; in scripts without spaces, the pairs of letters.

    Web addresses and handles (``@name``) are left out. Each ``!``, ``?`` and emoji is a word. Words are cut to 40
    characters.
    """
    found: list[str] = []
    for unspaced, word in _TOKEN.findall(_ADDRESSES.sub(" ", comment.lower().replace("\u2019", "'"))):
        if word:
            found.append(word[:MAX_WORD])
        else:
            found += map("".join, pairwise(unspaced)) if len(unspaced) > 1 else unspaced
    return found


def terms(comment: str, sentiment: Sentiment | None) -> frozenset[str]:
    """What a comment is counted under: each of its words once, each pair of adjacent words, and how it sounded.

    A pair is one of 65,536 buckets (``#`` and four hexadecimal digits), so that their number is bounded and no phrase
    can be read from counts. What the sentiment analyser said when the comment was accepted is ``~`` and its polarity in
    quarters, -4 to 4.
    """
    found = words(comment)
    pairs = {f"#{crc32(f'{first} {second}'.encode()) % _BUCKETS:04x}" for first, second in pairwise(found)}
    sound = () if sentiment is None else (sound_term(sentiment),)
    return frozenset().union(found, pairs, sound)


def sound_term(sentiment: Sentiment) -> str:
    """The term of what the analyser said: ``~`` and the polarity in quarters, rounded half to even."""
    return f"~{round(4 * sentiment.polarity)}"


@frozen
class TermCounts:
    """Mergeable counts of terms: how many rated comments contain each, by rating. A commutative monoid with removal.

    ``a + b`` is what both together would have given, in any order; ``TermCounts()`` is zero; ``a - b`` takes back what
    was added. Comments are counted once for each term that they contain, however often. Terms that no comment contains
    are not listed. Neutral feedback and feedback without a comment count nothing.

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

    def __add__(self, other: TermCounts) -> TermCounts:
        return self._with(other, 1)

    def __sub__(self, other: TermCounts) -> TermCounts:
        return self._with(other, -1)

    def _with(self, other: TermCounts, sign: int) -> TermCounts:
        return TermCounts(
            _sum(self.ups, other.ups, sign),
            _sum(self.downs, other.downs, sign),
            self.up + sign * other.up,
            self.down + sign * other.down,
        )

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


def _sum(counts: Mapping[str, int], more: Mapping[str, int], sign: int) -> dict[str, int]:
    total = dict(counts)
    for term, count in more.items():
        total[term] = total.get(term, 0) + sign * count
    return {term: count for term, count in total.items() if count}

"""VADER's scores, to the last digit, in less time.

Most words feel nothing, and most that do stand where nothing turns their feeling around. VADER's own code looks at all
of them in every way it knows; here it is asked only about words that have something near them that could matter.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from vaderSentiment.vaderSentiment import (  # type: ignore[import-untyped]
    BOOSTER_DICT,
    C_INCR,
    NEGATE,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
    SentiText,
)

#: Words behind which a feeling may turn, besides all in which "n't" is.
_TURNING = frozenset({*NEGATE, "never", "so", "this", "without", "doubt"})
_PHRASES = (*BOOSTER_DICT, *SPECIAL_CASES)
#: Words that matter to a feeling near them in any way.
_MATTERING = _TURNING.union({"no", "or", "nor", "least"}, _PHRASES, *(phrase.split() for phrase in _PHRASES))


@frozen
class _Near:
    """The words around one word, as VADER wants to see a text."""

    words_and_emoticons: list[str]
    is_cap_diff: bool


class QuickVader(SentimentIntensityAnalyzer):  # type: ignore[misc]
    """Gives what ``SentimentIntensityAnalyzer`` gives."""

    def __init__(self) -> None:
        super().__init__()
        self._all_emoji = frozenset(self.emojis)

    def polarity_scores(self, text: str) -> dict[str, float]:
        """The scores ``neg``, ``neu``, ``pos`` and ``compound`` of a text."""
        if self._all_emoji.isdisjoint(text):
            scores: dict[str, float] = self._of_words(text.strip())
        else:
            scores = super().polarity_scores(text)
        return scores

    def _of_words(self, text: str) -> Any:
        parts = SentiText(text)
        words = parts.words_and_emoticons
        lowered = [word.lower() for word in words]
        lexicon = self.lexicon
        feelings = [
            self._feeling(index, parts, lowered) if word in lexicon else 0.0 for index, word in enumerate(lowered)
        ]
        if "but" in lowered:
            feelings = self._but_check(words, feelings)
        return self.score_valence(feelings, text)

    def _feeling(self, index: int, parts: Any, lowered: list[str]) -> float:
        """What a word of the lexicon adds, where it stands: three words before it and two behind it can matter."""
        word = lowered[index]
        if word in BOOSTER_DICT or (word == "kind" and lowered[index + 1 : index + 2] == ["of"]):
            return 0.0
        start = max(0, index - 3)
        near = lowered[start : index + 3]
        if _any_of(near, _MATTERING):
            around = _Near(parts.words_and_emoticons[start : index + 3], parts.is_cap_diff)
            (turned,) = self.sentiment_valence(0, around, around.words_and_emoticons[index - start], index - start, [])
            return float(turned)
        feeling: float = self.lexicon[word]
        if parts.is_cap_diff and parts.words_and_emoticons[index].isupper():
            feeling += C_INCR if feeling > 0 else -C_INCR
        return feeling

    def _negation_check(self, valence: float, words_and_emoticons: list[str], start_i: int, i: int) -> float:
        """Called by VADER for each word before a feeling; most of them turn nothing."""
        before = [word.lower() for word in words_and_emoticons[i - 1 - start_i : i]]
        if _any_of(before, _TURNING):
            turned: float = super()._negation_check(valence, words_and_emoticons, start_i, i)
            return turned
        return valence


def _any_of(near: list[str], words: frozenset[str]) -> bool:
    return not words.isdisjoint(near) or "n't" in " ".join(near)

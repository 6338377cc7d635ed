"""The scores of VADER in linear time.

They are identical to those of VADER, except for texts with an unrealistic number of different neighbourhoods.

VADER reads all words again for each word with a sentiment, so 1,000 emoji take more than a tenth of a second. Here each
distinct word is looked up once, the rules read only the words near a sentiment, and results of repeated neighbourhoods
are cached.
"""

from __future__ import annotations

import string
from collections import defaultdict
from heapq import heappop, heappush
from typing import Final

from attrs import frozen
from vaderSentiment.vaderSentiment import (  # type: ignore[import-untyped]
    BOOSTER_DICT,
    C_INCR,
    N_SCALAR,
    NEGATE,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
)

_BY_CAPITALS: Final = float(C_INCR)
_NEGATION: Final = float(N_SCALAR)
_EMPHASIS: Final = 1.25
#: The factors of a booster one, two and three words before a sentiment.
_BOOSTER_FACTORS: Final = (1.0, 0.95, 0.9)
_EMPHATIC: Final = ("so", "this")
_NEGATE: Final = frozenset(NEGATE)
_IN_PHRASES: Final = frozenset(
    word for phrase in (*BOOSTER_DICT, *SPECIAL_CASES) if " " in phrase for word in phrase.split()
)
#: All words that can affect a sentiment near them.
_MODIFIERS: Final = _NEGATE | _IN_PHRASES | {*BOOSTER_DICT, *_EMPHATIC, "doubt", "no", "or", "nor", "least"}
#: The maximum number of different neighbourhoods: a constant, plus one per number of characters. Only an artificial
#: text has more; its further words are scored without their neighbours.
_MIN_NEIGHBOURHOODS: Final = 100
_CHARACTERS_PER_NEIGHBOURHOOD: Final = 8


@frozen(eq=False, slots=True)
class _Word:
    """The properties of a word in VADER, independent of its position.

    Attributes:
        text: the word in lower case.
        is_upper: whether the word is in capitals.
        valence: its sentiment; ``None`` if it is not in the lexicon.
        booster: the value that it adds to a sentiment after it.
        negates: whether it negates a sentiment.
        matters: whether it can affect a sentiment near it.
    """

    text: str
    is_upper: bool = False
    valence: float | None = None
    booster: float = 0.0
    negates: bool = False
    matters: bool = False


#: Words that are not in a list, without and with "n't".
_PLAIN: Final = (_Word(""), _Word("", is_upper=True))
_WITH_NOT: Final = tuple(_Word("n't", is_upper, negates=True, matters=True) for is_upper in (False, True))


class QuickVader(SentimentIntensityAnalyzer):  # type: ignore[misc]
    """Computes the same scores as ``SentimentIntensityAnalyzer``."""

    def __init__(self) -> None:
        super().__init__()
        self._all_emoji = frozenset(self.emojis)
        texts = {"but", "at", *self.lexicon, *_MODIFIERS}
        self._known = {(text, is_upper): self._word(text, is_upper) for text in texts for is_upper in (False, True)}

    def _word(self, text: str, is_upper: bool) -> _Word:
        negates = text in _NEGATE or "n't" in text
        return _Word(
            text,
            is_upper,
            self.lexicon.get(text),
            BOOSTER_DICT.get(text, 0.0),
            negates,
            negates or text in _MODIFIERS,
        )

    def polarity_scores(self, text: str) -> dict[str, float]:
        """The scores ``neg``, ``neu``, ``pos`` and ``compound`` of a text."""
        described = self._describe_emoji(text).strip()
        words = self._words(described.split())
        sentiments = self._sentiments(words, _MIN_NEIGHBOURHOODS + len(text) // _CHARACTERS_PER_NEIGHBOURHOOD)
        if any(sentiments):
            but = next((index for index, word in enumerate(words) if word.text == "but"), None)
            if but is not None:
                _apply_but(sentiments, but)
        scores: dict[str, float] = self.score_valence(sentiments, described)
        return scores

    def _words(self, written: list[str]) -> list[_Word]:
        """The words of a text. Each distinct one is looked up once."""
        table = {}
        known = self._known
        for word in set(written):
            stripped = word.strip(string.punctuation)
            # A word that is short without its punctuation is an emoticon, such as ":D".
            spelt = stripped if len(stripped) > 2 else word
            text, is_upper = spelt.lower(), spelt.isupper()
            others = _WITH_NOT if "n't" in text else _PLAIN
            table[word] = known.get((text, is_upper)) or others[is_upper]
        return [table[word] for word in written]

    def _describe_emoji(self, text: str) -> str:
        """The text with emoji replaced by descriptions, as in VADER."""
        if self._all_emoji.isdisjoint(text):
            return text
        parts = []
        after_space = True
        for character in text:
            description = self.emojis.get(character)
            if description is None:
                parts.append(character)
                after_space = character == " "
            else:
                parts.append(description if after_space else f" {description}")
                after_space = False
        return "".join(parts)

    def _sentiments(self, words: list[_Word], max_neighbourhoods: int) -> list[float]:
        """The sentiment of each word in its place. Three words before it and two after it can affect it."""
        sentiments = [0.0] * len(words)
        scored = [index for index, word in enumerate(words) if word.valence is not None and not word.booster]
        if not scored:
            return sentiments
        emphasised = 0 < sum([word.is_upper for word in words]) < len(words)
        matters = [word.matters for word in words]
        cache: dict[tuple[int | _Word, ...], float] = {}
        for index in scored:
            word = words[index]
            start = max(0, index - 3)
            if True not in matters[start : index + 3]:
                sentiments[index] = _score_alone(word, word.valence or 0.0, emphasised=emphasised)
                continue
            near = words[start : index + 3]
            place: tuple[int | _Word, ...] = (index - start, *near)
            sentiment = cache.get(place)
            if sentiment is None:
                if len(cache) >= max_neighbourhoods:
                    sentiments[index] = _score_alone(word, word.valence or 0.0, emphasised=emphasised)
                    continue
                sentiment = cache[place] = _score_among(near, index - start, emphasised=emphasised)
            sentiments[index] = sentiment
        return sentiments

    @staticmethod
    def _sift_sentiment_scores(sentiments: list[float]) -> tuple[float, float, int]:
        """Called by VADER: the sums of positive and negative sentiments, each moved by one, and the count of others."""
        positive = negative = 0.0
        scored = [sentiment for sentiment in sentiments if sentiment]
        # Not by sum(), which rounds differently in newer versions of Python.
        for sentiment in scored:
            if sentiment > 0:
                positive += sentiment + 1
            else:
                negative += sentiment - 1
        return positive, negative, len(sentiments) - len(scored)


# --- VADER's rules ----------------------------------------------------------------------------------------------------
# The same steps in the same order, so that the results are identical.


def _score_alone(word: _Word, valence: float, *, emphasised: bool) -> float:
    """The sentiment of a word without its neighbours. Capitals increase it, if other words are not in capitals."""
    if word.is_upper and emphasised:
        return valence + _BY_CAPITALS if valence > 0 else valence - _BY_CAPITALS
    return valence


def _score_among(near: list[_Word], at: int, *, emphasised: bool) -> float:
    """The sentiment of the word at a position in ``near``, which begins at most three words before it."""
    before = near[:at][::-1]
    if near[at].text == "kind" and at + 1 < len(near) and near[at + 1].text == "of":
        return 0.0
    valence = _score_alone(near[at], _valence_after_no(near, at, before), emphasised=emphasised)
    negatable = any(one.negates or one.text in _EMPHATIC for one in before)
    for distance, other in enumerate(before):
        if other.valence is not None:
            continue
        if other.booster:
            valence += _boost(other, valence, emphasised=emphasised) * _BOOSTER_FACTORS[distance]
        if negatable:
            valence *= _negation_factor(before, distance)
        if distance == 2 and any(one.text in _IN_PHRASES for one in near):
            valence = _apply_phrases(near, at, valence)
    if at and before[0].text == "least" and before[0].valence is None:
        of_least = at > 1 and before[1].text in ("at", "very")
        return valence if of_least else valence * _NEGATION
    return valence


def _valence_after_no(near: list[_Word], at: int, before: list[_Word]) -> float:
    """The valence of a word. A "no" before it negates it; a "no" before another sentiment has none."""
    word, nearest = near[at], [one.text for one in before]
    valence = word.valence or 0.0
    if "no" in nearest[:2] or (nearest[2:] == ["no"] and nearest[0] in ("or", "nor")):
        return valence * _NEGATION
    if word.text == "no" and at + 1 < len(near) and near[at + 1].valence is not None:
        return 0.0
    return valence


def _boost(booster: _Word, valence: float, *, emphasised: bool) -> float:
    scalar = -booster.booster if valence < 0 else booster.booster
    if booster.is_upper and emphasised:
        return scalar + _BY_CAPITALS if valence > 0 else scalar - _BY_CAPITALS
    return scalar


def _negation_factor(before: list[_Word], distance: int) -> float:
    """The factor of a sentiment by the word at this distance before it."""
    said = [one.text for one in before[: distance + 1]]
    if distance == 1:
        if said[1] == "never" and said[0] in _EMPHATIC:
            return _EMPHASIS
        if said[1] == "without" and said[0] == "doubt":
            return 1.0
    if distance == 2:
        if (said[2] == "never" and said[1] in _EMPHATIC) or said[0] in _EMPHATIC:
            return _EMPHASIS
        if said[2] == "without" and "doubt" in said[:2]:
            return 1.0
    return _NEGATION if before[distance].negates else 1.0


def _apply_phrases(near: list[_Word], at: int, valence: float) -> float:
    """The valence, replaced or boosted by phrases around the word."""
    three, two, one, this, *later = [word.text for word in near[at - 3 :]]
    before = (f"{three} {two} {one}", f"{three} {two}", f"{two} {one}")
    around = (f"{one} {this}", f"{two} {one} {this}", before[2], before[0], before[1])
    valence = next((SPECIAL_CASES[phrase] for phrase in around if phrase in SPECIAL_CASES), valence)
    for phrase in (" ".join((this, *later[:1])), " ".join((this, *later))):
        if later and phrase in SPECIAL_CASES:
            valence = SPECIAL_CASES[phrase]
    for phrase in before:
        valence += BOOSTER_DICT.get(phrase, 0.0)
    return valence


def _apply_but(sentiments: list[float], but: int) -> None:
    """Halve the sentiments before a "but", and multiply those after it by 1.5.

    VADER finds each sentiment by its value and changes the first with this value, which may be another one.
    """
    places = defaultdict(list)
    for index, sentiment in enumerate(sentiments):
        if sentiment:
            places[sentiment].append(index)
    for index in range(len(sentiments)):
        sentiment = sentiments[index]
        if not sentiment or (first := places[sentiment][0]) == but:
            continue
        heappop(places[sentiment])
        sentiments[first] = sentiment * (0.5 if first < but else 1.5)
        heappush(places[sentiments[first]], first)

"""VADER's scores in a time that grows no faster than a text does.

They are the same to the last digit, except in texts with more different neighbourhoods than anybody writes.

VADER's own code goes through all words again for each word that carries a feeling, so that 1,000 emoji take it a tenth
of a second and more. Here each different word is looked at once, its rules see only the words near a feeling, and
neighbourhoods that come again are remembered.
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
#: What a booster counts one, two and three words before a feeling.
_FADING: Final = (1.0, 0.95, 0.9)
_EMPHATIC: Final = ("so", "this")
_NEGATE: Final = frozenset(NEGATE)
_IN_PHRASES: Final = frozenset(
    word for phrase in (*BOOSTER_DICT, *SPECIAL_CASES) if " " in phrase for word in phrase.split()
)
#: All words that can matter to a feeling near them.
_MATTERING: Final = _NEGATE | _IN_PHRASES | {*BOOSTER_DICT, *_EMPHATIC, "doubt", "no", "or", "nor", "least"}
#: How many different neighbourhoods are looked at in full: so many, and one more for so many characters. Only a text
#: that is made for it has more; there the words count as if nothing near them mattered.
_LOOKED_AT: Final = 100
_CHARACTERS_FOR_ONE: Final = 8


@frozen(eq=False, slots=True)
class _Word:
    """What VADER knows of a word, wherever it stands.

    Attributes:
        text: the word in lower case.
        is_upper: whether it is written in capitals.
        valence: what it adds by itself; ``None`` if it is not in the lexicon.
        booster: what it adds to a feeling after it.
        negates: whether it negates one.
        matters: whether it can matter to a feeling near it in any way.
    """

    text: str
    is_upper: bool = False
    valence: float | None = None
    booster: float = 0.0
    negates: bool = False
    matters: bool = False


#: Words that are in no list, and those of them that are made with "not".
_PLAIN: Final = (_Word(""), _Word("", is_upper=True))
_MADE_WITH_NOT: Final = tuple(_Word("n't", is_upper, negates=True, matters=True) for is_upper in (False, True))


class QuickVader(SentimentIntensityAnalyzer):  # type: ignore[misc]
    """Gives what ``SentimentIntensityAnalyzer`` gives."""

    def __init__(self) -> None:
        super().__init__()
        self._all_emoji = frozenset(self.emojis)
        texts = {"but", "at", *self.lexicon, *_MATTERING}
        self._known = {(text, is_upper): self._word(text, is_upper) for text in texts for is_upper in (False, True)}

    def _word(self, text: str, is_upper: bool) -> _Word:
        negates = text in _NEGATE or "n't" in text
        return _Word(
            text,
            is_upper,
            self.lexicon.get(text),
            BOOSTER_DICT.get(text, 0.0),
            negates,
            negates or text in _MATTERING,
        )

    def polarity_scores(self, text: str) -> dict[str, float]:
        """The scores ``neg``, ``neu``, ``pos`` and ``compound`` of a text."""
        described = self._described(text).strip()
        words = self._words(described.split())
        feelings = self._feelings(words, _LOOKED_AT + len(text) // _CHARACTERS_FOR_ONE)
        if any(feelings):
            but = next((index for index, word in enumerate(words) if word.text == "but"), None)
            if but is not None:
                _turn_at_but(feelings, but)
        scores: dict[str, float] = self.score_valence(feelings, described)
        return scores

    def _words(self, written: list[str]) -> list[_Word]:
        """What is known of the words of a text; each different one is looked up once."""
        table = {}
        known = self._known
        for word in set(written):
            stripped = word.strip(string.punctuation)
            # What is short without its punctuation is an emoticon, such as ":D".
            spelt = stripped if len(stripped) > 2 else word
            text, is_upper = spelt.lower(), spelt.isupper()
            others = _MADE_WITH_NOT if "n't" in text else _PLAIN
            table[word] = known.get((text, is_upper)) or others[is_upper]
        return [table[word] for word in written]

    def _described(self, text: str) -> str:
        """The text with a description in the place of each emoji, as VADER reads it."""
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

    def _feelings(self, words: list[_Word], looked_at: int) -> list[float]:
        """What each word adds where it stands: three words before it and two after it can matter."""
        feelings = [0.0] * len(words)
        felt = [index for index, word in enumerate(words) if word.valence is not None and not word.booster]
        if not felt:
            return feelings
        emphasised = 0 < sum([word.is_upper for word in words]) < len(words)
        matters = [word.matters for word in words]
        remembered: dict[tuple[int | _Word, ...], float] = {}
        for index in felt:
            word = words[index]
            start = max(0, index - 3)
            if True not in matters[start : index + 3]:
                feelings[index] = _alone(word, word.valence or 0.0, emphasised=emphasised)
                continue
            near = words[start : index + 3]
            place: tuple[int | _Word, ...] = (index - start, *near)
            feeling = remembered.get(place)
            if feeling is None:
                if len(remembered) >= looked_at:
                    feelings[index] = _alone(word, word.valence or 0.0, emphasised=emphasised)
                    continue
                feeling = remembered[place] = _among(near, index - start, emphasised=emphasised)
            feelings[index] = feeling
        return feelings

    @staticmethod
    def _sift_sentiment_scores(sentiments: list[float]) -> tuple[float, float, int]:
        """Called by VADER: the sums of positive and negative feelings, each one off zero, and the count of the rest."""
        positive = negative = 0.0
        felt = [feeling for feeling in sentiments if feeling]
        # Not by sum(), which rounds otherwise in newer Pythons.
        for feeling in felt:
            if feeling > 0:
                positive += feeling + 1
            else:
                negative += feeling - 1
        return positive, negative, len(sentiments) - len(felt)


# --- VADER's rules ----------------------------------------------------------------------------------------------------
# The same steps in the same order: the results are compared to its own to the last digit.


def _alone(word: _Word, valence: float, *, emphasised: bool) -> float:
    """What a word of that valence adds; one in capitals more, where others are not in capitals."""
    if word.is_upper and emphasised:
        return valence + _BY_CAPITALS if valence > 0 else valence - _BY_CAPITALS
    return valence


def _among(near: list[_Word], at: int, *, emphasised: bool) -> float:
    """What the word at a place in ``near`` adds, which begins at most three words before it."""
    before = near[:at][::-1]
    if near[at].text == "kind" and at + 1 < len(near) and near[at + 1].text == "of":
        return 0.0
    valence = _alone(near[at], _beside_no(near, at, before), emphasised=emphasised)
    turns = any(one.negates or one.text in _EMPHATIC for one in before)
    for distance, other in enumerate(before):
        if other.valence is not None:
            continue
        if other.booster:
            valence += _boost(other, valence, emphasised=emphasised) * _FADING[distance]
        if turns:
            valence *= _turn(before, distance)
        if distance == 2 and any(one.text in _IN_PHRASES for one in near):
            valence = _phrases(near, at, valence)
    if at and before[0].text == "least" and before[0].valence is None:
        of_least = at > 1 and before[1].text in ("at", "very")
        return valence if of_least else valence * _NEGATION
    return valence


def _beside_no(near: list[_Word], at: int, before: list[_Word]) -> float:
    """The valence of a word, which a "no" before it negates; a "no" before another feeling has none."""
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


def _turn(before: list[_Word], distance: int) -> float:
    """What a feeling is multiplied with for the word at that distance before it."""
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


def _phrases(near: list[_Word], at: int, valence: float) -> float:
    """The valence, where a phrase has one of its own, or strengthens or weakens it."""
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


def _turn_at_but(feelings: list[float], but: int) -> None:
    """Halve what comes before a "but", and let what comes after it count one and a half times.

    VADER looks for each feeling by its value and changes the first that has it, which may be another one.
    """
    places = defaultdict(list)
    for index, feeling in enumerate(feelings):
        if feeling:
            places[feeling].append(index)
    for index in range(len(feelings)):
        feeling = feelings[index]
        if not feeling or (first := places[feeling][0]) == but:
            continue
        heappop(places[feeling])
        feelings[first] = feeling * (0.5 if first < but else 1.5)
        heappush(places[feelings[first]], first)

"""Sentiment analysis returns the values of the libraries, within bounds."""

import csv
import json
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from textblob import TextBlob  # type: ignore[import-untyped]
from vaderSentiment.vaderSentiment import (  # type: ignore[import-untyped]
    BOOSTER_DICT,
    NEGATE,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
)

from harken import Rating
from harken.ports.text import SentimentAnalyzer
from harken.testing.strategies import texts
from harken_adapters.text import TextBlobSentiment, VaderSentiment
from harken_adapters.text.vader import QuickVader
from shared_data import AIRLINES, REVIEWS, needs_real_feedback

THEIRS = SentimentIntensityAnalyzer()
OURS = QuickVader()
VADER = VaderSentiment()
TEXTBLOB = TextBlobSentiment()
PHRASES = tuple(word for phrase in (*NEGATE, *BOOSTER_DICT, *SPECIAL_CASES) for word in (phrase, *phrase.split()))
SENTIMENT_WORDS = (*tuple(THEIRS.lexicon)[::40], "good", "bad", "great", "kind", "no", "like", "shit", "die")
WORDS = (*PHRASES, "or", "nor", "this", "doubt", "least", "at", "but", "of", "y'alln't", "x", "the", "😡", "💋", "❤️")


@cache
def airlines() -> Sequence[tuple[Rating, str]]:
    """The real messages with their ratings."""
    with AIRLINES.open(encoding="utf-8", newline="") as file:
        return [(Rating.parse(row["rating"] or None), row["comment"]) for row in csv.DictReader(file)]


@cache
def reviews() -> Sequence[tuple[Rating, str]]:
    """The real reviews with their ratings."""
    rows = map(json.loads, REVIEWS.read_text(encoding="utf-8").strip().split("\n"))
    return [(Rating.parse(row["rating"]), row["comment"]) for row in rows]


def shouted() -> st.SearchStrategy[str]:
    """Words that affect VADER, some in capitals, with punctuation and emoji."""
    word = st.sampled_from(WORDS) | st.sampled_from(SENTIMENT_WORDS)
    spelt = st.tuples(word, st.sampled_from((str.upper, str.title, str, str)), st.sampled_from(("", "", "!", "?", ",")))
    return st.lists(spelt.map(lambda parts: parts[1](parts[0]) + parts[2]), max_size=12).map(" ".join)


@given(shouted() | texts() | st.text())
@example("")
@example("  kind of good \n")
@example("It was kind")
@example("no good")
@example("This is NOT good, but y'alln't BAD!!!")
@example("😡😡 not 😡good")
def test_quick_vader_is_vader(text: str) -> None:
    """For any text, the scores are exactly those of VADER."""
    assert OURS.polarity_scores(text) == THEIRS.polarity_scores(text)


@needs_real_feedback
@pytest.mark.slow
def test_quick_vader_is_vader_on_real_feedback() -> None:
    """The same for each of 11,760 real comments."""
    for _, comment in (*airlines(), *reviews()):
        assert OURS.polarity_scores(comment) == THEIRS.polarity_scores(comment)


@given(shouted() | texts())
@example("good bad")
def test_vader(text: str) -> None:
    """The polarity is the compound score, and the subjectivity is the share of words with a sentiment."""
    scores = THEIRS.polarity_scores(text)
    sentiment = VADER.analyze(text)
    assert sentiment.polarity == scores["compound"]
    assert sentiment.subjectivity == pytest.approx(min(1, scores["pos"] + scores["neg"]), abs=1e-6)


@given(shouted() | texts())
def test_textblob(text: str) -> None:
    """Both values are those of TextBlob, to six decimals."""
    theirs = TextBlob(text).sentiment
    sentiment = TEXTBLOB.analyze(text)
    assert sentiment.polarity == pytest.approx(theirs.polarity, abs=1e-6)
    assert sentiment.subjectivity == pytest.approx(theirs.subjectivity, abs=1e-6)


@pytest.mark.parametrize("analyzer", [VADER, TEXTBLOB])
def test_good_and_bad(analyzer: SentimentAnalyzer) -> None:
    """Praise is positive, criticism negative, and a fact zero."""
    good, plain, bad = map(analyzer.analyze, ("A great answer!", "It has two parts.", "This is awful"))
    assert good.polarity > plain.polarity > bad.polarity
    assert (plain.polarity, plain.subjectivity) == (0, 0)


def accuracy(analyzer: SentimentAnalyzer, rated: Sequence[tuple[Rating, str]]) -> float:
    """The share of ratings up or down with the same sign as the polarity of their comment."""
    expected = {Rating.UP: 1, Rating.DOWN: -1}
    pairs = [(expected[rating], analyzer.analyze(comment)) for rating, comment in rated if rating in expected]
    return sum(sign * sentiment.polarity > 0 for sign, sentiment in pairs) / len(pairs)


@needs_real_feedback
@pytest.mark.slow
@pytest.mark.parametrize("rated", [airlines, reviews], ids=["airlines", "reviews"])
def test_vader_is_more_accurate(rated: object) -> None:
    """On real feedback VADER is more accurate than TextBlob, so it is the default."""
    comments = rated()  # type: ignore[operator]
    assert accuracy(VADER, comments) > accuracy(TEXTBLOB, comments) + 0.04

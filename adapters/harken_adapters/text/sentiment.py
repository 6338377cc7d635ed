"""Sentiment analysis with word lists. It works locally, without downloads."""

from __future__ import annotations

from harken import Sentiment
from harken_adapters.text.missing import missing


class VaderSentiment:
    """VADER, for short informal messages: it handles emoji, capitals, "not", "but" and exclamation marks.

    The polarity is its compound score; the subjectivity is the share of words with a sentiment.

    Raises:
        MissingExtra: vaderSentiment is not installed.
    """

    def __init__(self) -> None:
        try:
            from harken_adapters.text.vader import QuickVader  # noqa: PLC0415 - its package may be missing
        except ModuleNotFoundError as error:
            raise missing("VaderSentiment", "vaderSentiment") from error
        self._scores = QuickVader().polarity_scores

    def analyze(self, text: str) -> Sentiment:
        """The sentiment of a comment in English. In other languages most words are unknown."""
        scores = self._scores(text)
        # Both are rounded, so their sum may be a thousandth too large.
        return Sentiment(scores["compound"], min(1.0, scores["pos"] + scores["neg"]))


class TextBlobSentiment:
    """TextBlob: the mean polarity and subjectivity of known words, mostly adjectives.

    Raises:
        MissingExtra: textblob is not installed.
    """

    def __init__(self) -> None:
        try:
            from textblob import TextBlob  # type: ignore[import-untyped]  # noqa: PLC0415 - it may be missing
        except ModuleNotFoundError as error:
            raise missing("TextBlobSentiment", "textblob") from error
        self._blob = TextBlob

    def analyze(self, text: str) -> Sentiment:
        """The sentiment of a comment in English. In other languages most words are unknown."""
        found = self._blob(text).sentiment
        return Sentiment(found.polarity, found.subjectivity)

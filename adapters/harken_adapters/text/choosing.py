"""Builds the text adapters in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypedDict

from harken import ConfigurationError
from harken.domain.rules import SPAM_PHRASES
from harken.ports.text import Sanitizer, SentimentAnalyzer, SpamFilter
from harken_adapters.text.sanitizer import Nh3Sanitizer
from harken_adapters.text.sentiment import TextBlobSentiment, VaderSentiment
from harken_adapters.text.spam import HeuristicSpamFilter


class TextAdapters(TypedDict):
    """The arguments of ``harken.connect`` with these names."""

    sanitizer: Sanitizer | None
    spam_filter: SpamFilter | None
    sentiment_analyzer: SentimentAnalyzer | None


_SENTIMENTS: Final[Mapping[object, Callable[[], SentimentAnalyzer | None]]] = {
    "vader": VaderSentiment,
    "textblob": TextBlobSentiment,
    "none": lambda: None,
}


def text_adapters(
    *,
    sanitize: bool = True,
    sentiment: str = "vader",
    spam_phrases: Iterable[str] = SPAM_PHRASES,
) -> TextAdapters:
    """Build the text adapters for ``harken.connect(url, **text_adapters())``.

    Args:
        sanitize: whether to remove markup from comments.
        sentiment: the sentiment analysis: ``"vader"``, ``"textblob"`` or ``"none"``.
        spam_phrases: phrases that make a comment spam, case-insensitive.

    Raises:
        ConfigurationError: the sentiment analysis is unknown, or a phrase is empty.
        MissingExtra: a package is not installed.
    """
    if sentiment not in _SENTIMENTS:
        known = ", ".join(repr(name) for name in _SENTIMENTS)
        raise ConfigurationError(f"sentiment must be one of {known}, got {sentiment!r}")
    return TextAdapters(
        sanitizer=Nh3Sanitizer() if sanitize else None,
        spam_filter=HeuristicSpamFilter(phrases=spam_phrases),
        sentiment_analyzer=_SENTIMENTS[sentiment](),
    )

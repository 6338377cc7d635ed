"""What may be done with a comment: clean it, suspect it, feel it."""

from __future__ import annotations

from typing import Protocol

from harken.domain.feedback import Sentiment, Submission


class Sanitizer(Protocol):
    """Makes plain text of whatever was sent."""

    def sanitize(self, text: str) -> str:
        """The text without markup. Runs before the rules look at the comment."""
        ...


class SpamFilter(Protocol):
    """Recognises what nobody means as feedback."""

    def is_spam(self, submission: Submission) -> bool:
        """Whether it is spam; what happens then is policy. Asked only if every part has its type."""
        ...


class SentimentAnalyzer(Protocol):
    """Tells how a comment sounds."""

    def analyze(self, text: str) -> Sentiment:
        """The sentiment of a comment that is not empty and has passed the rules."""
        ...

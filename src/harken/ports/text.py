"""What may be done with a comment: clean it, suspect it, feel it; and how a route's template becomes text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


class TemplateRenderer(Protocol):
    """Makes text of a template. Templates come from whoever may change routes, and must be able to do no harm."""

    def check(self, template: str) -> None:
        """Raise ``ConfigurationError`` if it cannot be a template; the error says what is wrong."""
        ...

    def names(self, template: str) -> Collection[str]:
        """The names of the values that a template asks for; raises what :meth:`check` does."""
        ...

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """The template with its places filled in, 4,000 characters at most.

        Several threads may call it at once. The values are JSON values, such as a record, and never live objects.

        Raises:
            TemplateTooCostly: compiling and rendering it would exceed its budget of work. This must be raised before
                the work is done.
            TemplateValueMissing: it asks for a value that is not there.
            ConfigurationError: it is not a template, or cannot do with a value what it says.
        """
        ...

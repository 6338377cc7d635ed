"""The ports for texts: sanitiser, spam filter, sentiment analysis, embeddings, theme namer and template renderer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from harken.domain.feedback import Sentiment, Submission
from harken.domain.violation import Violation


class Sanitizer(Protocol):
    """Turns comments into plain text."""

    def sanitize(self, text: str) -> str:
        """The text without markup. Called before the rules check the comment."""
        ...


class SpamFilter(Protocol):
    """Recognises spam."""

    def is_spam(self, submission: Submission) -> bool:
        """Whether it is spam; the policy decides what happens then. Called only if each part has the right type."""
        ...


@runtime_checkable
class ExplainingSpamFilter(SpamFilter, Protocol):
    """A spam filter that says why, for moderators and for the counts of rules."""

    def explain(self, submission: Submission) -> Violation:
        """The violation of spam: its ``rule`` names the reason, and ``spans`` are the parts of the comment.

        Called only right after :meth:`is_spam` has returned true for the same submission.
        """
        ...


class SentimentAnalyzer(Protocol):
    """Computes the sentiment of comments."""

    def analyze(self, text: str) -> Sentiment:
        """The sentiment of a comment, which is not empty and has passed the rules."""
        ...


class FeatureExtractor(Protocol):
    """Computes features of comments, from which sentiment is learned: an embedding, for example."""

    def features(self, text: str) -> Sequence[int]:
        """The features of a comment, which is not empty: integers from -128 to 127, the same number for each text.

        Equal texts must have equal features. It may be slow: no caller waits for it. One thread at a time calls it.
        """
        ...


#: Returns a name for a theme, given its words (the most important first) and up to three comments; empty for none. A
#: language model, for example. It may block, and several threads may call it at the same time. Names are cached by
#: words and comments. If it raises an error, that is logged, it is not called for a minute, and themes without a name
#: have their labels. It does not affect any count.
ThemeNamer = Callable[[Sequence[str], Sequence[str]], str]


class TemplateRenderer(Protocol):
    """Renders the templates of routes. Templates are untrusted: anyone who may change routes writes them."""

    def check(self, template: str) -> None:
        """Raise ``ConfigurationError`` if the template is invalid; the message says why."""
        ...

    def names(self, template: str) -> Collection[str]:
        """The names of the values that a template uses; raises what :meth:`check` raises."""
        ...

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """The rendered template, 4,000 characters at most.

        Several threads may call it at the same time. The values are JSON values.

        Raises:
            TemplateTooCostly: compiling and rendering it would exceed the work budget. This must be raised before the
                work is done.
            TemplateValueMissing: it uses a value that does not exist.
            ConfigurationError: the template is invalid, or an operation is not possible with a value.
        """
        ...

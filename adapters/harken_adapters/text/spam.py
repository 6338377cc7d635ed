"""A spam filter without an external service: by the content of a comment, and by repeated comments of an author."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from attrs import evolve

from harken import ConfigurationError, Submission, Violation
from harken.clock import utc_now
from harken.domain.rules import SPAM, SPAM_PHRASES, find_spans
from harken.ports.time import Clock
from harken_adapters.text.near_duplicates import NearDuplicates

MAX_LINKS: Final = 2
MAX_NEAR_DUPLICATES: Final = 3
WINDOW: Final = timedelta(minutes=10)
MAX_AUTHORS: Final = 10_000

#: A text with fewer words may repeat them: "no no no".
_MIN_WORDS: Final = 10
_MIN_LENGTH: Final = 35
#: The average number of repetitions per word that makes a text spam.
_MAX_REPETITION: Final = 5
#: A text with more distinct words is not checked for repetition.
_MAX_DISTINCT_WORDS: Final = 50

_LINK = re.compile(r"https?://|(?<![\w/.])www\.")
_WHOLE_LINK: Final = rf"(?:{_LINK.pattern})\S*"
#: A word of one repeated letter or digit. A stretched word ("nooooooooo") is not spam.
_RUN = re.compile(r"(?<!\w)([^\W_])\1{11,}(?!\w)")


class HeuristicSpamFilter:
    """Detects spam phrases, too many links, repetition, and near-duplicates by one author.

    It prefers false negatives to false positives. Thread-safe. Comments are remembered per process, as hashes.

    Args:
        phrases: phrases that make a comment spam, ignoring case and the white space between words.
        max_links: the number of links that a comment may have.
        max_near_duplicates: the number of targets on which an author may submit near-duplicates within ``window``.
        window: the time that comments are remembered.
        max_authors: the number of authors that are remembered.
        clock: the current time, in UTC. Imported feedback has its own time.

    Raises:
        ConfigurationError: a phrase is empty, or a number is out of range.
    """

    def __init__(
        self,
        *,
        phrases: Iterable[str] = SPAM_PHRASES,
        max_links: int = MAX_LINKS,
        max_near_duplicates: int = MAX_NEAR_DUPLICATES,
        window: timedelta = WINDOW,
        max_authors: int = MAX_AUTHORS,
        clock: Clock = utc_now,
    ) -> None:
        self._phrases = _normalize(phrases)
        self._max_links = _at_least("max_links", max_links, 0)
        self._near_duplicates = NearDuplicates(
            limit=_at_least("max_near_duplicates", max_near_duplicates, 1),
            window=window,
            authors=_at_least("max_authors", max_authors, 1),
            clock=clock,
        )

    def is_spam(self, submission: Submission) -> bool:
        """Whether a submission is spam. If not, its comment is remembered to detect near-duplicates."""
        words = submission.comment.lower().split()
        if not words:
            return False
        text = " ".join(words)
        return (
            any(phrase in text for phrase in self._phrases)
            or self._has_many_links(text)
            or _is_repetitive(text, words)
            or self._near_duplicates.exceeds_limit(submission)
        )

    def explain(self, submission: Submission) -> Violation:
        """The violation of spam, with the name of the check that recognised it and the parts of the comment."""
        comment = submission.comment
        words = comment.lower().split()
        text = " ".join(words)
        if found := [phrase for phrase in self._phrases if phrase in text]:
            patterns = [r"\s+".join(map(re.escape, phrase.split())) for phrase in found]
            return evolve(SPAM, rule="spam phrases", spans=find_spans(comment, patterns))
        if self._has_many_links(text):
            return evolve(SPAM, rule="many links", spans=find_spans(comment, [_WHOLE_LINK]))
        if _repeats_words(text, words):
            return evolve(SPAM, rule="repeated words")
        if _is_a_run(text):
            return evolve(SPAM, rule="repeated letters", spans=find_spans(comment, [_RUN.pattern]))
        return evolve(SPAM, rule="near-duplicates")

    def _has_many_links(self, text: str) -> bool:
        # A substring search is much faster, and most comments have no links.
        if "://" not in text and "www." not in text:
            return False
        return len(_LINK.findall(text)) > self._max_links


def _is_repetitive(text: str, words: Sequence[str]) -> bool:
    return _repeats_words(text, words) or _is_a_run(text)


def _repeats_words(text: str, words: Sequence[str]) -> bool:
    if len(words) < _MIN_WORDS or len(text) < _MIN_LENGTH:
        return False
    different = len(set(words))
    return different <= _MAX_DISTINCT_WORDS and different * _MAX_REPETITION <= len(words)


def _is_a_run(text: str) -> bool:
    run = _RUN.search(text)
    return run is not None and len(run[0]) * 2 > len(text)


def _normalize(phrases: Iterable[str]) -> tuple[str, ...]:
    if isinstance(phrases, str):
        raise ConfigurationError(f"phrases must be a list of strings, such as [{phrases!r}], got one string")
    normalized = tuple(" ".join(phrase.lower().split()) for phrase in phrases)
    if "" in normalized:
        raise ConfigurationError("A spam phrase must not be empty: it would be in every comment")
    return normalized


def _at_least(name: str, value: int, lowest: int) -> int:
    if value < lowest:
        raise ConfigurationError(f"{name} must be at least {lowest}, got {value}")
    return value

"""Spam as it can be told without a service: by what is in a comment, and by who says it again and again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from harken import ConfigurationError, Submission
from harken.clock import utc_now
from harken.domain.rules import SPAM_PHRASES
from harken.ports.time import Clock
from harken_adapters.text.near_duplicates import NearDuplicates

MAX_LINKS: Final = 2
MAX_NEAR_DUPLICATES: Final = 3
WINDOW: Final = timedelta(minutes=10)
MAX_AUTHORS: Final = 10_000

#: A text of fewer words may repeat them as it likes: "no no no".
_FEWEST_WORDS: Final = 10
_SHORTEST: Final = 35
#: Each word this often, on average, is more than anybody says in earnest.
_TOO_OFTEN: Final = 5
#: With more words than these, a text says something, however long it is.
_MOST_WORDS: Final = 50

_LINK = re.compile(r"https?://|(?<![\w/.])www\.")
#: A word of nothing but one letter or digit. A stretched one ("nooooooooo") is felt, not spam.
_RUN = re.compile(r"(?<!\w)([^\W_])\1{11,}(?!\w)")


class HeuristicSpamFilter:
    """Suspects phrases, too many links, repetition, and an author who says almost the same everywhere.

    It rather misses spam than calls an honest word spam. Any number of threads may use one; each process has its own
    memory of who said what, in numbers that are no text.

    Args:
        phrases: what makes a comment spam, in whatever case and with whatever spaces between the words.
        max_links: how many links a comment may have.
        max_near_duplicates: about how many sessions or messages one author may say almost the same within ``window``.
        window: how long that is remembered.
        max_authors: how many authors are remembered, the latest.
        clock: gives the time now, in UTC; for feedback that was given elsewhere before, its own time counts.

    Raises:
        ConfigurationError: a phrase is empty, or a number makes no sense.
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
        self._phrases = _folded(phrases)
        self._max_links = _at_least("max_links", max_links, 0)
        self._near_duplicates = NearDuplicates(
            limit=_at_least("max_near_duplicates", max_near_duplicates, 1),
            window=window,
            authors=_at_least("max_authors", max_authors, 1),
            clock=clock,
        )

    def is_spam(self, submission: Submission) -> bool:
        """Whether it looks like spam; a comment that does not is remembered, to tell when it comes again."""
        words = submission.comment.lower().split()
        if not words:
            return False
        text = " ".join(words)
        return (
            any(phrase in text for phrase in self._phrases)
            or self._has_many_links(text)
            or _repeats_itself(text, words)
            or self._near_duplicates.one_too_many(submission)
        )

    def _has_many_links(self, text: str) -> bool:
        # Looking for the parts first is a lot faster, and most comments have none.
        if "://" not in text and "www." not in text:
            return False
        return len(_LINK.findall(text)) > self._max_links


def _repeats_itself(text: str, words: Sequence[str]) -> bool:
    return _repeats_words(text, words) or _is_a_run(text)


def _repeats_words(text: str, words: Sequence[str]) -> bool:
    if len(words) < _FEWEST_WORDS or len(text) < _SHORTEST:
        return False
    different = len(set(words))
    return different <= _MOST_WORDS and different * _TOO_OFTEN <= len(words)


def _is_a_run(text: str) -> bool:
    run = _RUN.search(text)
    return run is not None and len(run[0]) * 2 > len(text)


def _folded(phrases: Iterable[str]) -> tuple[str, ...]:
    if isinstance(phrases, str):
        raise ConfigurationError(f"phrases must be a list of texts, such as [{phrases!r}], got one text")
    folded = tuple(" ".join(phrase.lower().split()) for phrase in phrases)
    if "" in folded:
        raise ConfigurationError("A spam phrase must not be empty: it would be in every comment")
    return folded


def _at_least(name: str, value: int, lowest: int) -> int:
    if value < lowest:
        raise ConfigurationError(f"{name} must be at least {lowest}, got {value}")
    return value

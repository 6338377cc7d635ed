"""Detects authors who submit nearly the same comment on many sessions or messages."""

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from harken.domain.feedback import Submission
from harken.domain.instants import utc
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock

#: Comments with fewer words are ignored, as many people write the same, such as "thanks a lot".
_MIN_WORDS: Final = 5
#: The share of common words from which two comments are near-duplicates.
_SIMILARITY: Final = 0.8
#: The number of words of a comment that are remembered, as hashes.
_MAX_WORDS: Final = 32
#: The number of comments of an author that are remembered.
_MAX_COMMENTS: Final = 8

_WORD = re.compile(r"[^\W\d_]+")

#: Hashes of a target (a session or a message) and of an author, as ids may be long.
_TargetHash = int
_AuthorHash = int


@frozen(eq=False)
class _Comment:
    """The time of a comment, and the hashes of its words."""

    at: datetime
    words: array[int]


class NearDuplicates:
    """Remembers the recent comments of the last ``authors`` authors, as hashes of their words.

    Within any ``window`` an author can submit ``limit`` near-duplicates; further ones are not remembered. Thread-safe.
    """

    def __init__(self, *, limit: int, window: timedelta, authors: int, clock: Clock) -> None:
        self._limit = limit
        self._window = window
        self._authors = authors
        self._clock = clock
        self._comments: OrderedDict[_AuthorHash, OrderedDict[_TargetHash, _Comment]] = OrderedDict()
        self._lock = ForkSafeLock()

    def exceeds_limit(self, submission: Submission) -> bool:
        """Whether the author recently submitted ``limit`` near-duplicates on other targets. If not, remember it.

        Another comment on the same target, such as a retry, replaces the earlier one.
        """
        words = _word_hashes(submission.comment) if submission.author is not None else None
        if words is None:
            return False
        comment = _Comment(self._time_of(submission), words)
        target = hash((submission.target.session_id, submission.target.message_id))
        with self._lock:
            earlier = self._comments_of(hash((submission.application, submission.author)))
            if target not in earlier and self._count(earlier, comment) >= self._limit:
                return True
            earlier[target] = comment
            if len(earlier) > max(_MAX_COMMENTS, self._limit):
                earlier.popitem(last=False)
        return False

    def _time_of(self, submission: Submission) -> datetime:
        try:
            return utc(submission.created_at) if submission.created_at else self._clock()
        except ValueError:  # the rules reject it later
            return self._clock()

    def _comments_of(self, author: _AuthorHash) -> OrderedDict[_TargetHash, _Comment]:
        earlier = self._comments.setdefault(author, OrderedDict())
        self._comments.move_to_end(author)
        if len(self._comments) > self._authors:
            self._comments.popitem(last=False)
        return earlier

    def _count(self, earlier: OrderedDict[_TargetHash, _Comment], comment: _Comment) -> int:
        return sum(
            abs(comment.at - other.at) < self._window and _is_similar(comment.words, other.words)
            for other in earlier.values()
        )


def _word_hashes(comment: str) -> array[int] | None:
    """The hashes of the distinct words of a comment; ``None`` if it has too few words."""
    words = set(_WORD.findall(comment.casefold()))
    if len(words) < _MIN_WORDS:
        return None
    # The smallest hashes are enough to estimate how many words two long comments share.
    return array("q", sorted(map(hash, words))[:_MAX_WORDS])


def _is_similar(one: array[int], other: array[int]) -> bool:
    return len(set(one).intersection(other)) >= _SIMILARITY * max(len(one), len(other))

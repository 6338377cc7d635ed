"""Who says almost the same about one thing after the other?"""

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from attrs import frozen

from harken.domain.feedback import Submission
from harken.domain.instants import utc
from harken.ports.time import Clock

#: Shorter ones are alike by nature: everybody writes "thanks a lot".
_FEWEST_WORDS: Final = 5
#: Which part of the words two comments share that are almost the same.
_ALIKE: Final = 0.8
#: How many words of a comment are remembered, as numbers.
_MOST_WORDS: Final = 32
#: How many comments of an author are remembered.
_MOST_COMMENTS: Final = 8

_WORD = re.compile(r"[^\W\d_]+")

#: What it is about, a session or one message in it, and who said it: their hashes, as ids may be long.
_About = int
_Author = int


@frozen(eq=False)
class _Said:
    """When somebody said what: the words as numbers, in no readable form."""

    at: datetime
    words: array[int]


class NearDuplicates:
    """Remembers what the last ``authors`` authors said in a few numbers each, and never a word of it.

    What was found to be one too many is not remembered, so that in any ``window`` an author can say almost the same
    ``limit`` times. Any number of threads may use it.
    """

    def __init__(self, *, limit: int, window: timedelta, authors: int, clock: Clock) -> None:
        self._limit = limit
        self._window = window
        self._authors = authors
        self._clock = clock
        self._said: OrderedDict[_Author, OrderedDict[_About, _Said]] = OrderedDict()
        self._lock = Lock()

    def one_too_many(self, submission: Submission) -> bool:
        """Whether the author said almost the same about ``limit`` other things lately; if not, it is remembered.

        Whoever says something about the same thing again, in a retry or otherwise, changes what they said.
        """
        words = _numbers(submission.comment) if submission.author is not None else None
        if words is None:
            return False
        saying = _Said(self._time_of(submission), words)
        about = hash((submission.target.session_id, submission.target.message_id))
        with self._lock:
            earlier = self._of(hash((submission.application, submission.author)))
            if about not in earlier and self._count(earlier, saying) >= self._limit:
                return True
            earlier[about] = saying
            if len(earlier) > max(_MOST_COMMENTS, self._limit):
                earlier.popitem(last=False)
        return False

    def _time_of(self, submission: Submission) -> datetime:
        try:
            return utc(submission.created_at) if submission.created_at else self._clock()
        except ValueError:  # the rules refuse it anyway
            return self._clock()

    def _of(self, author: _Author) -> OrderedDict[_About, _Said]:
        earlier = self._said.setdefault(author, OrderedDict())
        self._said.move_to_end(author)
        if len(self._said) > self._authors:
            self._said.popitem(last=False)
        return earlier

    def _count(self, earlier: OrderedDict[_About, _Said], saying: _Said) -> int:
        return sum(
            abs(saying.at - before.at) < self._window and _alike(saying.words, before.words)
            for before in earlier.values()
        )


def _numbers(comment: str) -> array[int] | None:
    """The different words of a comment, if it has enough of them to tell it from others; the order does not matter."""
    words = set(_WORD.findall(comment.casefold()))
    if len(words) < _FEWEST_WORDS:
        return None
    # The smallest numbers of both are enough to tell how much two long comments share.
    return array("q", sorted(map(hash, words))[:_MOST_WORDS])


def _alike(one: array[int], other: array[int]) -> bool:
    return len(set(one).intersection(other)) >= _ALIKE * max(len(one), len(other))

"""Counts of terms in memory: what changed since the last reading is counted at the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import RLock

from harken.domain.feedback import Feedback
from harken.domain.insight.terms import TermCounts, TermTally
from harken.services.forks import ForkSafeLock


class CountedTerms:
    """The counts of the terms of one application."""

    def __init__(self) -> None:
        # Not the lock of the data: nothing else waits while terms are counted.
        self._lock = ForkSafeLock(RLock)
        #: The counts, and by id the feedback that they count.
        self._state: tuple[TermTally, dict[str, Feedback]] = (TermTally(), {})

    def update(self, read: Callable[[], Iterable[Feedback]]) -> TermCounts:
        """Return the counts of all feedback that ``read`` returns."""
        with self._lock:
            feedback = {one.id: one for one in read()}
            # Replaced at first, so that after an interruption everything is counted again.
            (tally, counted), self._state = self._state, (TermTally(), {})
            for one in counted.values():
                if feedback.get(one.id) is not one:
                    tally.add(one.content, sign=-1)
            for one in feedback.values():
                if counted.get(one.id) is not one:
                    tally.add(one.content)
            self._state = (tally, feedback)
            return tally.counts

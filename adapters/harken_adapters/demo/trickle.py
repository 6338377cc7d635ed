"""Keeps feedback coming while the demo is served."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from random import Random
from threading import Event, Thread
from typing import Final

from attrs import evolve

from harken import Feedback, Harken, HarkenError, Rating, Submission
from harken_adapters.demo.visitors import Visitors

logger = logging.getLogger(__name__)

#: The shortest and the longest time between two entries, in seconds.
_PAUSE: Final = (6.0, 22.0)
_SPAM: Final = 0.06
_CHANGED: Final = 0.08


class Trickle:
    """Submits one entry at a time, as if people gave feedback now.

    Args:
        hk: what it submits to.
        visitors: who gives feedback.
        random: the random source.
        clock: the current time, in UTC.
    """

    def __init__(self, hk: Harken, visitors: Visitors, random: Random, clock: Callable[[], datetime]) -> None:
        self._hk = hk
        self._visitors = visitors
        self._random = random
        self._clock = clock
        self._last: Feedback | None = None

    def submit(self) -> Feedback:
        """Submit feedback: mostly of a new visitor, sometimes spam, or the last visitor's vote with the other thumb.

        Raises:
            HarkenError: it could not be stored.
        """
        last, chance = self._last, self._random.random()
        if last is not None and last.vote and last.author and chance < _CHANGED:
            rating = Rating.DOWN if last.rating is Rating.UP else Rating.UP
            comment, tags = self._visitors.opinion_on(last, rating)
            self._last = None
            return self._hk.vote(
                last.session_id,
                rating,
                comment,
                author=last.author,
                message_id=last.message_id,
                tags=tags,
                context=last.context,
            ).feedback
        if chance > 1 - _SPAM:
            # Its author does not come back.
            self._last = None
            return self._submit(self._visitors.spam(self._clock(), "spam"))
        self._last = self._submit(self._visit())
        return self._last

    def _submit(self, submission: Submission) -> Feedback:
        return self._hk.collection.submit(evolve(submission, created_at=None)).feedback

    @contextmanager
    def running(self) -> Iterator[None]:
        """Submit in a thread, a few times a minute, until the end of the context."""
        stopping = Event()
        thread = Thread(target=self._run, args=(stopping,), name="harken-demo-trickle", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    def _run(self, stopping: Event) -> None:
        while not stopping.wait(self._random.uniform(*_PAUSE)):
            try:
                self.submit()
            except HarkenError as error:
                logger.warning("The demo could not submit feedback: %s", error)

    def _visit(self) -> Submission:
        return next(self._visitors.submissions(self._visitors.arrive(self._clock())))

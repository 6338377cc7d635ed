"""Retention: erases expired feedback, in small batches."""

from __future__ import annotations

import logging
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Final, Protocol

from harken.domain.erasure import Erased
from harken.domain.instants import format_duration, from_microseconds, to_microseconds
from harken.domain.query import FeedbackQuery
from harken.domain.retention import Retention
from harken.domain.texts import amount
from harken.ports.repository import FeedbackRepository
from harken.ports.state import StateEntry, StateRepository
from harken.ports.time import Clock

logger = logging.getLogger("harken.retention")

#: How many entries a batch erases.
BATCH: Final = 500
#: The shortest time between two checks, see :meth:`RetentionService.erase_expired`.
INTERVAL: Final = timedelta(minutes=10)
_A_DAY: Final = timedelta(days=1)
_KIND: Final = "retention"
_LAST_CHECK: Final = "last-check"
_AT: Final = "at"


class Erase(Protocol):
    """Erases at most ``limit`` entries that match, the oldest."""

    def __call__(self, query: FeedbackQuery, *, limit: int) -> Erased:
        """See :meth:`CollectionService.erase`."""


class RetentionService:
    """Erases the feedback of each application that is older than its retention allows.

    Only feedback is erased. Conversations and metadata have no time, so nothing tells whether their session is still in
    use; they are erased with the session.
    """

    def __init__(
        self,
        settings: Retention,
        repository: FeedbackRepository,
        state: StateRepository,
        erase: Erase,
        *,
        clock: Clock,
    ) -> None:
        """``clock`` is the time that all relays on the storage agree on."""
        self.settings = settings
        self._repository = repository
        self._state = state
        self._erase = erase
        self._clock = clock

    def overdue(self) -> dict[str, int]:
        """By application, how many entries should have been erased a day ago, if any: no relay does it."""
        queries = (self._expired(name, self._clock() - _A_DAY) for name in self._repository.applications())
        found = {query.application: self._repository.summarize(query) for query in queries if query}
        return {name: summary[None].total for name, summary in found.items() if summary}

    def erase_expired(self) -> Generator[int]:
        """Erase expired feedback. Yields the number of entries after each batch, so that the caller can pause.

        Every ten minutes one relay on the storage does it, however many there are; the others, and calls in between, do
        nothing. Ages are measured at the time of the last check, ten minutes ago or more. So a clock that is wrong for
        a moment erases nothing too early, and the first check of a storage erases nothing.

        What was erased is logged for each application, also if the caller stops early; the rest is erased by the next
        check.

        Raises:
            StorageError: the storage failed; the rest is erased by the next check.
        """
        if not self.settings.is_set or (at := self._claim_turn()) is None:
            return
        for application in self._repository.applications():
            if query := self._expired(application, at):
                yield from self._erase_all(query)

    def _claim_turn(self) -> datetime | None:
        """Record a check, if it is time for one and no other relay is faster.

        Returns the time of the last check, or of this one if that is earlier; ``None`` if there is nothing to do yet.
        """
        now, stored = self._clock(), self._state.get(_KIND, _LAST_CHECK)
        last = None if stored is None else from_microseconds(int(str(stored.value[_AT])))
        if last is not None and timedelta(0) <= now - last < INTERVAL:
            return None
        entry = StateEntry(_LAST_CHECK, {_AT: to_microseconds(now)}, stored.version + 1 if stored else 1)
        if not self._state.put(_KIND, entry):
            # Another relay does it.
            return None
        if last is None:
            logger.info("Retention: %s. Erasing begins with the next check, in ten minutes", self.settings)
            return None
        return min(last, now)

    def _expired(self, application: str, at: datetime) -> FeedbackQuery | None:
        before = self.settings.expired_before(application, at)
        return None if before is None else FeedbackQuery(application=application, until=before).in_any_state()

    def _erase_all(self, query: FeedbackQuery) -> Generator[int]:
        total = 0
        try:
            while erased := self._erase(query, limit=BATCH).feedback:
                total += erased
                yield erased
        finally:
            if total and query.until and (kept := self.settings.kept_for(query.application)):
                logger.info(
                    "Erased %s of application %s, created before %s: feedback is kept for %s",
                    amount(total, "entry", "entries"),
                    query.application,
                    f"{query.until:%Y-%m-%d %H:%M}Z",
                    format_duration(kept),
                )

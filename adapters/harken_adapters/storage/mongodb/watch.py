"""Telling at once what another process has written: by a change stream, where there is a replica set.

A stream is opened, told one change, and closed again for a moment, in which many more may happen: so watching costs the
same however much is written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from harken.domain.errors import StorageClosed, StorageError
from harken_adapters.storage.mongodb.database import PREFIX, Database

if TYPE_CHECKING:
    from pymongo.synchronous.change_stream import DatabaseChangeStream

    from harken_adapters.storage.mongodb.documents import Document

logger = logging.getLogger(__name__)

#: So many seconds nobody looks after a change.
_REST: Final = 0.05
#: For so long the server waits for a change before it answers; nobody waits longer for the end.
_AWAITED_MS: Final = 250
#: How many seconds to wait after a failure, at first and at most.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
#: How many seconds the end waits for a server that does not answer.
_PATIENCE: Final = 2.0

#: What comes with an event, and nothing of it but that it was there. What takes events off the list leaves a mark.
_NEWS: Final[list[Document]] = [
    {
        "$match": {
            "ns.coll": {"$in": [f"{PREFIX}feedback", f"{PREFIX}alerts"]},
            "operationType": {"$in": ["insert", "update", "replace"]},
            "updateDescription.updatedFields.batch": {"$exists": False},
        }
    },
    {"$project": {"_id": 1}},
]


@contextmanager
def watching(database: Database, nudge: Callable[[], object]) -> Iterator[None]:
    """While the context lasts, call ``nudge`` soon after anybody stored an event; never, where a server cannot tell."""
    if not database.served:
        yield
        return
    ended = Event()
    thread = Thread(target=_Watch(database, nudge, ended).run, name="harken-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_PATIENCE)


class _Watch:
    def __init__(self, database: Database, nudge: Callable[[], object], ended: Event) -> None:
        self._database = database
        self._nudge = nudge
        self._ended = ended
        self._pause = 0.0

    def run(self) -> None:
        """Look until the end, whatever happens to the server."""
        while not self._ended.wait(self._pause):
            try:
                if not self._database.has_change_streams():
                    return
                while not self._ended.wait(_REST):
                    self._look()
            except StorageClosed:
                return
            except StorageError as error:
                self._fail(error)

    def _look(self) -> None:
        """Wait for a change, or for the end."""
        with self._database.calling():
            stream = self._database.changes(_NEWS, max_await_time_ms=_AWAITED_MS)
        try:
            # What was stored before the stream began is in no stream.
            self._nudge()
            self._pause = 0.0
            while not self._ended.is_set() and not self._is_told(stream):
                pass
        finally:
            with self._database.calling():
                stream.close()
        self._nudge()

    def _is_told(self, stream: DatabaseChangeStream[Document]) -> bool:
        with self._database.calling():
            return stream.try_next() is not None

    def _fail(self, error: StorageError) -> None:
        if not self._pause:
            logger.warning("What other processes write is noticed later, as it cannot be watched: %s", error)
        self._pause = min(2 * self._pause or _FIRST_PAUSE, _LONGEST_PAUSE)

"""Immediate detection of other processes' writes with a change stream, if there is a replica set.

A stream is opened, reports one change, and is closed for a moment, in which many more changes may happen, so the
cost of watching does not depend on the number of writes.
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

#: How many seconds pass after a change before the next stream is opened.
_REST: Final = 0.05
#: How long the server waits for a change before it responds; the end of the watch is not delayed longer than this.
_AWAITED_MS: Final = 250
#: How many seconds to wait after a failure: the first and the longest delay.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
#: How many seconds the end of the watch waits for a server that does not respond.
_PATIENCE: Final = 2.0

#: Writes that store an event, reported without their content. Writes that remove events set a mark.
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
    """Call ``nudge`` shortly after any process stored an event. Without change streams, it is never called."""
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
        """Watch until the end, despite server failures."""
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
        """Wait for a change or for the end."""
        with self._database.reading():
            stream = self._database.changes(_NEWS, max_await_time_ms=_AWAITED_MS)
        try:
            # Changes before the beginning of the stream are not in the stream.
            self._nudge()
            self._pause = 0.0
            while not self._ended.is_set() and not self._has_change(stream):
                pass
        finally:
            with self._database.reading():
                stream.close()
        self._nudge()

    def _has_change(self, stream: DatabaseChangeStream[Document]) -> bool:
        with self._database.reading():
            return stream.try_next() is not None

    def _fail(self, error: StorageError) -> None:
        if not self._pause:
            logger.warning("Cannot watch for changes by other processes, which will be noticed later: %s", error)
        self._pause = min(2 * self._pause or _FIRST_PAUSE, _LONGEST_PAUSE)

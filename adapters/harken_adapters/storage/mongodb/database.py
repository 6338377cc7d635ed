"""A database with its collections, and the settings of reads and writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

import pymongo
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from harken.domain.errors import StorageClosed
from harken.services.forks import ForkSafeLock
from harken_adapters.storage.mongodb.documents import Document
from harken_adapters.storage.mongodb.errors import translation
from harken_adapters.storage.mongodb.url import check_database_name

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.cursor import Cursor
    from pymongo.synchronous.change_stream import DatabaseChangeStream

#: Begins the names of all collections, as the database may be shared with the application.
PREFIX: Final = "harken_"
_CODEC: Final[CodecOptions[Document]] = CodecOptions()
#: A simulated server, such as mongomock, is not atomic, so its callers are serialised.
_TAKING_TURNS: Final = ForkSafeLock(RLock)


def at_once(cursor: Cursor[Document], most: int) -> Cursor[Document]:
    """Request up to ``most`` documents in one batch; by default, the driver requests the first hundred, then the rest.

    The limit is one more than the maximum, as a server keeps the cursor open if more documents are possible.
    """
    return cursor.batch_size(most + 1)


class Database:
    """Harken's collections, independent of the deployment's defaults.

    A write is acknowledged when a majority has journaled it, and reads return only what a majority has. No call takes
    longer than ``timeout`` seconds, except migrations. Only Harken's errors are raised.
    """

    def __init__(self, client: MongoClient[Any], name: str, *, timeout: float) -> None:
        """Nothing is read or written yet.

        Raises:
            ConfigurationError: MongoDB does not allow this name of a database.
        """
        check_database_name(name)
        self._database = client.get_database(
            name,
            codec_options=_CODEC,
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )
        #: Names the storage in messages.
        self.name = f"The MongoDB database {name!r}"
        self.timeout = timeout
        #: Whether this is a real server, not a simulated one.
        self.served = isinstance(client, MongoClient)
        self._turn: AbstractContextManager[object] = nullcontext() if self.served else _TAKING_TURNS
        self._pid = os.getpid()
        self._closed = False
        self.feedback = self.collection("feedback")
        self.sessions = self.collection("sessions")
        self.deliveries = self.collection("deliveries")
        self.days = self.collection("days")
        self.figures = self.collection("figures")
        self.keys = self.collection("keys")
        self.alerts = self.collection("alerts")
        self.documents = self.collection("documents")
        self.erasures = self.collection("erasures")
        self.comment_segments = self.collection("comment_segments")
        self.meta = self.collection("meta")

    def collection(self, name: str) -> Collection[Document]:
        """Return one of Harken's collections."""
        return self._database[PREFIX + name]

    def reading(self) -> AbstractContextManager[None]:
        """The same as :meth:`calling` for calls that write nothing: its errors do not speak of a write."""
        return self.calling(writes=False)

    @contextmanager
    def calling(self, *, timeout: float | None = None, writes: bool = True) -> Iterator[None]:
        """A context for each call to the server: limits its time, checks the process, and translates errors."""
        self._check_open()
        try:
            with self._turn, pymongo.timeout(timeout or self.timeout):
                yield
        except (PyMongoError, BSONError) as error:
            self._check_open()
            raise translation(self.name, error, writes=writes) from error

    def await_server(self) -> None:
        """Wait for the primary: as long as a call may take, or ``serverSelectionTimeoutMS`` of the client if less.

        In calls, the driver ignores that option, because they have a time limit.

        Raises:
            StorageUnavailable: it does not respond.
        """
        client = self._database.client
        if self.served:
            patience = min(self.timeout, client.options.server_selection_timeout)
            with self.calling(timeout=patience, writes=False):
                # Reading it waits, without a call to the server.
                _ = client.is_primary

    def collection_names(self) -> set[str]:
        """Return the names of Harken's existing collections."""
        return {name for name in self._database.list_collection_names() if name.startswith(PREFIX)}

    def command(self, name: str, collection: str, **options: Any) -> None:
        """Run a command on one of Harken's collections."""
        self._database.command(name, PREFIX + collection, **options)

    def time(self) -> datetime | None:
        """Return the server's current time; ``None`` for a simulated server."""
        if not self.served:
            return None
        local_time: datetime = self._hello()["localTime"]
        return local_time.replace(tzinfo=UTC)

    def has_change_streams(self) -> bool:
        """Whether the server supports change streams: it belongs to a replica set or a sharded cluster."""
        hello = self._hello()
        return "setName" in hello or hello.get("msg") == "isdbgrid"

    def changes(self, pipeline: Sequence[Document], *, max_await_time_ms: int) -> DatabaseChangeStream[Document]:
        """Return a stream of future writes to any collection of the database, filtered by the pipeline."""
        return self._database.watch(pipeline, max_await_time_ms=max_await_time_ms)

    def close(self, close_client: Callable[[], None] | None = None) -> None:
        """Refuse all further calls. In a forked child, the parent's client is not closed."""
        self._closed = True
        if close_client is None or os.getpid() != self._pid:
            return
        # In a program that ends without closing, this runs when the interpreter can no longer import what the driver
        # needs. The operating system then closes the connections, and the server ends the sessions.
        if not sys.is_finalizing():
            close_client()

    def _hello(self) -> Document:
        with self.reading():
            return self._database.command("hello", codec_options=_CODEC)

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise StorageClosed(f"{self.name} was opened in another process; connect again after forking")
        if self._closed:
            raise StorageClosed(f"{self.name} was closed; connect again")

"""One database, its collections, and how they are written to and read from."""

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
from harken_adapters.storage.mongodb.documents import Document
from harken_adapters.storage.mongodb.errors import translation

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.cursor import Cursor
    from pymongo.synchronous.change_stream import DatabaseChangeStream

#: Before the names of all collections, as the database may be shared with the host's own.
PREFIX: Final = "harken_"
_CODEC: Final[CodecOptions[Document]] = CodecOptions()
#: What stands in for a server in a test, such as mongomock, does nothing atomically, so its callers take turns.
_TAKING_TURNS: Final = RLock()


def at_once(cursor: Cursor[Document], most: int) -> Cursor[Document]:
    """Answers of at most so many documents in one go: the driver would ask for the first hundred, then for the rest.

    One more than there can be, as a server that could give another one keeps the cursor.
    """
    return cursor.batch_size(most + 1)


class Database:
    """Harken's collections, whatever the deployment's defaults are.

    A write is acknowledged when a majority has it in its journal, a read gives only what a majority has. No call takes
    longer than ``timeout`` seconds, but for what brings the database up to date; all errors that come out are Harken's.
    """

    def __init__(self, client: MongoClient[Any], name: str, *, timeout: float) -> None:
        self._database = client.get_database(
            name,
            codec_options=_CODEC,
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )
        self.name = f"The MongoDB database {name!r}"
        self.timeout = timeout
        #: Whether there is a server, or only something that stands in for one.
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
        self.meta = self.collection("meta")

    def collection(self, name: str) -> Collection[Document]:
        """One of Harken's collections."""
        return self._database[PREFIX + name]

    @contextmanager
    def calling(self, *, timeout: float | None = None) -> Iterator[None]:
        """Around every call to the server: in time, in this process, and with Harken's errors."""
        self._must_be_open()
        try:
            with self._turn, pymongo.timeout(timeout or self.timeout):
                yield
        except (PyMongoError, BSONError) as error:
            self._must_be_open()
            raise translation(self.name, error) from error

    def collection_names(self) -> set[str]:
        """Harken's collections that are there."""
        return {name for name in self._database.list_collection_names() if name.startswith(PREFIX)}

    def command(self, name: str, collection: str, **options: Any) -> None:
        """Run a command on one of Harken's collections."""
        self._database.command(name, PREFIX + collection, **options)

    def time(self) -> datetime | None:
        """The time now, as the server has it; nothing, where there is no server."""
        if not self.served:
            return None
        told: datetime = self._hello()["localTime"]
        return told.replace(tzinfo=UTC)

    def has_change_streams(self) -> bool:
        """Whether the server can tell what is written: it is one of a replica set, or stands before some."""
        hello = self._hello()
        return "setName" in hello or hello.get("msg") == "isdbgrid"

    def changes(self, pipeline: Sequence[Document], *, max_await_time_ms: int) -> DatabaseChangeStream[Document]:
        """What is written from now on to any collection of the database, as the pipeline leaves it."""
        return self._database.watch(pipeline, max_await_time_ms=max_await_time_ms)

    def close(self, close_client: Callable[[], None] | None = None) -> None:
        """Refuse every call from now on; after a fork, the parent's client is left alone."""
        self._closed = True
        if close_client is None or os.getpid() != self._pid:
            return
        # In a program that ends without closing, this is called when the interpreter can no longer import what the
        # driver needs. The operating system closes the connections, and the server ends the sessions that are left.
        if not sys.is_finalizing():
            close_client()

    def _hello(self) -> Document:
        with self.calling():
            return self._database.command("hello", codec_options=_CODEC)

    def _must_be_open(self) -> None:
        if os.getpid() != self._pid:
            raise StorageClosed(f"{self.name} was opened in another process; connect again after forking")
        if self._closed:
            raise StorageClosed(f"{self.name} was closed; connect again")

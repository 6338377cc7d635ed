"""One file, its connections, and who may write when."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import uniform
from threading import Lock
from time import monotonic, sleep
from typing import Final

from harken.domain.errors import StorageClosed, StorageCorrupt, StorageIncompatible, StorageUnavailable
from harken_adapters.storage.sqlite.errors import is_busy, translated, translation
from harken_adapters.storage.sqlite.forking import GATE
from harken_adapters.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS

_OLDEST_SQLITE: Final = (3, 38, 0)  # STRICT tables, and -> for JSON.
_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_SIZE: Final = 100
#: Up to this size, a file is checked for damage whenever it is opened; it takes some 20 ms.
_CHECKED_SIZE: Final = 8 * 1024 * 1024
#: How many seconds to wait for readers before the log is emptied later.
_PATIENCE_WITH_READERS: Final = 5.0


class Database:
    """A SQLite file in WAL mode: one writer at a time, any number of readers, none waiting for the other.

    All errors that come out are Harken's.
    """

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._pid = os.getpid()
        self._closed = False
        self._owes_truncation = False
        self._writing = Lock()
        self._readers: list[sqlite3.Connection] = []
        with GATE, translated(path):
            _refuse_old_library()
            _refuse_foreign(path)
            _refuse_damaged(path)
            self._writer = self._connect()
            try:
                self._prepare()
            except BaseException:
                self._writer.close()
                raise

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction that writes: durable when the block ends, undone when it raises.

        One that need not be ``durable`` spares the wait for the disk. Everybody sees it at once, and it outlives this
        process, but the machine's failure may undo it, unless a durable one has followed.
        """
        self._must_be_ours()
        with self._writing, GATE:
            self._must_be_open()
            try:
                self._writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._begin()
                yield self._writer
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise translation(self._path, error) from error
            except BaseException:
                self._roll_back()
                raise
            if self._owes_truncation:
                # The transaction is durable, so nothing may fail any more; what is owed stays owed.
                with suppress(sqlite3.Error):
                    self._truncated_log()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads: it sees one state of the file, whatever is written meanwhile."""
        self._must_be_ours()
        with GATE, translated(self._path):
            self._must_be_open()
            reader = self._borrow()
            try:
                reader.execute("BEGIN")
                yield reader
                reader.execute("COMMIT")
            except BaseException:
                reader.close()
                raise
            self._give_back(reader)

    def forget(self) -> None:
        """Remove what was deleted from the write-ahead log too.

        Readers may be in the way: this waits a moment for them, and else leaves it to the writes that follow.
        """
        self._must_be_ours()
        with translated(self._path), self._writing, GATE:
            self._must_be_open()
            deadline = monotonic() + min(self._busy_timeout, _PATIENCE_WITH_READERS)
            while not self._truncated_log() and monotonic() < deadline:
                sleep(_pause())

    def check(self) -> Sequence[str]:
        """A sentence for each damage that SQLite finds in the whole file."""
        try:
            with self.read() as connection:
                found = [line for (line,) in connection.execute("PRAGMA integrity_check")]
        except StorageCorrupt as error:
            return [str(error)]
        return [f"{self._path}: {line}" for line in found if line != "ok"]

    def close(self) -> None:
        """Close all connections; those in use follow when they are given back."""
        if os.getpid() != self._pid:
            # After a fork these belong to the parent: closing them here could damage what it does with them.
            return
        with self._writing, GATE:
            self._closed = True
            while self._readers:
                self._readers.pop().close()
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        if not self._path.parent.is_dir():
            raise StorageUnavailable(f"{self._path} cannot be opened: there is no folder {self._path.parent}")
        connection = sqlite3.connect(
            self._path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            # What is deleted is overwritten, so that erased means gone from the file too.
            connection.execute("PRAGMA secure_delete = ON")
            # In KiB. SQLite's 2 MiB are soon too small for an import's indexes, and what does not fit is written twice.
            connection.execute("PRAGMA cache_size = -16384")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> None:
        """Make the file ours, or find that it is, and bring it up to date."""
        known = len(MIGRATIONS)
        if self._version() < known:
            self._begin()
            try:
                self._migrate()
                self._writer.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        if (version := self._version()) > known:
            raise _too_new(self._path, version)
        # Last, so that the header of a file that is in WAL mode always says whose it is.
        self._retried("PRAGMA journal_mode = WAL")
        # From now on the writer only ever waits for the lock that its transactions begin with, and that in _retried.
        self._writer.execute("PRAGMA busy_timeout = 0")

    def _migrate(self) -> None:
        # Read again: another process may have migrated while this one waited for the lock.
        for number, migration in enumerate(MIGRATIONS[self._version() :], start=self._version() + 1):
            self._writer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for statement in _statements(migration):
                self._writer.execute(statement)
            self._writer.execute(f"PRAGMA user_version = {number}")

    def _version(self) -> int:
        version: int = self._writer.execute("PRAGMA user_version").fetchone()[0]
        return version

    def _begin(self) -> None:
        self._retried("BEGIN IMMEDIATE")

    def _retried(self, statement: str) -> None:
        """Run a statement that needs a lock, trying again at random moments.

        SQLite's own waiting sleeps up to 100 ms between tries, and so may find a busy file locked again and again.
        """
        deadline: float | None = None
        while True:
            try:
                self._writer.execute(statement)
            except sqlite3.OperationalError as error:
                deadline = deadline or monotonic() + self._busy_timeout
                if not is_busy(error) or monotonic() >= deadline:
                    raise
                sleep(_pause())
            else:
                return

    def _truncated_log(self) -> bool:
        """Move the write-ahead log into the file and empty it; whether nobody was in the way."""
        self._owes_truncation = True
        busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._owes_truncation = bool(busy)
        return not busy

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors, and then says that there is nothing to roll back.
        if self._writer.in_transaction:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")

    def _borrow(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()
        except IndexError:
            reader = self._connect()
            reader.execute("PRAGMA query_only = ON")
            return reader

    def _give_back(self, reader: sqlite3.Connection) -> None:
        if self._closed:
            reader.close()
        else:
            self._readers.append(reader)

    def _must_be_ours(self) -> None:
        # Before any lock, as a thread of the parent may have held it for ever.
        if os.getpid() != self._pid:
            raise StorageClosed(f"{self._path} was opened in another process; connect again after forking")

    def _must_be_open(self) -> None:
        if self._closed:
            raise StorageClosed(f"{self._path} was closed; connect again")


def _pause() -> float:
    """How many seconds to wait before trying again."""
    return uniform(0.0002, 0.002)  # noqa: S311 - spreads waiters, protects nothing


def _refuse_old_library() -> None:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        needed = ".".join(map(str, _OLDEST_SQLITE))
        raise StorageIncompatible(
            f"This Python has SQLite {sqlite3.sqlite_version}, but Harken needs {needed} or newer; update the library"
        )


def _refuse_foreign(path: Path) -> None:
    """Look at the header without SQLite, which could change even a file that it only reads."""
    try:
        if not path.exists():
            return
        if not path.is_file():
            raise StorageUnavailable(f"{path} cannot be opened: it is not a file")
        with path.open("rb") as file:
            header = file.read(_HEADER_SIZE)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be read: {error.strerror}") from error
    if not header:
        return
    if not header.startswith(_MAGIC) or len(header) < _HEADER_SIZE:
        raise StorageIncompatible(f"{path} is not a SQLite database; it was left untouched, choose another file")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StorageIncompatible(
            f"{path} is a SQLite database of another application; it was left untouched, choose another file"
        )
    if (version := int.from_bytes(header[60:64], "big")) > len(MIGRATIONS):
        raise _too_new(path, version)


def _refuse_damaged(path: Path) -> None:
    """Look for damage, and for a version that stands only in the write-ahead log.

    Through a connection that may only read: when an ordinary one is closed, it writes the log into the file.
    """
    if not path.exists() or not path.stat().st_size:
        return
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as reader:
        (version,) = reader.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise _too_new(path, version)
        if path.stat().st_size > _CHECKED_SIZE:
            return
        (found,) = reader.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StorageCorrupt(f"{path} is damaged and was left untouched: {' '.join(found.split())}")


def _too_new(path: Path, version: int) -> StorageIncompatible:
    return StorageIncompatible(
        f"{path} was made by a newer Harken (its version is {version}, this one knows {len(MIGRATIONS)}); "
        "it was left untouched, update Harken"
    )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: ``executescript`` would commit the transaction first."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

"""One file: transactions that read, one at a time that writes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from random import uniform
from time import monotonic, sleep
from typing import Final, TypeVar
from weakref import finalize

from harken.domain.errors import StorageClosed, StorageCorrupt, StorageUnavailable
from harken_adapters.storage.sqlite.connections import Pool, Slot, connect, let_forks_through
from harken_adapters.storage.sqlite.errors import is_busy, translated
from harken_adapters.storage.sqlite.files import Place
from harken_adapters.storage.sqlite.opening import check_file, check_library, prepare
from harken_adapters.storage.sqlite.rows import Row

#: How many seconds to wait for readers before the log is emptied later.
_PATIENCE_WITH_READERS: Final = 5.0

_SETTINGS: Final = (
    # What is deleted is overwritten, so that erased means gone from the file too.
    "PRAGMA secure_delete = ON",
    # In KiB. SQLite's 2 MiB are soon too small for an import's indexes, and what does not fit is written twice.
    "PRAGMA cache_size = -16384",
)
#: The writer only ever waits for the lock that its transactions begin with, and that in Database._retried.
_SETTINGS_OF_WRITER: Final = (*_SETTINGS, "PRAGMA busy_timeout = 0")
_SETTINGS_OF_READERS: Final = (*_SETTINGS, "PRAGMA query_only = ON")

Result = TypeVar("Result")
#: What is done in a transaction. It fetches all rows of a statement at once, and gives no iterator that still reads:
#: where it is interrupted, a cursor that a traceback keeps alive would hold the connection at an old state of the file.
Work = Callable[[sqlite3.Connection], Result]


class Database:
    """A SQLite file in WAL mode: one writer at a time, any number of readers, none waiting for the other.

    Before anything is read, and before and after each commit, the path must lead to the files that were opened. All
    errors that come out are Harken's.

    Transactions are functions that are called, and no context managers: one that is interrupted (by Ctrl-C or a time
    limit) gives back its lock at once, and not when the last reference to a suspended generator is gone.
    """

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._pid = os.getpid()
        self._closed = False
        self._owes_truncation = False
        self._place = Place(path)
        self._writer = Slot(self._place, timeout=busy_timeout, settings=_SETTINGS_OF_WRITER)
        self._pool = Pool(self._writer)
        # Also where this is forgotten, and at exit.
        self._close_pool = finalize(self, self._pool.close)
        try:
            with translated(path), self._writer.lock:
                check_library()
                check_file(self._place, timeout=busy_timeout)
                self._open_first()
        except BaseException:
            self._close_pool()
            raise
        self._main = self._writer.files.main

    def write(self, work: Work[Result], *, durable: bool = True) -> Result:
        """Run a transaction that writes: durable when this returns, undone when it raises.

        One that need not be ``durable`` spares the wait for the disk. Everybody sees it at once, and it outlives this
        process, but the machine's failure may undo it, unless a durable one has followed.

        Raises:
            StorageUnavailable: the files were moved or replaced, the file stayed locked, or it cannot be written.
            StorageClosed: the database was closed, or opened before a fork.
        """
        self._must_be_ours()
        let_forks_through()
        with translated(self._path), self._writer.lock:
            if self._writer.in_use:
                raise StorageUnavailable(
                    f"This thread is already writing to {self._path}; do not use it from a signal handler"
                )
            self._writer.in_use = True
            try:
                connection = self._open_connection(self._writer)
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._retried(connection, "BEGIN IMMEDIATE")
                result = work(connection)
                self._check_place(self._writer)
                connection.execute("COMMIT")
                # Again, so that nothing is acknowledged that went into files which were moved away meanwhile.
                self._check_place(self._writer)
            except BaseException:
                _roll_back(self._writer.connection)
                raise
            finally:
                self._writer.in_use = False
            if self._owes_truncation:
                # The transaction is durable, so nothing may fail any more; what is owed stays owed.
                with suppress(sqlite3.Error):
                    self._truncate_log(connection)
            return result

    def read(self, work: Work[Result]) -> Result:
        """Run a transaction that reads: it sees one state of the file, whatever is written meanwhile.

        Raises:
            StorageUnavailable: the files were moved or replaced, or the file cannot be read.
            StorageClosed: the database was closed, or opened before a fork.
        """
        self._must_be_ours()
        let_forks_through()
        slot = self._reader()
        with translated(self._path), slot.lock:
            slot.in_use = True
            try:
                connection = self._open_connection(slot)
                connection.execute("BEGIN")
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(slot.connection)
                # Nobody knows what is left of it.
                slot.close()
                raise
            finally:
                slot.in_use = False
            return result

    def rows(self, select: str, parameters: Sequence[object] = ()) -> list[Row]:
        """All rows that one ``SELECT`` finds; raises what :meth:`read` does."""
        return self.read(lambda connection: connection.execute(select, parameters).fetchall())

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement that writes, and say how many rows it changed; raises what :meth:`write` does."""
        return self.write(lambda connection: connection.execute(statement, parameters).rowcount)

    def forget(self) -> None:
        """Remove what was deleted from the write-ahead log too.

        Readers may be in the way: this waits a moment for them, and else leaves it to the writes that follow.
        """
        self._must_be_ours()
        deadline = monotonic() + min(self._busy_timeout, _PATIENCE_WITH_READERS)
        with translated(self._path), self._writer.lock:
            connection = self._open_connection(self._writer)
            while not self._truncate_log(connection) and monotonic() < deadline:
                sleep(_pause())

    def check(self) -> Sequence[str]:
        """A sentence for each damage that SQLite finds in the whole file."""
        try:
            found = self.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchall())
        except StorageCorrupt as error:
            return [str(error)]
        return [f"{self._path}: {line}" for (line,) in found if line != "ok"]

    def close(self) -> None:
        """Close all connections, those in use as soon as they are not."""
        # Before the locks, so that nobody opens one again.
        self._closed = True
        self._close_pool()

    def _open_first(self) -> None:
        """Open the writer, for the first time: the file is made, or brought up to date, if that is needed."""
        with closing(connect(self._path, "rwc", timeout=self._busy_timeout)) as first:
            prepare(first, self._path, lambda statement: self._retried(first, statement))
            # While the first is open, so that the log stays which it is.
            self._writer.open()

    def _open_connection(self, slot: Slot) -> sqlite3.Connection:
        """The connection of a slot whose lock this thread holds, outside of any transaction."""
        if self._closed:
            raise StorageClosed(f"{self._path} was closed; connect again")
        if slot.connection is None:
            self._reopen(slot)
        elif slot is not self._writer:
            # What the writer does is checked before and after its commit.
            self._check_place(slot)
        assert slot.connection is not None  # noqa: S101 - for mypy
        # The last transaction may have been interrupted before it was undone.
        _roll_back(slot.connection)
        return slot.connection

    def _reopen(self, slot: Slot) -> None:
        self._place.check_main(self._main)
        slot.open()
        try:
            self._place.check_main(self._main, slot.files)
        except StorageUnavailable:
            slot.close()
            raise

    def _check_place(self, slot: Slot) -> None:
        """Raise unless the path still leads to the files that are open in the slot; then close what can be closed."""
        try:
            self._place.check(slot.files)
        except StorageUnavailable:
            self._pool.close_idle()
            raise

    def _reader(self) -> Slot:
        """A slot that is free, or was a moment ago: two threads that find the same one take turns."""
        for slot in list(self._pool.slots):
            if slot is not self._writer and not slot.in_use:
                return slot
        slot = Slot(self._place, timeout=self._busy_timeout, settings=_SETTINGS_OF_READERS)
        self._pool.slots.append(slot)
        return slot

    def _retried(self, connection: sqlite3.Connection, statement: str) -> None:
        """Run a statement that needs a lock, trying again at random moments.

        SQLite's own waiting sleeps up to 100 ms between tries, and so may find a busy file locked again and again.
        """
        deadline: float | None = None
        while True:
            try:
                connection.execute(statement)
            except sqlite3.OperationalError as error:
                deadline = deadline or monotonic() + self._busy_timeout
                if not is_busy(error) or monotonic() >= deadline:
                    raise
                sleep(_pause())
            else:
                return

    def _truncate_log(self, connection: sqlite3.Connection) -> bool:
        """Move the write-ahead log into the file and empty it; whether nobody was in the way."""
        self._owes_truncation = True
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._owes_truncation = bool(busy)
        return not busy

    def _must_be_ours(self) -> None:
        # Before any lock, as a thread of the parent may have held it for ever.
        if os.getpid() != self._pid:
            raise StorageClosed(f"{self._path} was opened in another process; connect again after forking")


def _roll_back(connection: sqlite3.Connection | None) -> None:
    # SQLite has rolled back by itself after some errors, and then says that there is nothing to roll back. And the
    # connection is closed already where its files were moved.
    with suppress(sqlite3.Error):
        if connection is not None and connection.in_transaction:
            connection.execute("ROLLBACK")


def _pause() -> float:
    """How many seconds to wait before trying again."""
    return uniform(0.0002, 0.002)  # noqa: S311 - spreads waiters, protects nothing

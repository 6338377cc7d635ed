"""One SQLite file: concurrent read transactions, and one write transaction at a time."""

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
from harken_adapters.storage.sqlite.errors import is_busy, translate_errors
from harken_adapters.storage.sqlite.files import Place
from harken_adapters.storage.sqlite.opening import check_file, check_library, missing_parts, prepare
from harken_adapters.storage.sqlite.rows import Row

#: The number of seconds to wait for readers before emptying the log is postponed.
_PATIENCE_WITH_READERS: Final = 5.0

_SETTINGS: Final = (
    # Deleted content is overwritten, so that erased data is also gone from the file.
    "PRAGMA secure_delete = ON",
    # In KiB. SQLite's default of 2 MiB is too small for the indexes of an import: excess pages are written twice.
    "PRAGMA cache_size = -16384",
)
#: The writer waits only for the lock that begins its transactions, and it does so in ``Database._retry``.
_SETTINGS_OF_WRITER: Final = (*_SETTINGS, "PRAGMA busy_timeout = 0")
_SETTINGS_OF_READERS: Final = (*_SETTINGS, "PRAGMA query_only = ON")

Result = TypeVar("Result")
#: The body of a transaction. It fetches all rows of a statement at once and returns no open iterator: after an
#: interruption, a cursor kept alive by a traceback would hold the connection at an old state of the file.
Work = Callable[[sqlite3.Connection], Result]


class Database:
    """An SQLite file in WAL mode: one writer at a time and any number of readers, which do not block each other.

    Before each read, and before and after each commit, the path must lead to the files that were opened. Only Harken's
    errors are raised.

    Transactions are functions rather than context managers: an interrupted one (by Ctrl-C or a time limit) releases its
    lock at once, and not when the last reference to a suspended generator is gone.
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
        # Also when the object is garbage-collected, and at exit.
        self._close_pool = finalize(self, self._pool.close)
        try:
            with translate_errors(path, writes=False), self._writer.lock:
                check_library()
                check_file(self._place, timeout=busy_timeout)
                self._open_first()
        except BaseException:
            self._close_pool()
            raise
        self._main = self._writer.files.main

    def write(self, work: Work[Result], *, durable: bool = True) -> Result:
        """Run a write transaction. It is durable when this method returns, and rolled back when it raises.

        With ``durable=False`` it does not wait for the disk. Other processes see it at once, and it survives this
        process, but it may be lost if the machine fails before the next durable transaction.

        Raises:
            StorageUnavailable: the files were moved or replaced, the file stayed locked, or it cannot be written.
            StorageClosed: the database was closed, or opened before a fork.
        """
        self._check_process()
        let_forks_through()
        with translate_errors(self._path), self._writer.lock:
            if self._writer.in_use:
                raise StorageUnavailable(
                    f"This thread is already writing to {self._path}; do not use it from a signal handler"
                )
            self._writer.in_use = True
            try:
                connection = self._open_connection(self._writer)
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._retry(connection, "BEGIN IMMEDIATE")
                result = work(connection)
                self._check_place(self._writer)
                connection.execute("COMMIT")
                # Checked again, so that no transaction is acknowledged that was written to files which had been moved.
                self._check_place(self._writer)
            except BaseException:
                _roll_back(self._writer.connection)
                raise
            finally:
                self._writer.in_use = False
            if self._owes_truncation:
                # The transaction is durable, so nothing may raise any more; pending work stays pending.
                with suppress(sqlite3.Error):
                    self._truncate_log(connection)
            return result

    def read(self, work: Work[Result]) -> Result:
        """Run a read transaction. It sees one state of the file, regardless of concurrent writes.

        Raises:
            StorageUnavailable: the files were moved or replaced, or the file cannot be read.
            StorageClosed: the database was closed, or opened before a fork.
        """
        self._check_process()
        let_forks_through()
        slot = self._reader()
        with translate_errors(self._path, writes=False), slot.lock:
            slot.in_use = True
            try:
                connection = self._open_connection(slot)
                connection.execute("BEGIN")
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(slot.connection)
                # The state of the connection is unknown.
                slot.close()
                raise
            finally:
                slot.in_use = False
            return result

    def rows(self, select: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return all rows of one ``SELECT``. Raises the errors of :meth:`read`."""
        return self.read(lambda connection: connection.execute(select, parameters).fetchall())

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Run one write statement. Returns the number of rows it changed. Raises the errors of :meth:`write`."""
        return self.write(lambda connection: connection.execute(statement, parameters).rowcount)

    def forget(self) -> None:
        """Remove deleted content from the write-ahead log as well.

        Readers may prevent this. It waits briefly for them, and otherwise leaves the work to later writes.
        """
        self._check_process()
        deadline = monotonic() + min(self._busy_timeout, _PATIENCE_WITH_READERS)
        with translate_errors(self._path), self._writer.lock:
            connection = self._open_connection(self._writer)
            while not self._truncate_log(connection) and monotonic() < deadline:
                sleep(_pause())

    def check(self) -> Sequence[str]:
        """Check the whole file. Returns one sentence for each damage that SQLite finds, and for what is missing."""
        try:
            found = self.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchall())
            missing = self.read(missing_parts)
        except StorageCorrupt as error:
            return [str(error)]
        damage = [f"{self._path}: {line}" for (line,) in found if line != "ok"]
        return [*damage, *(f"{self._path}: the {part} is missing; run 'harken rebuild'" for part in missing)]

    def close(self) -> None:
        """Close all connections, those in use when their users have finished."""
        # Before the locks are taken, so that no thread opens a connection again.
        self._closed = True
        self._close_pool()

    def _open_first(self) -> None:
        """Open the writer for the first time. Creates or migrates the file if necessary."""
        with closing(connect(self._path, "rwc", timeout=self._busy_timeout)) as first:
            prepare(first, self._path, lambda statement: self._retry(first, statement))
            # While the writer is open, so that the log stays the same file.
            self._writer.open()

    def _open_connection(self, slot: Slot) -> sqlite3.Connection:
        """Return the connection of a slot whose lock this thread holds, outside of any transaction."""
        if self._closed:
            raise StorageClosed(f"{self._path} was closed; connect again")
        if slot.connection is None:
            self._reopen(slot)
        elif slot is not self._writer:
            # The writer's files are checked before and after its commits.
            self._check_place(slot)
        assert slot.connection is not None  # noqa: S101 - for mypy
        # The last transaction may have been interrupted before its rollback.
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
        """Raise unless the path leads to the files that are open in the slot; then close what can be closed."""
        try:
            self._place.check(slot.files)
        except StorageUnavailable:
            self._pool.close_idle()
            raise

    def _reader(self) -> Slot:
        """Return a slot that is free, or was free a moment ago: two threads that choose the same one take turns."""
        for slot in list(self._pool.slots):
            if slot is not self._writer and not slot.in_use:
                return slot
        slot = Slot(self._place, timeout=self._busy_timeout, settings=_SETTINGS_OF_READERS)
        self._pool.slots.append(slot)
        return slot

    def _retry(self, connection: sqlite3.Connection, statement: str) -> None:
        """Run a statement that needs a lock, and retry after random delays.

        SQLite itself sleeps up to 100 ms between attempts, so it may find a busy file locked every time.
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
        """Move the write-ahead log into the file and empty it. Returns whether no connection prevented it."""
        self._owes_truncation = True
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._owes_truncation = bool(busy)
        return not busy

    def _check_process(self) -> None:
        # Before any lock is taken, as a thread of the parent process may have held it when the process was forked.
        if os.getpid() != self._pid:
            raise StorageClosed(f"{self._path} was opened in another process; connect again after forking")


def _roll_back(connection: sqlite3.Connection | None) -> None:
    # After some errors SQLite has already rolled back, and reports that no transaction is active. The connection is
    # already closed if its files were moved.
    with suppress(sqlite3.Error):
        if connection is not None and connection.in_transaction:
            connection.execute("ROLLBACK")


def _pause() -> float:
    """Return how many seconds to wait before the next attempt."""
    return uniform(0.0002, 0.002)  # noqa: S311 - not for security

"""Connections to SQLite, and their treatment when files are moved or the process forks.

SQLite keeps one record in memory of the locks that the process holds on a file, shared by all its connections. A fork
copies the record, but the child does not hold the locks. A connection opened by the child would rely on them, and
another process would delete the write-ahead log while it is in use. Therefore a fork waits until no thread is using
SQLite, and closes all connections first; each is opened again when it is next needed.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock, get_ident, local
from time import sleep
from typing import Final, Literal

from harken.domain.errors import StorageUnavailable
from harken.services.forks import register_at_fork
from harken_adapters.storage.sqlite.conditions import has_words
from harken_adapters.storage.sqlite.files import FileId, Files, Place

#: The longest time in seconds that a fork waits for one lock before it releases those it holds, as two threads may wait
#: for each other's.
_FORK_PATIENCE: Final = 0.1
#: How often, and for how many seconds each time, other threads wait for a thread that wants to fork.
_STEPS_ASIDE: Final = 200
_STEP: Final = 0.001
#: How often a database is opened again because its files were being replaced at that moment.
_TRIES: Final = 100

#: Held while a connection is opened, so that none is opened between closing all of them for a fork and the fork.
_OPENING: Final = RLock()
#: Files that this process must not open again, with the reason.
_UNUSABLE_FILES: Final[dict[FileId, str]] = {}


def connect(path: Path, mode: Literal["ro", "rw", "rwc"], *, timeout: float) -> sqlite3.Connection:
    """Open a connection in autocommit mode that any thread may use. Only ``rwc`` creates a missing file."""
    with _OPENING:
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode={mode}", uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
        )
    connection.create_function("has_words", 2, has_words, deterministic=True)
    return connection


class Slot:
    """Holds one connection, which is opened when it is needed, and the lock of its user.

    The lock must be held by a ``with`` statement in the function that uses the connection, not by a context manager
    written in Python: only then is it released wherever the function is interrupted.

    Args:
        place: the location of the database.
        timeout: the number of seconds that the connection waits for a locked file.
        settings: statements that are executed first on the connection.
    """

    __slots__ = ("_place", "_settings", "_timeout", "connection", "files", "in_use", "lock")

    def __init__(self, place: Place, *, timeout: float, settings: Sequence[str]) -> None:
        self._place = place
        self._timeout = timeout
        self._settings = settings
        self.lock = RLock()
        self.in_use = False
        self.files = Files()
        self.connection: sqlite3.Connection | None = None

    def open(self) -> sqlite3.Connection:
        """Open the connection to an existing database in WAL mode. The caller holds the lock.

        Raises:
            StorageUnavailable: the files are missing, or this process must not open them.
            sqlite3.Error: SQLite cannot open the file.
        """
        with _OPENING:
            # Which files a connection opened is only certain if the path led to the same ones before and after.
            others: list[sqlite3.Connection] = []
            try:
                for _ in range(_TRIES):
                    before = self._place.files()
                    _check_usable(self._place, before)
                    connection = connect(self._place.path, "rw", timeout=self._timeout)
                    others.append(connection)
                    # The first read opens the log, and creates it if necessary.
                    connection.execute("PRAGMA user_version").fetchone()
                    if before.complete and self._place.files() == before:
                        for setting in self._settings:
                            connection.execute(setting)
                        self._place.claim_log(before)
                        self.files = before
                        self.connection = others.pop()
                        return connection
            finally:
                for other in others:
                    other.close()
        raise StorageUnavailable(f"{self._place.path} is being replaced repeatedly; nothing was written or read")

    def close(self) -> None:
        """Close the connection, if it is open. The caller holds the lock.

        If the files were moved, nothing remains that could damage the files that replaced them.
        """
        connection, self.connection = self.connection, None
        if connection is None:
            return
        try:
            found = self._place.files()
        except StorageUnavailable:
            found = Files()
        was_moved = found.main != self.files.main and found.log == self.files.log
        # A log that another database has adopted has its content, too.
        if was_moved and self._place.log_owner(self.files) in (None, self.files.main and self.files.main[1]):
            with suppress(sqlite3.Error):
                _empty_log(connection)
            if found.main is not None:
                self._place.remove_log(self.files)
        if found.main == self.files.main and found != self.files:
            _abandon(connection, found.main, "its log was removed while it was in use; restart the process")
        else:
            connection.close()

    def remove_log(self) -> None:
        """Remove the log if the database is no longer at its path. No connection may be open."""
        if self.files.complete:
            self._place.remove_log(self.files)


class Pool:
    """All slots of one database: one for writing, and any number for reading."""

    def __init__(self, writer: Slot) -> None:
        self.writer = writer
        self.slots = [writer]
        self._pid = os.getpid()
        _notice_fork()
        _POOLS.add(self)

    def close(self) -> None:
        """Close all connections, each when it is unused. In a forked child, the parent's connections are kept."""
        if os.getpid() != self._pid:
            return
        for slot in list(self.slots):
            with slot.lock:
                slot.close()
        self.writer.remove_log()
        _POOLS.discard(self)

    def close_idle(self) -> None:
        """Close all connections that no other thread is using, so that other processes find the files closed."""
        for slot in list(self.slots):
            if slot.lock.acquire(blocking=False):
                try:
                    slot.close()
                finally:
                    slot.lock.release()


_POOLS: Final[set[Pool]] = set()


def _check_usable(place: Place, found: Files) -> None:
    if found.main is None:
        raise StorageUnavailable(f"{place.path} cannot be opened: the file does not exist")
    if why := _UNUSABLE_FILES.get(found.main):
        raise StorageUnavailable(f"{place.path} can no longer be used by this process: {why}")
    place.check_log_owner(found)


def _empty_log(connection: sqlite3.Connection) -> None:
    """Move the log's content into its own database file, wherever that is now, so that no other file adopts it.

    SQLite does not do this when it closes a file that was moved.
    """
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _abandon(connection: sqlite3.Connection, main: FileId | None, why: str) -> None:
    """Keep a connection open until the process ends.

    Closing it would write a log that no other process sees into a file that others may have changed, and delete the log
    that they are using.
    """
    # An extra reference that is never released, as the interpreter closes remaining connections when it exits.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    if main is not None:
        _UNUSABLE_FILES[main] = why


# --- forks -----------------------------------------------------------------------------------------------------------

_process = os.getpid()


class _Held(local):
    """The locks that this thread holds for a fork; other threads may be forking at the same time."""

    def __init__(self) -> None:
        self.locks: list[RLock] = []


_held: Final = _Held()
#: The threads that are waiting to fork.
_forking: Final[set[int]] = set()


def let_forks_through() -> None:
    """Wait briefly if a thread wants to fork, as it might otherwise never find all connections unused.

    The wait is limited, as this thread may be one that the forking thread is waiting for.
    """
    for _ in range(_STEPS_ASIDE):
        if not _forking:
            return
        sleep(_STEP)


def _before_fork() -> None:
    """Wait until no other thread uses a connection, prevent new uses, and close all connections."""
    _forking.add(get_ident())
    while not _hold_all():
        pass
    for pool in list(_POOLS):
        for slot in pool.slots:
            # Used by this very thread, if a signal handler forks: the child must not open this file.
            if not slot.in_use:
                slot.close()


def _hold_all() -> bool:
    for lock in _all_locks():
        # Recorded first, so that the lock is released even if a signal interrupts the next line.
        _held.locks.append(lock)
        if not lock.acquire(timeout=_FORK_PATIENCE):
            _held.locks.pop()
            _release_all()
            return False
    return True


def _all_locks() -> Iterator[RLock]:
    yield _OPENING
    # The lock is held, so a slot created later has no connection.
    for pool in list(_POOLS):
        for slot in list(pool.slots):
            yield slot.lock


def _after_fork() -> None:
    _forking.discard(get_ident())
    _release_all()


def _release_all() -> None:
    while _held.locks:
        with suppress(RuntimeError):  # Not acquired: interrupted by a signal.
            _held.locks.pop().release()


def _notice_fork() -> None:
    """Detect a fork that Python did not report, as programs written in C can make one."""
    if os.getpid() != _process:
        _after_fork_in_child()


def _after_fork_in_child() -> None:
    global _process  # noqa: PLW0603 - one number per process
    _process = os.getpid()
    for slot in (slot for pool in _POOLS for slot in pool.slots):
        if slot.connection is not None:
            _abandon(slot.connection, slot.files.main, "it was in use when the process was forked; start a new process")
    _POOLS.clear()
    _forking.clear()
    _release_all()


register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)

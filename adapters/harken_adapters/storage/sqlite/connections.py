"""Connections to SQLite, and what becomes of them when their files are moved, or when this process forks.

SQLite keeps in memory which locks of a file this process holds, for all of its connections together. A fork copies that
memory, but the child holds none of the locks. A connection that the child opens itself would rely on them all the same,
and another process would delete the write-ahead log under it. So a fork waits until nobody is inside SQLite, and closes
every connection first; each is opened again when it is next needed.
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
from harken_adapters.storage.sqlite.files import FileId, Files, Place

#: How many seconds a fork waits for one lock before it lets go of those that it has, as two threads may wait for each
#: other's.
_FORK_PATIENCE: Final = 0.1
#: How often, and for how many seconds each time, others wait for a thread that waits to fork.
_STEPS_ASIDE: Final = 200
_STEP: Final = 0.001
#: How often a database is opened again because its files were being replaced just then.
_TRIES: Final = 100

#: Held while a connection is opened, so that none is between the moment when all are closed for a fork, and the fork.
_OPENING: Final = RLock()
#: Files that this process must not open any more, and why.
_UNUSABLE_FILES: Final[dict[FileId, str]] = {}


def connect(path: Path, mode: Literal["ro", "rw", "rwc"], *, timeout: float) -> sqlite3.Connection:
    """A connection in autocommit mode, for any thread; only ``rwc`` makes a file that is not there."""
    with _OPENING:
        return sqlite3.connect(
            f"{path.as_uri()}?mode={mode}", uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
        )


class Slot:
    """A place for one connection, which is opened when it is needed, and the lock that its user holds.

    The lock is to be held by a ``with`` statement in the function that uses the connection, and by no context manager
    written in Python: only then is it released wherever the function is interrupted.

    Args:
        place: where the database is.
        timeout: how many seconds its connection waits for a locked file.
        settings: what is executed on its connection first.
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
        """Open the connection, to a database in WAL mode that is there. The caller holds the lock.

        Raises:
            StorageUnavailable: its files are not there, or this process must not open them.
            sqlite3.Error: SQLite cannot open it.
        """
        with _OPENING:
            # A connection does not tell which files it opened. It is those that the path led to both before and after.
            others: list[sqlite3.Connection] = []
            try:
                for _ in range(_TRIES):
                    before = self._place.files()
                    _check_usable(self._place, before.main)
                    connection = connect(self._place.path, "rw", timeout=self._timeout)
                    others.append(connection)
                    # The first that reads opens the log, and makes it if it is not there.
                    connection.execute("PRAGMA user_version").fetchone()
                    if before.complete and self._place.files() == before:
                        for setting in self._settings:
                            connection.execute(setting)
                        self.files = before
                        self.connection = others.pop()
                        return connection
            finally:
                for other in others:
                    other.close()
        raise StorageUnavailable(f"{self._place.path} is being replaced again and again; nothing was written or read")

    def close(self) -> None:
        """Close the connection, if there is one. The caller holds the lock.

        Where the files were moved, it leaves behind nothing that could damage what was put into their place.
        """
        connection, self.connection = self.connection, None
        if connection is None:
            return
        try:
            found = self._place.files()
        except StorageUnavailable:
            found = Files()
        if found.main != self.files.main and found.log == self.files.log:
            with suppress(sqlite3.Error):
                _empty_log(connection)
        if found.main == self.files.main and found != self.files:
            _abandon(connection, found.main, "its log was removed while it was in use; restart the process")
        else:
            connection.close()


class Pool:
    """All slots of one database: one for the connection that writes, and others for those that read."""

    def __init__(self, writer: Slot) -> None:
        self.writer = writer
        self.slots = [writer]
        self._pid = os.getpid()
        _notice_fork()
        _POOLS.add(self)

    def close(self) -> None:
        """Close all connections, each as soon as nobody uses it. After a fork they are the parent's, and stay."""
        if os.getpid() != self._pid:
            return
        for slot in list(self.slots):
            with slot.lock:
                slot.close()
        _POOLS.discard(self)

    def close_idle(self) -> None:
        """Close every connection that no other thread is using: other processes find files that nobody has open."""
        for slot in list(self.slots):
            if slot.lock.acquire(blocking=False):
                try:
                    slot.close()
                finally:
                    slot.lock.release()


_POOLS: Final[set[Pool]] = set()


def _check_usable(place: Place, main: FileId | None) -> None:
    if main is None:
        raise StorageUnavailable(f"{place.path} cannot be opened: there is no such file")
    if why := _UNUSABLE_FILES.get(main):
        raise StorageUnavailable(f"{place.path} cannot be used by this process any more: {why}")


def _empty_log(connection: sqlite3.Connection) -> None:
    """Move the log into the file that it belongs to, wherever that is now, so that no other file takes it for its own.

    SQLite itself does nothing of the kind when it closes a file that was moved.
    """
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _abandon(connection: sqlite3.Connection, main: FileId | None, why: str) -> None:
    """Leave a connection open until the process ends.

    Closing it would move a log that nobody else sees into a file that others may have written to meanwhile, and delete
    the log that they write to now.
    """
    # A reference that is never given back, as the interpreter closes what is left when it exits.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    if main is not None:
        _UNUSABLE_FILES[main] = why


# --- forks -----------------------------------------------------------------------------------------------------------

_process = os.getpid()


class _Held(local):
    """The locks that this thread holds for its fork; other threads may be forking at the same time."""

    def __init__(self) -> None:
        self.locks: list[RLock] = []


_held: Final = _Held()
#: The threads that wait until they can fork.
_forking: Final[set[int]] = set()


def let_forks_through() -> None:
    """Wait a moment if a thread waits to fork, as it might never find all connections unused otherwise.

    Not for longer than a moment, as this thread may be one that it waits for.
    """
    for _ in range(_STEPS_ASIDE):
        if not _forking:
            return
        sleep(_STEP)


def _before_fork() -> None:
    """Wait until no other thread uses a connection, let none begin to, and close all."""
    _forking.add(get_ident())
    while not _hold_all():
        pass
    for pool in list(_POOLS):
        for slot in pool.slots:
            # In use by this very thread, if a signal handler forks: then the child must not open this file.
            if not slot.in_use:
                slot.close()


def _hold_all() -> bool:
    for lock in _all_locks():
        # First, so that it is given back even if a signal interrupts this in between.
        _held.locks.append(lock)
        if not lock.acquire(timeout=_FORK_PATIENCE):
            _held.locks.pop()
            _release_all()
            return False
    return True


def _all_locks() -> Iterator[RLock]:
    yield _OPENING
    # It is held now, so that a slot which is made later has no connection.
    for pool in list(_POOLS):
        for slot in list(pool.slots):
            yield slot.lock


def _after_fork() -> None:
    _forking.discard(get_ident())
    _release_all()


def _release_all() -> None:
    while _held.locks:
        with suppress(RuntimeError):  # Not acquired, as a signal came in between.
            _held.locks.pop().release()


def _notice_fork() -> None:
    """Notice a fork that Python was not told of, as programs written in C can make one."""
    if os.getpid() != _process:
        _after_fork_in_child()


def _after_fork_in_child() -> None:
    global _process  # noqa: PLW0603 - one process, one number
    _process = os.getpid()
    for slot in (slot for pool in _POOLS for slot in pool.slots):
        if slot.connection is not None:
            _abandon(slot.connection, slot.files.main, "it was in use when the process was forked; start a new process")
    _POOLS.clear()
    _forking.clear()
    _release_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)

"""Translation of SQLite's errors to Harken's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harken.domain.errors import StorageClosed, StorageCorrupt, StorageError, StorageUnavailable
from harken_adapters.storage.failures import NOTHING_WRITTEN, Failure

_PRIMARY: Final = 0xFF  # An extended error code holds the primary one in its lowest byte.
_FAILURES: Final = {
    sqlite3.SQLITE_BUSY: Failure(
        StorageUnavailable, "is locked by another process", NOTHING_WRITTEN, remedy="try again"
    ),
    sqlite3.SQLITE_LOCKED: Failure(StorageUnavailable, "is locked", NOTHING_WRITTEN, remedy="try again"),
    sqlite3.SQLITE_CORRUPT: Failure(
        StorageCorrupt, "is damaged", remedy="restore it from a backup, or export the readable data"
    ),
    sqlite3.SQLITE_NOTADB: Failure(StorageCorrupt, "is damaged or is not an SQLite database"),
    sqlite3.SQLITE_CANTOPEN: Failure(
        StorageUnavailable, "cannot be opened", remedy="check the folder and its permissions"
    ),
    sqlite3.SQLITE_PERM: Failure(StorageUnavailable, "cannot be accessed", remedy="check its permissions"),
    sqlite3.SQLITE_READONLY: Failure(StorageUnavailable, "is read-only", remedy="check its permissions"),
    sqlite3.SQLITE_FULL: Failure(StorageUnavailable, "has no space left on its disk", NOTHING_WRITTEN),
    sqlite3.SQLITE_IOERR: Failure(StorageUnavailable, "cannot be read or written", remedy="check its disk"),
}
_OTHER: Final = Failure(StorageError, "failed")


def is_busy(error: sqlite3.Error) -> bool:
    """Whether the error was caused by another connection's lock, so that a retry may succeed."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY == sqlite3.SQLITE_BUSY


@contextmanager
def translate_errors(path: Path, *, writes: bool = True) -> Iterator[None]:
    """Raise SQLite's errors as Harken's errors. Without ``writes``, they do not say what became of a write."""
    try:
        yield
    except sqlite3.Error as error:
        raise translation(path, error, writes=writes) from error


def translation(path: Path, error: sqlite3.Error, *, writes: bool = True) -> StorageError:
    """Return the Harken error for one of SQLite's errors. Without ``writes``, it does not mention a write."""
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return StorageClosed(f"{path} was closed; connect again")
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    failure = _FAILURES.get(code, _OTHER)
    return failure.error(f"{path} {failure.describe(writes=writes)} (SQLite says: {error})")

"""Translation of SQLite's errors to Harken's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harken.domain.errors import StorageClosed, StorageCorrupt, StorageError, StorageUnavailable

_PRIMARY: Final = 0xFF  # An extended error code holds the primary one in its lowest byte.
_TABLE: Final[dict[int, tuple[type[StorageError], str]]] = {
    sqlite3.SQLITE_BUSY: (StorageUnavailable, "is locked by another process; nothing was written, try again"),
    sqlite3.SQLITE_LOCKED: (StorageUnavailable, "is locked; nothing was written, try again"),
    sqlite3.SQLITE_CORRUPT: (StorageCorrupt, "is damaged; restore it from a backup, or export the readable data"),
    sqlite3.SQLITE_NOTADB: (StorageCorrupt, "is damaged or is not an SQLite database"),
    sqlite3.SQLITE_CANTOPEN: (StorageUnavailable, "cannot be opened; check the folder and its permissions"),
    sqlite3.SQLITE_PERM: (StorageUnavailable, "cannot be accessed; check its permissions"),
    sqlite3.SQLITE_READONLY: (StorageUnavailable, "is read-only; check its permissions"),
    sqlite3.SQLITE_FULL: (StorageUnavailable, "has no space left on its disk; nothing was written"),
    sqlite3.SQLITE_IOERR: (StorageUnavailable, "cannot be read or written; check its disk"),
}


def is_busy(error: sqlite3.Error) -> bool:
    """Whether the error was caused by another connection's lock, so that a retry may succeed."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY == sqlite3.SQLITE_BUSY


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as Harken's errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise translation(path, error) from error


def translation(path: Path, error: sqlite3.Error) -> StorageError:
    """Return the Harken error for one of SQLite's errors."""
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return StorageClosed(f"{path} was closed; connect again")
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    kind, what = _TABLE.get(code, (StorageError, "failed"))
    return kind(f"{path} {what} (SQLite says: {error})")

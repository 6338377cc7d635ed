"""Translation of SQLite's errors to Harken's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harken.domain.errors import StorageClosed, StorageCorrupt, StorageError, StorageUnavailable

_REFUSED: Final = "nothing was written"
_PRIMARY: Final = 0xFF  # An extended error code holds the primary one in its lowest byte.
_TABLE: Final[dict[int, tuple[type[StorageError], str]]] = {
    sqlite3.SQLITE_BUSY: (StorageUnavailable, f"is locked by another process; {_REFUSED}, try again"),
    sqlite3.SQLITE_LOCKED: (StorageUnavailable, f"is locked; {_REFUSED}, try again"),
    sqlite3.SQLITE_CORRUPT: (StorageCorrupt, "is damaged; restore it from a backup, or export the readable data"),
    sqlite3.SQLITE_NOTADB: (StorageCorrupt, "is damaged or is not an SQLite database"),
    sqlite3.SQLITE_CANTOPEN: (StorageUnavailable, "cannot be opened; check the folder and its permissions"),
    sqlite3.SQLITE_PERM: (StorageUnavailable, "cannot be accessed; check its permissions"),
    sqlite3.SQLITE_READONLY: (StorageUnavailable, "is read-only; check its permissions"),
    sqlite3.SQLITE_FULL: (StorageUnavailable, f"has no space left on its disk; {_REFUSED}"),
    sqlite3.SQLITE_IOERR: (StorageUnavailable, "cannot be read or written; check its disk"),
}


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
    kind, what = _TABLE.get(code, (StorageError, "failed"))
    if not writes:
        what = what.replace(f" {_REFUSED},", "").removesuffix(f"; {_REFUSED}")
    return kind(f"{path} {what} (SQLite says: {error})")

"""Checks before a file is opened for writing, and creation and migration of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from harken.domain.errors import StorageCorrupt, StorageIncompatible, StorageUnavailable
from harken_adapters.storage.sqlite.connections import connect
from harken_adapters.storage.sqlite.files import Place
from harken_adapters.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS

_OLDEST_SQLITE: Final = (3, 38, 0)  # STRICT tables, and -> for JSON.
#: Files up to this size are checked for damage whenever they are opened, which takes about 20 ms.
_CHECKED_SIZE: Final = 8 * 1024 * 1024


def check_library() -> None:
    """Check that the SQLite library is new enough.

    Raises:
        StorageIncompatible: the library is too old.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        needed = ".".join(map(str, _OLDEST_SQLITE))
        raise StorageIncompatible(
            f"This Python has SQLite {sqlite3.sqlite_version}, but Harken needs {needed} or newer; update the library"
        )


def must_exist(path: Path) -> None:
    """Check that the file exists and is not empty, without opening it.

    Raises:
        StorageUnavailable: the file is missing, empty or cannot be reached.
    """
    if _size(path):
        return
    _check_left_log(Place(path))
    state = "is empty" if path.exists() else "does not exist"
    raise StorageUnavailable(f"{path} {state}; check the path, or submit feedback first, which creates it")


def check_file(place: Place, *, timeout: float) -> None:
    """Check that the file is missing, empty, or an undamaged database of Harken. The file is not changed.

    Raises:
        StorageIncompatible: the file was created by another application or a newer version, or is not a database.
        StorageCorrupt: the file is damaged.
        StorageUnavailable: the file cannot be read.
        sqlite3.Error: one of the above, reported by SQLite.
    """
    path = place.path
    size = _size(path)
    if not size:
        _check_left_log(place)
        return
    found = place.files()
    place.check_log_owner(found)
    had_log = found.log is not None
    try:
        # An ordinary connection would write the log into the file when it is closed.
        with closing(connect(path, "ro", timeout=timeout)) as reader:
            _check(path, reader, whole=size <= _CHECKED_SIZE)
    except StorageIncompatible:
        if not had_log and place.files().log is not None:
            # Left by the read-only connection. An ordinary one removes an empty log and changes nothing else.
            _read_once(path, timeout)
        raise
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        # A process was killed in the middle of a transaction, which the next reader has to roll back.
        _read_once(path, timeout)
        check_file(place, timeout=timeout)


def prepare(connection: sqlite3.Connection, path: Path, run: Callable[[str], object]) -> None:
    """Migrate the file to the current schema version, in WAL mode.

    Args:
        connection: a connection to a file that passed :func:`check_file`, or to a new file.
        path: the path of the file, for messages.
        run: executes a statement that needs a lock, and retries while others hold it.

    Raises:
        StorageIncompatible: the file was just created by another application or a newer version.
        StorageUnavailable: the folder does not support a write-ahead log.
        sqlite3.Error: SQLite failed; nothing was changed.
    """
    # First, so that all that follows is in the log: a process killed at any moment leaves the previous version.
    run("PRAGMA journal_mode = WAL")
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        raise StorageUnavailable(
            f"{path} cannot use a write-ahead log, which needs shared memory; put the file on a local disk"
        )
    if _version(connection) < len(MIGRATIONS):
        run("BEGIN IMMEDIATE")
        try:
            _migrate(connection, path)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    if (version := _version(connection)) > len(MIGRATIONS):
        raise _too_new(path, version)


def missing_parts(connection: sqlite3.Connection) -> dict[str, str]:
    """The triggers and indexes of the current schema that the file lacks: what each is, and the SQL that creates it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        for migration in MIGRATIONS:
            model.executescript(migration)
        expected, found = _parts(model), _parts(connection)
    return {part: sql for part, sql in expected.items() if part not in found}


def _parts(connection: sqlite3.Connection) -> dict[str, str]:
    parts = "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE type IN ('trigger', 'index') AND sql IS NOT NULL"
    return dict(connection.execute(parts).fetchall())


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise StorageUnavailable(f"{path} cannot be opened: the folder {path.parent} does not exist") from None
        return 0
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be read: {error.strerror}") from error
    if not path.is_file():
        raise StorageUnavailable(f"{path} cannot be opened: it is not a file")
    if found.st_nlink > 1:
        # SQLite finds the log by the file's name. With two names there would be two logs, which would destroy the file.
        raise StorageUnavailable(
            f"{path} has a second name (a hard link) under which it could be opened; remove the link, or copy the file"
        )
    return found.st_size


def _check_left_log(place: Place) -> None:
    """Refuse to create a file next to the log of a deleted or renamed one.

    SQLite would delete a log with content. It would use an empty one together with programs that still use the file
    under another name, and they would move the new file's content into theirs.
    """
    found = place.files()
    if (found.log, found.shared) != (None, None):
        name = place.path.name
        raise StorageUnavailable(
            f"{place.path} is missing or empty, but its log {name}-wal ({place.log_size():,} bytes) or {name}-shm is "
            "there; restore the file, or stop the programs that use it under another name and remove both to start "
            "with a new one"
        )


def _check(path: Path, reader: sqlite3.Connection, *, whole: bool) -> None:
    try:
        _check_owner(path, reader)
        if whole:
            (found,) = reader.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise _corrupt(path, " ".join(found.split()))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise StorageIncompatible(
                f"{path} is not an SQLite database and was left untouched; choose another file"
            ) from error
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise _corrupt(path, str(error)) from error
        raise


def _check_owner(path: Path, connection: sqlite3.Connection) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner != APPLICATION_ID and not (owner == 0 and _is_empty(connection)):
        raise StorageIncompatible(
            f"{path} is an SQLite database of another application and was left untouched; choose another file"
        )
    if (version := _version(connection)) > len(MIGRATIONS):
        raise _too_new(path, version)


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether the file has no schema, as after a process was killed before creating it."""
    (things,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return things == 0 and _version(connection) == 0


def _read_once(path: Path, timeout: float) -> None:
    with closing(connect(path, "rw", timeout=timeout)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    # Checked again, as another process may have created or migrated it while this one waited for the lock.
    _check_owner(path, connection)
    for number, migration in enumerate(MIGRATIONS[_version(connection) :], start=_version(connection) + 1):
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in _statements(migration):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script: ``executescript`` would first commit the transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _corrupt(path: Path, why: str) -> StorageCorrupt:
    return StorageCorrupt(f"{path} is damaged and was left untouched: {why}")


def _too_new(path: Path, version: int) -> StorageIncompatible:
    return StorageIncompatible(
        f"{path} was created by a newer version of Harken (schema version {version}, supported: {len(MIGRATIONS)}) "
        "and was left untouched; update Harken"
    )

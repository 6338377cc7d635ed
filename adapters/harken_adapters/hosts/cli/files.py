"""What is written beside the storage: rejected rows, and never over a database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal, TextIO

from harken_adapters.hosts.cli.options import WrongUsage

_COMPANIONS = ("-wal", "-shm", "-journal")


def spare_databases(target: Path) -> None:
    """Refuse to write over a database: it may be the very storage that is read from or imported into.

    SQLite is asked. Opening the file here, and closing it, would take the locks away that this process holds on it.
    """
    try:
        # What is written goes to what a link leads to.
        real = target.resolve()
        if not real.is_file():
            return
        database = real.stat().st_size > 0 and _is_database(real)
        companion = any(
            real.name.endswith(ending) and real.with_name(real.name.removesuffix(ending)).exists()
            for ending in _COMPANIONS
        )
    except OSError as error:
        raise WrongUsage(f"cannot see what {target} is: {error.strerror}; choose another file") from error
    if database:
        raise WrongUsage(f"{target} is an SQLite database, which would be overwritten; choose another file")
    if companion:
        raise WrongUsage(f"{target} belongs to an SQLite database, which would be damaged; choose another file")


def _is_database(target: Path) -> bool:
    with closing(sqlite3.connect(f"{target.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.Error as error:
            return error.sqlite_errorcode != sqlite3.SQLITE_NOTADB
    return True


class Rejects:
    """The file of rejected rows, which is made when the first one comes."""

    def __init__(self, path: Path, *place: str, keep: bool = False) -> None:
        """A file of rows that say where they come from, such as on which ``line``.

        Args:
            path: where it is.
            place: the names of what says where a row comes from.
            keep: whether rows of an earlier run stay in it.
        """
        self.path = path
        self._mode: Literal["a", "w"] = "a" if keep else "w"
        self._names = (*place, "reason", "row")
        self._file: TextIO | None = None

    def add(self, *values: object) -> None:
        """Write down a row: its place, the reason and what it says; in ASCII, so that anything can be said."""
        if self._file is None:
            self._file = self._created()
        self._file.write(f"{json.dumps(dict(zip(self._names, values, strict=True)))}\n")

    def close(self) -> Path | None:
        """The file, if there was anything to write down."""
        if self._file is None:
            return None
        self._file.close()
        return self.path

    def remove_stale(self) -> None:
        """Remove the file of an earlier run; whatever else has its name stays."""
        with suppress(OSError):
            if self.path.is_file() and self._holds_rejects():
                self.path.unlink()

    def _created(self) -> TextIO:
        try:
            return self.path.open(self._mode, encoding="ascii")
        except OSError as error:
            raise WrongUsage(
                f"cannot write rejected rows to {self.path}: {error.strerror}; choose a place with --rejected PATH"
            ) from error

    def _holds_rejects(self) -> bool:
        """Whether there is nothing in the file but rejected rows."""
        with self.path.open("rb") as file:
            try:
                rows = [json.loads(line) for line in file]
            except (ValueError, RecursionError):
                return False
        return bool(rows) and all(isinstance(row, dict) and row.keys() == set(self._names) for row in rows)

"""Output files: results, rejected rows, and the check that no database is overwritten."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, TextIO

from harken_adapters.formats.rejects import is_rejected, to_line
from harken_adapters.formats.tables.source import STANDARD
from harken_adapters.hosts.cli.options import WrongUsage
from harken_adapters.hosts.cli.output import writing

_COMPANIONS = ("-wal", "-shm", "-journal")


def _describe(error: OSError, path: Path) -> str:
    """Why a file cannot be created at the path."""
    folder = path.resolve().parent
    missing = isinstance(error, FileNotFoundError) and not folder.exists()
    return f"the folder {folder} does not exist" if missing else error.strerror or str(error)


def refuse_database(target: Path) -> None:
    """Raise ``WrongUsage`` if the file is an SQLite database or belongs to one.

    SQLite does the check: opening and closing the file here would release the locks that this process holds on it.
    """
    try:
        # Writing to a symbolic link writes to its target.
        real = target.resolve()
        if not real.is_file():
            return
        database = real.stat().st_size > 0 and _is_database(real)
        companion = any(
            real.name.endswith(ending) and real.with_name(real.name.removesuffix(ending)).exists()
            for ending in _COMPANIONS
        )
    except OSError as error:
        raise WrongUsage(f"Cannot inspect {target}: {error.strerror}; choose another file") from error
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


@contextmanager
def open_output(file: str) -> Iterator[BinaryIO]:
    """Open an output, ``-`` for stdout. A regular file is created or replaced only when it is complete."""
    if file == STANDARD:
        with writing():
            yield sys.stdout.buffer
        return
    # Replace the target of a symbolic link, not the link.
    path = Path(file).resolve()
    # Devices and pipes, such as /dev/null, are written to directly.
    unfinished = path if path.exists() and not path.is_file() else path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        data = unfinished.open("wb")
    except OSError as error:
        raise WrongUsage(f"Cannot write {file}: {_describe(error, path)}") from error
    if unfinished == path:
        with data:
            yield data
        return
    try:
        with data:
            yield data
            data.flush()
            os.fsync(data.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class Rejects:
    """The file of rejected rows. It is created with the first row."""

    def __init__(self, path: Path, *places: Sequence[str], keep: bool = False) -> None:
        """Open nothing yet.

        Args:
            path: the file to write.
            places: the names of the values that locate a row, see :mod:`harken_adapters.formats.rejects`. By them,
                the file of an earlier run is recognised.
            keep: whether to append to the file of an earlier run.
        """
        self.path = path
        self._mode: Literal["a", "w"] = "a" if keep else "w"
        self._places = places
        self._file: TextIO | None = None

    def add(
        self, place: Mapping[str, object], reason: str, row: object, *, read_as: Mapping[str, object] | None = None
    ) -> None:
        """Add a row, with the values that locate it by name, and how it was read. The file is ASCII."""
        if self._file is None:
            self._file = self._open()
        self._file.write(f"{to_line(place, reason, row, read_as)}\n")

    def close(self) -> Path | None:
        """Close the file. Returns its path, or ``None`` if no row was added."""
        if self._file is None:
            return None
        self._file.close()
        return self.path

    def remove_stale(self) -> None:
        """Remove the file of an earlier run. Any other file of that name is kept."""
        with suppress(OSError):
            if self.path.is_file() and self._holds_rejects():
                self.path.unlink()

    def _open(self) -> TextIO:
        try:
            return self.path.open(self._mode, encoding="ascii")
        except OSError as error:
            raise WrongUsage(
                f"Cannot write rejected rows to {self.path}: {_describe(error, self.path)}; choose another path "
                "with --rejected"
            ) from error

    def _holds_rejects(self) -> bool:
        """Whether the file consists of rejected rows only."""
        with self.path.open("rb") as file:
            try:
                rows = [json.loads(line) for line in file]
            except (ValueError, RecursionError):
                return False
        return bool(rows) and all(is_rejected(row, self._places) for row in rows)

"""Output files: results, rejected rows, and the check that no database is overwritten."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, Final

from harken_adapters.formats.rejects import is_difference, is_rejected, to_line
from harken_adapters.formats.tables.source import STANDARD
from harken_adapters.hosts.cli.options import WrongUsage
from harken_adapters.hosts.cli.output import writing

_COMPANIONS = ("-wal", "-shm", "-journal")
_BLOCK: Final = 1 << 18


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


class UnwritableRejects(OSError):
    """Rejected rows could not be written."""


class Rejects:
    """The file of rejected rows, which appears when it is closed. Those of an earlier run may have been corrected.

    So the file of an earlier run is never lost: if it does not begin the new one, it gets another name.

    Attributes:
        path: the file.
        written: the path, once it is closed; ``None`` if no row was added.
        earlier: the rejected rows of an earlier run, once it is closed: at ``path`` if no row was added, otherwise
            under the name that they got; ``None`` if there are none.
    """

    def __init__(self, path: Path, *, keep: bool = False, dry_run: bool = False) -> None:
        """Open nothing yet.

        Args:
            path: the file to write.
            keep: whether to add the rows to those of an earlier run.
            dry_run: whether nothing is written.
        """
        self.path = path
        self.written: Path | None = None
        self.earlier: Path | None = None
        self._keep = keep
        self._dry_run = dry_run
        self._unfinished = path.parent / f".{path.name}.{token_hex(4)}.tmp"
        self._file: BinaryIO | None = None
        self._is_direct = False
        self._error: OSError | None = None

    def check(self) -> None:
        """Refuse a path to which rejected rows cannot be written, or which has another file. Nothing is changed.

        Raises:
            WrongUsage: the path is refused; the message says why.
        """
        refuse_database(self.path)
        try:
            problem = self._problem()
            if not (problem or self._dry_run or self._is_device):
                self._unfinished.open("xb").close()
                self._unfinished.unlink()
        except OSError as error:
            problem = f"Cannot write rejected rows to {self.path}: {_describe(error, self.path)}"
        if problem:
            raise WrongUsage(f"{problem}; choose another path with --rejected")

    def add(
        self, place: Mapping[str, object], reason: str, row: object, *, read_as: Mapping[str, object] | None = None
    ) -> None:
        """Add a row, with the values that locate it by name, and how it was read. The file is ASCII.

        An error is raised by :meth:`flush` and :meth:`close`, as the other rows of a batch are already stored.
        """
        if self._error or self._dry_run:
            return
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(f"{to_line(place, reason, row, read_as)}\n".encode("ascii"))
        except OSError as error:
            self._error = error

    def flush(self) -> None:
        """Write the rows that were added.

        Raises:
            UnwritableRejects: they, or earlier ones, cannot be written.
        """
        try:
            if self._file and not self._error:
                self._file.flush()
        except OSError as error:
            self._error = error
        if self._error:
            raise UnwritableRejects(
                f"Cannot write rejected rows to {self.path}: {_describe(self._error, self.path)}"
            ) from self._error

    def close(self) -> None:
        """Close the file, and give it its name.

        Raises:
            UnwritableRejects: the rows cannot be written.
        """
        try:
            self.flush()
        except UnwritableRejects:
            self._discard()
            raise
        if self._file is None:
            if not (self._keep or self._dry_run) and self.path.is_file() and self.path.stat().st_size:
                self.earlier = self.path
            return
        self._file.close()
        if not self._is_direct:
            try:
                self._publish()
            except OSError as error:
                reason = error.strerror or str(error)
                raise UnwritableRejects(
                    f"Cannot write rejected rows to {self.path}: {reason}; they are in {self._unfinished}"
                ) from error
        self.written = self.path

    def record(self) -> dict[str, str | None]:
        """The files in a JSON result."""
        return {
            "rejected_file": str(self.written) if self.written else None,
            "earlier_rejected_file": str(self.earlier) if self.earlier else None,
        }

    @property
    def remark(self) -> str:
        """What became of the rejected rows of an earlier run, for people; empty if there are none."""
        if self.earlier is None:
            return ""
        if self.earlier == self.path:
            return f"{self.path} is from an earlier run; this one rejected nothing"
        return f"Rejected rows of an earlier run differ, and are now in {self.earlier}"

    @property
    def _is_device(self) -> bool:
        """Whether rows are written to the path directly, as it is a device or a pipe."""
        return self.path.exists() and not (self.path.is_file() or self.path.is_dir())

    def _problem(self) -> str:
        """Why rejected rows must not be written to what is at the path; empty if there is no reason."""
        if self._is_device:
            return "" if os.access(self.path, os.W_OK) else f"Cannot write rejected rows to {self.path}: not permitted"
        if self.path.is_symlink():
            return f"{self.path} is a link, which would be replaced"
        if self.path.is_dir():
            return f"{self.path} is a folder"
        if self.path.exists() and not _holds_rejects(self.path):
            return f"{self.path} exists, and is not a file of rejected rows"
        return ""

    def _open(self) -> BinaryIO:
        self._is_direct = self._is_device
        if self._is_direct:
            return self.path.open("wb")
        file = self._unfinished.open("xb")
        if self._keep and self.path.exists():
            with self.path.open("rb") as earlier:
                shutil.copyfileobj(earlier, file)
            if not _ends_line(self.path):
                file.write(b"\n")
        return file

    def _discard(self) -> None:
        """Remove an unfinished file."""
        with suppress(OSError):
            if self._file:
                self._file.close()
        with suppress(OSError):
            self._unfinished.unlink(missing_ok=True)

    def _publish(self) -> None:
        """Give the finished file its name, unless the file of that name has the same content."""
        if self.path.exists():
            if not _begins_with(self._unfinished, self.path):
                self.earlier = self._set_aside()
            elif self._unfinished.stat().st_size == self.path.stat().st_size:
                self._unfinished.unlink()
                return
        self._unfinished.replace(self.path)

    def _set_aside(self) -> Path:
        """Rename the file of an earlier run. Returns its new path, which was free."""
        names = (self.path.with_name(f"{self.path.stem}.{number}{self.path.suffix}") for number in count(1))
        return self.path.replace(next(filter(_reserve, names)))


def _reserve(path: Path) -> bool:
    """Create an empty file, which renaming may replace. Returns whether there was none of this name."""
    try:
        path.open("xb").close()
    except FileExistsError:
        return False
    return True


def _holds_rejects(path: Path) -> bool:
    """Whether a file consists of rejected rows and blank lines only, or is empty."""
    with path.open("rb") as file:
        try:
            return all(is_rejected(row) or is_difference(row) for row in map(json.loads, filter(bytes.strip, file)))
        except (ValueError, RecursionError):
            return False


def _begins_with(path: Path, beginning: Path) -> bool:
    """Whether a file begins with the content of another one."""
    with path.open("rb") as file, beginning.open("rb") as other:
        while block := other.read(_BLOCK):
            if file.read(len(block)) != block:
                return False
    return True


def _ends_line(path: Path) -> bool:
    """Whether a file is empty or ends with a line break."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        return file.read() in (b"", b"\n")

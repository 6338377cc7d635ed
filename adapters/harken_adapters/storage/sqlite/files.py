"""Which files a database consists of, and whether its path still leads to them."""

from __future__ import annotations

import os
from pathlib import Path
from time import time_ns
from typing import Final, NamedTuple

from attrs import define, field

from harken.domain.errors import StorageUnavailable

#: The device and the number of a file on it: what stays the same for as long as anyone has the file open.
FileId = tuple[int, int]

#: File systems count time in ticks, of up to some ten milliseconds; changes in one tick have the same time.
_SETTLING_NS: Final = 1_000_000_000

_LOG: Final = "-wal"
_INDEX: Final = "-shm"


class Files(NamedTuple):
    """The database, its write-ahead log, and the log's index in shared memory; ``None`` for one that is not there."""

    main: FileId | None = None
    log: FileId | None = None
    shared: FileId | None = None

    @property
    def complete(self) -> bool:
        """Whether all three are there."""
        return None not in (self.main, self.log, self.shared)


@define
class Place:
    """Where a database is.

    Only ever asked for metadata: opening one of the files outside of SQLite, and closing it again, would drop every
    lock that this process holds on it for SQLite's connections.
    """

    path: Path
    _names: tuple[str, str, str] = field(init=False, repr=False)

    @_names.default
    def _find_names(self) -> tuple[str, str, str]:
        # SQLite follows links, and keeps the log beside the file that they lead to.
        real = os.path.realpath(self.path)
        return str(self.path), real + _LOG, real + _INDEX

    _is_link: bool = field(init=False, repr=False)

    @_is_link.default
    def _find_out(self) -> bool:
        return os.path.islink(self.path)  # noqa: PTH114 - false, not an error, for a name that no file can have

    #: What was found in place, and the folder as it was then.
    _settled: tuple[Files, _Folder] | None = field(init=False, default=None, repr=False)

    def files(self) -> Files:
        """The files that the path leads to now."""
        main, log, shared = self._names
        return Files(_id_of(main), _id_of(log), _id_of(shared))

    def log_size(self) -> int:
        """How many bytes are in the log; 0 if there is none."""
        try:
            return os.stat(self._names[1]).st_size  # noqa: PTH116 - as below
        except OSError:
            return 0

    def check(self, opened: Files) -> None:
        """Raise unless the path leads to the files that were opened.

        What is written to any other is lost, or damages what was put into its place.

        Raises:
            StorageUnavailable: it does not; the message says which of them is gone.
        """
        if self._is_unchanged(opened):
            return
        # Before the files, so that what happens meanwhile is noticed the next time.
        folder = _folder_of(self._names[self._is_link])
        found = self.files()
        if found == opened:
            self._settled = (opened, folder) if folder is not None and folder.is_settled() else None
            return
        self.check_main(opened.main, found)
        raise StorageUnavailable(
            f"{self.path} lost its {_LOG} or {_INDEX} file while it was in use; nothing more is written to it or read "
            "from it by this process, restart it"
        )

    def _is_unchanged(self, opened: Files) -> bool:
        """Whether nothing was made, removed or renamed in the folder since these files were found in place.

        Only the folder is asked, and the database if a link leads to it from elsewhere. To ask for the log each time
        would make each write to it slower, as file systems keep exact times for files whose times somebody looks at.
        """
        if self._settled is None or self._settled[0] != opened:
            return False
        if self._is_link and _id_of(self._names[0]) != opened.main:
            return False
        return _folder_of(self._names[self._is_link]) == self._settled[1]

    def check_main(self, opened: FileId | None, found: Files | None = None) -> None:
        """The same for the database itself; its log may be another file.

        Raises:
            StorageUnavailable: the path leads to nothing, or to another file.
        """
        found = found or self.files()
        if found.main is None:
            raise StorageUnavailable(
                f"{self.path} was deleted or renamed while it was in use; nothing is written to it or read from it "
                "until it is back, or until you connect again"
            )
        if found.main != opened:
            raise StorageUnavailable(
                f"{self.path} was replaced by another file while it was in use; nothing is written or read, connect "
                "again to use the file that is there now"
            )


class _Folder(NamedTuple):
    """A folder, and when something was last made, removed or renamed in it."""

    file_id: FileId
    changed_ns: int

    def is_settled(self) -> bool:
        """Whether its last change is so long ago that the next one will have another time."""
        return os.name == "posix" and time_ns() - self.changed_ns > _SETTLING_NS


def _folder_of(name: str) -> _Folder | None:
    try:
        found = os.stat(os.path.dirname(name))  # noqa: PTH116, PTH120 - as below
    except OSError:
        return None
    return _Folder((found.st_dev, found.st_ino), found.st_ctime_ns)


def _id_of(name: str) -> FileId | None:
    try:
        found = os.stat(name)  # noqa: PTH116 - before and after every commit, and several times as fast as a Path's
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageUnavailable(f"{name} cannot be reached: {error.strerror}") from error
    return found.st_dev, found.st_ino

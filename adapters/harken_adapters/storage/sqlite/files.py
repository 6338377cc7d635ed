"""The files of a database, and checks that its path still leads to them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from time import time_ns
from typing import Final, NamedTuple

from attrs import define, field

from harken.domain.errors import StorageUnavailable

#: The device and the inode: constant as long as the file is open anywhere.
FileId = tuple[int, int]

#: File systems count time in ticks of up to some ten milliseconds; changes within one tick have the same time.
_SETTLING_NS: Final = 1_000_000_000

_LOG: Final = "-wal"
_INDEX: Final = "-shm"
#: An extended attribute of a log: the inodes of its database and of the log itself, as a copy of the log has another.
_OWNER: Final = "user.harken.database"


class Files(NamedTuple):
    """The database, its write-ahead log, and the log's shared-memory index; ``None`` for a missing file."""

    main: FileId | None = None
    log: FileId | None = None
    shared: FileId | None = None

    @property
    def complete(self) -> bool:
        """Whether all three files exist."""
        return None not in (self.main, self.log, self.shared)


@define
class Place:
    """The location of a database.

    Only metadata is read: opening one of the files outside of SQLite and closing it again would drop every lock that
    this process holds on it for SQLite's connections.
    """

    path: Path
    _names: tuple[str, str, str] = field(init=False, repr=False)

    @_names.default
    def _find_names(self) -> tuple[str, str, str]:
        # SQLite follows links and keeps the log next to the target.
        real = os.path.realpath(self.path)
        return str(self.path), real + _LOG, real + _INDEX

    _is_link: bool = field(init=False, repr=False)

    @_is_link.default
    def _find_out(self) -> bool:
        return os.path.islink(self.path)  # noqa: PTH114 - False instead of an error for an impossible name

    #: The files that passed the last check, and the state of the folder at that time.
    _settled: tuple[Files, _Folder] | None = field(init=False, default=None, repr=False)

    def files(self) -> Files:
        """Return the files that the path currently leads to."""
        main, log, shared = self._names
        return Files(_id_of(main), _id_of(log), _id_of(shared))

    def log_size(self) -> int:
        """Return the size of the log in bytes; 0 if it does not exist."""
        try:
            return os.stat(self._names[1]).st_size  # noqa: PTH116 - as below
        except OSError:
            return 0

    def log_owner(self, opened: Files) -> int | None:
        """Return the inode of the database that the log belongs to, or ``None`` if that is unknown.

        SQLite takes any log at this path for the log of the database at this path. That would damage a database that
        replaced another one, and programs that still have the other one open would later move the changes of the new
        database into the other one.
        """
        if sys.platform != "linux" or opened.log is None:
            return None
        try:
            owner, log = map(int, os.getxattr(self._names[1], _OWNER).split())
        except (OSError, ValueError):
            return None
        return owner if log == opened.log[1] else None

    def check_log_owner(self, found: Files) -> None:
        """Check that the log does not belong to another database.

        Raises:
            StorageUnavailable: it does.
        """
        if self.log_owner(found) not in (None, found.main and found.main[1]):
            name = self.path.name
            raise StorageUnavailable(
                f"{self.path} replaced another file whose log, {name}{_LOG}, is still there; stop the programs that "
                f"use the other file, and remove {name}{_LOG} and {name}{_INDEX} if they remain"
            )

    def claim_log(self, opened: Files) -> None:
        """Record in the log which database it belongs to, where the system and the file system support it."""
        if sys.platform != "linux" or opened.main is None or opened.log is None or self.log_owner(opened) is not None:
            return
        with suppress(OSError):
            os.setxattr(self._names[1], _OWNER, b"%d %d" % (opened.main[1], opened.log[1]))

    def remove_log(self, opened: Files) -> None:
        """Remove the empty log and the index of a database that is no longer at this path.

        Otherwise no new file could be created here, see :func:`.opening.check_file`. Programs that still have the moved
        database open find that it is gone, and write nothing to it.
        """
        if sys.platform == "win32" or opened.main is None:
            return
        import fcntl  # noqa: PLC0415 - Windows does not have it, and does not let an open file be moved

        # SQLite locks the database and the index, so opening the log drops none of its locks.
        with suppress(OSError), open(self._names[1], "rb") as log:  # noqa: PTH123 - as below
            # Others may be about to remove it too, and then another process may create a new one.
            fcntl.flock(log, fcntl.LOCK_EX)
            found = self.files()
            is_left = found.main is None or (found.main != opened.main and self.log_owner(opened) == opened.main[1])
            if is_left and (found.log, found.shared) == (opened.log, opened.shared) and not self.log_size():
                os.unlink(self._names[1])  # noqa: PTH108 - as below
                os.unlink(self._names[2])  # noqa: PTH108

    def check(self, opened: Files) -> None:
        """Raise unless the path leads to the files that were opened.

        Writes to any other files would be lost, or would damage the files that replaced them.

        Raises:
            StorageUnavailable: a file is missing or was replaced; the message names it.
        """
        if self._is_unchanged(opened):
            return
        # Read before the files, so that a change during the check is noticed by the next one.
        folder = _folder_of(self._names[self._is_link])
        found = self.files()
        if found == opened:
            self._settled = (opened, folder) if folder is not None and folder.is_settled() else None
            return
        self.check_main(opened.main, found)
        raise StorageUnavailable(
            f"{self.path} lost its {_LOG} or {_INDEX} file while it was in use; this process can no longer use "
            "it; restart the process"
        )

    def _is_unchanged(self, opened: Files) -> bool:
        """Whether nothing was created, removed or renamed in the folder since these files were checked.

        Only the folder is examined, and the database if a link leads to it from elsewhere. Examining the log each time
        would slow down writes to it, as file systems keep exact times for files whose times are read.
        """
        # Read once, as other threads set it.
        settled = self._settled
        if settled is None or settled[0] != opened:
            return False
        if self._is_link and _id_of(self._names[0]) != opened.main:
            return False
        return _folder_of(self._names[self._is_link]) == settled[1]

    def check_main(self, opened: FileId | None, found: Files | None = None) -> None:
        """Like :meth:`check` for the database file only; its log may be another file.

        Raises:
            StorageUnavailable: the file is missing or was replaced.
        """
        found = found or self.files()
        if found.main is None:
            raise StorageUnavailable(
                f"{self.path} was deleted or renamed while it was in use; nothing is written to it or read from it "
                "until it is back, or until you close all connections and connect again"
            )
        if found.main != opened:
            raise StorageUnavailable(
                f"{self.path} was replaced by another file while it was in use; nothing is written or read, connect "
                "again to use the new file"
            )


class _Folder(NamedTuple):
    """A folder, and the time when something in it was last created, removed or renamed."""

    file_id: FileId
    changed_ns: int

    def is_settled(self) -> bool:
        """Whether the last change is so long ago that the next one will have another time."""
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

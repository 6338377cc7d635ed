"""``journal:///path``: a storage that is one file, to which every change is appended before it is made.

What is read comes from memory, where the storage behind ``memory://`` keeps everything. Opening the file makes all
changes again, in their order, and so comes to the same state.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import IO, Any
from urllib.parse import unquote
from zlib import crc32

from attrs import NOTHING, fields
from journal_lines import from_line, to_line

import harken.configuration.storage_urls
from harken.domain.errors import (
    ConfigurationError,
    StorageClosed,
    StorageCorrupt,
    StorageIncompatible,
    StorageUnavailable,
)
from harken.domain.events import DeliveryState
from harken.ports.storage import Storage

PREFIX = "journal:///"
HEADER = b"harken-journal 1\n"
# Methods that change nothing. Any other gets a line: one line too many does no harm, one too few loses something.
READS = {"agent", "agents", "all", "applications", "changes", "count", "deliveries", "delivery", "events", "find"}
READS |= {"get", "get_many", "keys", "latest", "messages", "sessions", "speakers", "stream", "summarize", "watching"}


@contextmanager
def open_storage(url: str) -> Iterator[Storage]:
    """The storage in the file that ``url`` names, such as ``journal:///feedback.journal``; one process at a time."""
    path = unquote(url[len(PREFIX) :])
    if not url.lower().startswith(PREFIX) or not path.strip("/") or "\0" in path:
        raise ConfigurationError(f"{url!r} names no file; expected something like 'journal:///feedback.journal'")
    with (
        harken.open_storage("memory://") as in_memory,
        opened(place := Path(path).absolute()) as file,
        closing(Journal(place, file, in_memory)) as journal,
    ):
        names = [part.name for part in fields(Storage) if part.default is NOTHING]
        repositories: dict[str, Any] = {name: Journaled(name, journal, getattr(in_memory, name)) for name in names}
        repositories["outbox"] = JournaledOutbox("outbox", journal, in_memory.outbox)
        yield Storage(**repositories)


class Journaled:
    """A repository that reads from memory and writes through the journal."""

    def __init__(self, name: str, journal: "Journal", in_memory: Any) -> None:
        self._write = partial(journal.write, name)
        self._in_memory = in_memory

    def __getattr__(self, method: str) -> Any:
        return getattr(self._in_memory, method) if method in READS else partial(self._write, method)


class JournaledOutbox(Journaled):
    """A relay asks every second, mostly for nothing, and that should leave no line."""

    def claim(self, channel: str, *, now: datetime, **how: Any) -> Any:
        """See the port."""
        first = self._in_memory.deliveries(DeliveryState.PENDING, channel=channel, limit=1)
        return self._write("claim", channel, now=now, **how) if first and first[0].due_at <= now else []


class Journal:
    """The file: a header, then a line for each change, which begins with its checksum."""

    def __init__(self, path: Path, file: IO[bytes], storage: Storage) -> None:
        self._path = path
        self._file = file
        self._storage = storage
        self._lock = Lock()
        with translated(path):
            self._replay()

    def write(self, repository: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Make a change: first in the file, then in memory, so that nobody ever reads what a crash could undo.

        Changes take turns, so that they are made in the order in which they stand in the file.
        """
        line = to_line((repository, method, args, kwargs))
        # Made of the line, so that what is done now is what will be done when the file is opened again.
        change = self._change(line)
        with self._lock:
            self._append(b"%08x %s\n" % (crc32(line), line))
            return change()

    def close(self) -> None:
        """Write nothing more."""
        with self._lock:
            self._file.close()

    def _change(self, line: bytes) -> Callable[[], Any]:
        repository, method, args, kwargs = from_line(line)
        return partial(getattr(getattr(self._storage, repository), method), *args, **kwargs)

    def _append(self, line: bytes) -> None:
        if self._file.closed:
            raise StorageClosed(f"{self._path} was closed")
        try:
            with translated(self._path):
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
                check_place(self._path, self._file)
        except StorageUnavailable:
            # Nobody knows how much of the line is there. Whoever opens the file again will see.
            with suppress(OSError):
                self._file.close()
            raise

    def _replay(self) -> None:
        header = self._file.read(len(HEADER))
        if not HEADER.startswith(header):
            raise StorageIncompatible(f"{self._path} is no journal; it is left untouched")
        good = len(header) if header == HEADER else 0
        for line in self._file:
            checksum, _, content = line.removesuffix(b"\n").partition(b" ")
            if not line.endswith(b"\n") or checksum != b"%08x" % crc32(content):
                if self._file.read(1):
                    raise StorageCorrupt(f"{self._path} is damaged at byte {good}; it is left untouched")
                break  # A crash tore the last line. Nobody was told that it is durable.
            change = self._change(content)
            with suppress(Exception):  # What was refused then is refused again, and changes nothing again.
                change()
            good += len(line)
        self._file.truncate(good)
        self._append(b"" if good else HEADER)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, made if it is not there, which no other process can open meanwhile."""
    with translated(path):
        file = path.open("a+b")
    with file:
        with translated(path):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sync_folder(path.parent)
        file.seek(0)
        yield file


def check_place(path: Path, file: IO[bytes]) -> None:
    """Whether the path still leads to the open file: what is written to one that was moved is lost."""
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise StorageUnavailable(f"{path} was replaced while it was in use")


def sync_folder(folder: Path) -> None:
    """Make durable that a file is there at all."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """No error of the operating system leaves the adapter as it is."""
    try:
        yield
    except BlockingIOError as error:
        raise StorageUnavailable(f"{path} is open in another process, or twice in this one") from error
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be used: {error}") from error

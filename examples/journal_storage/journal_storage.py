"""``journal:///path``: a storage in one file. Each change is appended to the file before it is applied.

Reads are served by an in-memory storage. Opening the file replays all changes in order, which restores the same state.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import RLock
from typing import IO, Any
from urllib.parse import unquote
from zlib import crc32

from attrs import NOTHING, fields
from journal_lines import Become, from_line, to_line

import harken
from harken.ports import (
    ConfigurationError,
    DeliveryQuery,
    DeliveryState,
    Storage,
    StorageClosed,
    StorageCorrupt,
    StorageIncompatible,
    StorageUnavailable,
)

PREFIX = "journal:///"
HEADER = b"harken-journal 1\n"
# Methods that only read. Calls of all others are journaled: an unnecessary line is harmless, a missing one loses data.
READS = {"agent", "agents", "all", "applications", "causes", "changes", "count", "counts", "deliveries", "delivery"}
READS |= {"events", "events_about", "find", "get", "get_many", "keys", "latest", "messages", "sessions", "speakers"}
READS |= {"ratings_by_author", "stream", "summarize", "term_counts", "watching"}


@contextmanager
def open_storage(url: str) -> Iterator[Storage]:
    """Open the storage in the file that ``url`` names; only one process can have it open."""
    path = unquote(url[len(PREFIX) :])
    if not url.lower().startswith(PREFIX) or not path.strip("/") or "\0" in path:
        raise ConfigurationError(f"{url!r} does not name a file; expected something like 'journal:///feedback.journal'")
    with (
        harken.open_storage("memory://") as in_memory,
        open_file(place := Path(path).absolute()) as file,
        closing(Journal(place, file, in_memory)) as journal,
    ):
        names = [part.name for part in fields(Storage) if part.default is NOTHING]
        repositories: dict[str, Any] = {name: Journaled(name, journal, getattr(in_memory, name)) for name in names}
        repositories["outbox"] = JournaledOutbox("outbox", journal, in_memory.outbox)
        repositories["sessions"] = JournaledSessions("sessions", journal, in_memory.sessions)
        yield Storage(**repositories)


class Journaled:
    """A repository that reads from memory and writes through the journal."""

    def __init__(self, name: str, journal: "Journal", in_memory: Any) -> None:
        self._lock = journal.lock
        self._write = partial(journal.write, name)
        self._in_memory = in_memory

    def __getattr__(self, method: str) -> Any:
        return getattr(self._in_memory, method) if method in READS else partial(self._write, method)


class JournaledOutbox(Journaled):
    """Relays poll every second, usually without a result. Such a call should not be journaled."""

    def claim(self, channel: str, *, now: datetime, **how: Any) -> Any:
        """Claim due deliveries, as the port specifies."""
        first = self._in_memory.deliveries(DeliveryQuery(DeliveryState.PENDING, channel=channel), limit=1)
        return self._write("claim", channel, now=now, **how) if first and first[0].due_at <= now else []


class JournaledSessions(Journaled):
    """The result of a change is journaled, which nothing else changes meanwhile."""

    def change(self, application: str, session_id: str, apply: Callable[[Any], Any]) -> Any:
        """Change metadata with a function, as the port specifies."""
        with self._lock:
            after = apply(self._in_memory.get(application, session_id))
            return self._write("change", application, session_id, Become(dict(after)))


class Journal:
    """The file: a header, then one line for each change, which begins with its checksum."""

    def __init__(self, path: Path, file: IO[bytes], storage: Storage) -> None:
        self._path = path
        self._file = file
        self._storage = storage
        self.lock = RLock()
        with translate_errors(path):
            self._replay()

    def write(self, repository: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Apply a change, first to the file and then in memory, so that a crash cannot undo a change that was read.

        The lock ensures that changes are applied in the order of their lines.
        """
        line = to_line((repository, method, args, kwargs))
        # Decoded from the line, so that exactly the same call is replayed later.
        change = self._change(line)
        with self.lock:
            self._append(b"%08x %s\n" % (crc32(line), line))
            return change()

    def close(self) -> None:
        """Close the file; later writes raise ``StorageClosed``."""
        with self.lock:
            self._file.close()

    def _change(self, line: bytes) -> Callable[[], Any]:
        repository, method, args, kwargs = from_line(line)
        return partial(getattr(getattr(self._storage, repository), method), *args, **kwargs)

    def _append(self, line: bytes) -> None:
        if self._file.closed:
            raise StorageClosed(f"{self._path} is closed")
        try:
            with translate_errors(self._path):
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
                check_path(self._path, self._file)
        except StorageUnavailable:
            # An unknown part of the line was written. The next replay detects that.
            with suppress(OSError):
                self._file.close()
            raise

    def _replay(self) -> None:
        header = self._file.read(len(HEADER))
        if not HEADER.startswith(header):
            raise StorageIncompatible(f"{self._path} is not a journal; it was left untouched")
        good = len(header) if header == HEADER else 0
        for line in self._file:
            checksum, _, content = line.removesuffix(b"\n").partition(b" ")
            if not line.endswith(b"\n") or checksum != b"%08x" % crc32(content):
                if self._file.read(1):
                    raise StorageCorrupt(f"{self._path} is damaged at byte {good}; it was left untouched")
                break  # A crash truncated the last line, which was not acknowledged.
            change = self._change(content)
            with suppress(Exception):  # A call that was rejected is rejected again, without effect.
                change()
            good += len(line)
        self._file.truncate(good)
        self._append(b"" if good else HEADER)


@contextmanager
def open_file(path: Path) -> Iterator[IO[bytes]]:
    """Open the file, create it if necessary, and lock it against other processes."""
    with translate_errors(path):
        file = path.open("a+b")
    with file:
        with translate_errors(path):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sync_folder(path.parent)
        file.seek(0)
        yield file


def check_path(path: Path, file: IO[bytes]) -> None:
    """Raise unless the path still refers to the open file: writes to a file that was moved would be lost."""
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise StorageUnavailable(f"{path} was replaced while it was in use")


def sync_folder(folder: Path) -> None:
    """Make the creation of a file durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Translate errors of the operating system to Harken's."""
    try:
        yield
    except BlockingIOError as error:
        raise StorageUnavailable(f"{path} is open in another process, or twice in this one") from error
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be used: {error}") from error

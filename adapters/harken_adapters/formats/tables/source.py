"""A file as it was when it was opened."""

from __future__ import annotations

import io
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import IO, Final
from zlib import crc32

from harken_adapters.formats.errors import UnusableFile

#: The path of stdin.
STANDARD: Final = "-"
#: The name of that file.
STDIN: Final = "stdin"
BLOCK: Final = 1 << 18


class Source:
    """The bytes that a file had when it was opened. Bytes that are appended later are not read.

    Blocks that are read again must be the same: otherwise the rows of a second pass would not be those of the first.
    Pipes, such as stdin, are copied to a temporary file.

    Attributes:
        name: the path, or ``stdin``.
        size: the number of bytes.
        position: the end of the last block that was read.
        may_grow: whether another program may append to the file.
    """

    def __init__(self, path: str) -> None:
        """Open the file.

        Raises:
            UnusableFile: the file cannot be opened.
        """
        # A name that is not UTF-8 cannot be printed or stored.
        self.name = STDIN if path == STANDARD else os.fsencode(path).decode("utf-8", "replace")
        try:
            self._file, self.may_grow = _open(path)
        except OSError as error:
            raise UnusableFile(f"Cannot read {self.name}: {error.strerror}") from error
        self.size = self._current_size()
        self.position = 0
        self._checksums: dict[int, int] = {}

    def open(self) -> io.BufferedReader:
        """A file object over all bytes, from the beginning. Reading raises ``UnusableFile`` if they have changed."""
        return io.BufferedReader(_Reader(self), BLOCK)

    def block(self, number: int) -> bytes:
        """A block of ``BLOCK`` bytes; the last one is shorter.

        Raises:
            UnusableFile: the file was truncated or overwritten, or cannot be read.
        """
        start = number * BLOCK
        length = max(0, min(BLOCK, self.size - start))
        try:
            self._file.seek(start)
            data = self._file.read(length)
        except OSError as error:
            raise UnusableFile(f"Cannot read {self.name}: {error.strerror}") from error
        checksum = crc32(data)
        if len(data) < length or self._checksums.setdefault(number, checksum) != checksum:
            raise UnusableFile(f"{self.name} was overwritten while it was read; import it again when it is complete")
        self.position = start + length
        return data

    @property
    def has_grown(self) -> bool:
        """Whether bytes were appended since the file was opened."""
        return self._current_size() > self.size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _current_size(self) -> int:
        return os.fstat(self._file.fileno()).st_size


class _Reader(io.RawIOBase):
    """Reads the blocks of a source at a position of its own."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        if start + offset < 0:
            raise OSError(f"Cannot seek to {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io passes a memoryview
        number, offset = divmod(self._position, BLOCK)
        data = self._source.block(number)[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _open(path: str) -> tuple[IO[bytes], bool]:
    """The open file, and whether it may grow."""
    if path == STANDARD:
        if sys.stdin is None:  # Closed before Python started.
            raise UnusableFile("Cannot read stdin: it is closed")
        return _copy(sys.stdin.buffer), False
    file = Path(path).open("rb")  # noqa: SIM115 - the caller closes it
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file, True
    with file:
        return _copy(file), False


def _copy(pipe: IO[bytes]) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(pipe, copy, BLOCK)
    copy.flush()
    return copy

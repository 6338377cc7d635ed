"""Streams of bytes as lines, and the lines of an export."""

from __future__ import annotations

import json
from collections.abc import Iterator

from attrs import define, field

from harken import Feedback, StorageUnavailable
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.exporting import COUNT
from harken_adapters.formats.record import from_record


@define
class Lines:
    """Splits chunks of bytes at line feeds only: text in JSON may have other line separators."""

    _rest: list[bytes] = field(factory=list)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that the chunk completes."""
        first, *others = chunk.split(b"\n")
        self._rest.append(first)
        for other in others:
            line = b"".join(self._rest)
            self._rest = [other]
            yield line


@define
class Export:
    """The feedback in the chunks of an export, and whether it was complete."""

    application: str
    _lines: Lines = field(factory=Lines)
    _received: int = 0
    _is_complete: bool = False

    def feed(self, chunk: bytes) -> Iterator[Feedback]:
        """The feedback that the chunk completes.

        Raises:
            StorageUnavailable: a line is not an entry of an export, or the number of lines is wrong.
        """
        for line in self._lines.feed(chunk):
            try:
                record = json.loads(line)
                if record.keys() == {COUNT}:
                    self._is_complete = record[COUNT] == self._received
                    continue
                one = from_record(record, self.application)
            except (AttributeError, BadRow, TypeError, ValueError, RecursionError) as error:
                raise StorageUnavailable(f"The export has an invalid line after {self._received} entries") from error
            self._received += 1
            yield one

    def finish(self) -> None:
        """Check that the export was complete.

        Raises:
            StorageUnavailable: it was cut off.
        """
        if not self._is_complete:
            raise self.cut_off()

    def cut_off(self) -> StorageUnavailable:
        """The exception for an export that was cut off."""
        return StorageUnavailable(
            f"The connection ended before the export was complete, after {self._received} entries"
        )

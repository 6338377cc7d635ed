"""Exports feedback as CSV or JSON Lines, in constant memory.

Parquet and Arrow are in :mod:`harken_adapters.formats.arrow`, which needs an extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO, TextIOWrapper
from typing import BinaryIO, Final, TextIO

from attrs import evolve

from harken import Feedback, FeedbackQuery, ModerationStatus
from harken_adapters.formats.csv_export import TableWriter
from harken_adapters.formats.record import to_record
from harken_adapters.formats.spreadsheet_csv import ContextColumns, SpreadsheetWriter
from harken_adapters.formats.strict_json import dump

#: Writes one entry to a file.
Write = Callable[[Feedback], object]


def _json_lines(file: TextIO) -> Write:
    return lambda feedback: file.write(f"{dump(to_record(feedback))}\n")


def _csv(file: TextIO) -> Write:
    return TableWriter(file).write


#: Makes the function that writes entries to a file, and writes what comes before them.
Writer = Callable[[TextIO], Write]

WRITERS: Final[Mapping[str, Writer]] = {"jsonl": _json_lines, "csv": _csv}

#: What a CSV file is for, if it is not for programs.
SPREADSHEET: Final = "spreadsheet"


def spreadsheet_writer(feedback: Iterable[Feedback], query: FeedbackQuery) -> Writer:
    """The writer of a CSV file for spreadsheets.

    Args:
        feedback: what will be written, once before, because it has a column for each context name.
        query: the query for it. If it is not only for counted feedback, there is a column for the status.
    """
    context = ContextColumns.of(feedback)
    with_status = query != evolve(query, statuses=frozenset({ModerationStatus.APPROVED}), withdrawn=False)
    return lambda file: SpreadsheetWriter(file, context, with_status=with_status).write


def write_all(feedback: Iterable[Feedback], file: BinaryIO, writer: Writer) -> int:
    """Write feedback to a file in UTF-8, each entry as the writer does. The file stays open.

    Returns:
        The number of entries that were passed to the writer.
    """
    text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    written = 0
    try:
        write = writer(text)
        for written, one in enumerate(feedback, 1):  # noqa: B007 - the last number is the count
            write(one)
        text.flush()
    finally:
        text.detach()
    return written


_CHUNK_ROWS: Final = 200
#: The only member of the last line of :func:`counted_lines`.
COUNT: Final = "count"


def counted_lines(feedback: Iterable[Feedback]) -> Iterator[bytes]:
    """JSON lines in chunks, and a last line with their number, without which the export was truncated.

    The end of the response does not prove that: through some proxies and servers, a broken connection looks the same.
    """
    counted = Counted(feedback)
    yield from chunks(counted, _json_lines)
    yield f"{dump({COUNT: counted.count})}\n".encode()


class Counted:
    """Feedback, and how many entries were taken so far."""

    def __init__(self, feedback: Iterable[Feedback]) -> None:
        self.count = 0
        self._feedback = feedback

    def __iter__(self) -> Iterator[Feedback]:
        for one in self._feedback:
            self.count += 1
            yield one


def chunks(feedback: Iterable[Feedback], writer: Writer) -> Iterator[bytes]:
    """The bytes that :func:`write_all` writes, in chunks of about 200 entries, for streaming."""
    text = StringIO(newline="")
    write = writer(text)
    for number, one in enumerate(feedback, 1):
        write(one)
        if number % _CHUNK_ROWS == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()

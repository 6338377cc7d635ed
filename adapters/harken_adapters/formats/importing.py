"""Importing: what a file holds, brought into a Harken in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice

from attrs import define

from harken import Feedback, FeedbackRejected, Harken, HarkenError, Receipt, Submission
from harken.ports.repository import Conflict, DuplicateOf, Outcome, Stored, Taken
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.mapping import NO_SESSION
from harken_adapters.formats.reading import Row, Source

BATCH = 1_000

#: What became of a row; text says why it could not be anything.
Answer = Receipt | FeedbackRejected | Outcome | str
_Written = tuple[Sequence[Row], Future[list[Answer]]]

#: Told of each rejected row: its line, the reason and the row as JSON can say it.
Reject = Callable[[int, str, object], None]


@define
class Tally:
    """How many rows were read, and what became of them."""

    read: int = 0
    added: int = 0
    duplicates: int = 0
    rejected: int = 0


class Importer:
    """Brings rows in, batch by batch; a bad one goes to ``reject`` and stops no other.

    Exported rows are restored as they were, all others are submitted as what they say. What was imported before is
    recognised, so an import that was cut off is simply started again.
    """

    def __init__(self, harken: Harken, source: Source, reject: Reject) -> None:
        self._harken = harken
        self._source = source
        self._reject = reject
        self.tally = Tally()

    def batches(self) -> Iterator[Tally]:
        """Import everything; gives the tally so far after each batch, which is durable by then.

        Raises:
            UnusableFile: nothing in the file can be imported.
            StorageError: a batch could not be stored; those before it were.
        """
        rows = self._source.rows()
        # One batch is written while the next one is read.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="harken-import") as writer:
            last: _Written | None = None
            try:
                while batch := list(islice(rows, BATCH)):
                    if last is None:
                        _refuse_unusable(batch)
                    before, last = last, (batch, writer.submit(self._write, batch))
                    if before is not None:
                        yield self._counted(*before)
            except BaseException:
                # The file, or whoever reads the tallies, gave up: what was being written still counts.
                if last is not None:
                    with suppress(HarkenError):
                        self._counted(*last)
                raise
            if last is not None:
                yield self._counted(*last)

    def _write(self, batch: Sequence[Row]) -> list[Answer]:
        """What became of each row, or why nothing could."""
        collection = self._harken.collection
        submissions = [row.content for row in batch if isinstance(row.content, Submission)]
        feedback = [row.content for row in batch if isinstance(row.content, Feedback)]
        submitted = iter(collection.submit_many(submissions, announce=False) if submissions else ())
        restored = iter(collection.restore(feedback) if feedback else ())
        return [
            row.reason if row.content is None else next(submitted if isinstance(row.content, Submission) else restored)
            for row in batch
        ]

    def _counted(self, batch: Sequence[Row], written: Future[list[Answer]]) -> Tally:
        for row, answer in zip(batch, written.result(), strict=True):
            self._count(row, answer)
        return self.tally

    def _count(self, row: Row, answer: Answer) -> None:
        self.tally.read += 1
        match answer:
            case Receipt(duplicate=False) | Stored():
                self.tally.added += 1
            case Receipt() | DuplicateOf():
                self.tally.duplicates += 1
            case Conflict(there, Taken.ID) if _same_one(there, row.content):
                self.tally.duplicates += 1
            case _:
                self.tally.rejected += 1
                self._reject(row.line, *self._source.rejection(row, _reason(answer)))


def _refuse_unusable(batch: Sequence[Row]) -> None:
    if all(row.reason == NO_SESSION for row in batch):
        raise UnusableFile(f"The rows have {NO_SESSION}")


def _same_one(there: Feedback, restored: Submission | Feedback | None) -> bool:
    """Whether that is the restored feedback, as it reads by now: session and creation never change."""
    return isinstance(restored, Feedback) and (there.session_id, there.created_at) == (
        restored.session_id,
        restored.created_at,
    )


def _reason(answer: FeedbackRejected | Outcome | str) -> str:
    if isinstance(answer, Conflict):
        return f"Its {answer.taken.value} is taken by other feedback, {answer.feedback.id}"
    return str(answer)

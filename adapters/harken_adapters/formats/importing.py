"""Imports the rows of a file in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from attrs import define

from harken import Feedback, FeedbackRejected, Harken, Receipt, Submission
from harken.ports.repository import Conflict, DuplicateOf, Outcome, Stored, Taken
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.mapping import NO_SESSION
from harken_adapters.formats.reading import Row, Source

BATCH = 1_000

#: Called for each rejected row with its line, the reason and the row as a JSON value.
Reject = Callable[[int, str, object], None]


@define
class Tally:
    """The number of rows that were read, added, duplicates and rejected."""

    read: int = 0
    added: int = 0
    duplicates: int = 0
    rejected: int = 0

    @property
    def nothing_accepted(self) -> bool:
        """Whether all rows that were read were rejected."""
        return self.read > 0 and not (self.added or self.duplicates)


class Importer:
    """Imports rows in batches. Rejected rows are passed to ``reject`` and do not affect others.

    Rows of a Harken export are restored exactly; all others are submitted. Rows that were imported before are
    duplicates, so an interrupted import can be repeated.

    Args:
        harken: the target.
        source: the file.
        reject: called for each rejected row.
        announce: whether submitted rows cause events and replies, like new feedback. Restored rows never do.
    """

    def __init__(self, harken: Harken, source: Source, reject: Reject, *, announce: bool = False) -> None:
        self._harken = harken
        self._source = source
        self._reject = reject
        self._announce = announce
        self.tally = Tally()

    def batches(self) -> Iterator[Tally]:
        """Import all rows. Yields the tally after each batch, when the batch is durable.

        Raises:
            UnusableFile: the file cannot be imported.
            StorageError: a batch could not be stored; earlier ones were.
        """
        rows = self._source.rows()
        while batch := list(islice(rows, BATCH)):
            self._import(batch)
            yield self.tally

    def _import(self, batch: Sequence[Row]) -> None:
        if not self.tally.read and all(row.reason == NO_SESSION for row in batch):
            raise UnusableFile(f"The rows have {NO_SESSION}")
        collection = self._harken.collection
        submissions = [row.content for row in batch if isinstance(row.content, Submission)]
        feedback = [row.content for row in batch if isinstance(row.content, Feedback)]
        submitted = iter(collection.submit_many(submissions, announce=self._announce) if submissions else ())
        restored = iter(collection.restore(feedback) if feedback else ())
        for row in batch:
            match row.content:
                case None:
                    self._count(row, row.reason)
                case Submission():
                    self._count(row, next(submitted))
                case Feedback():
                    self._count(row, next(restored))

    def _count(self, row: Row, result: Receipt | FeedbackRejected | Outcome | str) -> None:
        self.tally.read += 1
        match result:
            case Receipt(duplicate=False) | Stored():
                self.tally.added += 1
            case Receipt() | DuplicateOf():
                self.tally.duplicates += 1
            case Conflict(stored, Taken.ID) if _is_same(stored, row.content) and not _is_earlier(stored, row.content):
                self.tally.duplicates += 1
            case _:
                self.tally.rejected += 1
                self._reject(row.line, *self._source.rejection(row, _reason(result, row.content)))


def _is_same(stored: Feedback, restored: Submission | Feedback | None) -> bool:
    """Whether both are versions of the same entry: its session and creation time never change."""
    return isinstance(restored, Feedback) and (stored.session_id, stored.created_at) == (
        restored.session_id,
        restored.created_at,
    )


def _is_earlier(stored: Feedback, restored: Submission | Feedback | None) -> bool:
    """Whether the stored version is earlier than the restored one. An import does not replace it."""
    return isinstance(restored, Feedback) and stored.version < restored.version


def _reason(result: FeedbackRejected | Outcome | str, restored: Submission | Feedback | None) -> str:
    if isinstance(result, Conflict):
        stored = result.feedback
        if result.taken is Taken.ID and _is_same(stored, restored):
            return f"The earlier version {stored.version} is stored and was kept; use harken copy to update it"
        return f"Its {result.taken.value} is taken by other feedback, {stored.id}"
    return str(result)

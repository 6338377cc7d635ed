"""Importing: what a file holds, brought into a Harken in batches."""

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

#: Told of each rejected row: its line, the reason and the row as JSON can say it.
Reject = Callable[[int, str, object], None]


@define
class Tally:
    """How many rows were read, and what became of them."""

    read: int = 0
    added: int = 0
    duplicates: int = 0
    rejected: int = 0

    @property
    def nothing_accepted(self) -> bool:
        """Whether rows were read, and none was added or there already."""
        return self.read > 0 and not (self.added or self.duplicates)


class Importer:
    """Brings rows in, batch by batch; a bad one goes to ``reject`` and stops no other.

    Exported rows are restored as they were, all others are submitted as what they say. What was imported before is
    recognised, so an import that was cut off is simply started again.

    Args:
        harken: where to.
        source: where from.
        reject: is told of each rejected row.
        announce: whether rows that are submitted have their events and replies, as if people gave them now; what is
            restored never has.
    """

    def __init__(self, harken: Harken, source: Source, reject: Reject, *, announce: bool = False) -> None:
        self._harken = harken
        self._source = source
        self._reject = reject
        self._announce = announce
        self.tally = Tally()

    def batches(self) -> Iterator[Tally]:
        """Import everything; gives the tally so far after each batch, which is durable by then.

        Raises:
            UnusableFile: nothing in the file can be imported.
            StorageError: a batch could not be stored; those before it were.
        """
        rows = self._source.rows()
        while batch := list(islice(rows, BATCH)):
            self._bring_in(batch)
            yield self.tally

    def _bring_in(self, batch: Sequence[Row]) -> None:
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

    def _count(self, row: Row, answer: Receipt | FeedbackRejected | Outcome | str) -> None:
        self.tally.read += 1
        match answer:
            case Receipt(duplicate=False) | Stored():
                self.tally.added += 1
            case Receipt() | DuplicateOf():
                self.tally.duplicates += 1
            case Conflict(there, Taken.ID) if _same_one(there, row.content) and not _earlier(there, row.content):
                self.tally.duplicates += 1
            case _:
                self.tally.rejected += 1
                self._reject(row.line, *self._source.rejection(row, _reason(answer, row.content)))


def _same_one(there: Feedback, restored: Submission | Feedback | None) -> bool:
    """Whether that is the restored feedback, as it reads by now: session and creation never change."""
    return isinstance(restored, Feedback) and (there.session_id, there.created_at) == (
        restored.session_id,
        restored.created_at,
    )


def _earlier(there: Feedback, restored: Submission | Feedback | None) -> bool:
    """Whether the restored feedback is a later version of that one; which of both to keep is not for a file to say."""
    return isinstance(restored, Feedback) and there.version < restored.version


def _reason(answer: FeedbackRejected | Outcome | str, restored: Submission | Feedback | None) -> str:
    if isinstance(answer, Conflict):
        there = answer.feedback
        if answer.taken is Taken.ID and _same_one(there, restored):
            return f"An earlier version of it, {there.version}, was kept; harken copy takes over later ones"
        return f"Its {answer.taken.value} is taken by other feedback, {answer.feedback.id}"
    return str(answer)

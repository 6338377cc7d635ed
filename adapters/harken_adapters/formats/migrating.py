"""Migrating: sessions in which feedback lies as an array, as documents of a database, brought into a Harken.

::

    {"_id": "session-1", "application_name": "shop", "metadata": {"tier": "gold"},
     "feedbacks": [{"rating": "down", "comment": "Too slow", "created_at": "2026-01-26T10:00:00.123456"}]}

Where the documents come from does not matter here: they are what a driver of MongoDB gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from math import isfinite
from typing import Any, Final, NamedTuple

from attrs import Factory, define, evolve

from harken import FeedbackRejected, Harken, InvalidMetadata, Receipt, Submission
from harken.domain.rules import label_problem
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.importing import BATCH, Tally
from harken_adapters.formats.mapping import Columns, KeyMapping, Submissions, unique
from harken_adapters.formats.record import stamp

#: The fields of a document that mean something; a session may hold far more.
DOCUMENT_FIELDS: Final = ("_id", "application_name", "feedbacks", "metadata")

Document = Mapping[str, Any]

#: Told of everything that is rejected: its session, its position in the array if it has one, the reason, and what it
#: says as JSON can say it.
Reject = Callable[[str, int | None, str, object], object]


@define
class Migrated:
    """How many documents, entries in their arrays and values of their metadata there were, and what became of them."""

    documents: int = 0
    feedback: Tally = Factory(Tally)
    metadata: Tally = Factory(Tally)

    @property
    def nothing_accepted(self) -> bool:
        """Whether there was feedback or metadata, and nothing of it was added or there already."""
        tallies = [tally for tally in (self.feedback, self.metadata) if tally.read]
        return bool(tallies) and all(tally.nothing_accepted for tally in tallies)


class _Entry(NamedTuple):
    """One entry of an array: where it is, what it says, and what that means; or, if that is nothing, the reason."""

    session_id: str
    position: int | None
    raw: object
    content: Submission | None
    reason: str = ""


class Migration:
    """Brings documents in, batch by batch; a bad entry goes to ``reject`` and stops no other.

    What was brought in before is recognised, so a migration that was cut off is simply started again.

    Attributes:
        tally: what became of everything so far.
        reached: the ``_id`` of the last document that was brought in with all that came before it.
    """

    def __init__(
        self, harken: Harken, reject: Reject, *, columns: Columns | None = None, application: str | None = None
    ) -> None:
        """``application`` takes the place of whatever the documents say."""
        self._harken = harken
        self._reject = reject
        self._mapping = KeyMapping(columns or Columns())
        self._application = application
        self.tally = Migrated()
        self.reached: Any = None

    def batches(self, documents: Iterable[Document]) -> Iterator[int]:
        """Bring all documents in; gives how many there were so far after each batch, which is durable by then.

        Raises:
            StorageError: a batch could not be stored; those before it were.
        """
        batch: list[Document] = []
        entries: list[_Entry] = []
        for document in documents:
            batch.append(document)
            entries += self._entries(document)
            if len(batch) == BATCH or len(entries) >= BATCH:
                yield self._bring_in(batch, entries)
                batch, entries = [], []
        if batch:
            yield self._bring_in(batch, entries)

    def _bring_in(self, batch: Sequence[Document], entries: Sequence[_Entry]) -> int:
        waiting = iter(entries)
        while together := list(islice(waiting, BATCH)):
            self._submit(together)
        for document in batch:
            self._keep_metadata(document)
        self.tally.documents += len(batch)
        self.reached = batch[-1].get("_id")
        return self.tally.documents

    # --- feedback -------------------------------------------------------------------------------------------------

    def _entries(self, document: Document) -> Iterator[_Entry]:
        session_id, feedbacks = _session_id(document), document.get("feedbacks")
        if feedbacks is None:
            return
        if not isinstance(feedbacks, list):
            reason = f"feedbacks must be a list, got {type(feedbacks).__name__}"
            yield _Entry(session_id, None, plain(feedbacks), None, reason)
            return
        # For each document anew: what it says is known by its own session, whatever is read before it.
        submissions = Submissions(self._application_of(document))
        for position, raw in enumerate(map(plain, feedbacks)):
            try:
                content = submissions.make(*self._values(session_id, raw))
                yield _Entry(session_id, position, raw, _with_kind(content, document.get("_id")))
            except BadRow as error:
                yield _Entry(session_id, position, raw, None, str(error))

    def _values(self, session_id: str, raw: object) -> tuple[list[Any], Sequence[Any], dict[str, Any]]:
        if problem := label_problem("session_id", session_id):
            raise BadRow(f"The _id is no session_id: {problem.message}")
        if not isinstance(raw, dict):
            raise BadRow(f"expected an object such as {{...}}, got {type(raw).__name__}")
        row = {**raw, "session_id": session_id}
        own = raw.get("session_id")
        if own not in (None, session_id):
            # The session is that of the document; what the entry says of it is not lost either.
            row[unique("session_id", row)] = own
        return self._mapping.values(row)

    def _submit(self, entries: Sequence[_Entry]) -> None:
        submissions = [entry.content for entry in entries if entry.content is not None]
        answers = iter(self._harken.collection.submit_many(submissions, announce=False) if submissions else ())
        for entry in entries:
            self._count(entry, entry.reason if entry.content is None else next(answers))

    def _count(self, entry: _Entry, answer: Receipt | FeedbackRejected | str) -> None:
        tally = self.tally.feedback
        tally.read += 1
        match answer:
            case Receipt(duplicate=False):
                tally.added += 1
            case Receipt():
                tally.duplicates += 1
            case _:
                tally.rejected += 1
                self._reject(entry.session_id, entry.position, str(answer), entry.raw)

    # --- metadata -------------------------------------------------------------------------------------------------

    def _keep_metadata(self, document: Document) -> None:
        session_id, metadata = _session_id(document), document.get("metadata")
        if metadata is None:
            return
        if not isinstance(metadata, dict):
            self.tally.metadata.read += 1
            kind = type(metadata).__name__
            self._refuse_metadata(session_id, f"metadata must be an object, got {kind}", plain(metadata))
            return
        self.tally.metadata.read += len(metadata)
        for name, reason in self._merge(self._application_of(document), session_id, metadata).items():
            self._refuse_metadata(session_id, reason, {name: plain(metadata[name])})

    def _merge(self, application: str, session_id: str, metadata: Mapping[str, Any]) -> Mapping[str, str]:
        """Set what has no value yet; gives by name why a value was not set."""
        try:
            merged = self._harken.sessions.merge(application, session_id, plain(metadata, finite=False))
        except InvalidMetadata as error:
            return dict.fromkeys(metadata, str(error))
        self.tally.metadata.added += len(merged.added)
        self.tally.metadata.duplicates += len(merged.existing)
        return merged.refused

    def _refuse_metadata(self, session_id: str, reason: str, metadata: object) -> None:
        self.tally.metadata.rejected += 1
        self._reject(session_id, None, reason, {"metadata": metadata})

    def _application_of(self, document: Document) -> Any:
        """Whose feedback it is. What is no name is left for the rules to refuse."""
        return self._application or plain(document.get("application_name")) or self._harken.application


def _session_id(document: Document) -> str:
    """The text of whatever a document is known by; none for one that is known by nothing."""
    value = plain(document.get("_id"))
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _with_kind(submission: Submission, document_id: object) -> Submission:
    """With another key where the document's id is no text: the sessions 7 and "7" have the same name by now."""
    if isinstance(document_id, str):
        return submission
    # A driver has several types for one and the same whole number.
    kind = "int" if isinstance(document_id, int) else type(document_id).__name__
    return evolve(submission, idempotency_key=f"{submission.idempotency_key}-{kind}")


def plain(value: Any, *, finite: bool = True) -> Any:
    """The value as JSON can say it: times as ISO 8601 in UTC, bytes in hexadecimal, and what else JSON lacks as text.

    Args:
        value: what a driver of MongoDB gives; a time without a zone is UTC.
        finite: whether numbers that are not finite become text too, as JSON has none.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item, finite=finite) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, finite=finite) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float) and (isfinite(value) or not finite):
        return value
    return next((convert(value) for kind, convert in _AS_JSON if isinstance(value, kind)), str(value))


def _stamp(moment: datetime) -> str:
    return stamp(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)


#: Drivers have kinds of text and of numbers of their own, which are these too.
_AS_JSON: Final[Sequence[tuple[type, Callable[[Any], str | int]]]] = (
    (str, str),
    (int, int),
    (datetime, _stamp),
    (bytes, bytes.hex),
)

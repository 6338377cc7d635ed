"""Imports feedback from session documents that store it as an array.

::

    {"_id": "session-1", "application_name": "shop", "metadata": {"tier": "gold"},
     "feedbacks": [{"rating": "down", "comment": "Too slow", "created_at": "2026-01-26T10:00:00.123456"}]}

The documents have the types of the MongoDB driver.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from attrs import Factory, define, evolve, field

from harken import FeedbackRejected, Harken, Import, InvalidMetadata, Receipt, Submission, Violation
from harken.domain.rules import label_problem
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.columns import with_session
from harken_adapters.formats.importing.importer import BATCH
from harken_adapters.formats.importing.mappings import digests_of
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile, RowDigests
from harken_adapters.formats.importing.running import RunningImport
from harken_adapters.formats.importing.submissions import SubmissionBuilder, builder_for
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.rejects import ENTRY
from harken_adapters.formats.session_feedback import with_extras, without_misfits
from harken_adapters.formats.values import plain

#: The fields of a document that are read.
DOCUMENT_FIELDS: Final = ("_id", "application_name", "feedbacks", "metadata")

Document = Mapping[str, Any]

#: Called for each rejected entry with the values that locate it, by the names of :data:`ENTRY`, the reason, and the
#: entry as a JSON value. The position is ``None`` for what is not in an array.
Reject = Callable[[Mapping[str, object], str, object], object]


#: What became of a submission. For a dry run, the rules that an accepted one breaks.
_Result = Receipt | FeedbackRejected | tuple[Violation, ...]


@define
class Migrated:
    """The number of documents, and the tallies of their feedback entries and metadata values."""

    documents: int = 0
    feedback: Tally = Factory(Tally)
    metadata: Tally = Factory(Tally)
    #: The feedback by application.
    applications: dict[str, Tally] = field(default=Factory(dict), eq=False)

    @property
    def is_empty(self) -> bool:
        """Whether there was neither feedback nor metadata."""
        return not (self.feedback.read or self.metadata.read)

    @property
    def nothing_accepted(self) -> bool:
        """Whether there was feedback or metadata, and all of it was rejected."""
        tallies = [tally for tally in (self.feedback, self.metadata) if tally.read]
        return bool(tallies) and all(tally.nothing_accepted for tally in tallies)


def plan_of(
    documents: Iterable[Document],
    options: ImportOptions,
    name: str,
    *,
    application_of: Callable[[Document], Any],
    known: Callable[[str], Sequence[Import]],
    now: datetime | None = None,
) -> tuple[Profile, Plan]:
    """What the members of the entries mean, after a first pass over all documents.

    Args:
        documents: the documents.
        options: what the user says about them.
        name: the name of the collection.
        application_of: the application of a document.
        known: the earlier imports of an application, whose rows are looked for.
        now: the current time, see :meth:`Plan.of`.

    Raises:
        UnusableFile: a mapped member occurs in no entry, neither a rating nor a comment was found, or the ratings or
            dates have no plain meaning.
    """
    profile = Profile.of_objects(_rows(documents, application_of), name, options, known)
    return profile, Plan.of(profile, options, now=now)


def _rows(
    documents: Iterable[Document], application_of: Callable[[Document], Any]
) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """The entries of all documents, each with its application; ``None`` for one that cannot be read."""
    for document in documents:
        entries = document.get("feedbacks")
        if entries is None:
            continue
        application = str(application_of(document))
        for raw in entries if isinstance(entries, list) else [None]:
            entry = with_session(plain(raw), _session_id(document)) if isinstance(raw, Mapping) else None
            yield application, entry


def application_of(document: Document, *, named: str | None, default: str) -> Any:
    """The application of a document. An invalid name is rejected by the rules later.

    Args:
        document: the document.
        named: the application of all documents, if one is given.
        default: that of a document which has none.
    """
    return named or plain(document.get("application_name")) or default


class _Entry(NamedTuple):
    """One entry of an array: its place, its JSON value, its submission, or the reason why it has none."""

    session_id: str
    position: int | None
    raw: object
    content: Submission | None
    application: Any
    reason: str = ""

    @property
    def is_undated(self) -> bool:
        """Whether it has the time of the migration."""
        return self.content is not None and self.content.created_at is None


class Migration:
    """Imports documents in batches. Rejected entries are passed to ``reject`` and do not affect others.

    Entries that were imported before are duplicates, so an interrupted migration can be repeated. The feedback of each
    application is an import, which can be undone.

    Attributes:
        tally: the counts so far.
        imports: the imports, by application.
        reached: the ``_id`` of the last document that is imported, as are all before it.
    """

    def __init__(
        self,
        harken: Harken,
        profile: Profile,
        plan: Plan,
        reject: Reject,
        *,
        name: str = "",
        application: str | None = None,
        import_id: str | None = None,
        check_rules: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Prepare a migration.

        Args:
            harken: the target. For a dry run, a storage that is discarded, as metadata is checked by storing it.
            profile: what :func:`plan_of` found in the documents. Samples of it are recorded to recognise the entries.
            plan: what the members of entries mean.
            reject: called for each rejected entry.
            name: the name of the collection, for the list of imports.
            application: overrides the ``application_name`` of the documents.
            import_id: the id of the import of each application; by default, each has a new one.
            check_rules: whether the rules for new feedback apply. Otherwise, what they find is counted.
            dry_run: whether entries are only checked; those that would be stored count as added.
        """
        self._harken = harken
        self._plan = plan
        self._reject = reject
        self._digests = profile.digests
        self._mapping = digests_of(profile, plan)
        self._name = name
        self._application = application
        self._import_id = import_id
        self._check_rules = check_rules
        self._dry_run = dry_run
        self.tally = Migrated()
        self.imports: dict[str, RunningImport] = {}
        self.reached: Any = None

    def batches(self, documents: Iterable[Document]) -> Iterator[int]:
        """Import all documents. Yields the number of documents so far after each batch, when the batch is durable.

        Raises:
            ImportRejected: the id of the import is invalid, or an import with this id has another mapping.
            StorageError: a batch could not be stored; earlier ones were.
        """
        batch: list[Document] = []
        entries: list[_Entry] = []
        for document in documents:
            batch.append(document)
            entries += self._entries(document)
            if len(batch) == BATCH or len(entries) >= BATCH:
                yield self._import(batch, entries)
                batch, entries = [], []
        if batch:
            yield self._import(batch, entries)
        for name, running in self.imports.items():
            running.finish(self.tally.applications[name].counts)

    def _import(self, batch: Sequence[Document], entries: Sequence[_Entry]) -> int:
        remaining = iter(entries)
        while part := list(islice(remaining, BATCH)):
            self._submit(part)
        for document in batch:
            self._import_metadata(document)
        for name, running in self.imports.items():
            running.update(self.tally.applications[name].counts)
        self.tally.documents += len(batch)
        self.reached = batch[-1].get("_id")
        return self.tally.documents

    # --- feedback -------------------------------------------------------------------------------------------------

    def _entries(self, document: Document) -> Iterator[_Entry]:
        session_id, entries = _session_id(document), document.get("feedbacks")
        if entries is None or entries == []:
            return
        if not isinstance(entries, list):
            reason = f"feedbacks must be a list, got {type(entries).__name__}"
            yield _Entry(session_id, None, plain(entries), None, self._application_of(document), reason)
            return
        application = self._application_of(document)
        # New for each document, so that the keys of its entries do not depend on other documents.
        builder = builder_for(self._plan, application, self._import_of(application))
        for position, value in enumerate(entries):
            raw = plain(value)
            try:
                content = _with_kind(_submission(builder, session_id, raw, self._plan), document.get("_id"))
                yield _Entry(session_id, position, raw, with_extras(content, value, self._plan), application)
            except BadRow as error:
                yield _Entry(session_id, position, raw, None, application, str(error))
        self.tally.feedback.cut += builder.cut

    def _import_of(self, application: Any) -> str | None:
        """The id of the import of an application, which begins with its first entry."""
        if self._dry_run or label_problem("application", application):
            return None
        if application not in self.imports:
            # None of its entries could be read if it has no digests, or its first document was added meanwhile.
            record = self._harken.imports.begin(
                application,
                import_id=self._import_id,
                files=[self._name],
                mapping=self._mapping,
                samples=self._digests.get(application, RowDigests()).samples,
            )
            self.imports[application] = RunningImport(self._harken, record)
        return self.imports[application].id

    def _submit(self, entries: Sequence[_Entry]) -> None:
        submissions = [entry.content for entry in entries if entry.content is not None]
        results = iter(self._results(submissions) if submissions else ())
        for entry in entries:
            self._count(entry, entry.reason if entry.content is None else next(results))

    def _results(self, submissions: Sequence[Submission]) -> Iterable[_Result]:
        collection, earlier = self._harken.collection, not self._check_rules
        if self._dry_run:
            return collection.check_many(submissions, historical=earlier)
        return collection.submit_many(submissions, announce=False, historical=earlier)

    def _count(self, entry: _Entry, result: _Result | str) -> None:
        of_application = self.tally.applications.setdefault(str(entry.application), Tally())
        for tally in (self.tally.feedback, of_application):
            tally.read += 1
            match result:
                case Receipt():
                    tally.waived.update({violation.rule for violation in result.waived})
                    if result.duplicate:
                        tally.duplicates += 1
                    else:
                        tally.added += 1
                        tally.undated += entry.is_undated
                case tuple():
                    tally.waived.update({violation.rule for violation in result})
                    tally.added += 1
                    tally.undated += entry.is_undated
                case _:
                    tally.reject(str(result), f"session {entry.session_id}")
        if isinstance(result, FeedbackRejected | str):
            place = _place(entry.application, entry.session_id, entry.position)
            self._reject(place, str(result), entry.raw)

    # --- metadata -------------------------------------------------------------------------------------------------

    def _import_metadata(self, document: Document) -> None:
        session_id, metadata = _session_id(document), document.get("metadata")
        if metadata is None:
            return
        if not isinstance(metadata, dict):
            self.tally.metadata.read += 1
            kind = type(metadata).__name__
            self._reject_metadata(document, f"metadata must be an object, got {kind}", plain(metadata))
            return
        self.tally.metadata.read += len(metadata)
        for name, reason in self._merge(self._application_of(document), session_id, metadata).items():
            self._reject_metadata(document, reason, {name: plain(metadata[name])})

    def _merge(self, application: str, session_id: str, metadata: Mapping[str, Any]) -> Mapping[str, str]:
        """Set the values of new names. Returns the reasons by name of the values that were not set."""
        try:
            merged = self._harken.sessions.merge(application, session_id, plain(metadata, finite=False))
        except InvalidMetadata as error:
            return dict.fromkeys(metadata, str(error))
        self.tally.metadata.added += len(merged.added)
        self.tally.metadata.duplicates += len(merged.existing)
        if self._dry_run and merged.added:
            # It would only take memory: hardly any two documents have the same session.
            self._harken.sessions.delete(application, session_id, merged.added)
        return merged.refused

    def _reject_metadata(self, document: Document, reason: str, metadata: object) -> None:
        session_id = _session_id(document)
        self.tally.metadata.reject(reason, f"session {session_id}")
        self._reject(_place(self._application_of(document), session_id, None), reason, {"metadata": metadata})

    def _application_of(self, document: Document) -> Any:
        return application_of(document, named=self._application, default=self._harken.application)


def _place(application: Any, session_id: str, position: int | None) -> Mapping[str, object]:
    return dict(zip(ENTRY, (application, session_id, position), strict=True))


def _session_id(document: Document) -> str:
    """The ``_id`` as text; empty if the document has none."""
    value = plain(document.get("_id"))
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _submission(builder: SubmissionBuilder, session_id: str, raw: object, plan: Plan) -> Submission:
    if problem := label_problem("session_id", session_id):
        raise BadRow(f"The _id is not a valid session_id: {problem.message}")
    if not isinstance(raw, dict):
        raise BadRow(f"expected an object such as {{...}}, got {type(raw).__name__}")
    return builder.submission(without_misfits(with_session(raw, session_id), plan))


def _with_kind(submission: Submission, document_id: object) -> Submission:
    """Distinguish the keys of documents whose ids are not text: the ids 7 and "7" become the same session."""
    if isinstance(document_id, str):
        return submission
    # The driver has several integer types.
    kind = "int" if isinstance(document_id, int) else type(document_id).__name__
    return evolve(submission, idempotency_key=f"{submission.idempotency_key}-{kind}")

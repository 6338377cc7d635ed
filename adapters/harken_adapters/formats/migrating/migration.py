"""Migrates session documents in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harken import Harken
from harken.services.feedback.group_commit import MAX_EXTRAS_IN_BATCH
from harken_adapters.formats.importing.importer import BATCH
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.running import RunningImport
from harken_adapters.formats.migrating.conversations import conversation_of
from harken_adapters.formats.migrating.counts import Migrated
from harken_adapters.formats.migrating.documents import Document, Recorder, Reject, session_of
from harken_adapters.formats.migrating.feedback import Entry, FeedbackMigration
from harken_adapters.formats.migrating.metadata import MetadataMigration
from harken_adapters.formats.migrating.sessions import SessionMigration


class Migration:
    """Migrates documents in batches. Rejected values are passed to ``reject`` and do not affect others.

    What the target already has is a duplicate, so an interrupted migration can be repeated. The feedback of each
    application is an import, which can be undone.

    Attributes:
        tally: the counts so far.
        reached: the ``_id`` of the last document that is migrated, as are all before it.
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
            harken: the target. For a dry run, a storage that is discarded, as values are checked by storing them.
            profile: what :func:`plan_of` found in the documents. Samples of it are recorded to recognise the entries.
            plan: what the members of entries mean.
            reject: called for each rejected value.
            name: the name of the collection, for the list of imports.
            application: overrides the ``application_name`` of the documents.
            import_id: the id of the import of each application; by default, each has a new one.
            check_rules: whether the rules for new feedback apply. Otherwise, what they find is counted.
            dry_run: whether everything is only checked; what would be stored counts as added.
        """
        self.tally = tally = Migrated()
        self.reached: Any = None
        self._application = application
        self._default_application = harken.application
        self._read = 0
        self._last: Any = None
        self._recorder = recorder = Recorder(reject)
        self._sessions = SessionMigration(harken.conversations, recorder, tally, dry_run)
        self._metadata = MetadataMigration(harken, recorder, tally.metadata, dry_run)
        self._feedback = FeedbackMigration(
            harken,
            profile,
            plan,
            recorder,
            tally.feedback,
            tally.feedback_by_application,
            name=name,
            import_id=import_id,
            check_rules=check_rules,
            dry_run=dry_run,
        )

    @property
    def imports(self) -> Mapping[str, RunningImport]:
        """The imports of feedback, by application."""
        return self._feedback.imports

    def batches(self, documents: Iterable[Document]) -> Iterator[int]:
        """Migrate all documents. Yields the number of documents so far after each batch, when the batch is durable.

        Raises:
            ImportRejected: the id of the import is invalid, or an import with this id has another mapping.
            StorageError: a batch could not be stored; earlier ones were.
        """
        entries: list[Entry] = []
        documents_before = messages_before = size = 0
        for document in documents:
            session = session_of(document, named=self._application, default=self._default_application)
            conversation = conversation_of(document)
            # At once, as a document may be large. Only entries and rejected values wait for the end of the batch.
            self._sessions.add(document, session, conversation)
            self._metadata.add(document, session)
            found = list(self._feedback.entries(document, session, conversation))
            entries += found
            size += sum(entry.size for entry in found)
            self.tally.documents_by_application[str(session.application)] += 1
            self._read += 1
            self._last = document.get("_id")
            in_batch = (self._read - documents_before, self.tally.messages.read - messages_before, len(entries))
            if max(in_batch) >= BATCH or size + self._recorder.size > MAX_EXTRAS_IN_BATCH:
                yield self._finish(entries)
                entries, size = [], 0
                documents_before, messages_before = self._read, self.tally.messages.read
        if self._read > documents_before:
            yield self._finish(entries)
        self._feedback.finish()

    def _finish(self, entries: list[Entry]) -> int:
        self._feedback.submit(entries)
        self._feedback.update()
        self._recorder.release()
        self.tally.documents, self.reached = self._read, self._last
        return self._read

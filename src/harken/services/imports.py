"""The registry of imports: lists them, recognises their rows, and undoes imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import asdict, evolve

from harken.domain.erasure import Erased
from harken.domain.errors import ImportNotFound, ImportRejected
from harken.domain.idempotency import IMPORT_ID
from harken.domain.imports import Import, ImportCounts
from harken.domain.instants import (
    from_microseconds,
    from_microseconds_or_none,
    to_microseconds,
    to_microseconds_or_none,
)
from harken.domain.query import FeedbackQuery
from harken.domain.rules import label_problem
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry, StateRepository, update
from harken.ports.time import Clock, NewId


class ImportService:
    """Records imports, one small record for each, which all processes on a storage share.

    The caller submits the rows, with the id of the import in their context under ``IMPORT_ID``.
    """

    def __init__(
        self, state: StateRepository, erase: Callable[[FeedbackQuery], Erased], *, clock: Clock, new_id: NewId
    ) -> None:
        """``erase`` removes the feedback that matches a query."""
        self._state = state
        self._erase = erase
        self._clock = clock
        self._new_id = new_id

    def begin(
        self,
        application: str,
        *,
        import_id: str | None = None,
        files: Sequence[str] = (),
        mapping_digest: str = "",
        meaning_digest: str = "",
        columns_digest: str = "",
        sample: Iterable[int] = (),
        content_sample: Iterable[int] = (),
    ) -> Import:
        """Record the start of a run, durably, before its first row is stored.

        Args:
            application: the application of the rows.
            import_id: the id of an import to continue, or of a new one; by default, a new id.
            files: the names of the files.
            mapping_digest: a digest of the options by which rows are mapped to feedback.
            meaning_digest: a digest of what they mean for these files, see :class:`Import`.
            columns_digest: a digest of the columns of these files that are stored.
            sample: the smallest 64-bit digests of the raw rows, see :class:`Import`.
            content_sample: those of their session, rating, comment and date.

        Raises:
            ImportRejected: the id is invalid, or the import with this id has another mapping.
        """
        named = self._new_id() if import_id is None else import_id
        problems = (label_problem("application", application), label_problem("import_id", named))
        if messages := [problem.message for problem in problems if problem]:
            raise ImportRejected("; ".join(messages))
        begun = Import(
            id=named,
            application=application,
            started_at=self._clock(),
            files=tuple(files),
            mapping_digest=mapping_digest,
            meaning_digest=meaning_digest,
            columns_digest=columns_digest,
            sample=tuple(sample),
            content_sample=tuple(content_sample),
        )

        def change(stored: Import | None) -> Import:
            if stored is None:
                return begun
            if not stored.has_mapping(mapping_digest, meaning_digest):
                raise ImportRejected(
                    f"Import {begun.id!r} began with another mapping of columns. Continue it with the options that it "
                    "began with, or choose another id; or erase the import first"
                )
            return evolve(
                stored,
                finished_at=None,
                files=(*stored.files, *begun.files),
                meaning_digest=meaning_digest,
                columns_digest=columns_digest,
                sample=(*stored.sample, *begun.sample),
                content_sample=(*stored.content_sample, *begun.content_sample),
            )

        return self._update(begun, change)

    def record(self, running: Import, counts: ImportCounts) -> Import:
        """Add the counts of stored rows to an import, and return it as it is now.

        Several runs of an import may record at the same time.
        """
        return self._add(running, counts)

    def finish(self, running: Import, counts: ImportCounts) -> Import:
        """Record the end of a run, and add counts as :meth:`record` does."""
        return self._add(running, counts, finished_at=self._clock())

    def list(self, application: str) -> Sequence[Import]:
        """The imports of an application, the last started first."""
        found = [_decode(entry) for entry in self._state.all(_kind(application))]
        return sorted(found, key=lambda one: (one.started_at, one.id), reverse=True)

    def query(self, application: str, import_id: str) -> FeedbackQuery:
        """The query for all feedback of an import, in any state."""
        return FeedbackQuery(application=application, context={IMPORT_ID: import_id}).in_any_state()

    def erase(self, application: str, import_id: str) -> Erased:
        """Undo an import: remove all its feedback permanently, in any state, and then its record.

        It may be repeated after an interruption. The record is not necessary.

        Raises:
            ImportNotFound: there is neither a record nor feedback of the import.
        """
        stored = self._find(application, import_id)
        erased = self._erase(self.query(application, import_id))
        if stored is None and not erased.feedback:
            raise _not_found(application, import_id)
        self._state.delete(_kind(application), import_id)
        return erased

    def _find(self, application: str, import_id: str) -> StateEntry | None:
        # No import has an invalid id, and not every storage can be queried for one.
        if label_problem("import_id", import_id):
            raise _not_found(application, import_id)
        return self._state.get(_kind(application), import_id)

    def _add(self, running: Import, counts: ImportCounts, *, finished_at: datetime | None = None) -> Import:
        def change(stored: Import | None) -> Import:
            # If its record was removed meanwhile, so were the entries that it counted.
            before = stored or evolve(running, counts=ImportCounts())
            return evolve(before, counts=before.counts + counts, finished_at=finished_at)

        return self._update(running, change)

    def _update(self, one: Import, change: Callable[[Import | None], Import]) -> Import:
        def change_value(stored: StateEntry | None) -> Mapping[str, JsonValue]:
            return _encode(change(_decode(stored) if stored else None))

        return _decode(update(self._state, _kind(one.application), one.id, change_value))


def forget_imports(state: StateRepository, application: str) -> None:
    """Remove the records of all imports of an application."""
    for entry in state.all(_kind(application)):
        state.delete(_kind(application), entry.name)


def _kind(application: str) -> str:
    return f"import:{application}"


def _not_found(application: str, import_id: str) -> ImportNotFound:
    return ImportNotFound(
        f"No import with id {import_id!a} in application {application!r}; list the imports to find it"
    )


def _encode(one: Import) -> Mapping[str, JsonValue]:
    return {
        "application": one.application,
        "started_at": to_microseconds(one.started_at),
        "finished_at": to_microseconds_or_none(one.finished_at),
        "files": [*one.files],
        "mapping_digest": one.mapping_digest,
        "meaning_digest": one.meaning_digest,
        "columns_digest": one.columns_digest,
        # As texts, as not every storage has unsigned integers of 64 bits.
        "sample": [f"{digest:016x}" for digest in one.sample],
        "content_sample": [f"{digest:016x}" for digest in one.content_sample],
        "counts": asdict(one.counts),
    }


def _decode(entry: StateEntry) -> Import:
    value: Any = entry.value
    return Import(
        id=entry.name,
        application=value["application"],
        started_at=from_microseconds(value["started_at"]),
        finished_at=from_microseconds_or_none(value["finished_at"]),
        files=value["files"],
        mapping_digest=value["mapping_digest"],
        meaning_digest=value["meaning_digest"],
        columns_digest=value["columns_digest"],
        sample=[int(digest, 16) for digest in value["sample"]],
        content_sample=[int(digest, 16) for digest in value["content_sample"]],
        counts=ImportCounts(**value["counts"]),
    )

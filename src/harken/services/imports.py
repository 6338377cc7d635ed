"""The registry of imports: lists them, recognises their rows, and undoes imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import asdict, evolve

from harken.domain.erasure import Erased
from harken.domain.errors import ImportNotFound, ImportRejected
from harken.domain.idempotency import IMPORT_ID
from harken.domain.imports import FileContent, Import, ImportCounts, MappingDigests, RowSamples
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

_UNKNOWN_MAPPING: Final = MappingDigests()
_NO_ROWS: Final = RowSamples()


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
        mapping: MappingDigests = _UNKNOWN_MAPPING,
        samples: RowSamples = _NO_ROWS,
        contents: Sequence[FileContent] | None = None,
    ) -> Import:
        """Record the start of a run, durably, before its first row is stored.

        Args:
            application: the application of the rows.
            import_id: the id of an import to continue, or of a new one; by default, a new id.
            files: the names of the files.
            mapping: how the rows of the files are mapped to feedback.
            samples: samples of these rows.
            contents: the rows of each of the files; ``None`` if they are unknown.

        Raises:
            ImportRejected: the id is invalid, or the import with this id has another mapping: neither the options nor
                what they mean is the same.
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
            mapping=mapping,
            samples=samples,
            contents=contents,
        )

        def change(stored: Import | None) -> Import:
            if stored is None:
                return begun
            # The same options may read other files in another way.
            if stored.mapping.options != mapping.options and not stored.mapping.is_same(mapping):
                raise ImportRejected(
                    f"Import {begun.id!r} began with another mapping of columns. Continue it with the options that it "
                    "began with, or choose another id; or erase the import first"
                )
            return evolve(
                stored,
                finished_at=None,
                files=(*stored.files, *begun.files),
                mapping=stored.mapping + mapping,
                samples=stored.samples + samples,
                contents=None if stored.contents is None or contents is None else (*stored.contents, *contents),
            )

        return self._update(begun, change)

    def record(self, running: Import, counts: ImportCounts) -> Import:
        """Add the counts of stored rows to an import, and return it as it is now.

        Several runs of an import may record at the same time.

        Raises:
            ImportNotFound: the record was removed meanwhile, as by an erasure of the import.
        """
        return self._add(running, counts)

    def finish(self, running: Import, counts: ImportCounts) -> Import:
        """Record the end of a run, and add counts as :meth:`record` does.

        Raises:
            ImportNotFound: the record was removed meanwhile, as by an erasure of the import.
        """
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
            if stored is None:
                raise ImportNotFound(
                    f"Import {running.id!a} was erased while it was running. What it stored since then is still there; "
                    "erase it again, or import again"
                )
            return evolve(stored, counts=stored.counts + counts, finished_at=finished_at)

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
        "mapping_digest": one.mapping.options,
        "meanings": _as_texts(one.mapping.meanings),
        "columns": [*one.mapping.columns],
        "sample": _as_texts(one.samples.rows),
        "content_sample": _as_texts(one.samples.contents),
        **_encode_contents(one.contents),
        "counts": asdict(one.counts),
    }


def _encode_contents(contents: Sequence[FileContent] | None) -> Mapping[str, JsonValue]:
    if contents is None:
        return {}
    # Files of one import usually have the same columns, which are stored once.
    columns = list(dict.fromkeys(one.columns for one in contents))
    return {
        "contents": [[one.name, one.rows, f"{one.digest:032x}", columns.index(one.columns)] for one in contents],
        "content_columns": [_as_texts(digests) for digests in columns],
    }


def _decode_contents(value: Any) -> list[FileContent] | None:
    if "contents" not in value:
        return None
    columns = [[int(digest, 16) for digest in digests] for digests in value["content_columns"]]
    return [
        FileContent(name=name, rows=rows, digest=int(digest, 16), columns=columns[index])
        for name, rows, digest, index in value["contents"]
    ]


def _as_texts(digests: Iterable[int]) -> list[JsonValue]:
    # Not every storage has unsigned integers of 64 bits.
    return [f"{digest:016x}" for digest in digests]


def _decode(entry: StateEntry) -> Import:
    value: Any = entry.value

    def digests(name: str) -> list[int]:
        # Earlier versions did not record all of them.
        return [int(digest, 16) for digest in value.get(name, ())]

    return Import(
        id=entry.name,
        application=value["application"],
        started_at=from_microseconds(value["started_at"]),
        finished_at=from_microseconds_or_none(value["finished_at"]),
        files=value["files"],
        mapping=MappingDigests(
            options=value["mapping_digest"], meanings=digests("meanings"), columns=value.get("columns", ())
        ),
        samples=RowSamples(rows=digests("sample"), contents=digests("content_sample")),
        contents=_decode_contents(value),
        counts=ImportCounts(**value["counts"]),
    )

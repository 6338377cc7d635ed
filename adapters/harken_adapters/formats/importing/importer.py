"""Imports the rows of a file in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from shlex import quote
from typing import Any, Final, NamedTuple

from harken import Feedback, FeedbackRejected, Harken, Receipt, Submission
from harken.domain.idempotency import IMPORT_ID
from harken.ports.repository import Conflict, DuplicateOf, Outcome, Stored, Taken
from harken_adapters.formats.csv_export import from_cells
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.importing.exported_rows import change_problem, compared_names, id_of
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.submissions import builder_for
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.record import from_record, is_export
from harken_adapters.formats.tables.table import Origin, Row, Table
from harken_adapters.formats.values import canonical_text

BATCH: Final = 1_000

#: Called for each rejected row with its position, the reason, the row as a JSON value, and, if an earlier import
#: rejected it, where it is from.
Reject = Callable[[int, str, object, Origin | None], object]
_Violations = tuple[Any, ...]
#: An entry, the stored entry that a row is, or the reason why it is rejected.
_Found = Submission | Feedback | DuplicateOf | str


class _Read(NamedTuple):
    """A row, and what was found in it."""

    row: Row
    found: _Found


def _records_of(format: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:  # noqa: A002 - the name of the option
    """The function that makes records of the rows of a Harken export in this format."""
    if format in ("parquet", "arrow"):
        from harken_adapters.formats.arrow import from_row  # noqa: PLC0415 - needs an extra

        return from_row
    return from_cells if format == "csv" else lambda row: from_cells({name: canonical_text(row[name]) for name in row})


class Importer:
    """Imports rows in batches. Rejected rows are passed to ``reject`` and do not affect others.

    Rows of a Harken export are restored exactly; all others are submitted. Rows that were imported before are
    duplicates, so an interrupted import can be repeated.

    Args:
        harken: the target.
        table: the file.
        plan: what its columns mean.
        reject: called for each rejected row.
        import_id: the id of the import, which submitted rows get in their context.
        announce: whether submitted rows cause events and replies, like new feedback. Restored rows never do.
        check_rules: whether the rules for new feedback apply to submitted rows. Otherwise, what they find is counted.
        dry_run: whether rows are only checked, and nothing is stored; rows that would be stored count as added.
    """

    def __init__(
        self,
        harken: Harken,
        table: Table,
        plan: Plan,
        reject: Reject,
        *,
        import_id: str | None = None,
        announce: bool = False,
        check_rules: bool = False,
        dry_run: bool = False,
    ) -> None:
        self._harken = harken
        self._table = table
        self._reject = reject
        self._announce = announce
        self._check_rules = check_rules
        self._dry_run = dry_run
        self._import_id = import_id
        self._has_harken_ids = plan.has_harken_ids
        self._compared = compared_names(plan)
        self._place = "line" if table.layout.has_lines else "row"
        self._builder = builder_for(plan, harken.application, import_id)
        self._entry_of = self._reader_for(plan)
        self.tally = Tally()

    def batches(self) -> Iterator[Tally]:
        """Import all rows. Yields the tally after each batch, when the batch is durable.

        Raises:
            UnusableFile: the file cannot be read further.
            StorageError: a batch could not be stored; earlier ones were.
        """
        rows = self._table.rows()
        while batch := list(islice(rows, BATCH)):
            read = [self._read(row) for row in batch]
            self._import(self._without_stored(read) if self._has_harken_ids else read)
            self.tally.cut = self._builder.cut
            yield self.tally
        self.tally.is_incomplete = self._table.left_for_later

    # --- rows ----------------------------------------------------------------------------------------------------

    def _read(self, row: Row) -> _Read:
        if row.problem:
            return _Read(row, row.problem)
        if row.origin and (problem := self._application_problem(row.origin)):
            return _Read(row, problem)
        try:
            return _Read(row, self._entry_of(row))
        except BadRow as error:
            return _Read(row, str(error))

    def _application_problem(self, origin: Origin) -> str:
        if origin.application in (None, self._harken.application):
            return ""
        name = str(origin.application)
        return f"it belongs to application {name!r}; import it with --application {quote(name)}"

    def _reader_for(self, plan: Plan) -> Callable[[Row], Submission | Feedback]:
        """The function that converts a row."""
        columns, application = plan.columns, self._harken.application
        submission = self._builder.submission
        if columns is None:
            return lambda row: (
                from_record(row.values, application) if is_export(row.values) else submission(row.values, row.origin)
            )
        if not plan.is_export:
            return lambda row: submission(row.values, row.origin)
        to_record = _records_of(self._table.layout.format)
        return lambda row: from_record(to_record(dict(zip(columns, row.values, strict=True))), application)

    def _without_stored(self, batch: Sequence[_Read]) -> Sequence[_Read]:
        """The batch, in which rows with the id of a stored entry are duplicates, or rejected if they were changed."""
        ids = [None if isinstance(read.found, str) else id_of(read.row.values, self._table.columns) for read in batch]
        stored = self._harken.collection.get_many(self._harken.application, {one for one in ids if one})
        return [
            self._as_stored(read, found) if (found := stored.get(one or "")) else read
            for read, one in zip(batch, ids, strict=True)
        ]

    def _as_stored(self, read: _Read, stored: Feedback) -> _Read:
        if isinstance(read.found, Submission) and (problem := change_problem(stored, read.found, self._compared)):
            return _Read(read.row, problem)
        return _Read(read.row, DuplicateOf(stored))

    def _import(self, batch: Sequence[_Read]) -> None:
        submissions = [read.found for read in batch if isinstance(read.found, Submission)]
        feedback = [read.found for read in batch if isinstance(read.found, Feedback)]
        submitted = iter(self._submit(submissions))
        restored = iter(self._restore(feedback))
        for read in batch:
            match read.found:
                case Submission():
                    self._count(read, next(submitted))
                case Feedback():
                    self._count(read, next(restored))
                case result:
                    self._count(read, result)

    def _submit(self, submissions: Sequence[Submission]) -> Sequence[Receipt | FeedbackRejected | _Violations]:
        if not submissions:
            return ()
        collection, historical = self._harken.collection, not self._check_rules
        if self._dry_run:
            return collection.check_many(submissions, historical=historical)
        return collection.submit_many(submissions, announce=self._announce, historical=historical)

    def _restore(self, feedback: Sequence[Feedback]) -> Sequence[Outcome]:
        if self._dry_run:
            return [Stored(one) for one in feedback]
        return self._harken.collection.restore(feedback) if feedback else ()

    # --- results -------------------------------------------------------------------------------------------------

    def _count(self, read: _Read, result: Receipt | FeedbackRejected | Outcome | _Violations | str) -> None:
        tally = self.tally
        tally.read += 1
        match result:
            case Receipt():
                self._count_waived(result.waived)
                if result.duplicate:
                    tally.duplicates += 1
                    of_import = result.feedback.context.get(IMPORT_ID)
                    tally.shared += self._import_id is not None and of_import == self._import_id
                else:
                    self._count_added(read)
            case Stored():
                tally.added += 1
            case tuple():
                self._count_waived(result)
                self._count_added(read)
            case DuplicateOf():
                tally.duplicates += 1
            case Conflict(stored, Taken.ID) if _is_same(stored, read.found) and not _is_earlier(stored, read.found):
                tally.duplicates += 1
            case _:
                reason = _reason(result, read.found)
                tally.reject(reason, f"{self._place} {read.row.position} of {self._table.name}")
                self._reject(read.row.position, reason, self._table.raw(read.row), read.row.origin)

    def _count_added(self, read: _Read) -> None:
        self.tally.added += 1
        if isinstance(read.found, Submission) and read.found.created_at is None:
            self.tally.undated += 1

    def _count_waived(self, violations: _Violations) -> None:
        if violations:
            self.tally.waived.update({one.rule for one in violations})


def _is_same(stored: Feedback, restored: _Found) -> bool:
    """Whether both are versions of the same entry: its session and creation time never change."""
    return isinstance(restored, Feedback) and (stored.session_id, stored.created_at) == (
        restored.session_id,
        restored.created_at,
    )


def _is_earlier(stored: Feedback, restored: _Found) -> bool:
    """Whether the stored version is earlier than the restored one. An import does not replace it."""
    return isinstance(restored, Feedback) and stored.version < restored.version


def _reason(result: FeedbackRejected | Outcome | _Violations | str, restored: _Found) -> str:
    if isinstance(result, Conflict):
        stored = result.feedback
        if result.taken is Taken.ID and _is_same(stored, restored):
            return f"The earlier version {stored.version} is stored and was kept; use harken copy to update it"
        return f"Its {result.taken.value} is taken by other feedback, {stored.id}"
    return str(result)

"""The record of a running import."""

from __future__ import annotations

from harken import Harken, Import
from harken.domain.imports import ImportCounts


class RunningImport:
    """Adds the counts of a run to the record of its import.

    Attributes:
        id: the id of the import.
    """

    def __init__(self, harken: Harken, record: Import) -> None:
        self.id = record.id
        self._imports = harken.imports
        self._record = record
        #: Whether an earlier run had the same id.
        self.is_continued = record.counts.read > 0
        self._recorded = ImportCounts()

    def update(self, total: ImportCounts) -> None:
        """Record the counts of the run so far."""
        if total != self._recorded:
            self._imports.record(self._record, self._since(total))

    def finish(self, total: ImportCounts) -> None:
        """Record the counts of the run, and its end."""
        self._imports.finish(self._record, self._since(total))

    def _since(self, total: ImportCounts) -> ImportCounts:
        """The counts since they were recorded last."""
        before, self._recorded = self._recorded, total
        return total - before

"""Imports: what was read from files, and with which mapping."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from attrs import field, frozen

#: How many digests of rows a sample has.
SAMPLE_SIZE: Final = 64
#: How many names of files are recorded.
MAX_FILES: Final = 100


@frozen(kw_only=True)
class ImportCounts:
    """How many rows were read, and what became of them."""

    read: int = 0
    added: int = 0
    duplicates: int = 0
    rejected: int = 0

    def __add__(self, other: ImportCounts) -> ImportCounts:
        return ImportCounts(
            read=self.read + other.read,
            added=self.added + other.added,
            duplicates=self.duplicates + other.duplicates,
            rejected=self.rejected + other.rejected,
        )

    def __sub__(self, other: ImportCounts) -> ImportCounts:
        return ImportCounts(
            read=self.read - other.read,
            added=self.added - other.added,
            duplicates=self.duplicates - other.duplicates,
            rejected=self.rejected - other.rejected,
        )


def _smallest(digests: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(digests))[:SAMPLE_SIZE])


def _first(files: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(files))[:MAX_FILES]


@frozen(kw_only=True)
class Import:
    """An import: all runs with one id.

    Attributes:
        id: the id, which imported entries have in their context as ``IMPORT_ID``.
        application: the application of the entries.
        started_at: the start of the first run.
        finished_at: the end of the last run; ``None`` if it has not ended, or was interrupted.
        files: the names of the files, without repetitions; at most the first 100.
        mapping_digest: a digest of the options by which the rows were mapped to feedback.
        meaning_digest: a digest of what they meant for the files of the last run. Other options may mean the same.
        columns_digest: a digest of the columns of these files that were stored.
        sample: the smallest 64 of the 64-bit digests of the raw rows, sorted. So two imports of the same rows have the
            same sample, and two imports that share many rows very probably share some of it.
        content_sample: such a sample of the session, the rating, the comment and the date of rows, which stay the same
            if a file gets other columns.
        counts: the rows of all runs. A row that was read again counts again, as a duplicate. If a run was killed, its
            last batch may not be counted.
    """

    id: str
    application: str
    started_at: datetime
    finished_at: datetime | None = None
    files: tuple[str, ...] = field(default=(), converter=_first)
    mapping_digest: str = ""
    meaning_digest: str = ""
    columns_digest: str = ""
    sample: tuple[int, ...] = field(default=(), converter=_smallest)
    content_sample: tuple[int, ...] = field(default=(), converter=_smallest)
    counts: ImportCounts = ImportCounts()

    def has_mapping(self, mapping_digest: str, meaning_digest: str) -> bool:
        """Whether rows are mapped in the same way: by the same options, or by others that mean the same."""
        return self.mapping_digest == mapping_digest or (bool(meaning_digest) and self.meaning_digest == meaning_digest)

    def shares_rows(self, digests: Iterable[int]) -> bool:
        """Whether any of these digests of raw rows is in the sample."""
        return not set(digests).isdisjoint(self.sample)

"""Imports: what was read from files, and with which mapping."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from attrs import field, frozen

#: How many digests of rows a sample has.
SAMPLE_SIZE: Final = 64
#: How many meanings of columns and values are recorded.
MAX_MEANINGS: Final = 1_000
#: How many names of files are recorded, and of how many their rows.
MAX_FILES: Final = 100
#: How many names of columns are recorded; equal ones of several files count once.
MAX_COLUMNS: Final = 2_000


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


def _sampled(digests: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(digests))[:SAMPLE_SIZE])


def _sorted(digests: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(digests)))


def _meanings(digests: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(digests))[:MAX_MEANINGS])


def _first(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))[:MAX_FILES]


@frozen(kw_only=True)
class MappingDigests:
    """Digests of how the rows of files were mapped to feedback.

    Attributes:
        options: a digest of the options.
        meanings: 64-bit digests of what columns and values meant, sorted; at most the smallest 1,000. The first half
            is a digest of the column or value, the second half one of its meaning.
        columns: for each file, a digest of its columns that were stored; at most the first 100.
    """

    options: str = ""
    meanings: tuple[int, ...] = field(default=(), converter=_meanings)
    columns: tuple[str, ...] = field(default=(), converter=_first)

    def __add__(self, other: MappingDigests) -> MappingDigests:
        """The digests of these files and others, which continue their import."""
        return MappingDigests(
            options=self.options,
            # Those of other files would not say what the rows of these meant.
            meanings=(*self.meanings, *other.meanings) if self.meanings else (),
            columns=(*self.columns, *other.columns),
        )

    def is_same(self, other: MappingDigests) -> bool:
        """Whether rows that are also in another file are mapped there in the same way.

        Columns and values that occur in both have the same meaning there. Without meanings, as in the records of
        earlier versions, the options are the same.
        """
        if not (self.meanings and other.meanings):
            return self.options == other.options
        known = {one >> 32 for one in self.meanings}
        return known.isdisjoint(one >> 32 for one in {*other.meanings}.difference(self.meanings))


@frozen(kw_only=True)
class RowSamples:
    """Samples of rows, by which they are recognised.

    A sample is the smallest 64 of the 64-bit digests, sorted. So two imports of the same rows have the same sample, and
    two imports that share many rows very probably share some of it.

    Attributes:
        rows: a sample of the raw rows.
        contents: one of the session, the rating, the comment and the date of rows, which stay the same if a file gets
            other columns.
    """

    rows: tuple[int, ...] = field(default=(), converter=_sampled)
    contents: tuple[int, ...] = field(default=(), converter=_sampled)

    def __add__(self, other: RowSamples) -> RowSamples:
        return RowSamples(rows=(*self.rows, *other.rows), contents=(*self.contents, *other.contents))


@frozen(kw_only=True)
class FileContent:
    """The rows that an import read from a file, by which a file that begins with them is recognised.

    Attributes:
        name: the name of the file.
        rows: how many of its rows could be read.
        digest: the sum of their 128-bit digests, modulo 2**128. Their order makes no difference.
        columns: 64-bit digests of the names of columns that have a value in some row, sorted.
    """

    name: str
    rows: int
    digest: int
    columns: tuple[int, ...] = field(default=(), converter=_sorted)


def _contents(contents: Iterable[FileContent] | None) -> tuple[FileContent, ...] | None:
    if contents is None:
        return None
    kept = tuple(dict.fromkeys(contents))
    columns = sum(map(len, {one.columns for one in kept}))
    return kept if len(kept) <= MAX_FILES and columns <= MAX_COLUMNS else None


@frozen(kw_only=True)
class Import:
    """An import: all runs with one id.

    Attributes:
        id: the id, which imported entries have in their context as ``IMPORT_ID``.
        application: the application of the entries.
        started_at: the start of the first run.
        finished_at: the end of the last run; ``None`` if it has not ended, or was interrupted.
        files: the names of the files, without repetitions; at most the first 100.
        mapping: how the rows were mapped to feedback: the options of the first run, and what they meant in all runs.
        samples: samples of the rows.
        contents: the rows of each file that was read in any run. ``None`` if they are unknown: there are more than
            100 files or 2,000 columns, or an earlier version recorded it.
        counts: the rows of all runs. A row that was read again counts again, as a duplicate. If a run was killed, its
            last batch may not be counted.
    """

    id: str
    application: str
    started_at: datetime
    finished_at: datetime | None = None
    files: tuple[str, ...] = field(default=(), converter=_first)
    mapping: MappingDigests = MappingDigests()
    samples: RowSamples = RowSamples()
    contents: tuple[FileContent, ...] | None = field(default=None, converter=_contents)
    counts: ImportCounts = ImportCounts()

    @property
    def may_have_rows(self) -> bool:
        """Whether it stored rows, or was killed before its counts were recorded."""
        return self.counts.added > 0 or self.finished_at is None

    def shares_rows(self, digests: Iterable[int]) -> bool:
        """Whether any of these digests of raw rows is in the sample."""
        return not set(digests).isdisjoint(self.samples.rows)

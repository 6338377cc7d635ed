"""What a first pass over a file finds in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Final
from zlib import crc32

from attrs import Factory, define

from harken.domain.imports import SAMPLE_SIZE
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.columns import columns_of_fields, lookup
from harken_adapters.formats.importing.dates import DateForms, Dates
from harken_adapters.formats.importing.ratings import canonical
from harken_adapters.formats.importing.values import is_empty, plain
from harken_adapters.formats.record import is_export
from harken_adapters.formats.tables.table import Layout, Record, Table

#: How many different ratings are counted, and how many names of members are known.
_MOST: Final = 1_000
_SAMPLE_ROWS: Final = 3
_SEPARATOR: Final = "\x1f"


@define
class Profile:
    """What a file contains.

    Attributes:
        name: the name of the file.
        layout: how it is read.
        columns: the names of its columns; ``None`` if its rows are objects.
        names: the names of its columns, or of the members of its objects.
        rows: the number of rows that can be read.
        exported: the number of rows of a Harken export.
        ratings: how often each rating occurs, by column.
        dates: the forms of dates, by column.
        filled: the columns and dotted paths that have a value in some row.
        sample: the first rows, as values of records.
        digests: the smallest 64-bit digests of rows.
        known: the known digests that rows have.
    """

    name: str
    layout: Layout
    columns: Sequence[str] | None
    names: list[str]
    rows: int = 0
    exported: int = 0
    ratings: dict[str, Counter[str]] = Factory(dict)
    dates: dict[str, DateForms] = Factory(dict)
    filled: set[str] = Factory(set)
    sample: list[Any] = Factory(list)
    digests: list[int] = Factory(list)
    known: set[int] = Factory(set)

    @classmethod
    def of(cls, table: Table, options: ImportOptions, known: Collection[int] = ()) -> Profile:
        """Read a file once.

        Args:
            table: the file.
            options: what the user says about it.
            known: digests of rows of earlier imports.

        Raises:
            UnusableFile: the zone is unknown, or the file cannot be read.
        """
        return cls._of(table.records(), table.name, table.layout, table.columns, options, known)

    @classmethod
    def of_objects(cls, objects: Iterable[Mapping[str, Any]], name: str, options: ImportOptions) -> Profile:
        """Read objects that are not in a file once.

        Raises:
            UnusableFile: the zone is unknown.
        """
        records = (Record(0, one) for one in objects)
        return cls._of(records, name, Layout("objects"), None, options, ())

    @classmethod
    def _of(
        cls,
        records: Iterable[Record],
        name: str,
        layout: Layout,
        columns: Sequence[str] | None,
        options: ImportOptions,
        known: Collection[int],
    ) -> Profile:
        profile = cls(name, layout, columns, list(columns or ()))
        digests = _Digests(known)
        dates = Dates(date_format=options.date_format, zone=options.zone, spreadsheet=layout.format == "xlsx")
        add: Callable[[Any], str] = (
            profile._adding_cells(options, dates) if columns is not None else profile._adding_objects(options, dates)
        )
        for record in records:
            if record.problem:
                continue
            profile.rows += 1
            if len(profile.sample) < _SAMPLE_ROWS:
                profile.sample.append(record.values)
            digests.add(add(record.values))
        profile.digests = digests.smallest
        profile.known = digests.found
        return profile

    # --- rows with columns ---------------------------------------------------------------------------------------

    def _adding_cells(self, options: ImportOptions, dates: Dates) -> Callable[[Sequence[Any]], str]:
        """The function that adds a row, and returns its canonical text."""
        names = self.names
        fields = columns_of_fields(names, options)
        positions = {name: number for number, name in enumerate(names)}
        ratings = [(positions[one], self._counter(one)) for one in fields.get("rating", ()) if one in positions]
        moments = [
            (positions[one], self._forms(one, dates)) for one in fields.get("created_at", ()) if one in positions
        ]
        order = sorted(range(len(names)), key=names.__getitem__)
        in_order = itemgetter(*order) if len(order) > 1 else lambda cells: (cells[0],)
        prefixes = [f"{names[number]}=" for number in order]
        empty = dict(positions)
        is_text = self.layout.format == "csv"
        if is_export(names):
            ratings, moments = [], []

        def add(cells: Sequence[Any]) -> str:
            for position, counter in ratings:
                _count(counter, cells[position])
            for position, forms in moments:
                if not is_empty(cells[position]):
                    forms.add(cells[position])
            if empty:
                for name in [name for name, position in empty.items() if not is_empty(cells[position])]:
                    del empty[name]
                    self.filled.add(name)
            if is_text:
                parts = [prefix + cell for prefix, cell in zip(prefixes, in_order(cells), strict=True) if cell]
            else:
                pairs = zip(prefixes, in_order(cells), strict=True)
                parts = [prefix + _text(cell) for prefix, cell in pairs if not is_empty(cell)]
            return _SEPARATOR.join(parts)

        if is_export(names):
            return lambda cells: self._count_export(add(cells))
        return add

    def _count_export(self, text: str) -> str:
        self.exported += 1
        return text

    # --- objects -------------------------------------------------------------------------------------------------

    def _adding_objects(self, options: ImportOptions, dates: Dates) -> Callable[[Mapping[str, Any]], str]:
        """The function that adds an object, and returns its canonical text."""
        known: set[str] = set()
        ratings: dict[str, Counter[str]] = {}
        moments: dict[str, DateForms] = {}
        missing = {one for columns in columns_of_fields((), options).values() for one in columns} | set(options.drop)

        def learn(names: Iterable[str]) -> None:
            """Note new names, and which of them hold ratings and dates."""
            for name in names:
                if name not in known and len(known) < _MOST:
                    known.add(name)
                    self.names.append(name)
            fields = columns_of_fields(self.names, options)
            ratings.update({one: self._counter(one) for one in fields.get("rating", ())})
            moments.update({one: self._forms(one, dates) for one in fields.get("created_at", ())})

        def add(row: Mapping[str, Any]) -> str:
            if not known.issuperset(row) and len(known) < _MOST:
                learn(row)
            if is_export(row):
                self.exported += 1
            else:
                for path, counter in ratings.items():
                    _count(counter, lookup(row, path))
                for path, forms in moments.items():
                    if not is_empty(value := lookup(row, path)):
                        forms.add(value)
            if missing:
                for path in [path for path in missing if not is_empty(lookup(row, path))]:
                    missing.remove(path)
                    self.filled.add(path)
            if not self.filled.issuperset(row):
                self.filled.update(name for name, value in row.items() if not is_empty(value) and name in known)
            return _SEPARATOR.join([f"{name}={_text(row[name])}" for name in sorted(row) if not is_empty(row[name])])

        return add

    # --- both ----------------------------------------------------------------------------------------------------

    def _counter(self, column: str) -> Counter[str]:
        return self.ratings.setdefault(column, Counter())

    def _forms(self, column: str, dates: Dates) -> DateForms:
        return self.dates.setdefault(column, DateForms(dates))


class _Digests:
    """The smallest 64-bit digests of texts, and those of a known set."""

    def __init__(self, known: Collection[int]) -> None:
        self._known = frozenset(known)
        self._starts = {digest >> 32 for digest in known}
        self._kept: set[int] = set()
        self._limit = 2**32
        self.found: set[int] = set()

    def add(self, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        # The first half is fast, and decides about nearly all rows.
        start = crc32(data)
        if start > self._limit and start not in self._starts:
            return
        digest = start << 32 | int.from_bytes(blake2b(data, digest_size=4).digest())
        if digest in self._known:
            self.found.add(digest)
        self._kept.add(digest)
        if len(self._kept) >= 2 * SAMPLE_SIZE:
            self._kept = set(self.smallest)
            self._limit = max(self._kept) >> 32

    @property
    def smallest(self) -> list[int]:
        return sorted(self._kept)[:SAMPLE_SIZE]


def _count(counter: Counter[str], value: Any) -> None:
    text = value if type(value) is str else canonical(value)
    if text in counter:
        counter[text] += 1
    elif len(counter) < _MOST:
        counter[text] = 1


def _text(value: Any) -> str:
    """The canonical text of a value: numbers and times are the same as in a file of texts."""
    if isinstance(value, str):
        return value
    if isinstance(value, float | int):
        return canonical(value) if not isinstance(value, bool) else str(value).lower()
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(plain(value), sort_keys=True)

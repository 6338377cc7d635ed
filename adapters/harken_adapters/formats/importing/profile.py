"""What a first pass over a file finds in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Final
from zlib import crc32

from attrs import Factory, define

from harken.domain.imports import SAMPLE_SIZE, FileContent, Import, RowSamples
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.columns import columns_of_fields, id_column, lookup
from harken_adapters.formats.importing.dates import DateForms, Dates
from harken_adapters.formats.importing.ratings import canonical
from harken_adapters.formats.record import is_export
from harken_adapters.formats.spreadsheet_csv import ID
from harken_adapters.formats.tables.header import is_unnamed
from harken_adapters.formats.tables.table import Layout, Table
from harken_adapters.formats.values import canonical_text, is_empty

#: How many different ratings are counted, and how many names of members are known.
_MOST: Final = 1_000
#: From how many rows the sample is taken.
_SAMPLE_ROWS: Final = 30
_SEPARATOR: Final = "\x1f"
_CONTENT: Final = ("rating", "session_id", "message_id", "comment", "created_at")
#: The text of a content with nothing but a rating.
_NOTHING: Final = _SEPARATOR * (len(_CONTENT) - 2)


@define
class Profile:
    """What a file contains.

    Attributes:
        name: the name of the file.
        layout: how it is read.
        columns: the names of its columns; ``None`` if its rows are objects.
        names: the names of its columns, or of the members of its objects.
        rows: the number of rows that can be read.
        unreadable: the number of other rows.
        exported: the number of rows of a Harken export.
        ratings: how often each rating occurs, by column.
        unrated: the number of rows without a rating.
        dates: the forms of dates, by column.
        undated: the number of rows without a date.
        filled: the columns and dotted paths that have a value in some row.
        sample: the first rows, as values of records.
        digests: the digests of rows, by the application that they have; ``""`` for the rows of a file.
    """

    name: str
    layout: Layout
    columns: Sequence[str] | None
    names: list[str]
    rows: int = 0
    unreadable: int = 0
    exported: int = 0
    ratings: dict[str, Counter[str]] = Factory(dict)
    unrated: int = 0
    dates: dict[str, DateForms] = Factory(dict)
    undated: int = 0
    filled: set[str] = Factory(set)
    sample: list[Any] = Factory(list)
    digests: dict[str, RowDigests] = Factory(dict)

    @property
    def content(self) -> FileContent:
        """The rows of the file, for the record of an import."""
        sums = self.digests.get("", RowDigests()).sums
        columns = [name_digest(name) for name in self.names if name in self.filled]
        return FileContent(name=self.name, rows=sums.rows, digest=sums.total, columns=columns)

    @classmethod
    def of(cls, table: Table, options: ImportOptions, known: Sequence[Import] = ()) -> Profile:
        """Read a file once.

        Args:
            table: the file.
            options: what the user says about it.
            known: earlier imports, whose rows are looked for.

        Raises:
            UnusableFile: the file cannot be read.
            InvalidQuery: the zone is unknown.
        """
        profile = cls(table.name, table.layout, table.columns, list(table.columns or ()))
        rows = (("", None if one.problem else one.values) for one in table.rows())
        profile._read(rows, options, lambda _: known)
        return profile

    @classmethod
    def of_objects(
        cls,
        objects: Iterable[tuple[str, Mapping[str, Any] | None]],
        name: str,
        options: ImportOptions,
        known: Callable[[str], Sequence[Import]] = lambda _: (),
    ) -> Profile:
        """Read objects that are not in a file once; ``None`` is one that cannot be read.

        Args:
            objects: the objects, each with its application.
            name: the name of what they are in.
            options: what the user says about them.
            known: the earlier imports of an application, whose rows are looked for.

        Raises:
            InvalidQuery: the zone is unknown.
        """
        profile = cls(name, Layout("objects"), None, [])
        profile._read(objects, options, known)
        return profile

    def _read(
        self,
        rows: Iterable[tuple[str, Any]],
        options: ImportOptions,
        known: Callable[[str], Sequence[Import]],
    ) -> None:
        """Read rows, each with its application. ``None`` is one that cannot be read."""
        add = (_ObjectCounter if self.columns is None else _CellCounter)(self, options).add
        for application, row in rows:
            if row is None:
                self.unreadable += 1
                continue
            self.rows += 1
            if len(self.sample) < _SAMPLE_ROWS:
                self.sample.append(row)
            if (digests := self.digests.get(application)) is None:
                digests = self.digests[application] = RowDigests(known(application))
            digests.add(*add(row))
        self.names = [name for name in self.names if name in self.filled or not is_unnamed(name)]


class _Counter:
    """Counts ratings and dates by column."""

    def __init__(self, profile: Profile, options: ImportOptions) -> None:
        self._profile = profile
        self._options = options
        self._dates = Dates.of(options)

    def _ratings_of(self, columns: Iterable[str]) -> dict[str, Counter[str]]:
        return {column: self._profile.ratings.setdefault(column, Counter()) for column in columns}

    def _dates_of(self, columns: Iterable[str]) -> dict[str, DateForms]:
        return {column: self._profile.dates.setdefault(column, DateForms(self._dates)) for column in columns}


class _CellCounter(_Counter):
    """Counts in rows of cells."""

    def __init__(self, profile: Profile, options: ImportOptions) -> None:
        super().__init__(profile, options)
        names = profile.names
        self._is_export = is_export(names)
        fields = {} if self._is_export else columns_of_fields(names, options)
        position = {name: number for number, name in enumerate(names)}
        ratings = self._ratings_of(one for one in fields.get("rating", ()) if one in position)
        dates = self._dates_of(one for one in fields.get("created_at", ()) if one in position)
        self._ratings = [(position[column], counter) for column, counter in ratings.items()]
        self._moments = [(position[column], forms) for column, forms in dates.items()]
        content = _content_columns(names, fields)
        self._content = itemgetter(*(position.get(column or "", len(names)) for column in content))
        #: The columns that have no value yet.
        self._unfilled = dict(position)
        order = sorted(range(len(names)), key=names.__getitem__)
        self._in_order = itemgetter(*order) if len(order) > 1 else tuple
        self._prefixes = [f"{names[number]}=" for number in order]
        self._is_text = profile.layout.is_text

    def add(self, cells: Sequence[Any]) -> tuple[str, str]:
        """Count a row, and return its canonical text and that of its content."""
        self._profile.exported += self._is_export
        # Of several columns, a row takes the first with a value.
        for position, counter in self._ratings:
            if not is_empty(cells[position]):
                _count(counter, cells[position])
                break
        else:
            self._profile.unrated += 1
        for position, forms in self._moments:
            if not is_empty(cells[position]):
                forms.add(cells[position])
                break
        else:
            self._profile.undated += 1
        if self._unfilled:
            filled = [name for name, position in self._unfilled.items() if not is_empty(cells[position])]
            for name in filled:
                del self._unfilled[name]
            self._profile.filled.update(filled)
        pairs = zip(self._prefixes, self._in_order(cells), strict=True)
        # Fields without a column are read from an empty cell.
        content = self._content([*cells, ""])
        if self._is_text:
            return _SEPARATOR.join([prefix + cell for prefix, cell in pairs if cell]), _content_text(content)
        text = _SEPARATOR.join([prefix + canonical_text(cell) for prefix, cell in pairs if not is_empty(cell)])
        return text, _content_text(map(_canonical, content))


class _ObjectCounter(_Counter):
    """Counts in objects, each with its own names."""

    def __init__(self, profile: Profile, options: ImportOptions) -> None:
        super().__init__(profile, options)
        self._names: set[str] = set()
        self._ratings: dict[str, Counter[str]] = {}
        self._moments: dict[str, DateForms] = {}
        self._content: Sequence[str | None] = ()
        paths = [*columns_of_fields((), options).values(), options.drop, options.typed_columns]
        #: The paths of the options that have no value yet.
        self._unfilled = {path for several in paths for path in several}

    def add(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """Count a row, and return its canonical text and that of its content."""
        if not self._names.issuperset(row) and len(self._names) < _MOST:
            self._learn(row)
        self._fill(row)
        if is_export(row):
            self._profile.exported += 1
        else:
            self._count(row)
        return _text_of(row), _content_text([_canonical(path and lookup(row, path)) for path in self._content])

    def _count(self, row: Mapping[str, Any]) -> None:
        """Count the rating and the date: of several columns, the first with a value."""
        for path, counter in self._ratings.items():
            if not is_empty(value := lookup(row, path)):
                _count(counter, value)
                break
        else:
            self._profile.unrated += 1
        for path, forms in self._moments.items():
            if not is_empty(value := lookup(row, path)):
                forms.add(value)
                break
        else:
            self._profile.undated += 1

    def _learn(self, names: Iterable[str]) -> None:
        """Note new names, and which of them hold ratings and dates."""
        new = [name for name in names if name not in self._names][: _MOST - len(self._names)]
        self._names.update(new)
        self._profile.names.extend(new)
        fields = columns_of_fields(self._profile.names, self._options)
        self._content = _content_columns(self._profile.names, fields)
        self._ratings = self._ratings_of(fields.get("rating", ()))
        self._moments = self._dates_of(fields.get("created_at", ()))

    def _fill(self, row: Mapping[str, Any]) -> None:
        filled = self._profile.filled
        if not filled.issuperset(row):
            filled.update(name for name, value in row.items() if not is_empty(value) and name in self._names)
        if self._unfilled:
            found = {path for path in self._unfilled if not is_empty(lookup(row, path))}
            filled.update(found)
            self._unfilled -= found


def _text_of(row: Mapping[str, Any]) -> str:
    """The canonical text of a row."""
    return _SEPARATOR.join([f"{name}={canonical_text(row[name])}" for name in sorted(row) if not is_empty(row[name])])


def begins_with_any(table: Table, contents: Collection[FileContent]) -> Collection[FileContent]:
    """Those of these contents with which a file begins, if the columns that they do not have are left out.

    All of them have the same columns.

    Raises:
        UnusableFile: the file cannot be read.
    """
    columns = {column for content in contents for column in content.columns}
    sums, left = _Sums(content.rows for content in contents), max((content.rows for content in contents), default=0)
    known: dict[str, bool] = {}
    for one in table.rows():
        if sums.rows >= left:
            break
        if one.problem:
            continue
        row = one.values if table.columns is None else dict(zip(table.columns, one.values, strict=True))
        for name in row.keys() - known.keys():
            known[name] = name_digest(name) in columns
        text = _text_of({name: value for name, value in row.items() if known[name]})
        sums.add(text.encode("utf-8", "surrogatepass"))
    return [content for content in contents if sums.begin_with(content)]


def name_digest(name: str) -> int:
    """A 64-bit digest of the name of a column."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _content_columns(names: Sequence[str], fields: Mapping[str, Sequence[str]]) -> Sequence[str | None]:
    """The columns of the fields by which a row is recognised that has other columns now: the rating is the first."""
    if ID in names:
        # Stored rows are recognised by it.
        return [None] * len(_CONTENT)
    taken = {column for columns in fields.values() for column in columns}
    row_id = id_column(name for name in names if name not in taken)
    return [fields[name][0] if name in fields else row_id if name == "session_id" else None for name in _CONTENT]


def _content_text(content: Iterable[str]) -> str:
    """The text of the content of a row; empty if it has only a rating, as many rows have the same."""
    rating, *others = content
    text = _SEPARATOR.join(others)
    return "" if text == _NOTHING else f"{rating}{_SEPARATOR}{text}"


def _canonical(value: Any) -> str:
    return "" if is_empty(value) else canonical_text(value)


class RowDigests:
    """The digests of rows, and which of them earlier imports have.

    Attributes:
        rows: those of the raw rows.
        contents: those of the session, the rating, the comment and the date of rows.
        sums: the sums of those of the raw rows.
    """

    def __init__(self, known: Sequence[Import] = ()) -> None:
        self.rows = _Digests({digest for one in known for digest in one.samples.rows})
        self.contents = _Digests({digest for one in known for digest in one.samples.contents})
        self.sums = _Sums(content.rows for one in known for content in one.contents or ())

    def add(self, row: str, content: str) -> None:
        """Add the texts of a row and of its content."""
        data = row.encode("utf-8", "surrogatepass")
        self.rows.add(data)
        self.sums.add(data)
        if content:
            self.contents.add(content.encode("utf-8", "surrogatepass"))

    @property
    def samples(self) -> RowSamples:
        """Samples of them, for the record of an import."""
        return RowSamples(rows=self.rows.smallest, contents=self.contents.smallest)


class _Sums:
    """Sums of the 128-bit digests of the first rows, modulo 2**128: of all, and of some numbers of rows."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.rows = 0
        self.total = 0
        self._numbers = frozenset(numbers)
        self._sums = {0: 0}

    def add(self, data: bytes) -> None:
        self.rows += 1
        self.total = (self.total + int.from_bytes(blake2b(data, digest_size=16).digest())) % 2**128
        if self.rows in self._numbers:
            self._sums[self.rows] = self.total

    def begin_with(self, content: FileContent) -> bool:
        """Whether the first rows are these, in any order. Their number is one of those that were given."""
        return self._sums.get(content.rows) == content.digest


class _Digests:
    """The smallest 64-bit digests of texts, and those of a known set."""

    def __init__(self, known: Collection[int]) -> None:
        self._known = frozenset(known)
        self._starts = {digest >> 32 for digest in known}
        self._kept: set[int] = set()
        self._limit = 2**32
        self.found: set[int] = set()

    def add(self, data: bytes) -> None:
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

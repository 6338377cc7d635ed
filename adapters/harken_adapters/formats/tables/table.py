"""The rows of a file of any format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from attrs import field, frozen


class Origin(NamedTuple):
    """Where a rejected row of an earlier import or migration is from.

    Attributes:
        place: the values that locate it, by name: ``application``, ``file`` and ``line`` or ``position``; for an entry
            of a document ``application``, ``session`` and ``position``. Some may be absent.
        read_as: how it was read, if that differs from other rows, see :mod:`harken_adapters.formats.rejects`.
    """

    place: Mapping[str, Any]
    read_as: Mapping[str, Any] = {}

    @property
    def application(self) -> Any:
        """The application of its import; ``None`` if that is unknown."""
        return self.place.get("application")

    @property
    def container(self) -> str:
        """The name of its file, or the session of its document."""
        return str(self.place.get("file", self.place.get("session")))

    @property
    def position(self) -> Any:
        """Its position there; ``None`` if that is unknown."""
        return self.place.get("line", self.place.get("position"))


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        position: the line that it starts on, in a file of lines; the row in a spreadsheet; else its number. From 1.
        values: the cells in the order of the columns, or an object with its own names; the text of a row that cannot
            be read.
        problem: why the row cannot be read; empty if it can.
        origin: for a rejected row of an earlier import, where it is from.
    """

    position: int
    values: Any
    problem: str = ""
    origin: Origin | None = None


@frozen
class Layout:
    """How a file is read: what was detected, or given.

    Attributes:
        format: ``csv``, ``jsonl``, ``json``, ``xlsx``, ``parquet`` or ``arrow``.
        encoding: the encoding of a text file, such as ``utf-8``; ``None`` for others.
        separator: the separator of CSV.
        compression: ``gzip`` or ``zip``.
        place: where the rows are in the file, such as ``sheet 'Reviews'`` or ``the list under 'items'``.
        skipped: the number of rows before the names of the columns.
        left_out: the number of rows after the names of the columns that are not data, as survey tools write them.
        is_rejects: whether they are the rejected rows of an earlier import.
        rejected_from: the name of the file that the first of them is from; empty if that is unknown.
        mapping: the options of that import, as in a mapping file.
        encoding_is_guess: whether the encoding was guessed, so that it may be another one.
    """

    format: str
    encoding: str | None = None
    separator: str | None = None
    compression: str | None = None
    place: str | None = None
    skipped: int = 0
    left_out: int = 0
    is_rejects: bool = False
    rejected_from: str = ""
    mapping: Mapping[str, Any] = field(factory=dict)
    encoding_is_guess: bool = False

    @property
    def has_lines(self) -> bool:
        """Whether the position of a row is the number of a line."""
        return self.format in ("csv", "jsonl")

    @property
    def is_text(self) -> bool:
        """Whether all cells are text."""
        return self.format == "csv"


class Table(ABC):
    """The rows of a file. They can be read repeatedly, each time from the beginning and in constant memory.

    Attributes:
        name: the path of the file, or ``stdin``.
        layout: how the file is read.
        columns: the unique names of the columns; ``None`` if each row is an object with its own names.
        last_is_open: whether the last row had no line end when ``rows`` reached it, so that it may be cut off.
        left_for_later: whether the last row was incomplete when ``rows`` reached it, as in a file that is being
            written.
    """

    name: str
    layout: Layout
    columns: Sequence[str] | None
    last_is_open: bool = False
    left_for_later: bool = False

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """All rows, in order, except empty ones. A row that cannot be read does not affect others.

        Raises:
            UnusableFile: the file cannot be read further.
        """

    @abstractmethod
    def raw(self, row: Row) -> object:
        """The row as a JSON value: an object by column name, or the text of a row that cannot be read."""

    @property
    @abstractmethod
    def progress(self) -> tuple[int, int | None]:
        """The bytes or rows that ``rows`` has read, and their total; ``None`` if that is unknown."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

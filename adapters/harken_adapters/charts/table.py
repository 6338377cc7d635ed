"""The table that goes with each chart: real HTML, with every value as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from harken_adapters.charts.svg import Element, element

Cell = Element | str


@frozen
class Column:
    """A column of a table.

    Attributes:
        heading: a text or an element.
        is_number: whether its cells are figures, which are aligned to the right.
        is_picture: whether its cells hold pictures, which need room.
    """

    heading: Cell
    is_number: bool = False
    is_picture: bool = False


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], kind: str | None = None) -> Element:
    """A table.

    Args:
        caption: what the table shows; hidden on screen, for screen readers.
        columns: one for each cell of a row.
        rows: the cells, as texts or elements (each is put into a ``td``).
        kind: the class of the table.
    """
    heading = element("tr", *(element("th", column.heading, scope="col", class_=_kind(column)) for column in columns))
    body = [element("tr", *map(_cell, columns, row)) for row in rows]
    return element(
        "table",
        element("caption", caption, class_="vh"),
        element("thead", heading),
        element("tbody", "", *body),
        class_=kind,
    )


def _cell(column: Column, cell: Cell) -> Element:
    return element("td", cell, class_="w" if column.is_picture else _kind(column))


def _kind(column: Column) -> str | None:
    return "num" if column.is_number else None

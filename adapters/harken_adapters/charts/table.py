"""The table that goes with each chart: real HTML, with every value as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from harken_adapters.charts.svg import Element, element

Cell = Element | str


@frozen
class Column:
    """A column of a table: its heading, and whether its cells are figures, which are aligned to the right."""

    heading: str
    is_number: bool = False


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], kind: str | None = None) -> Element:
    """A table.

    Args:
        caption: what the table shows; hidden on screen, for screen readers.
        columns: one for each cell of a row.
        rows: the cells, as texts or elements (a ``td`` with content of its own is made around either).
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
    return element("td", cell, class_=_kind(column))


def _kind(column: Column) -> str | None:
    return "num" if column.is_number else None

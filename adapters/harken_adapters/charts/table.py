"""The HTML table that accompanies each chart, with every value as text."""

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
        is_number: whether its cells are numbers, which are right-aligned.
        is_picture: whether its cells hold pictures, which get a fixed share of the width.
    """

    heading: Cell
    is_number: bool = False
    is_picture: bool = False


def build_table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], css_class: str | None = None
) -> Element:
    """A table.

    Args:
        caption: the subject of the table; visually hidden, for screen readers.
        columns: one for each cell of a row.
        rows: the contents of the cells, as texts or elements.
        css_class: the class of the table.
    """
    heading = element(
        "tr", *(element("th", column.heading, scope="col", class_=_class_of(column)) for column in columns)
    )
    body = [element("tr", *map(_build_cell, columns, row)) for row in rows]
    return element(
        "table",
        element("caption", caption, class_="vh"),
        element("thead", heading),
        element("tbody", "", *body),
        class_=css_class,
    )


def _build_cell(column: Column, cell: Cell) -> Element:
    return element("td", cell, class_="w" if column.is_picture else _class_of(column))


def _class_of(column: Column) -> str | None:
    return "num" if column.is_number else None

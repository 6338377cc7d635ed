"""Satisfaction by day and hour, in comparison with the average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from enum import Enum
from typing import Final

from attrs import field, frozen

from harken.domain.insight.comparison import Verdict
from harken.domain.insight.heat_map import MIN_THUMBS, Cell
from harken.domain.summary import Summary
from harken.domain.texts import amount
from harken_adapters.charts.chart import Chart, LegendItem, empty_chart
from harken_adapters.charts.labels import (
    WEEKDAYS,
    estimate_text,
    interval_text,
    satisfaction_text,
    weekday_text,
)
from harken_adapters.charts.svg import Element, element, percent, title
from harken_adapters.charts.table import Column, build_table

_RESPONSES: Final = "Responses by day and hour"
_TITLE: Final = "Satisfaction by day and hour"
_HEAD: Final = 18
_ROW: Final = 22
_GUTTER: Final = 48
_HOURS: Final = 24
#: The largest difference from the average, in points, that counts as about the same if the verdict is undecided.
_ABOUT: Final = 3.0
_SHADES: Final = 5


class Step(Enum):
    """The comparison of a cell with the average; the value is the CSS class of the cell."""

    CLEARLY_UNDER = "h0"
    UNDER = "h1"
    ABOUT = "h2"
    OVER = "h3"
    CLEARLY_OVER = "h4"


@frozen
class HeatGrid:
    """Cells in rows and hours.

    Attributes:
        cells: either all by weekday or all by date, in any order.
        rows: the weekdays 0 to 6, or every date from the first to the last.
        total: the statistics of all cells together.
        end: the last date and hour with feedback; ``None`` for weekdays.
    """

    cells: Sequence[Cell]
    rows: tuple[int | date, ...] = field(init=False)
    total: Summary = field(init=False)
    end: tuple[date, int] | None = field(init=False)

    @rows.default
    def _rows(self) -> tuple[int | date, ...]:
        days = [cell.day for cell in self.cells if cell.day is not None]
        if not days:
            return tuple(range(7))
        first, last = min(days), max(days)
        return tuple(first + timedelta(days=number) for number in range((last - first).days + 1))

    @total.default
    def _total(self) -> Summary:
        return sum((cell.summary for cell in self.cells), Summary())

    @end.default
    def _end(self) -> tuple[date, int] | None:
        return max(((cell.day, cell.hour) for cell in self.cells if cell.day is not None), default=None)

    @property
    def by_place(self) -> Mapping[tuple[int | date, int], Cell]:
        """The cells by their row and hour."""
        return {(_row_of(cell), cell.hour): cell for cell in self.cells}

    def label(self, row: int | date) -> str:
        """The name of a row: ``Mon``, or ``Tue 17``."""
        return f"{WEEKDAYS[row.weekday()]} {row.day}" if isinstance(row, date) else WEEKDAYS[row]

    def is_to_come(self, row: int | date, hour: int) -> bool:
        """Whether an hour of a date is after the last hour with feedback."""
        return isinstance(row, date) and self.end is not None and (row, hour) > self.end

    def step(self, cell: Cell) -> Step | None:
        """The comparison of a cell with the average of all; ``None`` for less than 10 thumbs."""
        if cell.summary.decided < MIN_THUMBS:
            return None
        if cell.verdict is not Verdict.UNDECIDED:
            return Step.CLEARLY_OVER if cell.verdict is Verdict.BETTER else Step.CLEARLY_UNDER
        difference = cell.summary.satisfaction - self.total.satisfaction
        if abs(difference) <= _ABOUT:
            return Step.ABOUT
        return Step.OVER if difference > 0 else Step.UNDER


def heat_map_chart(cells: Sequence[Cell], *, zone: str = "UTC", shows_responses: bool = False) -> Chart:
    """Rows of days and columns of hours, coloured by the difference from the average of all cells.

    Args:
        cells: from :meth:`harken.Harken.heat_map`.
        zone: the name of the time zone of days and hours.
        shows_responses: whether to colour by the number of responses instead of satisfaction.
    """
    grid = HeatGrid(cells)
    if not grid.total.total:
        return empty_chart(_TITLE, "No feedback in this period.")
    marks = _draw_responses(grid, zone) if shows_responses else _draw_satisfaction(grid, zone)
    return Chart(
        title=_RESPONSES if shows_responses else _TITLE,
        description=_describe_responses(grid, zone) if shows_responses else heat_sentence(grid, zone),
        table=str(_build_responses_table(grid, zone) if shows_responses else _build_table(grid, zone)),
        caption=zone,
        height=_HEAD + _ROW * len(grid.rows),
        gutter=_GUTTER,
        kind="p h",
        content=(*_label_hours(), *_label_rows(grid), *marks),
        legend_items=_build_responses_legend(grid) if shows_responses else _build_legend(grid),
    )


def heat_sentence(grid: HeatGrid, zone: str) -> str:
    """The hours that differ from the average, in one sentence."""
    steps = [grid.step(cell) for cell in grid.cells]
    worse, better = steps.count(Step.CLEARLY_UNDER), steps.count(Step.CLEARLY_OVER)
    start = f"Satisfaction by day and hour, {zone}, against the average of {satisfaction_text(grid.total)}"
    if not worse and not better:
        return f"{start}: no hour differs by more than chance."
    named = [
        f"{amount(count, 'hour')} {'is' if count == 1 else 'are'} {word}{_name_extreme(grid, step)}"
        for count, word, step in ((worse, "worse", Step.CLEARLY_UNDER), (better, "better", Step.CLEARLY_OVER))
        if count
    ]
    return f"{start}: {' and '.join(named)}, by more than chance."


def _name_extreme(grid: HeatGrid, step: Step) -> str:
    found = [cell for cell in grid.cells if grid.step(cell) is step]
    average = grid.total.satisfaction
    cell = max(found, key=lambda cell: abs(cell.summary.satisfaction - average))
    most = "most of all " if len(found) > 1 else ""
    return f" ({most}{_time_of(cell)}, {satisfaction_text(cell.summary)})"


def _describe_responses(grid: HeatGrid, zone: str) -> str:
    most = max(grid.cells, key=lambda cell: cell.summary.total)
    return f"Responses by day and hour, {zone}: the most, {most.summary.total:,}, came on {_time_of(most)}."


def _row_of(cell: Cell) -> int | date:
    return cell.weekday if cell.day is None else cell.day


def _time_of(cell: Cell) -> str:
    return f"{_day_of(cell)}, {_format_hours(cell.hour)}"


def _day_of(cell: Cell) -> str:
    return WEEKDAYS[cell.weekday] if cell.day is None else weekday_text(cell.day)


def _format_hours(hour: int) -> str:
    return f"{hour:02}:00 to {hour + 1:02}:00"


def _label_hours() -> Iterator[Element]:
    for hour in range(0, _HOURS, 3):
        kind = "only-l" if hour % 6 else None
        yield element("text", f"{hour:02}", class_=kind, x=percent(hour / _HOURS), y=12)


def _label_rows(grid: HeatGrid) -> Iterator[Element]:
    for place, row in enumerate(grid.rows):
        yield element("text", grid.label(row), x=-_GUTTER, y=_HEAD + place * _ROW + 15)


def _draw_satisfaction(grid: HeatGrid, zone: str) -> Iterator[Element]:
    for place, hour, cell in _iterate_places(grid):
        step = grid.step(cell) if cell else None
        hint = _describe_cell(cell, zone) if cell else None
        yield _draw_cell(place, hour, hint, step.value) if step else _draw_dot(place, hour, hint)


def _draw_responses(grid: HeatGrid, zone: str) -> Iterator[Element]:
    most = max(cell.summary.total for cell in grid.cells)
    for place, hour, cell in _iterate_places(grid):
        if cell is None or not cell.summary.total:
            yield _draw_dot(place, hour, None)
            continue
        shade = shade_of(cell.summary.total, most)
        yield _draw_cell(place, hour, _describe_cell(cell, zone), "fa", fill_opacity=shade / _SHADES)


def shade_of(count: int, most: int) -> int:
    """The shade of a count that is at least 1: from 1 for the lowest fifth of the range to 5 for the highest."""
    return min(_SHADES, 1 + (count - 1) * _SHADES // most)


def _iterate_places(grid: HeatGrid) -> Iterator[tuple[int, int, Cell | None]]:
    """Row index, hour, and cell (``None`` without feedback), for all hours up to the last with feedback."""
    by_place = grid.by_place
    for place, row in enumerate(grid.rows):
        for hour in range(_HOURS):
            if not grid.is_to_come(row, hour):
                yield place, hour, by_place.get((row, hour))


def _draw_cell(place: int, hour: int, hint: str | None, kind: str, fill_opacity: float | None = None) -> Element:
    return element(
        "rect",
        *([title(hint)] if hint else []),
        class_=kind,
        x=percent(hour / _HOURS),
        y=_HEAD + place * _ROW,
        width=percent(1 / _HOURS),
        height=_ROW,
        rx=4,
        fill_opacity=fill_opacity,
    )


def _draw_dot(place: int, hour: int, hint: str | None) -> Element:
    y = _HEAD + place * _ROW + _ROW / 2
    hints = [title(hint)] if hint else []
    return element("circle", *hints, class_="hf", cx=percent((hour + 0.5) / _HOURS), cy=y, r=2)


def _describe_cell(cell: Cell, zone: str) -> str:
    few = "; too few to tell" if cell.summary.decided < MIN_THUMBS else ""
    return f"{_time_of(cell)} {zone}: {estimate_text(cell.estimate)}{few}"


def _build_legend(grid: HeatGrid) -> tuple[LegendItem, ...]:
    scale = tuple(_draw_swatch(step.value) for step in Step)
    few = element("circle", class_="hf", cx=8, cy=5, r=2)
    return (
        LegendItem(scale, "over", f"under {satisfaction_text(grid.total)}"),
        LegendItem((few,), f"under {MIN_THUMBS} thumbs"),
        LegendItem((), "strong colour: more than chance"),
    )


def _build_responses_legend(grid: HeatGrid) -> tuple[LegendItem, ...]:
    most = max(cell.summary.total for cell in grid.cells)
    scale = tuple(_draw_swatch("fa", shade / _SHADES) for shade in range(1, _SHADES + 1))
    return (LegendItem(scale, amount(most, "response"), "1"),)


def _draw_swatch(kind: str, fill_opacity: float | None = None) -> Element:
    return element("rect", class_=kind, x=3, width=10, height=10, rx=2, fill_opacity=fill_opacity)


def _build_responses_table(grid: HeatGrid, zone: str) -> Element:
    columns = [Column("Day"), Column("Hour"), Column("Responses", is_number=True)]
    rows = ([_day_of(cell), _format_hours(cell.hour), f"{cell.summary.total:,}"] for cell in _cells_of(grid))
    return build_table(f"{_RESPONSES}, {zone}", columns, rows)


def _cells_of(grid: HeatGrid) -> Iterator[Cell]:
    """The cells with feedback, in the order of time."""
    cells = sorted(grid.cells, key=lambda cell: (str(_row_of(cell)), cell.hour))
    return (cell for cell in cells if cell.summary.total)


def _build_table(grid: HeatGrid, zone: str) -> Element:
    columns = [
        Column("Day"),
        Column("Hour"),
        *(Column(name, is_number=True) for name in ("Satisfaction", "95% interval", "Responses")),
        Column("Compared with the average"),
    ]
    return build_table(f"{_TITLE}, {zone}", columns, (_build_table_row(grid, cell) for cell in _cells_of(grid)))


def _build_table_row(grid: HeatGrid, cell: Cell) -> list[str]:
    summary, step = cell.summary, grid.step(cell)
    return [
        _day_of(cell),
        _format_hours(cell.hour),
        satisfaction_text(summary),
        interval_text(cell.estimate.interval, summary.decided),
        f"{summary.total:,}",
        "too few to tell" if step is None else step.name.lower().replace("_", " "),
    ]

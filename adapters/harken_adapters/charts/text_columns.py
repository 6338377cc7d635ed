"""A trend as columns of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from math import ceil
from typing import Final

from attrs import evolve, frozen

from harken.domain.insight.change_points import SatisfactionChange
from harken.domain.summary import Summary
from harken.domain.trend import TrendPoint
from harken_adapters.charts.axis import Axis, satisfaction_axis
from harken_adapters.charts.text_cells import COLUMNS, align_right, join_lines, wrap_text
from harken_adapters.charts.time_axis import Tick, time_ticks
from harken_adapters.charts.trend_plot import FEW_THUMBS, axis_values, is_few, is_silent, is_solid
from harken_adapters.charts.trend_sentences import (
    NO_FEEDBACK,
    change_texts,
    is_unfinished,
    largest_changes,
    place_changes,
    trend_sentence,
)

#: Blocks that fill a cell from the bottom, by eighths; the first is empty.
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_ROWS: Final = 8
#: The width of the labels of the axis.
_MARGIN: Final = 6
_WIDEST_POINT: Final = 6
#: Points from this width on have a gap of one cell.
_WITH_GAP: Final = 3


@frozen
class _Columns:
    """The points of a trend as columns of text.

    Attributes:
        points: at most one per cell.
        is_running: whether the last point has not ended.
        axis: the axis of satisfaction.
        step: the distance between two points, in cells.
    """

    points: Sequence[TrendPoint]
    is_running: bool
    axis: Axis
    step: int

    @property
    def summaries(self) -> list[Summary]:
        """The statistics of all points."""
        return [point.summary for point in self.points]

    @property
    def width(self) -> int:
        """The width of a column, in cells."""
        return self.step - (self.step >= _WITH_GAP)

    def place(self, share: float) -> int:
        """The cell at a position from 0 to 1 on the time axis, counted from the start of the line."""
        return _MARGIN + int(share * len(self.points) * self.step)

    def line(self, signs: Iterable[str]) -> str:
        """A line with a sign for each point, repeated over the width of its column."""
        return "".join((sign if len(sign) > 1 else sign * self.width).ljust(self.step) for sign in signs)


def trend_text(
    points: Sequence[TrendPoint],
    *,
    changes: Iterable[SatisfactionChange] = (),
    now: datetime | None = None,
    width: int = COLUMNS,
) -> str:
    """Satisfaction as columns, with the responses below.

    Args:
        points: as for :func:`harken_adapters.charts.trend.trend_chart`. If there are more than fit, several are merged.
        changes: the same.
        now: the same.
        width: the maximum width of a line in cells, at least 32.
    """
    if not any(point.summary.total for point in points):
        return NO_FEEDBACK
    placed = largest_changes(place_changes(points, changes))
    shares = [one.index / len(points) for one in placed]
    return join_lines(
        [
            *wrap_text(trend_sentence(points, ()), width),
            "",
            *_draw_columns(_merge_points(points, now, width - _MARGIN), shares, width),
            *(line for one in placed for line in wrap_text("▲ " + ": ".join(change_texts(points, one)), width)),
        ]
    )


def sparkline(counts: Sequence[int]) -> str:
    """Blocks with heights proportional to the counts. Zero is empty, all others are visible."""
    most = max(counts, default=0)
    return "".join(_EIGHTHS[ceil(count / most * 8) if most else 0] for count in counts)


def _merge_points(points: Sequence[TrendPoint], now: datetime | None, cells: int) -> _Columns:
    size = ceil(len(points) / cells)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    joined = [
        evolve(group[0], end=group[-1].end, summary=sum((point.summary for point in group), Summary()))
        for group in groups
    ]
    axis = satisfaction_axis(axis_values(point.estimate for point in joined))
    return _Columns(joined, is_unfinished(points, now), axis, min(_WIDEST_POINT, cells // len(joined)))


def _draw_columns(columns: _Columns, changes: Sequence[float], width: int) -> Iterator[str]:
    for row in range(_ROWS):
        signs = (_choose_sign(columns, place, row) for place in range(len(columns.points)))
        yield _label_row(columns.axis, row) + columns.line(signs)
    counts = [summary.total for summary in columns.summaries]
    yield ""
    yield " " * _MARGIN + columns.line(sparkline(counts))
    yield _place_labels(((_place_tick(columns, tick), tick.label) for tick in time_ticks(columns.points)), width)
    if changes:
        yield _place_labels(((columns.place(share), "▲") for share in changes), width)
    yield from wrap_text(f"Under the columns: responses, up to {max(counts):,}. {_explain_signs(columns)}", width)


def _label_row(axis: Axis, row: int) -> str:
    label = {0: f"{axis.high}%", _ROWS // 2: f"{(axis.high + axis.low) / 2:g}", _ROWS - 1: f"{axis.low}"}.get(row, "")
    return f"{align_right(label, _MARGIN - 1)} "


def _choose_sign(columns: _Columns, place: int, row: int) -> str:
    """The sign of a point in a row, counted from the top."""
    summary, height = columns.points[place].summary, _ROWS - 1 - row
    if is_silent(summary):
        return "░"
    if not summary.decided:
        return " "
    eighths = max(1, round(columns.axis.share(summary.satisfaction) * _ROWS * 8))
    if is_few(summary):
        return "○".center(columns.width) if (eighths - 1) // 8 == height else " "
    sign = _EIGHTHS[min(max(eighths - height * 8, 0), 8)]
    is_open = columns.is_running and place == len(columns.points) - 1
    return "▒" if is_open and sign == "█" else sign


def _place_tick(columns: _Columns, tick: Tick) -> int:
    """The cell at which the label of a tick starts: days start there, others are centred."""
    if tick.starts_day:
        return columns.place(tick.share)
    middle = tick.share * len(columns.points) * columns.step - (columns.step - columns.width) / 2
    return max(_MARGIN, _MARGIN + int(middle - len(tick.label) / 2))


def _place_labels(labels: Iterable[tuple[int, str]], width: int) -> str:
    """A line of labels, each at a cell; labels that would overlap or cross the end of the line are left out."""
    line = ""
    for start, label in labels:
        if start + len(label) <= width and (not line or start > len(line)):
            line = f"{line.ljust(start)}{label}"
    return line


def _explain_signs(columns: _Columns) -> str:
    parts = [
        f"○ under {FEW_THUMBS} thumbs." if any(map(is_few, columns.summaries)) else "",
        "░ no feedback." if any(map(is_silent, columns.summaries)) else "",
        "▒ so far." if columns.is_running and is_solid(columns.summaries[-1]) else "",
        f"The axis starts at {columns.axis.low}%." if columns.axis.low else "",
    ]
    return " ".join(filter(None, parts))

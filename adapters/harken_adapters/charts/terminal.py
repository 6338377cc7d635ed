"""The charts as plain text without colour, at most 80 columns wide.

Each function takes the encoding of the output. If it lacks block characters, the text uses ASCII instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from math import ceil
from typing import Final

from attrs import frozen

from harken.domain.insight.change_points import ChangePoint
from harken.domain.insight.heat_map import MIN_THUMBS, Cell
from harken.domain.summary import Summary
from harken.domain.trend import TrendPoint
from harken_adapters.charts.axis import Axis, satisfaction_axis
from harken_adapters.charts.comparison import (
    UNCLEAR,
    Group,
    change_text,
    comparison_foot,
    comparison_sentence,
    comparison_top,
    sort_groups,
)
from harken_adapters.charts.heat_cells import DateCell
from harken_adapters.charts.heat_map import HeatGrid, Step, heat_sentence
from harken_adapters.charts.labels import count_text, interval_text, satisfaction_text, share_text
from harken_adapters.charts.rating_split import rating_shares, split_sentence
from harken_adapters.charts.text_cells import COLUMNS, EIGHTHS, align_left, align_right, encode_lines, wrap_text
from harken_adapters.charts.themes import ThemeRow, scale_of, themes_sentence
from harken_adapters.charts.time_axis import time_ticks
from harken_adapters.charts.trend_plot import FEW_THUMBS, axis_values, is_solid
from harken_adapters.charts.trend_sentences import (
    NO_FEEDBACK,
    change_texts,
    is_unfinished,
    largest_changes,
    trend_sentence,
)

_ROWS: Final = 8
_MARGIN: Final = 6
_PLOT: Final = COLUMNS - _MARGIN
_WIDEST_POINT: Final = 3
_SIGNS: Final = {
    Step.CLEARLY_UNDER: "▼",
    Step.UNDER: "-",
    Step.ABOUT: "=",
    Step.OVER: "+",
    Step.CLEARLY_OVER: "▲",
    None: "·",
}


@frozen
class _Columns:
    """The points of a trend as columns of text.

    Attributes:
        points: at most one per cell.
        is_running: whether the last point has not ended.
        axis: the axis of satisfaction.
    """

    points: Sequence[TrendPoint]
    is_running: bool
    axis: Axis

    @property
    def width(self) -> int:
        """The width of a point, in cells."""
        return min(_WIDEST_POINT, _PLOT // len(self.points))

    def eighths(self, summary: Summary) -> int:
        """The height of a column in eighths of a cell; at least one."""
        return max(1, round(self.axis.share(summary.satisfaction) * _ROWS * 8))


def trend_text(
    points: Sequence[TrendPoint],
    *,
    changes: Iterable[ChangePoint] = (),
    now: datetime | None = None,
    encoding: str = "utf-8",
) -> str:
    """Satisfaction as columns, with a sparkline of responses below.

    Args:
        points: as for :func:`harken_adapters.charts.trend.trend_chart`. More than 74 are merged into fewer.
        changes: the same.
        now: the same.
        encoding: of the output.
    """
    if not any(point.summary.total for point in points):
        return NO_FEEDBACK
    shown = largest_changes(changes, len(points))
    lines = [
        *wrap_text(trend_sentence(points, ())),
        "",
        *_draw_columns(_merge_points(points, now), [change.index / len(points) for change in shown]),
        *(line for change in shown for line in wrap_text("▲ " + ": ".join(change_texts(points, change)))),
    ]
    return encode_lines(lines, encoding)


def rating_split_text(summary: Summary, *, encoding: str = "utf-8") -> str:
    """A bar for each rating."""
    if not summary.total:
        return NO_FEEDBACK
    bars = (
        f"{align_left(part.name, 8)}{_draw_bar(part.share, 48)} {align_right(count_text(part.count), 10)} "
        f"{align_right(share_text(part.share), 5)}"
        for part in rating_shares(summary)
    )
    return encode_lines([*wrap_text(split_sentence(summary)), "", *bars], encoding)


def comparison_text(
    groups: Sequence[Group], *, by: str = "group", everything: Summary | None = None, encoding: str = "utf-8"
) -> str:
    """A dot and whisker for each group, after the result of the comparison.

    Args:
        groups: as for :func:`harken_adapters.charts.comparison.comparison_chart`.
        by: the same.
        everything: the same.
        encoding: of the output.
    """
    ordered = sort_groups(groups)
    if not any(group.summary.decided for group in ordered):
        return f"No {by} has thumbs in this period."
    total = everything if everything is not None else sum((group.summary for group in ordered), Summary())
    top = comparison_top(ordered, total)
    lines = [
        *wrap_text(comparison_sentence(ordered, by)),
        "",
        f"{align_left(by.capitalize(), 19)}{align_left('0', 14)}{align_right(f'{top}%', 14)}",
        *(_draw_group(group, total, top) for group in ordered),
        "",
        *wrap_text(comparison_foot(ordered, total)),
    ]
    return encode_lines(lines, encoding)


def heat_map_text(cells: Sequence[Cell | DateCell], *, zone: str = "UTC", encoding: str = "utf-8") -> str:
    """One sign for each hour of each day.

    Args:
        cells: as for :func:`harken_adapters.charts.heat_map.heat_map_chart`.
        zone: the same.
        encoding: of the output.
    """
    grid = HeatGrid(cells)
    if not grid.total.total:
        return NO_FEEDBACK
    average = satisfaction_text(grid.total)
    lines = [
        *wrap_text(heat_sentence(grid, zone)),
        "",
        " " * 8 + "".join(align_left(f"{hour:02}" if hour % 3 == 0 else "", 3) for hour in range(24)),
        *(_draw_heat_row(grid, place) for place in range(len(grid.rows))),
        "",
        f"▼ clearly under {average}   - under   = about the same   + over   ▲ clearly over",
        f"· under {MIN_THUMBS} thumbs",
    ]
    return encode_lines(lines, encoding)


def themes_text(rows: Sequence[ThemeRow], *, thumbs_down: int, encoding: str = "utf-8") -> str:
    """A bar for each theme.

    Args:
        rows: as for :func:`harken_adapters.charts.themes.themes_chart`.
        thumbs_down: the same.
        encoding: of the output.
    """
    if not rows:
        return "No themes in this period."
    full = scale_of(rows)
    bars = (
        f"{align_left(row.label, 26)} {_draw_bar(row.share / full, 22)} {align_right(count_text(row.count), 8)} "
        f"{align_right(share_text(row.share), 5)} {align_left(row.change, 15)}"
        for row in rows
    )
    return encode_lines([*wrap_text(themes_sentence(rows, thumbs_down)), "", *bars], encoding)


def sparkline(counts: Sequence[int], width: int = 1) -> str:
    """Blocks with heights proportional to the counts, ``width`` cells each. Zero is empty, all others are visible."""
    most = max(counts, default=0)
    return "".join(EIGHTHS[ceil(count / most * 8) if most else 0] * width for count in counts)


def _draw_bar(share: float, width: int) -> str:
    filled = min(width, round(share * width))
    return "█" * filled + "·" * (width - filled)


def _merge_points(points: Sequence[TrendPoint], now: datetime | None) -> _Columns:
    size = ceil(len(points) / _PLOT)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    joined = [
        TrendPoint(group[0].start, group[-1].end, sum((point.summary for point in group), Summary()))
        for group in groups
    ]
    axis = satisfaction_axis(axis_values(point.summary for point in joined))
    return _Columns(joined, is_unfinished(points, now), axis)


def _draw_columns(columns: _Columns, changes: Sequence[float]) -> Iterator[str]:
    for row in range(_ROWS):
        yield _label_row(columns.axis, row) + "".join(
            _choose_sign(columns, place, row) * columns.width for place in range(len(columns.points))
        )
    counts = [point.summary.total for point in columns.points]
    yield ""
    yield f"{align_left('', _MARGIN)}{sparkline(counts, columns.width)}"
    yield _place_labels(columns, [(tick.share, tick.label) for tick in time_ticks(columns.points)])
    if changes:
        yield _place_labels(columns, [(share, "▲") for share in changes])
    yield from wrap_text(f"Under the columns: responses, up to {max(counts):,}. {_explain_signs(columns)}")


def _label_row(axis: Axis, row: int) -> str:
    label = {0: f"{axis.high}%", _ROWS // 2: f"{(axis.high + axis.low) / 2:g}", _ROWS - 1: f"{axis.low}"}.get(row, "")
    return f"{align_right(label, _MARGIN - 1)} "


def _choose_sign(columns: _Columns, place: int, row: int) -> str:
    """The character for a point in a row, counted from the top."""
    summary, height = columns.points[place].summary, _ROWS - 1 - row
    if not summary.total:
        return "░"
    if not summary.decided:
        return " "
    eighths = columns.eighths(summary)
    if not is_solid(summary):
        return "○" if (eighths - 1) // 8 == height else " "
    sign = EIGHTHS[min(max(eighths - height * 8, 0), 8)]
    is_open = columns.is_running and place == len(columns.points) - 1
    return "▒" if is_open and sign == "█" else sign


def _place_labels(columns: _Columns, labels: Iterable[tuple[float, str]]) -> str:
    """A line of labels at positions from 0 to 1; labels that would overlap are left out."""
    line = " " * _MARGIN
    for share, label in labels:
        start = _MARGIN + int(share * len(columns.points) * columns.width)
        if start + len(label) <= COLUMNS and (not line.strip() or start > len(line)):
            line = f"{line.ljust(start)}{label}"
    return line


def _explain_signs(columns: _Columns) -> str:
    summaries = [point.summary for point in columns.points]
    parts = [
        f"○ under {FEW_THUMBS} thumbs." if any(0 < summary.decided < FEW_THUMBS for summary in summaries) else "",
        "░ no feedback." if not all(summary.total for summary in summaries) else "",
        "▒ so far." if columns.is_running else "",
        f"The axis starts at {columns.axis.low}%." if columns.axis.low else "",
    ]
    return " ".join(filter(None, parts))


def _draw_group(group: Group, total: Summary, top: int) -> str:
    change = change_text(group)
    cells = (
        align_left(group.name, 18),
        _draw_whisker(group, total, top, 28),
        align_right(satisfaction_text(group.summary), 6),
        align_right(interval_text(group.interval, group.summary.decided), 13),
        align_left("≈" if change == UNCLEAR else change, 8),
    )
    return " ".join(cells)


def _draw_whisker(group: Group, total: Summary, top: int, width: int) -> str:
    """The interval, satisfaction and overall average on an axis from 0 to ``top`` percent, in ``width`` cells."""

    def place(value: float) -> int:
        return min(width - 1, int(min(value, top) / top * width))

    signs = [" "] * width
    low, high = place(group.interval.low), place(group.interval.high)
    if group.summary.decided:
        signs[low : high + 1] = "─" * (high + 1 - low)
    if total.decided:
        signs[place(total.satisfaction)] = "┊"
    if group.summary.decided:
        signs[low], signs[high] = "├", "┤"
        signs[place(group.summary.satisfaction)] = "●" if group.has_enough else "○"
    return "".join(signs)


def _draw_heat_row(grid: HeatGrid, place: int) -> str:
    row, by_place = grid.rows[place], grid.by_place
    signs = (
        " " if grid.is_to_come(row, hour) else _SIGNS[grid.step(cell) if (cell := by_place.get((row, hour))) else None]
        for hour in range(24)
    )
    return align_left(grid.label(row), 8) + "".join(align_left(sign, 3) for sign in signs)

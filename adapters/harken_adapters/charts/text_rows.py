"""Groups, periods or selections as lines of text: their counts, satisfaction and interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from harken.domain.summary import Summary
from harken_adapters.charts.comparison import Group, axis_top
from harken_adapters.charts.labels import interval_text, satisfaction_text
from harken_adapters.charts.text_cells import align_left, align_right, count_cells, remove_controls

#: The least and the greatest width of whiskers.
_LEAST: Final = 7
_MOST: Final = 60
#: The number of columns with counts, if there is room for all.
_COUNTS: Final = 3
_NO_FEEDBACK: Final = "no feedback"


@frozen
class _Column:
    heading: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        return max(map(count_cells, (self.heading, *self.cells)))


def draw_rows(
    groups: Sequence[Group],
    notes: Sequence[str],
    headings: tuple[str, str],
    *,
    total: Summary,
    enough: int,
    width: int,
) -> Iterator[str]:
    """A heading, and a line for each group: name, counts, a dot with its whisker, satisfaction, interval and note.

    In narrow lines the whiskers are left out, then the numbers of up and down, then the interval. Names are truncated
    if they take more than half of a line, and otherwise last.

    Args:
        groups: in the order of lines; at least one.
        notes: a short text for each of them; a column of empty texts is not shown.
        headings: of names and of notes.
        total: the statistics of all feedback, for the mark of the average; without thumbs there is none.
        enough: the number of thumbs from which on a dot is filled.
        width: the width of a line, in cells.
    """
    names = [remove_controls(group.name) for group in groups]
    widest = min(max(map(count_cells, (headings[0], *names))), width // 2)
    left, right, rest = _choose_columns(groups, notes, headings[1], width - widest)
    name, plot = widest + min(rest, 0), min(rest - 1, _MOST)
    has_whiskers, top = plot >= _LEAST and len(left) == _COUNTS, axis_top(groups, total)
    axis = f"0{align_right(f'{top}%', plot - 1)}" if has_whiskers else None
    yield " ".join(_line(align_left(headings[0], name), left, axis, right, None))
    for place, group in enumerate(groups):
        dot = "●" if group.summary.decided >= enough else "○"
        whisker = _draw_whisker(group, total, dot, top, plot) if has_whiskers else None
        yield " ".join(_line(align_left(names[place], name), left, whisker, right, place))


def explain_rows(foot: str, lines: Sequence[str], groups: Sequence[Group], enough: int) -> str:
    """The explanation below lines of :func:`draw_rows`.

    Args:
        foot: that of the chart, with the words ``Dashed line:`` and ``Whiskers:``.
        lines: the lines.
        groups: their groups.
        enough: the number of thumbs from which on a dot is filled.
    """
    if not any("┤" in line for line in lines):
        return foot.replace("Dashed line: all,", "All:").replace("Whiskers: 95% confidence.", "").strip()
    is_hollow = any(0 < group.summary.decided < enough for group in groups)
    hollow = f" ○ under {enough} thumbs." if is_hollow else ""
    return f"{foot.replace('Dashed line: ', '┊ ').replace('Whiskers:', '├─┤')}{hollow}"


def _choose_columns(
    groups: Sequence[Group], notes: Sequence[str], heading: str, width: int
) -> tuple[list[_Column], list[_Column], int]:
    """The columns to the left and to the right of the whiskers, and the width that they leave; negative if none."""
    summaries = [group.summary for group in groups]
    counts = [
        _Column(name, [f"{count:,}" for count in found])
        for name, found in (
            ("Total", [summary.total for summary in summaries]),
            ("Up", [summary.positive for summary in summaries]),
            ("Down", [summary.negative for summary in summaries]),
        )
    ]
    satisfaction = _Column("Satisf.", [satisfaction_text(one) if one.decided else "" for one in summaries])
    interval = _Column(
        "95% interval",
        [interval_text(one.interval, one.summary.decided) if one.summary.decided else "" for one in groups],
    )
    note = [_Column(heading, notes)] if any(notes) else []
    choices = (
        (counts, [satisfaction, interval, *note]),
        (counts[:1], [satisfaction, interval, *note]),
        (counts[:1], [satisfaction, *note]),
    )
    for left, right in choices:
        rest = width - sum(column.width + 1 for column in (*left, *right))
        if rest >= 0:
            break
    return left, right, rest


def _line(
    name: str, left: Sequence[_Column], whisker: str | None, right: Sequence[_Column], place: int | None
) -> Iterator[str]:
    """The parts of a line: of the group in this place, or the headings."""

    def cell(column: _Column) -> str:
        return align_right(column.heading if place is None else column.cells[place], column.width)

    yield name
    yield from map(cell, left)
    if whisker is not None:
        yield whisker
    yield from map(cell, right)


def _draw_whisker(group: Group, total: Summary, dot: str, top: int, width: int) -> str:
    """The interval, satisfaction and overall average on an axis from 0 to ``top`` percent, in ``width`` cells."""
    if not group.summary.total:
        return align_left(_NO_FEEDBACK, width)

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
        signs[place(group.summary.satisfaction)] = dot
    return "".join(signs)

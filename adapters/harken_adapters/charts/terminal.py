"""The charts as plain text without colour and without control characters.

No line is wider than ``width`` cells, which must be at least 32. :func:`encode_text` replaces block characters by ASCII
for terminals that lack them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from harken import Issues, Themes
from harken.domain.insight.best_groups import ENOUGH_THUMBS
from harken.domain.insight.comparison import Comparison, Estimate
from harken.domain.insight.heat_map import MIN_THUMBS, Cell
from harken.domain.insight.ranking import Ranking
from harken.domain.query import GroupKey
from harken.domain.summary import Summary
from harken_adapters.charts.comparison import Group, View, mark_text, view_change, view_groups, view_ranking
from harken_adapters.charts.heat_map import HeatGrid, Step, heat_sentence
from harken_adapters.charts.labels import DASH, UNCLEAR, count_text, satisfaction_text, share_text
from harken_adapters.charts.rating_split import rating_shares, split_sentence
from harken_adapters.charts.text_cells import (
    COLUMNS,
    align_left,
    align_right,
    count_cells,
    encode_text,
    join_lines,
    remove_controls,
    wrap_text,
)
from harken_adapters.charts.text_columns import trend_text
from harken_adapters.charts.text_rows import draw_rows, explain_rows
from harken_adapters.charts.themes import (
    ThemeRow,
    issue_rows,
    issues_sentence,
    reason_rows,
    scale_of,
    theme_rows,
    themes_sentence,
)
from harken_adapters.charts.trend_plot import FEW_THUMBS
from harken_adapters.charts.trend_sentences import NO_FEEDBACK

__all__ = [
    "change_text",
    "comparison_text",
    "encode_text",
    "groups_text",
    "heat_map_text",
    "issues_text",
    "ranking_text",
    "rating_split_text",
    "themes_text",
    "trend_text",
]

#: The least and the greatest width of a bar.
_LEAST_BAR: Final = 8
_MOST_BAR: Final = 82
#: The width of the names of days.
_DAY: Final = 7
_SIGNS: Final = {
    Step.CLEARLY_UNDER: "▼",
    Step.UNDER: "-",
    Step.ABOUT: "=",
    Step.OVER: "+",
    Step.CLEARLY_OVER: "▲",
    None: "·",
}


def rating_split_text(estimate: Estimate, *, width: int = COLUMNS) -> str:
    """A bar for each rating."""
    if not estimate.summary.total:
        return NO_FEEDBACK
    shares = rating_shares(estimate.summary)
    counts = [count_text(part.count) for part in shares]
    digits = max(map(len, counts))
    bar = min(width - digits - 15, _MOST_BAR)
    bars = (
        f"{align_left(part.name, 8)}{_draw_bar(part.share, bar)} {align_right(count, digits)} "
        f"{align_right(share_text(part.share), 5)}"
        for part, count in zip(shares, counts, strict=True)
    )
    return join_lines([*wrap_text(split_sentence(estimate), width), "", *bars])


def groups_text(
    groups: Sequence[tuple[str, Estimate]],
    *,
    by: str,
    total: Summary,
    notes: Sequence[str] = (),
    width: int = COLUMNS,
) -> str:
    """The counts, satisfaction and interval of each group, in the given order.

    Args:
        groups: the name and the statistics of each.
        by: the kind of group as a noun.
        total: the statistics of all feedback.
        notes: a short text for each group, for the last column.
        width: of a line.
    """
    rows = [Group(name=name, estimate=estimate) for name, estimate in groups]
    if not any(row.summary.total for row in rows):
        return NO_FEEDBACK
    notes = notes or [""] * len(rows)
    lines = [*draw_rows(rows, notes, (by.capitalize(), ""), total=total, enough=FEW_THUMBS, width=width)]
    average = f"Dashed line: all, {satisfaction_text(total)}. " if total.decided else ""
    foot = explain_rows(f"{average}Whiskers: 95% confidence.", lines, rows, FEW_THUMBS)
    return join_lines([*lines, "", *wrap_text(foot, width)])


def comparison_text(compared: Mapping[GroupKey, Comparison], *, by: str = "group", width: int = COLUMNS) -> str:
    """A dot and whisker for each group, after the result of the comparison.

    Args:
        compared: as for :func:`harken_adapters.charts.comparison.comparison_chart`.
        by: the same.
        width: of a line.
    """
    return join_lines(_draw_view(view_groups(compared, by=by), width))


def ranking_text(ranking: Ranking[GroupKey], *, by: str = "group", width: int = COLUMNS) -> str:
    """The same for a ranking, with the changes since the previous period.

    Args:
        ranking: as for :func:`harken_adapters.charts.comparison.ranking_chart`.
        by: the same.
        width: of a line.
    """
    return join_lines(_draw_view(view_ranking(ranking, by=by), width))


def change_text(comparison: Comparison, *, width: int = COLUMNS) -> str:
    """The same for two selections.

    Args:
        comparison: as for :func:`harken_adapters.charts.comparison.change_chart`.
        width: of a line.
    """
    return join_lines(_draw_view(view_change(comparison), width))


def _draw_view(view: View, width: int) -> Iterator[str]:
    yield from wrap_text(view.sentence, width)
    if not view.has_thumbs:
        return
    yield ""
    notes = [{DASH: "", UNCLEAR: "≈"}.get(mark, mark) for mark in map(mark_text, view.groups)]
    headings = view.by.capitalize(), view.marks
    lines = [*draw_rows(view.groups, notes, headings, total=view.total, enough=ENOUGH_THUMBS, width=width)]
    yield from lines
    yield ""
    unclear = f" ≈ {UNCLEAR}." if "≈" in notes else ""
    yield from wrap_text(explain_rows(f"{view.foot}{unclear}", lines, view.groups, ENOUGH_THUMBS), width)


def heat_map_text(cells: Sequence[Cell], *, zone: str = "UTC", width: int = COLUMNS) -> str:
    """One sign for each hour of each day.

    Args:
        cells: as for :func:`harken_adapters.charts.heat_map.heat_map_chart`.
        zone: the same.
        width: of a line.
    """
    grid = HeatGrid(cells)
    if not grid.total.total:
        return NO_FEEDBACK
    average = satisfaction_text(grid.total)
    step = min(3, (width - _DAY) // 24)
    hours = "".join(f"{hour:02}".ljust(3 * step) for hour in range(0, 24, 3))
    return join_lines(
        [
            *wrap_text(heat_sentence(grid, zone), width),
            "",
            " " * _DAY + hours,
            *(_draw_heat_row(grid, place, step) for place in range(len(grid.rows))),
            "",
            *wrap_text(
                f"▼ clearly under {average}, - under, = about the same, + over, ▲ clearly over, "
                f"· under {MIN_THUMBS} thumbs",
                width,
            ),
        ]
    )


def themes_text(found: Themes, *, reasons: bool = False, width: int = COLUMNS) -> str:
    """A bar for each theme, with an example below it.

    Args:
        found: as for :func:`harken_adapters.charts.themes.themes_chart`.
        reasons: the same.
        width: of a line.
    """
    rows = reason_rows(found) if reasons else theme_rows(found)
    lines = [*wrap_text(themes_sentence(found, rows, reasons), width)]
    return join_lines([*lines, "", *_draw_themes(rows, width)] if rows else lines)


def issues_text(found: Issues, *, reasons: bool = True, width: int = COLUMNS) -> str:
    """The same for issues.

    Args:
        found: as for :func:`harken_adapters.charts.themes.issues_chart`.
        reasons: the same.
        width: of a line.
    """
    rows = issue_rows(found)
    lines = [*wrap_text(issues_sentence(found, reasons=reasons), width)]
    return join_lines([*lines, "", *_draw_themes(rows, width)] if rows else lines)


def _draw_themes(rows: Sequence[ThemeRow], width: int) -> Iterator[str]:
    full = scale_of(rows)
    counts = [count_text(row.count) for row in rows]
    digits = max(map(len, counts))
    labels = max(count_cells(remove_controls(row.label)) for row in rows)
    changes = [row.change for row in rows]
    bar = _bar_width(width, labels, digits, changes)
    if bar < _LEAST_BAR:
        changes = [change.removesuffix(" points").replace(UNCLEAR, "≈") for change in changes]
        bar = _bar_width(width, labels, digits, changes)
    if bar < _LEAST_BAR:
        # The bars are left out, and then labels are truncated.
        bar, labels = 0, min(labels, labels + bar + 1)
    for row, count, change in zip(rows, counts, changes, strict=True):
        drawn = f"{_draw_bar(row.share / full, bar)} " if bar else ""
        yield (
            f"{align_left(row.label, labels)} {drawn}{align_right(count, digits)} "
            f"{align_right(share_text(row.share), 4)} {change}"
        )
        if row.words:
            also = ", ".join(row.words)
            yield f"  {_truncate(f'also: {also}', width - 2)}"
        if row.example:
            yield f"  “{_truncate(row.example, width - 4)}”"


def _truncate(text: str, width: int) -> str:
    line = " ".join(remove_controls(text).split())
    return align_left(line, min(width, count_cells(line)))


def _bar_width(width: int, labels: int, digits: int, changes: Sequence[str]) -> int:
    change = max(map(len, changes))
    return min(width - labels - digits - 7 - (change + 1 if change else 0), _MOST_BAR)


def _draw_bar(share: float, width: int) -> str:
    filled = min(width, round(share * width))
    return "█" * filled + "·" * (width - filled)


def _draw_heat_row(grid: HeatGrid, place: int, step: int) -> str:
    row, by_place = grid.rows[place], grid.by_place
    signs = (
        " " if grid.is_to_come(row, hour) else _SIGNS[grid.step(cell) if (cell := by_place.get((row, hour))) else None]
        for hour in range(24)
    )
    return align_left(grid.label(row), _DAY) + "".join(sign.ljust(step) for sign in signs)

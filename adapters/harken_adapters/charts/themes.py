"""The most frequent themes of negative feedback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from harken_adapters.charts.axis import scale_top
from harken_adapters.charts.chart import Chart, empty_chart
from harken_adapters.charts.labels import amount, count_text, share_text
from harken_adapters.charts.svg import Element, element, percent, title
from harken_adapters.charts.table import Column, build_table

_TITLE: Final = "Common issues"
_ROW: Final = 40
_BAR: Final = 6
_LETTERS: Final = 26


@frozen
class ThemeRow:
    """A theme of comments, or a reason that users chose.

    Attributes:
        label: its name.
        count: the number of thumbs-down with this theme.
        share: its share of all thumbs-down, from 0 to 1.
        change: the change of the share, such as ``▲ 3.4 points``; empty if it may be chance.
    """

    label: str
    count: int
    share: float
    change: str = ""


def themes_chart(rows: Sequence[ThemeRow], *, thumbs_down: int) -> Chart:
    """Bars with counts, shares and changes, in the given order.

    Args:
        rows: the themes.
        thumbs_down: the number of thumbs-down in the selection.
    """
    if not rows:
        return empty_chart(_TITLE, "No themes in this period.")
    return Chart(
        title=_TITLE,
        description=themes_sentence(rows, thumbs_down),
        table=str(_build_table(rows)),
        caption=f"share of {thumbs_down:,} thumbs-down",
        height=_ROW * len(rows),
        content=tuple(part for place, row in enumerate(rows) for part in _draw_row(rows, row, place * _ROW)),
    )


def theme_bar(row: ThemeRow, rows: Sequence[ThemeRow]) -> str:
    """The bar of one row as a separate picture, on the scale of all ``rows``; for lists."""
    return str(element("svg", *_draw_bar(row, rows), class_="p bar", width="100%", height=_BAR, aria_hidden="true"))


def themes_sentence(rows: Sequence[ThemeRow], thumbs_down: int) -> str:
    """The most frequent theme, in one sentence; ``rows`` must not be empty."""
    first = max(rows, key=lambda row: row.count)
    changed = f"; {amount(count, 'share')} changed" if (count := sum(bool(row.change) for row in rows)) else ""
    return (
        f"{amount(len(rows), 'theme')} in {thumbs_down:,} thumbs-down; "
        f"the most frequent, {first.label}, is in {first.count:,} of them ({share_text(first.share)}){changed}."
    )


def scale_of(rows: Sequence[ThemeRow]) -> float:
    """The share of a bar of full length, from 0 to 1."""
    return scale_top(row.share * 100 for row in rows) / 100


def shorten(text: str, letters: int) -> str:
    """The text truncated to a number of characters, with an ellipsis."""
    return text if len(text) <= letters else f"{text[: letters - 1].rstrip()}…"


def _draw_row(rows: Sequence[ThemeRow], row: ThemeRow, top: float) -> Iterator[Element]:
    figures = f"{count_text(row.count)} · {share_text(row.share)}"
    hint = title(f"{row.label}: {row.count:,}, {share_text(row.share)} {row.change}".rstrip())
    yield element("text", shorten(row.label, _LETTERS), hint, class_="name", x="0", y=top + 14)
    after = element("tspan", figures, class_="val", dx=8 if row.change else None)
    yield element("text", *_draw_change(row.change), after, x="100%", y=top + 14, text_anchor="end")
    yield element("svg", *_draw_bar(row, rows), x="0", y=top + 22, width="100%", height=_BAR)


def _draw_change(change: str) -> Iterator[Element]:
    """The change, coloured: a larger share of the complaints is worse."""
    if change:
        kind = "fu" if change.startswith("▼") else "mkb" if change.startswith("▲") else None
        yield element("tspan", change, class_=kind)


def _draw_bar(row: ThemeRow, rows: Sequence[ThemeRow]) -> Iterator[Element]:
    full = min(1.0, row.share / scale_of(rows))
    yield element("rect", class_="track", width="100%", height=_BAR, rx=_BAR / 2)
    yield element("rect", class_="fd", width=percent(full), height=_BAR, rx=_BAR / 2)


def _build_table(rows: Sequence[ThemeRow]) -> Element:
    columns = [Column("Theme"), *(Column(name, is_number=True) for name in ("Thumbs-down", "Share", "Change"))]
    body = ([row.label, f"{row.count:,}", share_text(row.share), row.change] for row in rows)
    return build_table(_TITLE, columns, body)

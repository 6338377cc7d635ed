"""The most frequent themes of negative feedback, and the reasons that people chose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from harken import Issues, Themes
from harken.domain.insight.comparison import ProportionChange
from harken.domain.texts import amount
from harken_adapters.charts.axis import scale_top
from harken_adapters.charts.chart import Chart, empty_chart
from harken_adapters.charts.labels import UNCLEAR, count_text, isolated, share_text
from harken_adapters.charts.svg import Element, element, percent, title
from harken_adapters.charts.table import Column, build_table

TOO_FEW: Final = "These comments are too few to find which words belong together."
_MOST_REASONS: Final = 10
_ROW: Final = 40
_BAR: Final = 6
_LETTERS: Final = 26


@frozen
class ThemeRow:
    """A theme of comments, or a reason that people chose.

    Attributes:
        label: its name.
        count: the number of thumbs-down comments with this theme.
        share: its share of all thumbs-down comments, from 0 to 1.
        change: the change of the share: ``▲ 3.4 points``, ``no clear change``, or empty without a previous period.
        example: a comment; may be empty.
        words: its words that are not in the label; a comment with any of them counts.
    """

    label: str
    count: int
    share: float
    change: str = ""
    example: str = ""
    words: tuple[str, ...] = ()


def themes_chart(found: Themes, *, reasons: bool = False) -> Chart:
    """Bars with counts, shares and changes, in the given order.

    Args:
        found: from :meth:`harken.Harken.themes`.
        reasons: whether to show the tags that people chose instead.
    """
    rows = reason_rows(found) if reasons else theme_rows(found)
    if not rows:
        return empty_chart(title_of(reasons), themes_sentence(found, rows, reasons))
    return Chart(
        title=title_of(reasons),
        description=themes_sentence(found, rows, reasons),
        table=str(_build_table(title_of(reasons), rows)),
        caption=f"share of {amount(found.comments, 'thumbs-down comment')}",
        foot="" if reasons or found.is_enough else TOO_FEW,
        height=_ROW * len(rows),
        content=tuple(part for place, row in enumerate(rows) for part in _draw_row(rows, row, place * _ROW)),
    )


def issues_chart(found: Issues, *, reasons: bool = True) -> Chart:
    """The same for issues.

    Args:
        found: from :meth:`harken.Harken.reasons`, or the themes of a page.
        reasons: whether the issues are reasons, and not themes.
    """
    rows, title = issue_rows(found), title_of(reasons)
    if not rows:
        return empty_chart(title, issues_sentence(found, reasons=reasons))
    return Chart(
        title=title,
        description=issues_sentence(found, reasons=reasons),
        table=str(_build_table(title, rows)),
        caption=f"share of {downs_text(found)}",
        height=_ROW * len(rows),
        content=tuple(part for place, row in enumerate(rows) for part in _draw_row(rows, row, place * _ROW)),
    )


def issue_rows(found: Issues) -> list[ThemeRow]:
    """The issues, in order. A change is shown if it is more than chance."""
    return [
        ThemeRow(
            one.name,
            one.share.count,
            one.share.percent / 100,
            _direction_text(one.change, one.direction) if one.change else "",
            # Its author may have taken the words back.
            one.example.comment if one.example and not one.example.withdrawn else "",
        )
        for one in found.issues
    ]


def issues_sentence(found: Issues, *, reasons: bool) -> str:
    """How many issues there are, and the most frequent."""
    noun = "reason" if reasons else "theme"
    if not found.downs:
        return "There is no thumbs-down feedback."
    if not found.issues:
        return f"No {noun} was found in {downs_text(found)}."
    first = found.issues[0]
    return (
        f"{amount(found.found, noun)} in {downs_text(found)}; the most frequent, {isolated(first.name)}, is in "
        f"{first.share.count:,} of them ({share_text(first.share.percent / 100)})."
    )


def downs_text(found: Issues) -> str:
    """``3,759 thumbs-down ratings``, or ``the newest 20,000 thumbs-down ratings``."""
    return f"{'' if found.is_complete else 'the newest '}{amount(found.downs, 'thumbs-down rating')}"


def title_of(reasons: bool) -> str:
    """The title of the chart."""
    return "Reasons" if reasons else "Common issues"


def theme_rows(found: Themes) -> list[ThemeRow]:
    """The themes, in order."""
    return [
        ThemeRow(
            one.name,
            one.theme.count,
            one.theme.share,
            _change_text(one.change) if one.change else "",
            one.examples[0].comment if one.examples else "",
            tuple(word for word in one.theme.words if word not in one.name),
        )
        for one in found.themes
    ]


def reason_rows(found: Themes) -> list[ThemeRow]:
    """The most frequent tags, in order."""
    return [ThemeRow(tag, count, count / max(1, found.comments)) for tag, count in found.tags[:_MOST_REASONS]]


def _change_text(change: ProportionChange) -> str:
    return _direction_text(change, change.direction)


def _direction_text(change: ProportionChange, direction: int) -> str:
    if not direction:
        return UNCLEAR
    return f"{'▲' if direction > 0 else '▼'} {abs(change.difference):.1f} points"


def themes_sentence(found: Themes, rows: Sequence[ThemeRow], reasons: bool) -> str:
    """The most frequent theme, and the words that are too frequent for a theme."""
    sentence = _most_frequent(found, rows, reasons)
    if reasons or not found.frequent_words:
        return sentence
    words = ", ".join(f"{word} ({count:,})" for word, count in found.frequent_words)
    return f"{sentence} In more than a quarter of all: {words}."


def _most_frequent(found: Themes, rows: Sequence[ThemeRow], reasons: bool) -> str:
    comments = amount(found.comments, "thumbs-down comment")
    if not found.comments:
        return "There are no thumbs-down comments."
    if not rows:
        return f"No {'reason was chosen in' if reasons else 'theme is in enough of'} {comments}."
    first = max(rows, key=lambda row: row.count)
    moved = sum(row.change.startswith(("▲", "▼")) for row in rows)
    changed = f"; {amount(moved, 'share')} changed" if moved else ""
    return (
        f"{amount(len(rows), 'reason' if reasons else 'theme')} in {comments}; "
        f"the most frequent, {isolated(first.label)}, is in {first.count:,} of them "
        f"({share_text(first.share)}){changed}."
    )


def scale_of(rows: Sequence[ThemeRow]) -> float:
    """The share of a bar of full length, from 0 to 1."""
    return scale_top(row.share * 100 for row in rows) / 100


def shorten(text: str, letters: int) -> str:
    """The text truncated to a number of characters, with an ellipsis."""
    return text if len(text) <= letters else f"{text[: letters - 1].rstrip()}…"


def _draw_row(rows: Sequence[ThemeRow], row: ThemeRow, top: float) -> Iterator[Element]:
    figures = f"{count_text(row.count)} · {share_text(row.share)}"
    change = "" if row.change == UNCLEAR else row.change
    hint = title(f"{isolated(row.label)}: {row.count:,}, {share_text(row.share)} {row.change}".rstrip())
    yield element("text", isolated(shorten(row.label, _LETTERS)), hint, class_="name", x="0", y=top + 14)
    after = element("tspan", figures, class_="val", dx=8 if change else None)
    yield element("text", *_draw_change(change), after, x="100%", y=top + 14, text_anchor="end")
    yield element("svg", *_draw_bar(row, rows), x="0", y=top + 22, width="100%", height=_BAR)


def _draw_change(change: str) -> Iterator[Element]:
    """The change, coloured: a larger share of the complaints is worse."""
    if change:
        yield element("tspan", change, class_="mkb rise" if change.startswith("▼") else "mkb")


def _draw_bar(row: ThemeRow, rows: Sequence[ThemeRow]) -> Iterator[Element]:
    full = min(1.0, row.share / scale_of(rows))
    yield element("rect", class_="track", width="100%", height=_BAR, rx=_BAR / 2)
    yield element("rect", class_="fd", width=percent(full), height=_BAR, rx=_BAR / 2)


def _build_table(caption: str, rows: Sequence[ThemeRow]) -> Element:
    has_examples = any(row.example for row in rows)
    columns = [Column("Theme"), *(Column(name, is_number=True) for name in ("Thumbs-down", "Share", "Change"))]
    body = (
        [
            row.label,
            f"{row.count:,}",
            share_text(row.share),
            row.change,
            *([row.example] if has_examples else []),
        ]
        for row in rows
    )
    return build_table(caption, [*columns, *([Column("Example")] if has_examples else [])], body)

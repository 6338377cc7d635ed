"""How people see statistics and feedback: as text, and as HTML tables in notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal

from harken.domain.texts import amount, excerpt

if TYPE_CHECKING:
    from harken.domain.feedback import Feedback
    from harken.domain.insight.comparison import Comparison
    from harken.domain.query import Page
    from harken.domain.summary import Interval, Summary
    from harken.domain.trend import Trend

_INTERVAL: Final = "95% CI"
_STATISTICS: Final = ("entries", "up", "down", "neutral", "satisfaction", _INTERVAL)
#: What is said of an interval that is too narrow if authors gave several ratings.
_ASSUMPTION: Final = ", assuming independent ratings"
_FEEDBACK: Final = ("created (UTC)", "rating", "comment", "tags", "agent", "session")
#: How much of a text of feedback is shown.
_MOST_CHARACTERS: Final = 200
#: How many points of a trend are shown: the latest.
_MOST_POINTS: Final = 100


def summary_text(summary: Summary, interval: Interval, *, is_adjusted: bool) -> str:
    """Return statistics in one line.

    Args:
        summary: the statistics.
        interval: that of the satisfaction.
        is_adjusted: whether it takes repeated authors into account. Else, what it assumes is said.
    """
    if not summary.total:
        return "no feedback"
    _, up, down, neutral, satisfaction, known = _statistics(summary, interval)
    entries = amount(summary.total, "entry", "entries")
    assumption = "" if is_adjusted else _ASSUMPTION
    share = f"satisfaction {satisfaction} ({_INTERVAL} {known}{assumption})" if summary.decided else "no thumbs"
    return f"{entries}: {up} up, {down} down, {neutral} neutral; {share}"


def summary_html(summary: Summary, interval: Interval, *, is_adjusted: bool) -> str:
    """Return a table with one row; see :func:`summary_text`."""
    headings = _STATISTICS if is_adjusted else (*_STATISTICS[:-1], f"{_INTERVAL}{_ASSUMPTION}")
    return _table(headings, [_statistics(summary, interval)])


def comparison_text(comparison: Comparison) -> str:
    """Return a line for each selection, and the verdict."""
    before, after = comparison.estimates
    return f"before: {before}\nafter: {after}\n{comparison.sentence}"


def comparison_html(comparison: Comparison) -> str:
    """Return a table with a row for each selection, and the verdict below it."""
    rows = [
        (name, *_statistics(one.summary, one.interval))
        for name, one in zip(("before", "after"), comparison.estimates, strict=True)
    ]
    return _table(("", *_STATISTICS), rows, comparison.sentence)


def trend_text(trend: Trend) -> str:
    """Return aligned columns, with a line for each point."""
    rows = [_trend_headings(trend), *_trend_rows(trend)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)).rstrip() for row in rows]
    note = _trend_note(trend)
    return "\n".join([*lines, note] if note else lines)


def trend_html(trend: Trend) -> str:
    """Return a table with a row for each point."""
    return _table(_trend_headings(trend), _trend_rows(trend), _trend_note(trend))


def page_text(page: Page) -> str:
    """Return a line for each entry."""
    return "\n".join([*("  ".join(filter(None, _cells(one))) for one in page.items), _page_note(page)])


def page_html(page: Page) -> str:
    """Return a table with a row for each entry."""
    return _table(_FEEDBACK, map(_cells, page.items), _page_note(page), align="left")


def _statistics(summary: Summary, interval: Interval) -> tuple[str, ...]:
    known = (f"{summary.satisfaction:.1f}%", str(interval)) if summary.decided else ("", "")
    counts = (summary.total, summary.positive, summary.negative, summary.neutral)
    return (*(f"{count:,}" for count in counts), *known)


def _trend_headings(trend: Trend) -> tuple[str, ...]:
    return (f"{trend.period.value} ({trend.zone})", *_STATISTICS)


def _trend_rows(trend: Trend) -> list[tuple[str, ...]]:
    form = "%Y-%m-%d" if trend.period.is_whole_days else "%Y-%m-%d %H:%M"
    return [
        (point.start.strftime(form), *_statistics(point.summary, point.estimate.interval))
        for point in trend[-_MOST_POINTS:]
    ]


def _trend_note(trend: Trend) -> str:
    if left_out := len(trend[:-_MOST_POINTS]):
        return f"{left_out:,} earlier points are not shown"
    return "" if trend else "no feedback"


def _cells(feedback: Feedback) -> tuple[str, ...]:
    """The cells of an entry, each a printable text in one line."""
    state = "withdrawn" if feedback.withdrawn else feedback.moderation.status.value
    return (
        f"{feedback.created_at:%Y-%m-%d %H:%M}",
        feedback.rating.word + ("" if feedback.is_counted else f" ({state})"),
        excerpt(feedback.comment, _MOST_CHARACTERS),
        excerpt(", ".join(feedback.tags), _MOST_CHARACTERS),
        excerpt(feedback.agent_id or "", _MOST_CHARACTERS),
        excerpt(feedback.session_id, _MOST_CHARACTERS),
    )


def _page_note(page: Page) -> str:
    if page.next:
        return "There is more: pass after=page.next"
    return "" if page.items else "no feedback"


def _table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    note: str = "",
    *,
    align: Literal["left", "right"] = "right",
) -> str:
    """Return a table with a note below it. Every text is escaped."""
    from html import escape  # noqa: PLC0415 - keeps `import harken` light

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(f'<{tag} style="text-align: {align}">{escape(text)}</{tag}>' for text in texts)

    head, body = cells("th", headings), "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    below = f"<p>{escape(note)}</p>" if note else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"

"""Issues as rows of a page: the reasons that people chose, or the words of their comments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from harken import Feedback, Issue, Issues
from harken_adapters.charts.labels import UNCLEAR
from harken_adapters.charts.themes import issue_rows, scale_of
from harken_adapters.hosts.web.entries import shown_of
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import Visit

#: The words of a theme that are shown.
_MOST_WORDS: Final = 6


@frozen(kw_only=True)
class IssueRow:
    """An issue.

    Attributes:
        name: the reason, or the name of the theme.
        count: the number of thumbs-down entries with it.
        share: its share of all, from 0 to 1.
        width: the length of its bar in percent.
        change: the change of the share: ``▲ 3.4 points``; empty unless it is more than chance.
        grew: whether the share grew.
        example: the entry whose comment is shown; ``None`` if there is none.
        link: a link that selects it; empty for themes, which are not a filter.
        words: the words of a theme, each with a link to the comments that have it.
    """

    name: str
    count: int
    share: float
    width: float
    change: str
    grew: bool
    example: Feedback | None
    link: str
    words: Sequence[tuple[str, str]]


def rows_of(visit: Visit, found: Issues, selection: Selection, *, here: Selection, reasons: bool) -> Sequence[IssueRow]:
    """The rows of a list of issues, each of which selects its issue on the overview.

    Args:
        visit: the visit of the page.
        found: the issues.
        selection: what is selected.
        here: the selection with the parameters of the overview.
        reasons: whether the issues are reasons, and not themes.
    """
    rows = issue_rows(found)
    scale = scale_of(rows) if rows else 1.0
    return [
        IssueRow(
            name=row.label,
            count=row.count,
            share=row.share,
            width=round(min(1.0, row.share / scale) * 100, 3),
            change=row.change if selection.is_compared and row.change != UNCLEAR else "",
            grew=issue.direction > 0,
            example=_example(visit, issue),
            words=[(word, _search(selection, visit.home, word)) for word in issue.words[:_MOST_WORDS]],
            link=here.link(visit.home, ("tag", issue.name), without=["tag"]) if reasons else "",
        )
        for row, issue in zip(rows, found.issues, strict=True)
    ]


def _example(visit: Visit, issue: Issue) -> Feedback | None:
    """The entry whose comment is shown, unless there is nothing to show of it."""
    example = issue.example and shown_of(visit, issue.example)
    return example if example and example.comment else None


def _search(selection: Selection, path: str, word: str) -> str:
    """A link to the negative comments with a word."""
    return selection.link(f"{path}/feedback", ("rating", "down"), ("text", word), without=["rating"])

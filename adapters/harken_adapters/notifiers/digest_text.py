"""Digests as text, for channels that people read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from harken import TrendPoint
from harken.domain.digest import Digest
from harken.domain.insight.issues import Issue
from harken.domain.texts import amount
from harken_adapters.charts.headline import headline_details, headline_title
from harken_adapters.charts.labels import days_text, satisfaction_text, share_text, weekday_text
from harken_adapters.charts.themes import downs_text

_CELLS: Final = 10


def digest_title(digest: Digest) -> str:
    """The digest in one line, without comments."""
    start, end = digest.headline.after
    days = days_text(start.date(), (end - timedelta(days=1)).date())
    return f"{digest.application}, {days}: {headline_title(digest.headline)}"


def digest_lines(digest: Digest) -> list[str]:
    """The digest as lines: the sentences, a bar for each day, the issues, and the link.

    The lines of comments begin with ``>``, so that they cannot imitate the others. The bars are at the beginning of
    the lines, so that they are aligned in proportional fonts, too.
    """
    parts = [headline_title(digest.headline), *headline_details(digest.headline), "", "Satisfaction by day:"]
    parts += [_draw_day(point) for point in digest.days]
    if digest.issues.issues:
        parts += ["", f"Most frequent in {downs_text(digest.issues)}:"]
        parts += [line for issue in digest.issues.issues for line in _describe(issue)]
    return [*parts, *(["", digest.link] if digest.link else [])]


def _draw_day(point: TrendPoint) -> str:
    summary = point.summary
    filled = round(summary.satisfaction / 100 * _CELLS) if summary.decided else 0
    bar = "█" * filled + "░" * (_CELLS - filled)
    values = f"{satisfaction_text(summary)} of {amount(summary.decided, 'thumb')}" if summary.decided else "no thumbs"
    return f"{bar} {weekday_text(point.start)}: {values}"


def _describe(issue: Issue) -> Iterator[str]:
    change = ""
    if issue.change is not None and issue.direction:
        change = f", {'▲' if issue.direction > 0 else '▼'} {abs(issue.change.difference):.1f} points"
    yield f"{issue.name}: {issue.share.count:,}, {share_text(issue.share.percent / 100)}{change}"
    if issue.example is not None:
        yield from (f"> {line}".rstrip() for line in issue.example.comment.splitlines())
        yield f"(feedback {issue.example.id})"

"""Reads the newest feedback, so that what a statistic costs is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from harken.domain.feedback import Feedback
from harken.domain.query import MAX_PAGE, Cursor, FeedbackQuery
from harken.ports.repository import FeedbackRepository

#: How many entries are read at most.
NEWEST: Final = 20_000


def newest(repository: FeedbackRepository, query: FeedbackQuery, *, limit: int = NEWEST) -> Iterator[Feedback]:
    """The newest matching entries, at most ``limit``, newest first."""
    return islice(_pages(repository, query), limit)


def _pages(repository: FeedbackRepository, query: FeedbackQuery) -> Iterator[Feedback]:
    after: Cursor | None = None
    while True:
        page = repository.find(query, limit=MAX_PAGE, after=after)
        yield from page.items
        if page.next is None:
            return
        after = page.next

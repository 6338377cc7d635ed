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
#: How many entries are searched for comments at most.
_SEARCHED: Final = 100_000


def newest(repository: FeedbackRepository, query: FeedbackQuery, *, limit: int = NEWEST) -> Iterator[Feedback]:
    """The newest matching entries, at most ``limit``, newest first."""
    return islice(_pages(repository, query), limit)


def newest_comments(repository: FeedbackRepository, query: FeedbackQuery) -> Iterator[Feedback]:
    """The matching feedback with a comment, newest first: at most 20,000, among the newest 100,000 entries."""
    entries = newest(repository, query, limit=_SEARCHED)
    return islice((one for one in entries if one.comment), NEWEST)


def _pages(repository: FeedbackRepository, query: FeedbackQuery) -> Iterator[Feedback]:
    after: Cursor | None = None
    while True:
        page = repository.find(query, limit=MAX_PAGE, after=after)
        yield from page.items
        if page.next is None:
            return
        after = page.next

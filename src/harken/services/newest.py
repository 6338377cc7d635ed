"""Reading the newest feedback of a selection."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from harken.domain.feedback import Feedback
from harken.domain.query import Cursor, FeedbackQuery
from harken.ports.repository import FeedbackRepository

#: The number of comments that are read at most.
NEWEST_COMMENTS: Final = 20_000
#: The number of entries that are searched for comments at most.
_NEWEST_ENTRIES: Final = 100_000
_PAGE: Final = 1_000


def newest_comments(repository: FeedbackRepository, query: FeedbackQuery) -> Iterator[Feedback]:
    """The matching feedback with a comment, newest first: at most 20,000, among the newest 100,000 entries."""
    entries = islice(_newest(repository, query), _NEWEST_ENTRIES)
    return islice((one for one in entries if one.comment), NEWEST_COMMENTS)


def _newest(repository: FeedbackRepository, query: FeedbackQuery) -> Iterator[Feedback]:
    after: Cursor | None = None
    while True:
        page = repository.find(query, limit=_PAGE, after=after)
        yield from page.items
        if page.next is None:
            return
        after = page.next

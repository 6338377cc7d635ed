"""Finds stored feedback: one entry, pages, and the oldest or newest entries.

Statistics read the newest feedback only, so that their costs are bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import dropwhile, islice, takewhile
from typing import Final

from attrs import evolve

from harken.domain.errors import FeedbackNotFound
from harken.domain.feedback import Feedback
from harken.domain.query import MAX_PAGE, Cursor, FeedbackQuery, Order, Page, check_limit, check_order
from harken.domain.rules import text_problem
from harken.ports.repository import FeedbackRepository

#: How many entries are read at most.
NEWEST: Final = 20_000
#: How many entries are searched for comments at most.
_SEARCHED: Final = 100_000
_FIRST_WINDOW: Final = timedelta(seconds=1)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


def get(repository: FeedbackRepository, application: str, feedback_id: str) -> Feedback:
    """The feedback with that id, in any state.

    Raises:
        FeedbackNotFound: the application has no feedback with this id.
    """
    if text_problem("application", application) or text_problem("id", feedback_id):
        raise FeedbackNotFound(application, feedback_id)
    return repository.get(application, feedback_id)


def find(
    repository: FeedbackRepository, query: FeedbackQuery, *, limit: int, after: Cursor | None, order: Order = "newest"
) -> Page:
    """A page of matching feedback.

    Raises:
        InvalidQuery: the limit is out of range, or the order is invalid.
    """
    check_limit(limit)
    check_order(order)
    if order == "newest":
        return repository.find(query, limit=limit, after=after)
    entries = tuple(islice(oldest(repository, query, after), limit + 1))
    return Page(entries[:limit], Cursor.of(entries[limit - 1]) if len(entries) > limit else None)


def oldest(repository: FeedbackRepository, query: FeedbackQuery, after: Cursor | None) -> Iterator[Feedback]:
    """The matching feedback after a place, oldest first, in constant memory."""
    if after is None:
        return repository.stream(query)
    since = max(filter(None, (query.since, after.created_at)))
    return dropwhile(lambda one: Cursor.of(one) <= after, repository.stream(evolve(query, since=since)))


def newest(
    repository: FeedbackRepository, query: FeedbackQuery, *, limit: int = NEWEST, after: Cursor | None = None
) -> Iterator[Feedback]:
    """The newest matching entries (after a place), at most ``limit``, newest first."""
    return islice(_pages(repository, query, after), limit)


def newest_comments(repository: FeedbackRepository, query: FeedbackQuery) -> Iterator[Feedback]:
    """The matching feedback with a comment, newest first: at most 20,000, among the newest 100,000 entries."""
    entries = newest(repository, query, limit=_SEARCHED)
    return islice((one for one in entries if one.comment), NEWEST)


def newest_changes(
    repository: FeedbackRepository, application: str, *, since: datetime, now: datetime, limit: int
) -> Sequence[Feedback]:
    """The newest changed feedback since a time, at most ``limit`` entries, oldest change first.

    Storages read changes forwards. So they are read in windows, the newest first, each twice as long as the one before
    it, or half as long if it has more changes than are wanted: after a burst, most of it is not read.
    """
    found: deque[Feedback] = deque()
    length, until = _FIRST_WINDOW, _LAST
    while len(found) < limit and until > since:
        wanted = limit - len(found)
        start = max(min(until, now) - length, since)
        changes = _before(repository.changes(application, since=start), until)
        if length > _FIRST_WINDOW:
            window = deque(islice(changes, wanted + 1))
            if len(window) > wanted:
                length /= 2
                continue
        else:
            window = deque(changes, maxlen=wanted)
        found.extendleft(reversed(window))
        length, until = 2 * length, start
    return found


def _before(changes: Iterator[Feedback], until: datetime) -> Iterator[Feedback]:
    return takewhile(lambda one: one.updated_at < until, changes)


def _pages(repository: FeedbackRepository, query: FeedbackQuery, after: Cursor | None) -> Iterator[Feedback]:
    while True:
        page = repository.find(query, limit=MAX_PAGE, after=after)
        yield from page.items
        if page.next is None:
            return
        after = page.next

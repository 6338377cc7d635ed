"""Finding stored feedback."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import dropwhile, islice

from attrs import evolve

from harken.domain.errors import FeedbackNotFound
from harken.domain.feedback import Feedback
from harken.domain.query import Cursor, FeedbackQuery, Order, Page, check_limit, check_order
from harken.domain.rules import text_problem
from harken.ports.repository import FeedbackRepository


def get(repository: FeedbackRepository, application: str, feedback_id: str) -> Feedback:
    """The feedback with that id, in any state.

    Raises:
        FeedbackNotFound: there is no such feedback, or the id is invalid.
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

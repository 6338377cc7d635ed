"""Reading stored feedback, and changing it while other threads and processes change it too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import dropwhile, islice
from typing import Literal

from attrs import evolve, frozen

from harken.domain.errors import FeedbackNotFound, FeedbackRejected, InvalidQuery, StaleFeedback
from harken.domain.events import Event, EventType
from harken.domain.feedback import Feedback
from harken.domain.query import Cursor, FeedbackQuery, Page, check_limit
from harken.domain.rules import size_problem, text_problem
from harken.ports.repository import FeedbackRepository

logger = logging.getLogger(__name__)

#: Called after a change.
OnChange = Callable[[], object]
#: May refuse a change by raising an error. It is called with exactly the version that is about to be changed, even if
#: another thread or process changes the feedback at the same time.
Check = Callable[[Feedback], object]
#: Which feedback comes first, by creation time.
Order = Literal["oldest", "newest"]


def find(
    repository: FeedbackRepository, query: FeedbackQuery, *, limit: int, after: Cursor | None, order: Order = "newest"
) -> Page:
    """A page of matching feedback.

    Raises:
        InvalidQuery: the limit is out of range, or the order is invalid.
    """
    check_page(limit, order)
    if order == "newest":
        return repository.find(query, limit=limit, after=after)
    entries = tuple(islice(oldest(repository, query, after), limit + 1))
    return Page(entries[:limit], Cursor.of(entries[limit - 1]) if len(entries) > limit else None)


def check_page(limit: int, order: Order) -> None:
    """Check what a page of feedback should have.

    Raises:
        InvalidQuery: the limit is out of range, or the order is invalid.
    """
    check_limit(limit)
    if order not in ("oldest", "newest"):
        raise InvalidQuery(f"order must be 'oldest' or 'newest', got {order!r}")


def oldest(repository: FeedbackRepository, query: FeedbackQuery, after: Cursor | None) -> Iterator[Feedback]:
    """The matching feedback after a place, oldest first, in constant memory."""
    if after is None:
        return repository.stream(query)
    since = max(filter(None, (query.since, after.created_at)))
    return dropwhile(lambda one: Cursor.of(one) <= after, repository.stream(evolve(query, since=since)))


def get(repository: FeedbackRepository, application: str, feedback_id: str) -> Feedback:
    """The feedback with that id, in any state.

    Raises:
        FeedbackNotFound: there is no such feedback, or the id is invalid.
    """
    if text_problem("application", application) or text_problem("id", feedback_id):
        raise FeedbackNotFound(application, feedback_id)
    return repository.get(application, feedback_id)


@frozen
class Updated:
    """Feedback after an edit, and whether the edit changed anything."""

    feedback: Feedback
    changed: bool


class Editor:
    """Changes stored feedback, and notifies listeners in this process of changes."""

    def __init__(self, repository: FeedbackRepository) -> None:
        self._repository = repository
        self._listeners: list[OnChange] = []

    def on_change(self, callback: OnChange) -> None:
        """Call this after each change that has an event; it should be quick.

        Any thread may call it, and several may at the same time. An error that it raises is logged.
        """
        self._listeners.append(callback)

    def update(
        self,
        application: str,
        feedback_id: str,
        edit: Callable[[Feedback], Feedback],
        event: EventType | None,
        *,
        check: Check | None = None,
    ) -> Updated:
        """Edit stored feedback, and repeat the edit if the feedback was changed meanwhile.

        If ``edit`` returns its argument, nothing is stored. With ``event=None``, no event is stored and no listener is
        notified. An error that ``check`` raises is raised, and nothing is changed.

        Raises:
            FeedbackNotFound: there is no such feedback.
            FeedbackRejected: it would be too large with all its revisions.
        """
        while True:
            current = get(self._repository, application, feedback_id)
            if check is not None:
                check(current)
            edited = edit(current)
            if edited is current:
                return Updated(current, changed=False)
            if not edited.withdrawn and (problem := size_problem(edited)):
                raise FeedbackRejected([problem])
            try:
                self._repository.replace(edited, [Event.about(edited, event, before=current)] if event else [])
            except StaleFeedback:
                # Another change was stored, so the loop makes progress as a whole.
                continue
            if event:
                self.notify()
            return Updated(edited, changed=True)

    def notify(self) -> None:
        """Notify all listeners that an event was stored."""
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:
                logger.exception("A listener failed after feedback was changed")

"""Reading pages of stored feedback, and changing it while others do."""

from __future__ import annotations

import logging
from collections.abc import Callable

from attrs import frozen

from harken.domain.errors import FeedbackNotFound, FeedbackRejected, StaleFeedback
from harken.domain.events import Event, EventType
from harken.domain.feedback import Feedback
from harken.domain.query import Cursor, FeedbackQuery, Page, check_limit
from harken.domain.rules import size_problem, text_problem
from harken.ports.repository import FeedbackRepository

logger = logging.getLogger(__name__)

#: What is told that something was written.
OnChange = Callable[[], object]
#: What may refuse a change. It is called with exactly the feedback that is about to be changed, even if somebody else
#: changes it at the same time, and refuses by raising an error.
Check = Callable[[Feedback], object]


def find(repository: FeedbackRepository, query: FeedbackQuery, *, limit: int, after: Cursor | None) -> Page:
    """A page, if the limit is one that can be asked for."""
    check_limit(limit)
    return repository.find(query, limit=limit, after=after)


def get(repository: FeedbackRepository, application: str, feedback_id: str) -> Feedback:
    """That feedback, whatever its state.

    Raises:
        FeedbackNotFound: there is none, and with such an id there cannot be one.
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
    """Changes stored feedback, and tells who listens that something was written."""

    def __init__(self, repository: FeedbackRepository) -> None:
        self._repository = repository
        self._listeners: list[OnChange] = []

    def on_change(self, callback: OnChange) -> None:
        """Call this after each change that is news to somebody; it should be quick.

        Any thread may call it, and several may at once. What it raises is logged and changes nothing.
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
        """Edit stored feedback, again and again while others change it in between; no change, no event.

        With no ``event`` nobody is told. What ``check`` raises is raised, and nothing is changed.

        Raises:
            FeedbackNotFound: there is none.
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
                # Somebody's change was stored, so the loop as a whole always gets on.
                continue
            if event:
                self.tell()
            return Updated(edited, changed=True)

    def tell(self) -> None:
        """Tell who listens that an event was stored."""
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:
                logger.exception("A listener failed after feedback was changed")

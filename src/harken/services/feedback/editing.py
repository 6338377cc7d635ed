"""Changing stored feedback while other threads and processes change it too."""

from __future__ import annotations

import logging
from collections.abc import Callable

from attrs import frozen

from harken.domain.errors import FeedbackRejected, StaleFeedback
from harken.domain.events import Event, EventType
from harken.domain.feedback import Feedback
from harken.domain.history import limit_history
from harken.domain.rules import MAX_EXTRAS_BYTES, MAX_STORED_BYTES, room_beside, size_problem, text_bytes
from harken.ports.repository import FeedbackRepository
from harken.services.finding import get

logger = logging.getLogger(__name__)

#: Called after a change.
OnChange = Callable[[], object]
#: May refuse a change by raising an error. It is called with exactly the version that is about to be changed, even if
#: another thread or process changes the feedback at the same time.
Check = Callable[[Feedback], object]


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
            FeedbackNotFound: the feedback does not exist.
            FeedbackRejected: it would be too large with all its revisions.
        """
        while True:
            current = get(self._repository, application, feedback_id)
            if check is not None:
                check(current)
            edited = edit(current)
            if edited is current:
                return Updated(current, changed=False)
            if not edited.withdrawn:
                edited = self._fit(edited)
            try:
                self._repository.replace(edited, [Event.about(edited, event, before=current)] if event else [])
            except StaleFeedback:
                # Another change was stored, so the loop makes progress as a whole.
                continue
            if event:
                self.notify()
            return Updated(edited, changed=True)

    def _fit(self, feedback: Feedback) -> Feedback:
        """The feedback with a history that leaves room for its extras.

        Raises:
            FeedbackRejected: it would be too large.
        """
        extras = ""
        # Otherwise, there is room for any extras, and they need not be read.
        if text_bytes(feedback) > MAX_STORED_BYTES - MAX_EXTRAS_BYTES:
            extras = self._repository.extras(feedback.application, [feedback.id]).get(feedback.id, "")
            if extras:
                feedback = limit_history(feedback, room_beside(extras))
        if problem := size_problem(feedback, extras):
            raise FeedbackRejected([problem])
        return feedback

    def notify(self) -> None:
        """Notify all listeners that an event was stored."""
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:
                logger.exception("A listener failed after feedback was changed")

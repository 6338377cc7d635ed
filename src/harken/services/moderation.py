"""Moderation: deciding what may be seen and counted."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from harken.domain.errors import FeedbackRejected, FeedbackWithdrawn, InvalidTransition
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.query import Cursor, FeedbackQuery, Page
from harken.domain.rules import label_problem, long_text_problem
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.editing import Check, Editor, find


class ModerationService:
    """Shows what waits for a decision, and takes decisions.

    Every decision raises ``FeedbackNotFound`` where there is no such feedback, ``FeedbackWithdrawn`` where its author
    took it back, and ``InvalidTransition`` where the status would not change.
    """

    def __init__(self, repository: FeedbackRepository, *, clock: Clock, editor: Editor | None = None) -> None:
        self._repository = repository
        self._clock = clock
        self._editor = editor or Editor(repository)

    def queue(self, query: FeedbackQuery, *, limit: int = 100, after: Cursor | None = None) -> Page:
        """What waits for a decision among what the query's other filters mean, newest first.

        Raises:
            InvalidQuery: the limit is not from 1 to 1,000.
        """
        waiting = evolve(query, statuses=frozenset({ModerationStatus.PENDING}), withdrawn=False)
        return find(self._repository, waiting, limit=limit, after=after)

    def decide(
        self,
        application: str,
        feedback_id: str,
        status: ModerationStatus | str,
        *,
        moderator: str | None = None,
        reason: str = "",
        check: Check | None = None,
    ) -> Feedback:
        """Approve, reject, or set back to pending.

        ``check`` is called with the feedback as it is right before the decision, whoever else changes it meanwhile;
        what it raises is raised, and nothing is changed.

        Raises ``FeedbackRejected`` too, where the moderator or the reason is not what every storage could keep.
        """
        _check(moderator, reason)
        wanted = _status(status)
        return self._moderate(
            application,
            feedback_id,
            lambda moderation: moderation.decide(wanted, at=self._clock(), moderator=moderator, reason=reason),
            check,
        )

    def undo(
        self, application: str, feedback_id: str, *, moderator: str | None = None, check: Check | None = None
    ) -> Feedback:
        """Go back to the status before the last decision; ``check`` and ``FeedbackRejected`` as in :meth:`decide`."""
        _check(moderator)
        return self._moderate(
            application, feedback_id, lambda moderation: moderation.undo(at=self._clock(), moderator=moderator), check
        )

    def _moderate(
        self,
        application: str,
        feedback_id: str,
        decision: Callable[[Moderation], Moderation],
        check: Check | None,
    ) -> Feedback:
        def edit(current: Feedback) -> Feedback:
            if current.withdrawn:
                raise FeedbackWithdrawn(f"Feedback {feedback_id!r} was taken back by its author")
            return current.moderated(decision(current.moderation), at=self._clock())

        return self._editor.update(application, feedback_id, edit, EventType.MODERATED, check=check).feedback


def _status(value: ModerationStatus | str) -> ModerationStatus:
    try:
        return ModerationStatus(value)
    except ValueError:
        raise InvalidTransition(f"A status is 'pending', 'approved' or 'rejected', not {value!r}") from None


def _check(moderator: str | None, reason: str = "") -> None:
    problems = (moderator is not None and label_problem("moderator", moderator), long_text_problem("reason", reason))
    if violations := [problem for problem in problems if problem]:
        raise FeedbackRejected(violations)

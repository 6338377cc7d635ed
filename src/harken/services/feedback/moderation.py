"""Moderation: the queue, and the decisions of moderators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from attrs import evolve

from harken.domain.errors import FeedbackRejected, FeedbackWithdrawn, InvalidTransition
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.moderation import Backlog, DecisionConflict, Moderation, ModerationStatus, ResponseTime
from harken.domain.query import ANY_STATUS, Cursor, FeedbackQuery, Page
from harken.domain.rules import label_problem, long_text_problem
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.feedback.backlog import backlog
from harken.services.feedback.editing import Check, Editor, find
from harken.services.newest import newest


class ModerationService:
    """Lists the moderation queue, and stores decisions.

    Every decision raises ``FeedbackNotFound`` if there is no such feedback, ``FeedbackWithdrawn`` if it is withdrawn,
    and ``InvalidTransition`` if the status would not change.

    With ``expected_version``, a decision raises ``DecisionConflict`` if the feedback has another version now; the error
    has the decision that was made, by whom and when. Without it, a decision applies to the current version, but does
    not override or undo the decision of another moderator: that raises ``DecisionConflict`` too, if both are named.
    """

    def __init__(self, repository: FeedbackRepository, *, clock: Clock, editor: Editor | None = None) -> None:
        self._repository = repository
        self._clock = clock
        self._editor = editor or Editor(repository)

    def queue(self, query: FeedbackQuery, *, limit: int = 100, after: Cursor | None = None) -> Page:
        """A page of the pending feedback that matches the query's other filters, newest first.

        Raises:
            InvalidQuery: the limit is not from 1 to 1,000.
        """
        waiting = evolve(query, statuses=frozenset({ModerationStatus.PENDING}), withdrawn=False)
        return find(self._repository, waiting, limit=limit, after=after)

    def applications(self) -> Sequence[str]:
        """The applications that have feedback, in any state, sorted by code point."""
        return self._repository.applications()

    def backlog(self, application: str) -> Backlog:
        """The size of an application's queue, and since when its oldest entry waits.

        An entry waits since its author submitted or last changed it, or since a moderator held it.
        """
        return backlog(self._repository, application)

    def response_time(self, query: FeedbackQuery) -> ResponseTime | None:
        """How long matching feedback waited for a decision, from its submission or last change on.

        Only decisions about pending feedback count, and of each entry only the last decision. The newest 20,000 entries
        are read, in any status. ``None`` without such decisions.
        """
        everything = evolve(query, statuses=ANY_STATUS)
        waits = map(_waited, newest(self._repository, everything))
        return ResponseTime.of(wait for wait in waits if wait is not None)

    def decide(
        self,
        application: str,
        feedback_id: str,
        status: ModerationStatus | str,
        *,
        moderator: str | None = None,
        reason: str = "",
        expected_version: int | None = None,
        check: Check | None = None,
    ) -> Feedback:
        """Approve, reject or hold feedback.

        ``check`` is called with the stored feedback right before the decision, even if another thread or process
        changes it at the same time. An error that it raises is raised, and nothing is changed.

        Also raises ``FeedbackRejected`` if the moderator or the reason is not text that every storage can store.
        """
        _check(moderator, reason)
        wanted = _status(status)

        def decision(current: Feedback) -> Moderation:
            if expected_version is None and current.moderation.overridden_by(moderator):
                raise _conflict(current)
            return current.moderation.decide(wanted, at=self._clock(), moderator=moderator, reason=reason)

        return self._moderate(application, feedback_id, decision, expected_version, check)

    def undo(
        self,
        application: str,
        feedback_id: str,
        *,
        moderator: str | None = None,
        expected_version: int | None = None,
        check: Check | None = None,
    ) -> Feedback:
        """Restore the status before the last decision.

        Another moderator's decision is undone only with ``expected_version``, or if one of the two is not named.
        ``check`` and ``FeedbackRejected`` are those of :meth:`decide`.
        """
        _check(moderator)

        def decision(current: Feedback) -> Moderation:
            if expected_version is None and current.moderation.decided_by_another(moderator):
                raise _conflict(current)
            return current.moderation.undo(at=self._clock(), moderator=moderator)

        return self._moderate(application, feedback_id, decision, expected_version, check)

    def _moderate(
        self,
        application: str,
        feedback_id: str,
        decision: Callable[[Feedback], Moderation],
        expected_version: int | None,
        check: Check | None,
    ) -> Feedback:
        first_read: Moderation | None = None

        def edit(current: Feedback) -> Feedback:
            nonlocal first_read
            if current.withdrawn:
                raise FeedbackWithdrawn(f"Feedback {feedback_id!r} was withdrawn by its author")
            first_read = first_read or current.moderation
            # Not the first attempt: another moderator's decision in between must not be overridden.
            decided_meanwhile = current.moderation != first_read
            if decided_meanwhile or expected_version not in (None, current.version):
                raise _conflict(current)
            return current.moderated(decision(current), at=self._clock())

        return self._editor.update(application, feedback_id, edit, EventType.MODERATED, check=check).feedback


def _waited(feedback: Feedback) -> timedelta | None:
    """How long feedback was pending before the last decision; ``None`` if it was not decided, or not pending."""
    decided_at = feedback.moderation.decided_at
    if decided_at is None or feedback.moderation.previous is not ModerationStatus.PENDING:
        return None
    changes = (one.replaced_at for one in feedback.revisions if one.replaced_at <= decided_at)
    return max(decided_at - max([feedback.created_at, *changes]), timedelta())


def _conflict(current: Feedback) -> DecisionConflict:
    return DecisionConflict(current.id, current.version, current.moderation)


def _status(value: ModerationStatus | str) -> ModerationStatus:
    try:
        return ModerationStatus(value)
    except ValueError:
        raise InvalidTransition(f"A status is 'pending', 'approved' or 'rejected', not {value!r}") from None


def _check(moderator: str | None, reason: str = "") -> None:
    problems = (moderator is not None and label_problem("moderator", moderator), long_text_problem("reason", reason))
    if violations := [problem for problem in problems if problem]:
        raise FeedbackRejected(violations)

"""What awaits moderation in an application: how much, and since when."""

from __future__ import annotations

from datetime import datetime

from harken.domain.feedback import Feedback
from harken.domain.moderation import Backlog, ModerationStatus
from harken.domain.query import FeedbackQuery
from harken.ports.repository import FeedbackRepository


def backlog(repository: FeedbackRepository, application: str) -> Backlog:
    """The moderation queue of an application, in figures.

    An entry waits since its author gave it or last changed it, or since a moderator set it back to pending.
    """
    pending = FeedbackQuery(application=application, statuses=frozenset({ModerationStatus.PENDING}))
    waiting = sum(figures.total for figures in repository.summarize(pending).values())
    since: datetime | None = None
    if waiting:
        # Oldest first: what was given after the best so far cannot have waited for longer.
        for feedback in repository.stream(pending):
            if since is not None and feedback.created_at >= since:
                break
            since = _waits_since(feedback) if since is None else min(since, _waits_since(feedback))
    return Backlog(waiting, since)


def _waits_since(feedback: Feedback) -> datetime:
    # A change that is held drops the decision before it. Which change was held is not stored, so the last one counts.
    held_at = feedback.revisions[-1].replaced_at if feedback.revisions else feedback.created_at
    # Never earlier than it was given, also where clocks differ.
    return max(feedback.created_at, feedback.moderation.decided_at or held_at)

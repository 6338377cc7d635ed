"""What awaits moderation in an application: how much, and since when."""

from __future__ import annotations

from datetime import datetime

from harken.domain.moderation import Backlog, ModerationStatus
from harken.domain.query import FeedbackQuery
from harken.ports.repository import FeedbackRepository


def backlog(repository: FeedbackRepository, application: str) -> Backlog:
    """The moderation queue of an application, in figures.

    An entry waits since it was given, or since a moderator set it back to pending.
    """
    pending = FeedbackQuery(application=application, statuses=frozenset({ModerationStatus.PENDING}))
    waiting = sum(figures.total for figures in repository.summarize(pending).values())
    since: datetime | None = None
    if waiting:
        # Oldest first: what was given after the best so far cannot have waited for longer.
        for feedback in repository.stream(pending):
            if since is not None and feedback.created_at >= since:
                break
            waits_since = max(feedback.created_at, feedback.moderation.decided_at or feedback.created_at)
            since = waits_since if since is None else min(since, waits_since)
    return Backlog(waiting, since)

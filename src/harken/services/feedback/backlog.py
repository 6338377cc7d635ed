"""The size of the moderation queue, and how long its oldest entry has waited."""

from __future__ import annotations

from datetime import datetime

from harken.domain.feedback import Feedback
from harken.domain.moderation import Backlog, ModerationStatus
from harken.domain.query import FeedbackQuery
from harken.ports.repository import FeedbackRepository


def backlog(repository: FeedbackRepository, application: str) -> Backlog:
    """The size of an application's moderation queue, and since when its oldest entry waits.

    An entry waits since its author submitted or last changed it, or since a moderator held it. A decision that was
    undone does not matter.
    """
    pending = FeedbackQuery(application=application, statuses=frozenset({ModerationStatus.PENDING}))
    waiting = sum(summary.total for summary in repository.summarize(pending).values())
    since: datetime | None = None
    if waiting:
        # Oldest first: an entry that was created after the oldest one so far cannot have waited longer.
        for feedback in repository.stream(pending):
            if since is not None and feedback.created_at >= since:
                break
            since = waits_since(feedback) if since is None else min(since, waits_since(feedback))
    return Backlog(waiting, since)


def waits_since(feedback: Feedback) -> datetime:
    """Since when pending feedback waits: see :func:`backlog`."""
    # A change that is held drops the decision before it. It is not stored which change was held: take the last one.
    held_at = feedback.revisions[-1].replaced_at if feedback.revisions else feedback.created_at
    moderation = feedback.moderation
    # Never earlier than its creation, even if clocks differ.
    return max(feedback.created_at, held_at if moderation.is_undo else moderation.decided_at or held_at)

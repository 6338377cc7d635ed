"""New versions of feedback, when its author changes it."""

from __future__ import annotations

from datetime import datetime

from harken.domain.feedback import Feedback
from harken.domain.history import limit_history
from harken.domain.moderation import Moderation, ModerationStatus


def next_version(current: Feedback, content: Feedback, *, at: datetime) -> Feedback:
    """The feedback with the content and target of ``content``, as its next version.

    The moderation status stays, except that a change never approves: it may have to wait for a moderator. Where the
    target names another agent, the moderator's name and reason are dropped, as they were about other feedback.
    """
    before = current.moderation
    if content.agent_id != current.agent_id:
        before = Moderation(status=before.status)
    if content.comment != current.comment:
        before = before.without_spans()
    moderation = _moderation_after(before, content.moderation)
    return limit_history(current.revised(content.content, target=content.target, moderation=moderation, at=at))


def same_content(one: Feedback, other: Feedback) -> bool:
    """Whether two entries have the same target and content."""
    return one.target == other.target and one.content.same_except_sentiment(other.content)


def _moderation_after(before: Moderation, by_policy: Moderation) -> Moderation:
    if by_policy.status is ModerationStatus.PENDING:
        return by_policy
    if before.status is ModerationStatus.REJECTED:
        return Moderation.held("changed after it was rejected")
    return before

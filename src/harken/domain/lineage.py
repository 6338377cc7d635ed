"""Comparison of one feedback entry in two storages: whether one version precedes the other."""

from __future__ import annotations

from typing import Final

from harken.domain.feedback import Feedback, Revision
from harken.domain.history import MAX_REVISIONS
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.rules import MAX_FEEDBACK_BYTES, text_bytes

#: The fields that identify feedback and never change.
_IDENTITY: Final = ("session_id", "message_id", "author", "created_at", "idempotency_key", "fingerprint", "vote")
_CONTENT: Final = ("rating", "comment", "tags", "context", "sentiment")
#: If revisions were left out because of the size limit, the feedback has at least this much text: a revision has at
#: most 2.3 MB.
_FOLDED_BYTES: Final = MAX_FEEDBACK_BYTES // 4


def is_same_feedback(one: Feedback, other: Feedback) -> bool:
    """Whether both are versions of one entry."""
    return all(getattr(one, name) == getattr(other, name) for name in _IDENTITY)


def precedes(earlier: Feedback, later: Feedback) -> bool:
    """Whether ``earlier`` is a previous version of ``later``, as far as that can be known.

    Only revisions record previous versions. If the difference consists only of moderation, withdrawal or replies, the
    result is ``False`` unless the values of ``later`` were set after those of ``earlier``: a decision missing from the
    history of ``later`` is never treated as one of its own.
    """
    if earlier.version >= later.version or not is_same_feedback(earlier, later) or not _share_history(earlier, later):
        return False
    at = next((i for i, one in enumerate(later.revisions) if one.version >= earlier.version), None)
    replaced = None if at is None else later.revisions[at]
    exact = replaced if replaced is not None and replaced.version == earlier.version else None
    if (
        earlier.withdrawn_at is not None
        and not later.withdrawn
        and (exact is None or exact.replaced_at < earlier.withdrawn_at)
    ):
        # Only a new vote follows a withdrawal, and it replaces exactly that version.
        return False
    if not _follows_decision(earlier.moderation, later, exact, edited=replaced is not None):
        return False
    if at == 1 and exact is None and _may_be_folded(later):
        # The content of that version is no longer stored, only the time when it was current.
        first, next_kept = later.revisions[:2]
        return first.replaced_at <= earlier.updated_at <= next_kept.replaced_at
    return _has_same_content(earlier, replaced or later, is_exact=exact is not None)


def _share_history(earlier: Feedback, later: Feedback) -> bool:
    """Whether both have the same revisions up to ``earlier``, except those left out because of the size limit."""
    known = earlier.revisions
    kept = tuple(one for one in later.revisions if one.version < earlier.version)
    if known[:1] != kept[:1]:
        return False
    if len(known) != len(kept) and not _may_be_folded(later if len(kept) < len(known) else earlier):
        return False
    # After the first revision, both contain the latest ones.
    shared = min(len(known), len(kept)) - 1
    return shared < 1 or known[-shared:] == kept[-shared:]


def _may_be_folded(feedback: Feedback) -> bool:
    """Whether revisions after the first one may have been left out."""
    count = len(feedback.revisions)
    return count >= MAX_REVISIONS or (count >= 2 and text_bytes(feedback) >= _FOLDED_BYTES)


def _has_same_content(earlier: Feedback, then: Feedback | Revision, *, is_exact: bool) -> bool:
    if any(getattr(then, name) != getattr(earlier, name) for name in _CONTENT):
        return False
    if is_exact:
        return then.reply == earlier.reply
    # The reply may have been replaced since, but a later version without any reply does not follow one with a reply.
    return earlier.reply is None or then.reply is not None


def _follows_decision(before: Moderation, later: Feedback, exact: Revision | None, *, edited: bool) -> bool:
    """Whether the moderation of ``later`` was decided after that of ``earlier``.

    Args:
        before: the moderation of the earlier version.
        later: the later version.
        exact: the revision that replaced exactly the earlier version, if it is stored.
        edited: whether the author has changed the feedback since.
    """
    now = later.moderation
    if now == before:
        return True
    if exact is not None and now.decided_at is not None and now.decided_at <= exact.replaced_at:
        # The decision precedes the replacement of that version, so that version would contain it.
        return False
    if before.decided_at is None:
        return True
    if now.decided_at is None:
        # Feedback that its author changes becomes pending again, or keeps its status.
        return edited and now.status in (before.status, ModerationStatus.PENDING)
    if now.decided_at <= before.decided_at:
        return False
    # The decision was based on the same status, or on the changed content.
    is_about_new_words = exact is not None and now.decided_at > exact.replaced_at
    return is_about_new_words or before.status in (now.status, now.previous)

"""Whether feedback in one storage is an earlier version of that in another, or was changed in both."""

from __future__ import annotations

from typing import Final

from harken.domain.feedback import Feedback, Revision
from harken.domain.history import MAX_REVISIONS
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.rules import MAX_FEEDBACK_BYTES, text_bytes

#: What identifies feedback and never changes.
_IDENTITY: Final = ("session_id", "message_id", "author", "created_at", "idempotency_key", "fingerprint", "vote")
_CONTENT: Final = ("rating", "comment", "tags", "context", "sentiment")
#: Feedback whose history was folded for its size has at least so much text: no revision has more than 2.3 MB.
_FOLDED_BYTES: Final = MAX_FEEDBACK_BYTES // 4


def is_same_feedback(one: Feedback, other: Feedback) -> bool:
    """Whether both are one entry, in whatever versions."""
    return all(getattr(one, name) == getattr(other, name) for name in _IDENTITY)


def precedes(earlier: Feedback, later: Feedback) -> bool:
    """Whether ``earlier`` is a version that ``later`` once was, as far as that can be known.

    Only revisions tell what earlier versions were. So where only moderators, authors who withdraw, or replies made the
    difference, it is ``False`` unless what ``later`` has was made after that: a decision that is not in the history of
    ``later`` is never taken for one of its own.
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
        # Only a new vote follows a withdrawal, and replaces that very version.
        return False
    if not _follows_decision(earlier.moderation, later, exact, edited=replaced is not None):
        return False
    if at == 1 and exact is None and _may_be_folded(later):
        # What it said in that version is no longer known, only when it said something else.
        first, next_kept = later.revisions[:2]
        return first.replaced_at <= earlier.updated_at <= next_kept.replaced_at
    return _says_the_same(earlier, replaced or later, is_exact=exact is not None)


def _share_history(earlier: Feedback, later: Feedback) -> bool:
    """Whether both have the same revisions from before ``earlier``, but for those that were left out in between."""
    known = earlier.revisions
    kept = tuple(one for one in later.revisions if one.version < earlier.version)
    if known[:1] != kept[:1]:
        return False
    if len(known) != len(kept) and not _may_be_folded(later if len(kept) < len(known) else earlier):
        return False
    # After the first revision, both kept the latest ones.
    shared = min(len(known), len(kept)) - 1
    return shared < 1 or known[-shared:] == kept[-shared:]


def _may_be_folded(feedback: Feedback) -> bool:
    """Whether revisions between the first one and the others may have been left out."""
    count = len(feedback.revisions)
    return count >= MAX_REVISIONS or (count >= 2 and text_bytes(feedback) >= _FOLDED_BYTES)


def _says_the_same(earlier: Feedback, then: Feedback | Revision, *, is_exact: bool) -> bool:
    if any(getattr(then, name) != getattr(earlier, name) for name in _CONTENT):
        return False
    if is_exact:
        return then.reply == earlier.reply
    # A reply may have been replaced by another one since, but one that has none in its place is not known there.
    return earlier.reply is None or then.reply is not None


def _follows_decision(before: Moderation, later: Feedback, exact: Revision | None, *, edited: bool) -> bool:
    """Whether what ``later`` has of moderation came after a decision, or after there was none.

    Args:
        before: the moderation of the earlier version.
        later: the later version.
        exact: the revision that replaced exactly the earlier version, if it is kept.
        edited: whether the author changed anything since.
    """
    now = later.moderation
    if now == before:
        return True
    if exact is not None and now.decided_at is not None and now.decided_at <= exact.replaced_at:
        # It was decided before that version was replaced, so that version would have it.
        return False
    if before.decided_at is None:
        return True
    if now.decided_at is None:
        # Feedback that its author changes waits again, or keeps its status.
        return edited and now.status in (before.status, ModerationStatus.PENDING)
    if now.decided_at <= before.decided_at:
        return False
    # It was decided on top of the same status, or on what the author changed that version to.
    is_about_new_words = exact is not None and now.decided_at > exact.replaced_at
    return is_about_new_words or before.status in (now.status, now.previous)

"""Limits of the history of feedback: it can always be changed, and its size is bounded."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from harken.domain.feedback import Feedback
from harken.domain.rules import MAX_FEEDBACK_BYTES, text_bytes

#: The maximum number of revisions: the first one, and the latest of the others.
MAX_REVISIONS: Final = 100
#: The maximum number of idempotency keys of later votes. The latest are kept, as retries come soon after a request.
MAX_LATER_KEYS: Final = 100


def limit_history(feedback: Feedback, most_bytes: int = MAX_FEEDBACK_BYTES) -> Feedback:
    """Return changed feedback with a history that fits into every storage.

    The first and the latest revision are always kept. The oldest of the others are removed if there are more than
    :data:`MAX_REVISIONS` in total, or if the feedback has more than ``most_bytes`` of text. Revisions keep
    their version numbers, so a gap shows where some were removed.
    """
    feedback = evolve(feedback, later_keys=feedback.later_keys[-MAX_LATER_KEYS:])
    if len(feedback.revisions) <= 2:
        return feedback
    first, *between, latest = feedback.revisions
    room = most_bytes - text_bytes(evolve(feedback, revisions=(first, latest)))
    kept = [latest]
    for revision in reversed(between[2 - MAX_REVISIONS :]):
        room -= text_bytes(revision)
        if room < 0:
            break
        kept.append(revision)
    return evolve(feedback, revisions=(first, *reversed(kept)))

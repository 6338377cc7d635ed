"""How much of what feedback said before is kept, so that it can always be changed and never grows without bound."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from harken.domain.feedback import Feedback
from harken.domain.rules import MAX_FEEDBACK_BYTES, text_bytes

#: How many revisions are kept: the first one, and the latest of the others.
MAX_REVISIONS: Final = 100
#: How many idempotency keys of later votes are kept, the latest. A retry comes soon, or not at all.
MAX_LATER_KEYS: Final = 100


def folded(feedback: Feedback) -> Feedback:
    """Feedback after a change, with a history that every storage has room for.

    The first revision and the latest one are always kept. Of those between, the oldest are left out when there are
    more than :data:`MAX_REVISIONS`, or when the whole would have more than ``MAX_FEEDBACK_BYTES`` of text. Versions
    keep their numbers, so that a gap shows what was left out.
    """
    feedback = evolve(feedback, later_keys=feedback.later_keys[-MAX_LATER_KEYS:])
    if len(feedback.revisions) <= 2:
        return feedback
    first, *between, latest = feedback.revisions
    room = MAX_FEEDBACK_BYTES - text_bytes(evolve(feedback, revisions=(first, latest)))
    kept = [latest]
    for revision in reversed(between[2 - MAX_REVISIONS :]):
        room -= text_bytes(revision)
        if room < 0:
            break
        kept.append(revision)
    return evolve(feedback, revisions=(first, *reversed(kept)))

"""Holds what looks wrong until somebody has decided, and counts only what was approved.

Run it with ``python examples/patterns/moderation_workflow.py``, or with the URL of a storage behind that.
"""

import sys
from collections.abc import Iterable

import harken
from harken import Change, Feedback, Harken, ModerationStatus, RatingPolicy, Submission, Violation

LEGAL = ("lawyer", "court", "sue")


def mentions_law(submission: Submission) -> Iterable[Violation]:
    """Somebody has to look at it, but it is no reason to refuse it."""
    if any(word in LEGAL for word in submission.comment.lower().split()):
        yield Violation("comment", "legal", "It mentions the law")


def show(hk: Harken, title: str) -> None:
    """What waits, and what counts."""
    figures = hk.summary()
    waiting = hk.moderation.queue(hk.query()).items
    print(f"{title}: {figures.total} count, satisfaction {figures.satisfaction:.1f}%, {len(waiting)} waiting")
    for feedback in waiting:
        print(f"  {feedback.comment!r}: {feedback.moderation.reason}")


def decide(hk: Harken, feedback: Feedback, status: ModerationStatus, reason: str) -> None:
    """A decision of the moderator; it is an event, so whoever was told of the feedback is told of it, too."""
    hk.moderation.decide(feedback.application, feedback.id, status, moderator="mo", reason=reason)


def main(storage: str) -> None:
    # Spam is held as well, where it would be refused otherwise.
    policy = RatingPolicy.standard(spam="hold").with_rules(mentions_law, hold=True)
    with harken.connect(storage, policy=policy) as hk:
        hk.submit("session-1", "up", "Clear and quick")
        legal = hk.submit("session-2", "down", "My lawyer would love this answer").feedback
        spam = hk.submit("session-3", "up", "Click here for a casino bonus").feedback
        show(hk, "At first")

        decide(hk, legal, ModerationStatus.APPROVED, "a joke")
        decide(hk, spam, ModerationStatus.REJECTED, "an advertisement")
        show(hk, "Decided")

        # Nobody gets approved by editing what was rejected.
        hk.collection.change(spam.application, spam.id, Change(comment="It was a good answer"))
        show(hk, "Edited")

        hk.moderation.undo(legal.application, legal.id, moderator="mo")
        show(hk, "Undone")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

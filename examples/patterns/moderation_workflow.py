"""Holds suspicious feedback until a moderator decides, and counts only approved feedback.

Run ``python examples/patterns/moderation_workflow.py``, optionally followed by the URL of a storage.
"""

import sys
from collections.abc import Iterable

import harken
from harken import Change, Feedback, Harken, ModerationStatus, RatingPolicy, Submission, Violation

LEGAL = ("lawyer", "court", "sue")


def mentions_law(submission: Submission) -> Iterable[Violation]:
    """A rule that marks comments on legal matters for review."""
    if any(word in LEGAL for word in submission.comment.lower().split()):
        yield Violation("comment", "legal", "It mentions the law")


def show(hk: Harken, title: str) -> None:
    """Print the statistics and the moderation queue."""
    summary = hk.summary()
    pending = hk.moderation.queue(hk.query()).items
    print(f"{title}: {summary.total} counted, satisfaction {summary.satisfaction:.1f}%, {len(pending)} pending")
    for feedback in pending:
        print(f"  {feedback.comment!r}: {feedback.moderation.reason}")


def decide(hk: Harken, feedback: Feedback, status: ModerationStatus, reason: str) -> None:
    """Record the moderator's decision. It is an event, which routes can send to channels."""
    hk.moderation.decide(feedback.application, feedback.id, status, moderator="mo", reason=reason)


def main(storage: str) -> None:
    # Spam is held too; by default it would be rejected.
    policy = RatingPolicy.standard(spam="hold").with_rules(mentions_law, hold=True)
    with harken.connect(storage, policy=policy) as hk:
        hk.submit("session-1", "up", "Clear and quick")
        legal = hk.submit("session-2", "down", "My lawyer would love this answer").feedback
        spam = hk.submit("session-3", "up", "Click here for a casino bonus").feedback
        show(hk, "Submitted")

        decide(hk, legal, ModerationStatus.APPROVED, "a joke")
        decide(hk, spam, ModerationStatus.REJECTED, "an advertisement")
        show(hk, "Decided")

        # Editing rejected feedback does not approve it; it becomes pending again.
        hk.collection.change(spam.application, spam.id, Change(comment="It was a good answer"))
        show(hk, "Edited")

        hk.moderation.undo(legal.application, legal.id, moderator="mo")
        show(hk, "Undone")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

"""Validates feedback before it is stored: with Harken's rules, a custom rule, and a hook that changes the feedback.

Run ``python examples/patterns/validation_hook.py``, optionally followed by the URL of a storage.
"""

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import harken
from harken import FeedbackRejected, RatingPolicy, Submission, Violation
from harken_adapters.hosts.session_manager import MongoDBSessionManager

SAMPLES: list[dict[str, Any]] = [
    {"rating": "up", "comment": "  Great, write to ann@example.com for more  "},
    {"rating": "down", "comment": "   "},
    {"rating": "maybe", "comment": "x" * 1001},
    {"rating": "down", "comment": "I paid with 4000 1234 5678 9010 and got nothing"},
]


def no_card_numbers(submission: Submission) -> Iterable[Violation]:
    """A rule applies to all submissions, from every host."""
    if re.search(r"\b(\d{4}[ -]?){4}\b", submission.comment):
        yield Violation("comment", "card_number", "Please leave out card numbers")


def mask_addresses(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
    """A hook wraps `add_feedback` of one session manager. It may change feedback or reject it by raising."""
    feedback = kwargs["feedback"]
    feedback["comment"] = re.sub(r"\S+@\S+\.\w+", "[address]", feedback["comment"])
    feedback["_checked"] = f"{action} in {session_id}"
    return original_func(feedback)


def main(storage: str) -> None:
    policy = RatingPolicy.standard().with_rules(no_card_numbers)
    with harken.connect(storage, policy=policy) as hk:
        session = MongoDBSessionManager("session-1", harken=hk, feedback_hook=mask_addresses)
        for feedback in SAMPLES:
            try:
                session.add_feedback(feedback)
            except FeedbackRejected as error:
                # The error, a ValueError, lists all violations.
                print("Rejected:", "; ".join(violation.message for violation in error.violations))
            else:
                print("Stored.")

        for stored in session.get_feedbacks():
            print(f"{stored['rating']}: {stored['comment']!r}, checked by: {stored['_checked']}")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

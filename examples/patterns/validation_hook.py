"""Checks feedback before it is kept: what Harken checks by itself, a rule of one's own, and a hook that mends.

Run it with ``python examples/patterns/validation_hook.py``, or with the URL of a storage behind that.
"""

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import harken
from harken import FeedbackRejected, RatingPolicy, Submission, Violation
from harken_adapters.hosts.session_manager import MongoDBSessionManager

GIVEN: list[dict[str, Any]] = [
    {"rating": "up", "comment": "  Great, write to ann@example.com for more  "},
    {"rating": "down", "comment": "   "},
    {"rating": "maybe", "comment": "x" * 1001},
    {"rating": "down", "comment": "I paid with 4000 1234 5678 9010 and got nothing"},
]


def no_card_numbers(submission: Submission) -> Iterable[Violation]:
    """A rule holds for everybody, whichever way their feedback comes in."""
    if re.search(r"\b(\d{4}[ -]?){4}\b", submission.comment):
        yield Violation("comment", "card_number", "Please leave out card numbers")


def without_addresses(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
    """A hook stands around one session manager, and may change what is kept, or refuse it, too."""
    feedback = kwargs["feedback"]
    feedback["comment"] = re.sub(r"\S+@\S+\.\w+", "[address]", feedback["comment"])
    feedback["_checked"] = f"{action} in {session_id}"
    return original_func(feedback)


def main(storage: str) -> None:
    policy = RatingPolicy.standard().with_rules(no_card_numbers)
    with harken.connect(storage, policy=policy) as hk:
        session = MongoDBSessionManager("session-1", harken=hk, feedback_hook=without_addresses)
        for feedback in GIVEN:
            try:
                session.add_feedback(feedback)
            except FeedbackRejected as error:
                # All that is wrong is told at once. It is a ValueError, for whoever catches that.
                print("Refused:", "; ".join(violation.message for violation in error.violations))
            else:
                print("Kept.")

        for kept in session.get_feedbacks():
            print(f"{kept['rating']}: {kept['comment']!r}, checked by: {kept['_checked']}")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

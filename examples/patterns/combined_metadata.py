"""Stores metadata of a session, and groups statistics by it.

Run ``python examples/patterns/combined_metadata.py``, optionally followed by the URL of a storage.
"""

import sys
from collections.abc import Callable
from typing import Any

import harken
from harken import Harken
from harken_adapters.hosts.session_manager import MongoDBSessionManager


def open_session(hk: Harken, session_id: str) -> MongoDBSessionManager:
    """A session manager that adds the user's tier to feedback, from the session's metadata at that time."""

    def with_tier(original_func: Callable[..., Any], _action: str, _session_id: str, **kwargs: Any) -> Any:
        tier = session.get_metadata()["metadata"].get("user_tier", "unknown")
        return original_func({**kwargs["feedback"], "user_tier": tier})

    session = MongoDBSessionManager(session_id, harken=hk, feedback_hook=with_tier)
    return session


def main(storage: str) -> None:
    with harken.connect(storage) as hk:
        alice = open_session(hk, "alice-1")
        alice.update_metadata({"user_name": "Alice", "user_tier": "premium", "agent_version": "1.5.0"})
        alice.add_feedback({"rating": "up", "comment": "Solved it quickly!"})
        alice.update_metadata({"agent_version": "1.6.0"})
        alice.add_feedback({"rating": "up", "comment": "Clear explanation"})
        alice.add_feedback({"rating": "down", "comment": "The last step fails"})

        bob = open_session(hk, "bob-1")
        bob.update_metadata({"user_name": "Bob", "user_tier": "free"})
        bob.add_feedback({"rating": "down", "comment": "I waited too long"})

        print("Alice's session:")
        # Statistics are computed from the feedback. Counters kept in the metadata would become wrong.
        for name, value in sorted(alice.get_metadata()["metadata"].items()):
            print(f"  {name}: {value}")
        for feedback in alice.get_feedbacks():
            print(f"  {feedback['rating']}: {feedback['comment']}")
        print(f"  satisfaction: {hk.summary(session_id='alice-1').satisfaction:.1f}%")

        print("By tier:")
        for tier, summary in hk.groups("context.user_tier").items():
            print(f"  {tier}: {summary.total}, satisfaction {summary.satisfaction:.1f}%")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

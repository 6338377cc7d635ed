"""Tells whoever should know: a hook for what only this process needs, a channel for what has to arrive.

A hook is lost with its process. What goes through a channel is stored with the feedback, and tried again until it has
arrived. Webhooks, Amazon SNS, Slack and mail are channels that Harken has.

Run it with ``python examples/patterns/notification_hook.py``, or with the URL of a storage behind that.
"""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import harken
from harken import DeliveryFailed, Harken, Notification, Notifier
from harken_adapters.hosts.session_manager import MongoDBSessionManager

ROUTES = [{"name": "unhappy", "channel": "support", "events": ["feedback.created"], "ratings": ["down"]}]


class Support(Notifier):
    """Where the support team is told. The first time it is out of reach, as such places are now and then."""

    def __init__(self) -> None:
        self.tries = 0

    def deliver(self, notification: Notification) -> None:
        """Tell them, or say that it has to be tried again."""
        self.tries += 1
        if self.tries == 1:
            print("  support is out of reach")
            raise DeliveryFailed("No answer")
        if notification.feedback is not None:
            print(f"  support reads: {notification.feedback.comment}")


def cheer(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
    """Tells of ups at once, in this process."""
    receipt = original_func(kwargs["feedback"])
    if kwargs["feedback"]["rating"] == "up":
        print(f"  {action}: somebody in {session_id} is happy")
    return receipt


def downs(hk: Harken, session_id: str) -> int:
    """How many downs a session has, in all processes and since ever."""
    return hk.summary(session_id=session_id, rating="down").total


def main(storage: str) -> None:
    # Each try that failed is a warning in the log. Here support says so itself.
    logging.basicConfig(level=logging.ERROR)
    now = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
    with harken.connect(storage, channels={"support": Support()}, routes=ROUTES, clock=lambda: now) as hk:
        session = MongoDBSessionManager("session-1", harken=hk, feedback_hook=cheer)
        for rating, comment in [("up", "Perfect"), ("down", "The code had errors"), ("down", "It still has")]:
            print(f"{rating}: {comment}")
            session.add_feedback({"rating": rating, "comment": comment})
            # A program calls `hk.start_relay()` once instead, and nobody waits for what is sent.
            hk.relay.run_due()
        print(f"Downs in this session: {downs(hk, 'session-1')}")

        now += timedelta(minutes=1)
        print("A minute later:")
        hk.relay.run_due()


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

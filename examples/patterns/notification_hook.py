"""Sends notifications: with a hook, within this process, and through a channel, with retries.

A hook runs once. Events for a channel are stored with the feedback, and failed deliveries are retried. Harken has
channels for webhooks, Amazon SNS, Slack, mail and more.

Run ``python examples/patterns/notification_hook.py``, optionally followed by the URL of a storage.
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
    """The channel to the support team. It fails on the first attempt, as a network service might."""

    def __init__(self) -> None:
        self.attempts = 0

    def deliver(self, notification: Notification) -> None:
        """Print the comment, or raise an error so that the delivery is retried."""
        self.attempts += 1
        if self.attempts == 1:
            print("  support is not available")
            raise DeliveryFailed("No response")
        if notification.feedback is not None:
            print(f"  support receives: {notification.feedback.comment}")


def cheer(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
    """Print a line for each thumbs-up, in this process."""
    receipt = original_func(kwargs["feedback"])
    if kwargs["feedback"]["rating"] == "up":
        print(f"  {action}: thumbs-up in {session_id}")
    return receipt


def count_negative(hk: Harken, session_id: str) -> int:
    """The number of thumbs-down in a session, from all processes."""
    return hk.summary(session_id=session_id, rating="down").total


def main(storage: str) -> None:
    # Harken logs a warning for each failed attempt; this example prints its own line.
    logging.basicConfig(level=logging.ERROR)
    now = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
    with harken.connect(storage, channels={"support": Support()}, routes=ROUTES, clock=lambda: now) as hk:
        session = MongoDBSessionManager("session-1", harken=hk, feedback_hook=cheer)
        for rating, comment in [("up", "Perfect"), ("down", "The code had errors"), ("down", "It still has")]:
            print(f"{rating}: {comment}")
            session.add_feedback({"rating": rating, "comment": comment})
            # A program calls `hk.start_relay()` once instead, which sends in the background.
            hk.relay.run_due()
        print(f"Thumbs-down in this session: {count_negative(hk, 'session-1')}")

        now += timedelta(minutes=1)
        print("A minute later:")
        hk.relay.run_due()


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

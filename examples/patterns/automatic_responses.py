"""Replies to negative feedback: at once if a reply rule matches, otherwise in the background, with a model.

Run ``python examples/patterns/automatic_responses.py``, optionally followed by the URL of a storage.
"""

import sys
from collections.abc import Mapping
from queue import Queue

import harken
from harken import Feedback, Notification, Notifier, Rating

#: Reply rules for negative feedback. The first that matches is used; `context` is compared with the feedback's context.
REPLIES: list[Mapping[str, object]] = [
    {"tag": "refund", "context": {"user_tier": "premium"}, "text": "Sorry. We will refund you within the hour."},
    {"tag": "refund", "text": "Sorry. We will process your refund today."},
    {"theme": "slow", "text": "Sorry that {agent_id} took so long. We are working on it."},
]
#: Late replies are sent by mail: storing a reply updates the feedback, which is an event.
ROUTES = [{"name": "late-replies", "channel": "mail", "events": ["feedback.updated"]}]


class Mail(Notifier):
    """A channel that collects mails. A real one would send them."""

    def __init__(self) -> None:
        self.sent: Queue[str] = Queue()

    def deliver(self, notification: Notification) -> None:
        """Send the reply to the author of the feedback."""
        if notification.feedback is not None:
            self.sent.put(f"To {notification.feedback.author}: {notification.feedback.reply}")


def ask_model(feedback: Feedback) -> str | None:
    """Write a reply, as a model would. It is called in the background if no rule matched."""
    if feedback.rating is not Rating.DOWN:
        return None
    return f"Thank you. We will fix this: {feedback.comment.lower()}"


def main(storage: str) -> None:
    mail = Mail()
    with harken.connect(storage, replies=REPLIES, responder=ask_model, channels={"mail": mail}, routes=ROUTES) as hk:
        hk.start_relay()
        for author, rating, comment, tags, tier in [
            ("ann", "down", "Where is my money?", ["refund"], "premium"),
            ("bob", "down", "Where is my money?", ["refund"], "free"),
            ("cem", "down", "It was so slow", [], "free"),
            ("dea", "up", "Slow, but right", [], "free"),
            ("eli", "down", "The link is dead", [], "free"),
        ]:
            receipt = hk.submit(
                "session-1", rating, comment, agent_id="helper", author=author, tags=tags, context={"user_tier": tier}
            )
            print(f"{author}, {rating}: {receipt.reply or 'no immediate reply'}")
        print(mail.sent.get(timeout=30))


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

"""Answers whoever is not satisfied: at once where a rule knows what to say, a little later where a model has to think.

Run it with ``python examples/patterns/automatic_responses.py``, or with the URL of a storage behind that.
"""

import sys
from collections.abc import Mapping
from queue import Queue

import harken
from harken import Feedback, Notification, Notifier, Rating

#: The first that fits a down; `context` is what is known of whoever gave it.
REPLIES: list[Mapping[str, object]] = [
    {"tag": "refund", "context": {"user_tier": "premium"}, "text": "Sorry. Your money is back within the hour."},
    {"tag": "refund", "text": "Sorry. Somebody looks at your refund today."},
    {"theme": "slow", "text": "Sorry that {agent_id} took so long. We are making it faster."},
]
#: Whoever has left the page by then is told another way: the reply is a change of the feedback, and that is an event.
ROUTES = [{"name": "late-replies", "channel": "mail", "events": ["feedback.updated"]}]


class Mail(Notifier):
    """What sends mail elsewhere."""

    def __init__(self) -> None:
        self.sent: Queue[str] = Queue()

    def deliver(self, notification: Notification) -> None:
        """Send the reply to whoever gave the feedback."""
        if notification.feedback is not None:
            self.sent.put(f"To {notification.feedback.author}: {notification.feedback.reply}")


def think(feedback: Feedback) -> str | None:
    """What a model does elsewhere. It is asked in the background, where no rule had an answer."""
    if feedback.rating is not Rating.DOWN:
        return None
    return f"Thank you. We look into it: {feedback.comment.lower()}"


def main(storage: str) -> None:
    mail = Mail()
    with harken.connect(storage, replies=REPLIES, responder=think, channels={"mail": mail}, routes=ROUTES) as hk:
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
            print(f"{author}, {rating}: {receipt.reply or 'nothing to say at once'}")
        print(mail.sent.get(timeout=30))


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

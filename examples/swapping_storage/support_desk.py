"""A small support desk: customers rate answers, and the team reads ratings, replies and checks statistics.

The storage is not named here; ``HARKEN_STORAGE`` names it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import harken

ALERTS = [
    {"name": "three in a row", "kind": "streak", "by": "agent", "length": 3},
    {"name": "unhappy hour", "kind": "satisfaction", "below": 60, "at_least": 5, "window": "1h"},
]
REPLIES = [{"tag": "refund", "text": "Sorry. We will process your refund today."}]
ROUTES = [{"name": "negative", "channel": "team", "ratings": ["down"], "events": ["feedback.created"]}]


@contextmanager
def open_desk(**options: Any) -> Iterator["Desk"]:
    """A desk, open within the context; ``options`` are those of ``harken.connect``."""
    defaults = {"alert_rules": ALERTS, "replies": REPLIES, "routes": ROUTES, "channels": {"team": {"kind": "log"}}}
    with harken.connect(**(defaults | options)) as hk:
        yield Desk(hk)


class Desk:
    """The operations of the team and its customers."""

    def __init__(self, hk: harken.Harken) -> None:
        self.hk = hk

    def rate(self, ticket: str, rating: str | None, comment: str = "", **parts: Any) -> str | None:
        """Store a customer's rating; returns the automatic reply, if there is one."""
        return self.hk.submit(ticket, rating, comment, **parts).reply

    def complaints(self, **filters: Any) -> list[harken.Feedback]:
        """Negative feedback, newest first."""
        return list(self.hk.feedback(rating="down", **filters).items)

    def reply(self, complaint: harken.Feedback, text: str) -> harken.Feedback:
        """Reply to a complaint."""
        return self.hk.collection.reply(complaint.application, complaint.id, text)

    def board(self) -> list[tuple[str, int, float]]:
        """Each agent with the number of ratings and the satisfaction, the best first."""
        rows = [(str(agent), summary.total, summary.satisfaction) for agent, summary in self.hk.groups("agent").items()]
        return sorted(rows, key=lambda row: (-row[2], row[0]))

    def busiest_hour(self) -> int:
        """The hour of the day, in UTC, with the most ratings."""
        by_hour = self.hk.summary().by_hour
        return by_hour.index(max(by_hour))

    def note(self, ticket: str, **facts: str) -> dict[str, Any]:
        """Add notes to a ticket; returns all its notes."""
        self.hk.sessions.update(self.hk.application, ticket, facts)
        return self.hk.sessions.get(self.hk.application, ticket)

    def open_alerts(self) -> list[str]:
        """The messages of open alerts, newest first."""
        return [alert.message for alert in self.hk.alerts.find(self.hk.application, open=True)]

    def forget(self, customer: str) -> int:
        """Erase all feedback of a customer; returns the number of ratings."""
        return self.hk.collection.erase(self.hk.query(author=customer)).feedback

"""A small support desk: customers rate answers, and the team reads, answers and watches its figures.

Nothing here says where feedback is kept. ``HARKEN_STORAGE`` does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import harken

ALERTS = [
    {"name": "three in a row", "kind": "streak", "by": "agent", "length": 3},
    {"name": "unhappy hour", "kind": "satisfaction", "below": 60, "at_least": 5, "window": "1h"},
]
REPLIES = [{"tag": "refund", "text": "Sorry. Somebody looks at your refund today."}]
ROUTES = [{"name": "downs", "channel": "team", "ratings": ["down"], "events": ["feedback.created"]}]


@contextmanager
def open_desk(**options: Any) -> Iterator["Desk"]:
    """A desk, for as long as the context lasts; ``options`` are those of ``harken.connect``."""
    known = {"alert_rules": ALERTS, "replies": REPLIES, "routes": ROUTES, "channels": {"team": {"kind": "log"}}}
    with harken.connect(**(known | options)) as hk:
        yield Desk(hk)


class Desk:
    """What the team and its customers do."""

    def __init__(self, hk: harken.Harken) -> None:
        self.hk = hk

    def rate(self, ticket: str, rating: str | None, words: str = "", **parts: Any) -> str | None:
        """Keep what a customer thinks; what to tell them at once, if there is anything to tell."""
        return self.hk.submit(ticket, rating, words, **parts).reply

    def complaints(self, **filters: Any) -> list[harken.Feedback]:
        """The downs, newest first."""
        return list(self.hk.feedback(rating="down", **filters).items)

    def answer(self, complaint: harken.Feedback, text: str) -> harken.Feedback:
        """Answer somebody who complained."""
        return self.hk.collection.reply(complaint.application, complaint.id, text)

    def board(self) -> list[tuple[str, int, float]]:
        """Each agent with the number of their ratings and the satisfaction, the best one first."""
        rows = [(str(agent), one.total, one.satisfaction) for agent, one in self.hk.groups("agent").items()]
        return sorted(rows, key=lambda row: (-row[2], row[0]))

    def busiest_hour(self) -> int:
        """The hour of the day, in UTC, in which most people rate."""
        by_hour = self.hk.summary().by_hour
        return by_hour.index(max(by_hour))

    def note(self, ticket: str, **facts: str) -> dict[str, Any]:
        """Write something down about a ticket; all that is known of it by now."""
        self.hk.sessions.update(self.hk.application, ticket, facts)
        return self.hk.sessions.get(self.hk.application, ticket)

    def alarms(self) -> list[str]:
        """The alerts that stand, in sentences, the newest first."""
        return [alert.message for alert in self.hk.alerts.find(self.hk.application, open=True)]

    def forget(self, customer: str) -> int:
        """Erase all that a customer said, and say how many ratings that were."""
        return self.hk.collection.erase(self.hk.query(author=customer)).feedback

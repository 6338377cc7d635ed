"""Raises alerts on patterns: three thumbs-down in a row, low satisfaction within an hour, silence.

Run ``python examples/patterns/pattern_alerts.py``, optionally followed by the URL of a storage.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import harken
from harken import Harken, Notification, Notifier

RULES: list[Mapping[str, object]] = [
    {"name": "three in a row", "kind": "streak", "by": "session", "length": 3},
    {"name": "unhappy hour", "kind": "satisfaction", "below": 60, "at_least": 5, "window": "1h"},
    {"name": "silence", "kind": "silence", "after": "6h"},
]
ROUTES = [{"name": "alerts", "channel": "pager", "events": ["alert.raised", "alert.resolved"]}]


class Pager(Notifier):
    """The channel to the engineer on call."""

    def deliver(self, notification: Notification) -> None:
        """Print the alert."""
        if notification.alert is not None:
            print(f"  {notification.type.value}: {notification.alert.message}")


class ManualClock:
    """A clock that the example advances, so that the output is the same each time."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The current time."""
        return self.now

    def advance(self, hk: Harken, **by: float) -> None:
        """Advance the clock and evaluate the rules. After `hk.start_relay()`, a relay does this in the background."""
        self.now += timedelta(**by)
        hk.relay.run_due()


def main(storage: str) -> None:
    clock = ManualClock()
    with harken.connect(storage, alert_rules=RULES, routes=ROUTES, channels={"pager": Pager()}, clock=clock) as hk:
        print("Three thumbs-down in one session, and two in others:")
        for session in ("session-1", "session-1", "session-1", "session-2", "session-3"):
            hk.submit(session, "down", "Still wrong", agent_id="helper")
            clock.advance(hk, minutes=1)

        print("A thumbs-up in the first session:")
        hk.submit("session-1", "up", "It works now", agent_id="helper")
        clock.advance(hk, hours=2)
        print("An hour without low satisfaction:")
        clock.advance(hk, hours=1)

        print("Six hours without feedback:")
        clock.advance(hk, hours=6)

        alerts = hk.alerts.find("default", open=True)
        print(f"Open alerts: {', '.join(alert.rule for alert in alerts)}")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

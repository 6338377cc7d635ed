"""Raises alerts on patterns: three downs in a row, an unhappy hour, silence. Each is told once, and when it ends.

Run it with ``python examples/patterns/pattern_alerts.py``, or with the URL of a storage behind that.
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
    """Who is woken."""

    def deliver(self, notification: Notification) -> None:
        """Tell of an alert."""
        if notification.alert is not None:
            print(f"  {notification.type.value}: {notification.alert.message}")


class Day:
    """A day in a few moments: a clock that is turned, so that the output is the same each time."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        """What the clock says."""
        return self.now

    def passes(self, hk: Harken, **by: float) -> None:
        """Let time pass, and then the rules look. In a program they do so by themselves, after `hk.start_relay()`."""
        self.now += timedelta(**by)
        hk.relay.run_due()


def main(storage: str) -> None:
    day = Day()
    with harken.connect(storage, alert_rules=RULES, routes=ROUTES, channels={"pager": Pager()}, clock=day) as hk:
        print("Three downs in one session, and two in others:")
        for session in ("session-1", "session-1", "session-1", "session-2", "session-3"):
            hk.submit(session, "down", "Still wrong", agent_id="helper")
            day.passes(hk, minutes=1)

        print("Somebody mended it:")
        hk.submit("session-1", "up", "It works now", agent_id="helper")
        day.passes(hk, hours=2)
        print("When there has been no sign of it for an hour:")
        day.passes(hk, hours=1)

        print("Then nobody says anything:")
        day.passes(hk, hours=6)

        standing = hk.alerts.find("default", open=True)
        print(f"What stands in the end: {', '.join(alert.rule for alert in standing)}")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))

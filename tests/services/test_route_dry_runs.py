"""Dry runs of routes: what they would have sent in the last 24 hours."""

from __future__ import annotations

from datetime import timedelta

import pytest

from channels import Recorder, connect_without_relay
from harken import Rating, Route
from harken.domain.events import EventType
from harken.services.notifications import routes
from support import NOON, ManualClock, a_submission

DOWNS = Route(name="downs", channel="team", ratings=[Rating.DOWN], agents=["a"])


def test_the_last_day_of_the_application_is_examined() -> None:
    """Older feedback and that of other applications is not counted, and held or withdrawn feedback is examined too."""
    clock, channel = ManualClock(), Recorder()
    with connect_without_relay(clock, channels={"team": channel}, spam="hold") as hk:
        hk.submit("s", "down", "too old", agent_id="a")
        clock.turn(hours=24, seconds=1)
        for comment in ("first", "second", "third", "fourth"):
            clock.turn(seconds=1)
            hk.submit("s", "down", comment, agent_id="a")
        hk.submit("s", "down", "of another", agent_id="a", application="shop")
        hk.submit("s", "down", "about another", agent_id="aa")
        hk.submit("s", "up", "fine", agent_id="a")
        hk.submit("s", "down", "I click here and nothing happens", agent_id="a")
        hk.collection.withdraw("default", hk.submit("s", "down", "taken back", agent_id="a").feedback.id)
        found = hk.routes.dry_run(DOWNS, "default")
        assert (found.since, found.until) == (clock.now - timedelta(days=1), clock.now)
        # The withdrawal would have been sent, and before it the feedback.
        assert (found.matched, found.total, found.is_complete) == (5, 8, True)
        assert [one.comment for one in found.examples] == ["taken back", "fourth", "third"]
        assert hk.routes.dry_run(DOWNS, "nobody").total == 0
        assert not channel.tried
        assert hk.deliveries.find("pending") == []


def test_the_newest_entries_are_examined_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there are more than the limit, the result says that it is not complete."""
    monkeypatch.setattr(routes, "DRY_RUN_LIMIT", 5)
    with connect_without_relay() as hk:
        hk.collection.submit_many(
            [
                a_submission(f"s{number}", "down" if number < 3 else "up", "x", agent_id="a", created_at=NOON)
                for number in range(5)
            ]
        )
        assert hk.routes.dry_run(DOWNS, "default").is_complete
        hk.submit("s", "down", "newest", agent_id="a")
        found = hk.routes.dry_run(DOWNS, "default")
    assert (found.total, found.is_complete) == (5, False)


def test_alerts_are_examined() -> None:
    """A route for alerts is counted by the alerts of the day; one for ratings matches none."""
    rule = {"name": "two-downs", "kind": "streak", "length": 2, "by": "agent"}
    clock = ManualClock()
    with connect_without_relay(clock, alert_rules=[rule]) as hk:
        for agent in ("a", "b"):
            for _ in range(2):
                hk.submit("s", "down", "slow", agent_id=agent)
        hk.relay.run_due()
        counted = [
            (found.matched_alerts, found.total_alerts)
            for route in (
                Route(name="r", channel="log", events=[EventType.ALERT_RAISED]),
                Route(name="r", channel="log", events=[EventType.ALERT_RESOLVED]),
                Route(name="r", channel="log", agents=["a"]),
                DOWNS,
            )
            if (found := hk.routes.dry_run(route, "default"))
        ]
        assert counted == [(2, 2), (0, 2), (1, 2), (0, 2)]
        clock.turn(hours=24, seconds=1)
        assert hk.routes.dry_run(DOWNS, "default").total_alerts == 0

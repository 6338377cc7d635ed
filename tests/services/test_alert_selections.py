"""The feedback that an alert is about can be selected, so that a page links to exactly that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import harken
from channels import connect_without_relay
from harken import Harken, Rating
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.rules import AlertRule, QueueRule, RateRule, SatisfactionRule, SilenceRule, ThemeRule
from harken.testing import an_alert
from support import NOON, ManualClock

HOUR = timedelta(hours=1)


def raised(hk: Harken) -> Alert:
    """The only open alert."""
    hk.relay.run_due()
    (alert,) = hk.alerts.find("default", open=True)
    return alert


def connected(clock: ManualClock, *rules: AlertRule) -> harken.Harken:
    """A Harken with these rules."""
    return connect_without_relay(clock, alert_rules=rules).__enter__()


def give(hk: Harken, ratings: Sequence[str], agent: str = "helper", comment: str = "lounge wifi") -> None:
    """Submit feedback about an agent."""
    for rating in ratings:
        hk.submit("s", rating, comment, agent_id=agent)


def test_a_satisfaction_alert_selects_what_it_counted() -> None:
    """The selection has the thumbs of the alert; its interval is that of the satisfaction."""
    clock = ManualClock()
    hk = connected(clock, SatisfactionRule(name="low", by="agent", below=60, window=HOUR, at_least=5))
    give(hk, ["up"] * 5)
    clock.turn(hours=2)
    give(hk, ["down"] * 9 + ["up"], agent="american")
    give(hk, ["up"] * 9)
    clock.turn(seconds=1)
    alert = raised(hk)
    query = hk.alerts.selection(alert)
    assert query is not None
    found = hk.analytics.summary(query)
    assert alert.summary is not None
    assert (found.positive, found.negative) == (alert.summary.positive, alert.summary.negative) == (1, 9)
    assert alert.summary.interval == found.interval
    # What comes later is not what the alert counted.
    clock.turn(seconds=1)
    give(hk, ["up"] * 3, agent="american")
    assert hk.analytics.summary(query).decided == 10
    hk.close()


def test_rates_and_themes_select_their_rating() -> None:
    """A rate selects its rating; a theme the thumbs-down of its agent."""
    clock = ManualClock()
    rules = (RateRule(name="ups", rating=Rating.UP), ThemeRule(name="wifi", by="agent", keywords=("wifi",)))
    hk = connected(clock, *rules)
    window = {"began_at": NOON - HOUR, "raised_at": NOON}
    rate = an_alert(rule="ups", kind=harken.domain.alerts.patterns.AlertKind.RATE, **window)
    selected = hk.alerts.selection(rate)
    assert selected is not None
    assert (selected.rating, selected.agent_id) == ({Rating.UP}, None)
    subject = harken.domain.alerts.patterns.Subject("theme", "wifi: american")
    theme = an_alert(rule="wifi", kind=harken.domain.alerts.patterns.AlertKind.THEME, subject=subject, **window)
    selected = hk.alerts.selection(theme)
    assert selected is not None
    assert (selected.rating, selected.agent_id) == ({Rating.DOWN}, {"american"})
    # A rule that was removed: what only it knows is left out.
    gone = hk.alerts.selection(an_alert(rule="gone", kind=rate.kind, **window))
    assert gone is not None
    assert gone.rating is None
    hk.close()


def test_an_alert_that_was_resolved_at_once() -> None:
    """Its selection is not empty, so that a page can show it."""
    clock = ManualClock()
    hk = connected(clock)
    give(hk, ["down"])
    streak = an_alert(
        kind=harken.domain.alerts.patterns.AlertKind.STREAK, began_at=clock(), raised_at=clock(), resolved_at=clock()
    )
    selected = hk.alerts.selection(streak)
    assert selected is not None
    assert selected.since is not None
    assert selected.until is not None
    assert selected.since < selected.until
    hk.close()


def test_a_queue_selects_what_waits() -> None:
    """The moderation queue is selected by its status; channels and emptied alerts select nothing."""
    clock = ManualClock()
    hk = connected(clock, QueueRule(name="queue", longer_than=0), SilenceRule(name="silent", after=timedelta(days=9)))
    feedback = hk.submit("s", "up").feedback
    hk.moderation.decide("default", feedback.id, "rejected")
    hk.moderation.undo("default", feedback.id)
    kind = harken.domain.alerts.patterns.AlertKind.QUEUE
    selected = hk.alerts.selection(an_alert(rule="queue", kind=kind))
    assert selected is not None
    assert [status.value for status in selected.statuses] == ["pending"]
    hk.channels.switch_off("log", "by hand")
    (off,) = hk.alerts.find("default", rule="channel")
    assert hk.alerts.selection(off) is None
    nameless = an_alert(subject=harken.domain.alerts.patterns.Subject("session", ""))
    assert hk.alerts.selection(nameless) is None
    hk.close()

"""What pages say about deliveries."""

from __future__ import annotations

from datetime import date

from attrs import evolve

from harken.domain.digest import DigestRule
from harken.domain.events import Attempt, AttemptOutcome, Delivery, DeliveryState
from harken.domain.session_change import change_events
from harken.testing.builders import NOON
from harken_adapters.hosts.web.delivery_words import outcome_of, what_of

DIGEST = Delivery.of(
    DigestRule(name="weekly", channel="mail").event("default", date(2026, 3, 30), at=NOON), "mail", due_at=NOON
)


def test_a_digest_has_its_name() -> None:
    """The delivery of a digest is not about erased feedback."""
    assert what_of(DIGEST, {}, (), NOON) == "digest weekly"


def test_a_change_of_a_session_has_its_names() -> None:
    """The delivery of a change is not about erased feedback, and many names are cut."""
    (event,) = change_events("default", "s-1", "update", ["tier", "topic"], event_id="e", at=NOON)
    assert what_of(Delivery.of(event, "mail", due_at=NOON), {}, (), NOON) == "metadata update · tier, topic · s-1"
    (event,) = change_events("default", "s-1", "delete", [f"n{n}" for n in range(99)], event_id="e", at=NOON)
    assert len(what_of(Delivery.of(event, "mail", due_at=NOON), {}, (), NOON)) < 150


def test_a_channel_that_was_off() -> None:
    """Nothing was attempted; the error of an earlier version is shown as it was stored."""
    off = Attempt(at=NOON, outcome=AttemptOutcome.CHANNEL_OFF, error="The channel is switched off: too loud")
    dead = evolve(DIGEST, state=DeliveryState.DEAD, attempts=1)
    assert outcome_of(dead.after(off), NOON).details == "mail was off"
    earlier = evolve(off, outcome=AttemptOutcome.NOT_SENT)
    shown = outcome_of(dead.after(earlier), NOON)
    assert (shown.name, shown.details) == ("not attempted", "The channel is switched off: too loud")

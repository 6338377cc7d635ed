"""What pages say about deliveries."""

from __future__ import annotations

from datetime import date

from attrs import evolve

from harken.domain.digest import DigestRule
from harken.domain.events import Attempt, AttemptOutcome, Delivery, DeliveryState
from harken.testing.builders import NOON
from harken_adapters.hosts.web.delivery_words import outcome_of, what_of

DIGEST = Delivery.of(
    DigestRule(name="weekly", channel="mail").event("default", date(2026, 3, 30), at=NOON), "mail", due_at=NOON
)


def test_a_digest_has_its_name() -> None:
    """The delivery of a digest is not about erased feedback."""
    assert what_of(DIGEST, {}, (), NOON) == "digest weekly"


def test_a_channel_that_was_off() -> None:
    """Nothing was attempted; the error of an earlier version is shown as it was stored."""
    off = Attempt(at=NOON, outcome=AttemptOutcome.CHANNEL_OFF, error="The channel is switched off: too loud")
    dead = evolve(DIGEST, state=DeliveryState.DEAD, attempts=1)
    assert outcome_of(dead.after(off), NOON).details == "mail was off"
    earlier = evolve(off, outcome=AttemptOutcome.NOT_SENT)
    shown = outcome_of(dead.after(earlier), NOON)
    assert (shown.name, shown.details) == ("not attempted", "The channel is switched off: too loud")

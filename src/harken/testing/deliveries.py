"""Builders of deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from harken.domain.events import Delivery, Event, EventType
from harken.ports.storage import Storage
from harken.testing.builders import NOON, a_feedback, a_series, accepted

MINUTE = timedelta(minutes=1)


def add_and_fan_out(storage: Storage, size: int, *channels: str) -> list[Delivery]:
    """Store ``size`` feedback entries and fan their events out to these channels, ``log`` by default."""
    storage.feedback.add(accepted(*a_series(size)))
    plan = [(event, channels or ("log",)) for event in storage.outbox.events(limit=size)]
    return list(storage.outbox.fan_out(plan, due_at=NOON))


def claim_due(storage: Storage, channel: str = "log", *, now: datetime = NOON, limit: int = 99) -> list[Delivery]:
    """Claim due deliveries for one minute."""
    return list(storage.outbox.claim(channel, now=now, until=now + MINUTE, limit=limit))


def events_of(deliveries: Sequence[Delivery]) -> list[Event]:
    """Return the events of the deliveries, in order."""
    return [delivery.event for delivery in deliveries]


def fan_out(storage: Storage, *channels: str, due_at: datetime = NOON) -> list[Delivery]:
    """Fan all waiting events out to these channels."""
    plan = [(event, channels) for event in storage.outbox.events(limit=999)]
    return list(storage.outbox.fan_out(plan, due_at=due_at))


def versions(storage: Storage, *, due: Sequence[datetime]) -> list[Delivery]:
    """Store feedback, change it, and fan its events out to ``log``, each due at its time."""
    current = a_feedback()
    storage.feedback.add(accepted(current))
    made = fan_out(storage, "log", due_at=due[0])
    for due_at in due[1:]:
        current = current.answered("Thanks", at=NOON)
        storage.feedback.replace(current, [Event.about(current, EventType.UPDATED)])
        made += fan_out(storage, "log", due_at=due_at)
    return made

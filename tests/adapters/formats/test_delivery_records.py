"""Deliveries as JSON."""

from __future__ import annotations

import json

from harken.domain.events import Delivery
from harken.domain.session_change import change_events
from harken.testing.builders import NOON
from harken_adapters.formats.delivery import delivery_from, delivery_record


def test_a_change_of_a_session_is_read_back() -> None:
    """A client gets the delivery that the server has, with its session; a record of an older server has none."""
    (event,) = change_events("shop", "s-1", "update", ["tier"], event_id="e", at=NOON)
    delivery = Delivery.of(event, "team", due_at=NOON)
    record = json.loads(json.dumps(delivery_record(delivery)))
    assert delivery_from(record) == delivery
    del record["event"]["session_id"]
    assert delivery_from(record).event.session_id is None

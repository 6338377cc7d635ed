"""Deliveries and the status of channels as JSON, for the hosts."""

from __future__ import annotations

from harken.domain.events import Delivery
from harken.services.notifications.channels import ChannelState
from harken_adapters.formats.record import Record, stamp, stamp_or_none


def delivery_record(delivery: Delivery) -> Record:
    """The delivery of an event to a channel."""
    event = delivery.event
    return {
        "id": delivery.id,
        "state": delivery.state.value,
        "channel": delivery.channel,
        "event": {
            "id": event.id,
            "type": event.type.value,
            "application": event.application,
            "subject_id": event.subject_id,
            "version": event.version,
            "occurred_at": stamp(event.occurred_at),
        },
        "attempts": delivery.attempts,
        "tries": delivery.tries,
        "due_at": stamp(delivery.due_at),
        "leased_until": stamp_or_none(delivery.leased_until),
        "error": delivery.error,
    }


def channel_record(state: ChannelState) -> Record:
    """The status of a channel."""
    return {
        "name": state.name,
        "on": state.on,
        "failing_since": stamp_or_none(state.failing_since),
        "off_since": stamp_or_none(state.off_since),
        "reason": state.reason,
    }

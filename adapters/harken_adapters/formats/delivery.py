"""Deliveries and the status of channels as JSON, for the hosts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from harken.domain.events import Attempt, AttemptOutcome, CauseCount, Delivery, DeliveryState, Event, EventType
from harken.domain.instants import parse_instant, stamp, stamp_or_none
from harken.services.notifications.channels import ChannelStatus
from harken.services.notifications.deliveries import Cause, DeliverySummary
from harken_adapters.formats.record import Record


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
            "session_id": event.session_id,
            "version": event.version,
            "occurred_at": stamp(event.occurred_at),
        },
        "attempts": delivery.attempts,
        "tries": delivery.tries,
        "due_at": stamp(delivery.due_at),
        "leased_until": stamp_or_none(delivery.leased_until),
        "error": delivery.error,
        "cause": delivery.cause,
        "history": list(map(_attempt_record, delivery.history)),
    }


def _attempt_record(attempt: Attempt) -> Record:
    return {
        "at": stamp(attempt.at),
        "seconds": attempt.duration.total_seconds(),
        "outcome": attempt.outcome.value,
        "status": attempt.status,
        "words": attempt.words,
        "error": attempt.error,
    }


def channel_record(status: ChannelStatus) -> Record:
    """The status of a channel, with the numbers of its deliveries."""
    state, retried = status.state, status.retried
    return {
        "name": state.name,
        "kind": status.kind.kind,
        "destination": status.kind.destination,
        "configured": status.is_configured,
        "on": state.on,
        "failing_since": stamp_or_none(state.failing_since),
        "off_since": stamp_or_none(state.off_since),
        "reason": state.reason,
        "cause": state.cause,
        "pending": status.pending,
        "dead": status.dead,
        "delivered": status.delivered,
        "last_delivered_at": stamp_or_none(status.last_delivered_at),
        "next_attempt": None if retried is None else _next_attempt_record(retried),
    }


def _next_attempt_record(retried: Delivery) -> Record:
    # A claimed delivery is being attempted.
    number = retried.tries if retried.leased_until is not None else retried.tries + 1
    return {"at": stamp(retried.due_at), "number": number}


def summary_record(summary: DeliverySummary) -> Record:
    """The numbers of deliveries, and why the dead ones are dead."""
    numbers = {"pending": summary.pending, "delivered": summary.delivered, "dead": summary.dead}
    names = sorted({name for by_channel in numbers.values() for name in by_channel})
    return {
        "as_of": stamp(summary.as_of),
        "delivered_since": stamp(summary.delivered_since),
        **{state: sum(by_channel.values()) for state, by_channel in numbers.items()},
        "channels": [
            {"channel": name} | {state: by_channel.get(name, 0) for state, by_channel in numbers.items()}
            for name in names
        ],
        "causes": [_cause_record(cause) for cause in summary.causes],
    }


def _cause_record(cause: Cause) -> Record:
    counted = cause.counted
    return {
        "channel": counted.channel,
        "cause": counted.cause,
        "count": counted.count,
        "first_at": stamp(counted.first_at),
        "last_at": stamp(counted.last_at),
        "latest": None if cause.latest is None else delivery_record(cause.latest),
    }


def delivery_from(record: Mapping[str, Any]) -> Delivery:
    """The inverse of :func:`delivery_record`.

    Raises:
        KeyError, TypeError, ValueError: it is not the record of a delivery.
    """
    event, leased_until = record["event"], record["leased_until"]
    return Delivery(
        id=record["id"],
        event=Event(
            id=event["id"],
            type=EventType(event["type"]),
            application=event["application"],
            subject_id=event["subject_id"],
            version=event["version"],
            occurred_at=parse_instant(event["occurred_at"]),
            # Older servers do not send it.
            session_id=event.get("session_id"),
        ),
        channel=record["channel"],
        state=DeliveryState(record["state"]),
        attempts=record["attempts"],
        attempts_before=record["attempts"] - record["tries"],
        due_at=parse_instant(record["due_at"]),
        leased_until=None if leased_until is None else parse_instant(leased_until),
        error=record["error"],
        history=tuple(map(_attempt_from, record["history"])),
    )


def _attempt_from(record: Mapping[str, Any]) -> Attempt:
    return Attempt(
        at=parse_instant(record["at"]),
        duration=timedelta(seconds=record["seconds"]),
        outcome=AttemptOutcome(record["outcome"]),
        status=record["status"],
        words=record["words"],
        error=record["error"],
    )


def summary_from(record: Mapping[str, Any]) -> DeliverySummary:
    """The inverse of :func:`summary_record`.

    Raises:
        KeyError, TypeError, ValueError: it is not the record of a summary.
    """
    numbers = {
        state: {one["channel"]: one[state] for one in record["channels"] if one[state]}
        for state in ("pending", "delivered", "dead")
    }
    return DeliverySummary(
        as_of=parse_instant(record["as_of"]),
        delivered_since=parse_instant(record["delivered_since"]),
        causes=[_cause_from(one) for one in record["causes"]],
        **numbers,
    )


def _cause_from(record: Mapping[str, Any]) -> Cause:
    counted = CauseCount(
        channel=record["channel"],
        cause=record["cause"],
        count=record["count"],
        first_at=parse_instant(record["first_at"]),
        last_at=parse_instant(record["last_at"]),
    )
    return Cause(counted=counted, latest=None if record["latest"] is None else delivery_from(record["latest"]))

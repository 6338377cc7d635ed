"""Conversion of deliveries to and from rows."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from harken.domain.events import Delivery, DeliveryState
from harken.domain.instants import (
    from_microseconds,
    from_microseconds_or_none,
    to_microseconds,
    to_microseconds_or_none,
)
from harken_adapters.storage.attempts import attempts_of, attempts_value
from harken_adapters.storage.sqlite.events import EVENT, EVENT_WIDTH, event_row, to_event
from harken_adapters.storage.sqlite.rows import Row, dump

_COLUMNS: Final = (
    f"{EVENT.replace('id', 'event_id', 1)}, session_id, "
    "id, channel, state, attempts, attempts_before, due_at, leased_until, error, awaits, certain, history, cause"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM delivery"  # noqa: S608
_PUT: Final = f"INSERT OR REPLACE INTO delivery ({_COLUMNS}) VALUES ({', '.join('?' * 19)})"  # noqa: S608
#: An alert may have the id of a feedback entry.
_ABOUT: Final = "WHERE application = ? AND feedback_id IN (SELECT value FROM json_each(?)) AND type NOT GLOB 'alert.*'"
_STATES: Final = {state.value: state for state in DeliveryState}


def select_deliveries(connection: sqlite3.Connection, rest: str, parameters: Row) -> list[Delivery]:
    """Return the deliveries selected by ``rest``, the part of the statement that begins with ``WHERE``."""
    return [_delivery(row) for row in connection.execute(f"{_SELECT} {rest}", parameters).fetchall()]


def deliveries_about(
    connection: sqlite3.Connection, application: str, feedback_ids: Iterable[str]
) -> Mapping[str, Sequence[Delivery]]:
    """Return all deliveries about each feedback in any state, including those about its erasure."""
    about: defaultdict[str, list[Delivery]] = defaultdict(list)
    for delivery in select_deliveries(connection, _ABOUT, (application, dump(list(feedback_ids)))):
        about[delivery.event.subject_id].append(delivery)
    return about


def put_deliveries(connection: sqlite3.Connection, deliveries: Iterable[Delivery]) -> None:
    """Store the deliveries, replacing those with the same ids."""
    connection.executemany(_PUT, map(_row, deliveries))


def _row(delivery: Delivery) -> Row:
    return (
        *event_row(delivery.event),
        delivery.event.session_id,
        delivery.id,
        delivery.channel,
        delivery.state.value,
        delivery.attempts,
        delivery.attempts_before,
        to_microseconds(delivery.due_at),
        to_microseconds_or_none(delivery.leased_until),
        delivery.error,
        delivery.awaits,
        int(delivery.certain),
        history_text(delivery),
        delivery.cause,
    )


def history_text(delivery: Delivery) -> str | None:
    """Return the stored form of the attempts of a delivery."""
    return dump(attempts_value(delivery.history)) if delivery.history else None


def _delivery(row: Row) -> Delivery:
    session_id, delivery_id, channel, state, attempts, attempts_before, *rest = row[EVENT_WIDTH:]
    due_at, leased_until, error, awaits, certain, history, _ = rest
    return Delivery(
        id=delivery_id,
        event=to_event(row[:EVENT_WIDTH], session_id=session_id),
        channel=channel,
        state=_STATES[state],
        attempts=attempts,
        attempts_before=attempts_before,
        due_at=from_microseconds(due_at),
        leased_until=from_microseconds_or_none(leased_until),
        error=error,
        awaits=awaits,
        certain=bool(certain),
        history=() if history is None else attempts_of(json.loads(history)),
    )

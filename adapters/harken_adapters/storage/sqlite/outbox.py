"""Events and deliveries in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from attrs import evolve

from harken.domain.errors import DeliveryNotFound, LeaseLost
from harken.domain.events import Delivery, DeliveryState, Event, EventType
from harken.domain.instants import from_microseconds, to_microseconds
from harken.ports.outbox import Outbox
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.rows import Row

_EVENT: Final = "id, type, application, feedback_id, version, occurred_at"
_DELIVERY: Final = (
    "event_id, type, application, feedback_id, version, occurred_at, "
    "id, channel, state, attempts, due_at, leased_until, error"
)


class SqliteOutbox(Outbox):
    """Events wait in one table, deliveries in another; a lease is a time in the delivery's row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, *, limit: int) -> Sequence[Event]:
        """See the port."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_EVENT} FROM event ORDER BY occurred_at, feedback_id, version, id LIMIT ?",  # noqa: S608
                (limit,),
            )
            return [_event(row) for row in rows]

    def fan_out(self, event: Event, channels: Collection[str], *, due_at: datetime) -> Sequence[Delivery]:
        """See the port."""
        made = [
            Delivery(id=Delivery.id_for(event.id, channel), event=event, channel=channel, due_at=due_at)
            for channel in sorted(set(channels))
        ]
        with self._database.write() as connection:
            taken = connection.execute(
                "DELETE FROM event WHERE application = ? AND feedback_id = ? AND version = ?",
                (event.application, event.feedback_id, event.version),
            )
            if taken.rowcount == 0:
                return []
            connection.executemany(
                f"INSERT INTO delivery ({_DELIVERY}) VALUES ({', '.join('?' * 13)})",  # noqa: S608
                [_row(delivery) for delivery in made],
            )
        return made

    def claim(self, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """See the port."""
        moment = to_microseconds(now)
        with self._database.write() as connection:
            rows = connection.execute(
                f"SELECT {_DELIVERY} FROM delivery "  # noqa: S608
                "WHERE state = 'pending' AND due_at <= ? AND (leased_until IS NULL OR leased_until <= ?) "
                "ORDER BY due_at, id LIMIT ?",
                (moment, moment, limit),
            )
            due = [_delivery(row) for row in rows]
            claimed = [evolve(delivery, leased_until=until, attempts=delivery.attempts + 1) for delivery in due]
            connection.executemany(
                "UPDATE delivery SET leased_until = ?, attempts = ? WHERE id = ?",
                [(to_microseconds(until), delivery.attempts, delivery.id) for delivery in claimed],
            )
        return claimed

    def settle(self, delivery: Delivery) -> None:
        """See the port."""
        self._release(delivery, DeliveryState.DELIVERED, delivery.due_at, "")

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """See the port."""
        self._release(delivery, DeliveryState.PENDING, due_at, error)

    def bury(self, delivery: Delivery, *, error: str) -> None:
        """See the port."""
        self._release(delivery, DeliveryState.DEAD, delivery.due_at, error)

    def deliveries(self, state: DeliveryState, *, limit: int) -> Sequence[Delivery]:
        """See the port."""
        with self._database.read() as connection:
            return _in_state(connection, "state = ? ORDER BY due_at, id LIMIT ?", (state.value, limit))

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        """See the port."""
        with self._database.write() as connection:
            found = _in_state(connection, "id = ? AND state = 'dead'", (delivery_id,))
            if not found:
                raise DeliveryNotFound(f"There is no dead delivery {delivery_id!r}")
            connection.execute(
                "UPDATE delivery SET state = 'pending', due_at = ?, error = '' WHERE id = ?",
                (to_microseconds(due_at), delivery_id),
            )
        return evolve(found[0], state=DeliveryState.PENDING, due_at=due_at, error="")

    def _release(self, delivery: Delivery, state: DeliveryState, due_at: datetime, error: str) -> None:
        with self._database.write() as connection:
            released = connection.execute(
                "UPDATE delivery SET state = ?, due_at = ?, error = ?, leased_until = NULL "
                "WHERE id = ? AND state = 'pending' AND leased_until IS NOT NULL AND attempts = ?",
                (state.value, to_microseconds(due_at), error, delivery.id, delivery.attempts),
            )
            if released.rowcount == 0:
                raise LeaseLost(f"The claim on delivery {delivery.id!r} is no longer the latest")


def _in_state(connection: sqlite3.Connection, rest: str, parameters: tuple[object, ...]) -> list[Delivery]:
    return [_delivery(row) for row in connection.execute(f"SELECT {_DELIVERY} FROM delivery WHERE {rest}", parameters)]  # noqa: S608


def _event(row: Row) -> Event:
    event_id, kind, application, feedback_id, version, occurred_at = row
    return Event(
        id=event_id,
        type=EventType(kind),
        application=application,
        feedback_id=feedback_id,
        version=version,
        occurred_at=from_microseconds(occurred_at),
    )


def _row(delivery: Delivery) -> Row:
    event = delivery.event
    return (
        event.id,
        event.type.value,
        event.application,
        event.feedback_id,
        event.version,
        to_microseconds(event.occurred_at),
        delivery.id,
        delivery.channel,
        delivery.state.value,
        delivery.attempts,
        to_microseconds(delivery.due_at),
        None if delivery.leased_until is None else to_microseconds(delivery.leased_until),
        delivery.error,
    )


def _delivery(row: Row) -> Delivery:
    delivery_id, channel, state, attempts, due_at, leased_until, error = row[6:]
    return Delivery(
        id=delivery_id,
        event=_event(row[:6]),
        channel=channel,
        state=DeliveryState(state),
        attempts=attempts,
        due_at=from_microseconds(due_at),
        leased_until=None if leased_until is None else from_microseconds(leased_until),
        error=error,
    )

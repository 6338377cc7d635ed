"""Events and deliveries in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Final

from attrs import evolve

from harken.domain.errors import DeliveryNotFound, LeaseLost
from harken.domain.events import Delivery, DeliveryState, Event
from harken.domain.instants import from_microseconds, to_microseconds
from harken.ports.outbox import Outbox
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.events import EVENT, event_row, to_event
from harken_adapters.storage.sqlite.rows import Row

_EVENT_WIDTH: Final = 6
_DELIVERY: Final = (
    "event_id, type, application, feedback_id, version, occurred_at, "
    "id, channel, state, attempts, attempts_before, due_at, leased_until, error"
)
_SELECT: Final = f"SELECT {_DELIVERY} FROM delivery"  # noqa: S608
_INSERT: Final = f"INSERT INTO delivery ({_DELIVERY}) VALUES ({', '.join('?' * 14)})"  # noqa: S608
_EVENTS: Final = f"SELECT {EVENT} FROM event ORDER BY occurred_at, feedback_id, version, id LIMIT ?"  # noqa: S608
_TAKE_EVENT: Final = "DELETE FROM event WHERE application = ? AND feedback_id = ? AND version = ? AND id = ?"
_DUE: Final = (
    "channel = ? AND state = 'pending' AND due_at <= ? AND (leased_until IS NULL OR leased_until <= ?) "
    "ORDER BY due_at, id LIMIT ?"
)
_HELD: Final = "id = ? AND state = 'pending' AND leased_until IS NOT NULL AND attempts = ?"
#: From each channel straight to the next one in the index, however many deliveries lie between them.
_CHANNELS: Final = """
    WITH RECURSIVE found (channel) AS (
        SELECT min(channel) FROM delivery
        UNION ALL
        SELECT (SELECT min(channel) FROM delivery WHERE channel > found.channel)
        FROM found WHERE found.channel IS NOT NULL
    )
    SELECT channel FROM found WHERE channel IS NOT NULL
"""
_FORGET: Final = """
    DELETE FROM delivery WHERE id IN (
        SELECT id FROM delivery WHERE channel = ? AND state = 'delivered' AND due_at < ? LIMIT ?
    )
"""
#: How many deliveries one transaction forgets, so that no writer waits long for it.
_CHUNK: Final = 1_000
_STATES: Final = {state.value: state for state in DeliveryState}


class SqliteOutbox(Outbox):
    """Events wait in one table, deliveries in another; a lease is a time in the delivery's row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, *, limit: int) -> Sequence[Event]:
        """See the port."""
        return [to_event(row) for row in self._database.rows(_EVENTS, (limit,))]

    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        """See the port."""
        if not plan:
            return []

        def fan_out(connection: sqlite3.Connection) -> Sequence[Delivery]:
            # An event may be there several times, and is taken once.
            taken = {event.id for event, _ in plan if _taken(connection, event)}
            made = [
                Delivery.of(event, channel, due_at=due_at)
                for event, channels in plan
                if event.id in taken
                for channel in sorted(set(channels))
            ]
            connection.executemany(_INSERT, map(_row, made))
            return made

        return self._database.write(fan_out)

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """See the port."""
        moment = to_microseconds(now)
        due = (channel, moment, moment)
        # Mostly nothing is due, and then nobody who writes has to wait.
        if not self._database.rows(f"SELECT 1 FROM delivery WHERE {_DUE}", (*due, 1)):  # noqa: S608
            return []

        def claim(connection: sqlite3.Connection) -> Sequence[Delivery]:
            found = _select(connection, f"WHERE {_DUE}", (*due, limit))
            connection.executemany(
                "UPDATE delivery SET leased_until = ?, attempts = attempts + 1 WHERE id = ?",
                [(to_microseconds(until), delivery.id) for delivery in found],
            )
            return [evolve(delivery, leased_until=until, attempts=delivery.attempts + 1) for delivery in found]

        # Where the machine fails, whoever claimed fails with it, so a claim need not outlive that.
        return self._database.write(claim, durable=False)

    def release(self, claimed: Sequence[Delivery]) -> None:
        """See the port."""
        if not claimed:
            return
        update = f"UPDATE delivery SET leased_until = NULL, attempts = attempts - 1 WHERE {_HELD}"  # noqa: S608
        held = [(claim.id, claim.attempts) for claim in claimed]
        self._database.write(lambda connection: connection.executemany(update, held), durable=False)

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        """See the port."""
        if not claimed:
            return []
        return self._database.write(
            lambda connection: [claim for claim in claimed if not _end(connection, claim, DeliveryState.DELIVERED)]
        )

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """See the port."""
        self._must_end(evolve(delivery, due_at=due_at), DeliveryState.PENDING, error)

    def bury(self, delivery: Delivery, *, error: str) -> None:
        """See the port."""
        self._must_end(delivery, DeliveryState.DEAD, error)

    def delivery(self, delivery_id: str) -> Delivery:
        """See the port."""
        found = self._database.read(lambda connection: _select(connection, "WHERE id = ?", (delivery_id,)))
        if not found:
            raise DeliveryNotFound(f"There is no delivery {delivery_id!r}")
        return found[0]

    def deliveries(
        self,
        state: DeliveryState,
        *,
        limit: int,
        after: Delivery | None = None,
        application: str | None = None,
        channel: str | None = None,
    ) -> Sequence[Delivery]:
        """See the port."""
        wanted = "WHERE channel = ? AND state = ?"
        parameters: list[object] = [state.value]
        if after is not None:
            wanted += " AND (due_at, id) > (?, ?)"
            parameters += [to_microseconds(after.due_at), after.id]
        if application is not None:
            wanted += " AND application = ?"
            parameters.append(application)
        wanted += " ORDER BY due_at, id LIMIT ?"

        def select(connection: sqlite3.Connection) -> list[list[Delivery]]:
            names = _channels(connection) if channel is None else [channel]
            return [_select(connection, wanted, (name, *parameters, limit)) for name in names]

        found = self._database.read(select)
        return list(islice(merge(*found, key=lambda delivery: (delivery.due_at, delivery.id)), limit))

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        """See the port."""

        def replay(connection: sqlite3.Connection) -> Delivery:
            revived = connection.execute(
                "UPDATE delivery SET state = 'pending', due_at = ?, error = '', attempts_before = attempts "
                "WHERE id = ? AND state = 'dead'",
                (to_microseconds(due_at), delivery_id),
            )
            if revived.rowcount == 0:
                raise DeliveryNotFound(f"There is no dead delivery {delivery_id!r}")
            (found,) = _select(connection, "WHERE id = ?", (delivery_id,))
            return found

        return self._database.write(replay)

    def forget(self, *, before: datetime) -> int:
        """See the port."""
        return sum(self._forget(channel, before) for channel in self._database.read(_channels))

    def _forget(self, channel: str, before: datetime) -> int:
        parameters = (channel, to_microseconds(before), _CHUNK)
        forgotten = 0
        while True:
            gone = self._database.execute(_FORGET, parameters)
            forgotten += gone
            if gone < _CHUNK:
                return forgotten

    def _must_end(self, claim: Delivery, state: DeliveryState, error: str) -> None:
        if not self._database.write(lambda connection: _end(connection, claim, state, error)):
            raise LeaseLost(f"The claim on delivery {claim.id!r} is no longer the latest")


def _taken(connection: sqlite3.Connection, event: Event) -> bool:
    """Take an event off the list, and say whether it was on it."""
    key = (event.application, event.subject_id, event.version, event.id)
    return connection.execute(_TAKE_EVENT, key).rowcount == 1


def _end(connection: sqlite3.Connection, claim: Delivery, state: DeliveryState, error: str = "") -> bool:
    """End the lease of a claim, and say whether it was held."""
    ended = connection.execute(
        f"UPDATE delivery SET state = ?, due_at = ?, error = ?, leased_until = NULL WHERE {_HELD}",  # noqa: S608
        (state.value, to_microseconds(claim.due_at), error, claim.id, claim.attempts),
    )
    return ended.rowcount == 1


def _channels(connection: sqlite3.Connection) -> list[str]:
    """The channels that have deliveries."""
    return [channel for (channel,) in connection.execute(_CHANNELS).fetchall()]


def _select(connection: sqlite3.Connection, rest: str, parameters: tuple[object, ...]) -> list[Delivery]:
    return [_delivery(row) for row in connection.execute(f"{_SELECT} {rest}", parameters).fetchall()]


def _row(delivery: Delivery) -> Row:
    return (
        *event_row(delivery.event),
        delivery.id,
        delivery.channel,
        delivery.state.value,
        delivery.attempts,
        delivery.attempts_before,
        to_microseconds(delivery.due_at),
        None if delivery.leased_until is None else to_microseconds(delivery.leased_until),
        delivery.error,
    )


def _delivery(row: Row) -> Delivery:
    delivery_id, channel, state, attempts, attempts_before, due_at, leased_until, error = row[_EVENT_WIDTH:]
    return Delivery(
        id=delivery_id,
        event=to_event(row[:_EVENT_WIDTH]),
        channel=channel,
        state=_STATES[state],
        attempts=attempts,
        attempts_before=attempts_before,
        due_at=from_microseconds(due_at),
        leased_until=None if leased_until is None else from_microseconds(leased_until),
        error=error,
    )

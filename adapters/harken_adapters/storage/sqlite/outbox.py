"""Events and deliveries in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from attrs import evolve

from harken.domain.errors import DeliveryNotFound
from harken.domain.events import CauseCount, Delivery, DeliveryQuery, DeliveryState, Event
from harken.domain.instants import to_microseconds
from harken.ports.outbox import Outbox
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.deliveries import history_text, put_deliveries, select_deliveries
from harken_adapters.storage.sqlite.delivery_lists import (
    channels_in_use,
    count_causes,
    count_deliveries,
    find_deliveries,
)
from harken_adapters.storage.sqlite.events import EVENT, to_event
from harken_adapters.storage.sqlite.rows import dump

_EVENTS: Final = f"SELECT {EVENT}, before FROM event ORDER BY occurred_at, feedback_id, version, id LIMIT ?"  # noqa: S608
_EVENTS_ABOUT: Final = f"""
    SELECT {EVENT}, before FROM event
    WHERE application = ? AND feedback_id IN (SELECT value FROM json_each(?)) AND about_alert = 0
    ORDER BY feedback_id, version
"""  # noqa: S608
_TAKE_EVENT: Final = "DELETE FROM event WHERE application = ? AND feedback_id = ? AND version = ? AND id = ?"
_DUE: Final = (
    "channel = ? AND state = 'pending' AND late = 0 AND due_at <= ? AND (leased_until IS NULL OR leased_until <= ?) "
    "ORDER BY due_at, id LIMIT ?"
)
_CLAIM: Final = "UPDATE delivery SET leased_until = ?, attempts = attempts + 1, awaits = NULL, certain = 1 WHERE id = ?"
_REPLAY: Final = (
    "UPDATE delivery SET state = 'pending', due_at = ?, error = '', cause = '', attempts_before = attempts WHERE id = ?"
)
_SETTLED: Final = "state = 'delivered', error = '', history = ?"
_HELD: Final = "id = ? AND state = 'pending' AND leased_until IS NOT NULL AND attempts = ?"
_REMEMBER: Final = "INSERT INTO told VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_STORED: Final = "SELECT id FROM feedback WHERE application = ? AND id IN (SELECT value FROM json_each(?))"
_AWAITING: Final = "WHERE application = ? AND feedback_id = ? AND awaits = ?"
_REMOVE: Final = "DELETE FROM delivery WHERE id = ?"
#: The number of deliveries that one transaction removes, so that it does not block other writers for long.
_CHUNK: Final = 1_000


class SqliteOutbox(Outbox):
    """Stores events and deliveries in one table each. A lease is a time in the delivery's row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, *, limit: int) -> Sequence[Event]:
        return [to_event(tuple(row), before=before) for *row, before in self._database.rows(_EVENTS, (limit,))]

    def events_about(self, application: str, feedback_ids: Collection[str]) -> Sequence[Event]:
        rows = self._database.rows(_EVENTS_ABOUT, (application, dump(list(feedback_ids))))
        return [to_event(tuple(row), before=before) for *row, before in rows]

    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        if not plan:
            return []

        def fan_out(connection: sqlite3.Connection) -> Sequence[Delivery]:
            # The plan may contain an event several times; it is taken once.
            taken = {event.id for event, _ in plan if _take(connection, event)}
            deliveries = [
                Delivery.of(event, channel, due_at=due_at)
                for event, channels in plan
                if event.id in taken
                for channel in sorted(set(channels))
            ]
            put_deliveries(connection, deliveries)
            return deliveries

        return self._database.write(fan_out)

    def add(self, delivery: Delivery) -> bool:
        def add(connection: sqlite3.Connection) -> bool:
            if select_deliveries(connection, "WHERE id = ?", (delivery.id,)):
                return False
            put_deliveries(connection, [delivery])
            return True

        return self._database.write(add)

    def record_notified(self, application: str, feedback_ids: Collection[str], channel: str) -> None:
        def record(connection: sqlite3.Connection) -> None:
            stored = connection.execute(_STORED, (application, dump(list(feedback_ids)))).fetchall()
            connection.executemany(_REMEMBER, [(application, feedback_id, channel) for (feedback_id,) in stored])

        self._database.write(record)

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        moment = to_microseconds(now)
        due = (channel, moment, moment)
        # Usually no delivery is due, and then no writer has to wait.
        if not self._database.rows(f"SELECT 1 FROM delivery WHERE {_DUE}", (*due, 1)):  # noqa: S608
            return []

        def claim(connection: sqlite3.Connection) -> Sequence[Delivery]:
            found = select_deliveries(connection, f"WHERE {_DUE}", (*due, limit))
            connection.executemany(
                _CLAIM,
                [(to_microseconds(until), delivery.id) for delivery in found],
            )
            return [delivery.claimed(until=until) for delivery in found]

        # Not durable: if the machine fails, the worker that holds the claim fails as well.
        return self._database.write(claim, durable=False)

    def release(self, claimed: Sequence[Delivery]) -> None:
        if not claimed:
            return

        def release(connection: sqlite3.Connection) -> None:
            for claim in claimed:
                if not _end(connection, claim, "attempts = attempts - 1"):
                    _hand_over(connection, claim, sent=False)

        self._database.write(release)

    def discard(self, claimed: Sequence[Delivery]) -> None:
        if not claimed:
            return

        def discard(connection: sqlite3.Connection) -> None:
            for claim in claimed:
                if _is_held(connection, claim):
                    _discard(connection, claim)
                else:
                    _hand_over(connection, claim, sent=False)

        self._database.write(discard)

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        if not claimed:
            return []

        def settle(connection: sqlite3.Connection) -> Sequence[Delivery]:
            lost = [claim for claim in claimed if not _end(connection, claim, _SETTLED, history_text(claim))]
            for claim in lost:
                _hand_over(connection, claim, sent=True)
            return lost

        return self._database.write(settle)

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        change = "due_at = ?, error = ?, history = ?"
        self._must_end(delivery, change, to_microseconds(due_at), error, history_text(delivery))

    def bury(self, delivery: Delivery, *, error: str, sent: bool = True) -> None:
        attempts = delivery.attempts if sent else delivery.attempts - 1
        dead = evolve(delivery, state=DeliveryState.DEAD, error=error)
        change = "state = 'dead', error = ?, attempts = ?, history = ?, cause = ?"
        self._must_end(delivery, change, error, attempts, history_text(dead), dead.cause, sent=sent)

    def move(self, delivery: Delivery, channel: str) -> None:

        def move(connection: sqlite3.Connection) -> bool:
            if not _is_held(connection, delivery):
                _hand_over(connection, delivery, sent=False)
                return False
            moved = Delivery.of(delivery.event, channel, due_at=delivery.due_at)
            if moved.id != delivery.id:
                if not select_deliveries(connection, "WHERE id = ?", (moved.id,)):
                    put_deliveries(connection, [moved])
                _discard(connection, delivery)
            return True

        if not self._database.write(move):
            raise delivery.lost()

    def delivery(self, delivery_id: str) -> Delivery:
        found = self._database.read(lambda connection: select_deliveries(connection, "WHERE id = ?", (delivery_id,)))
        if not found:
            raise DeliveryNotFound(f"No delivery with id {delivery_id!r}")
        return found[0]

    def deliveries(
        self, query: DeliveryQuery, *, limit: int, after: Delivery | None = None, newest_first: bool = False
    ) -> Sequence[Delivery]:
        return self._database.read(
            partial(find_deliveries, query=query, limit=limit, after=after, newest_first=newest_first)
        )

    def counts(self, query: DeliveryQuery) -> Mapping[str, int]:
        return self._database.read(partial(count_deliveries, query=query))

    def causes(self, query: DeliveryQuery) -> Sequence[CauseCount]:
        return self._database.read(partial(count_causes, query=query))

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:

        def replay(connection: sqlite3.Connection) -> Delivery:
            revived = connection.execute(
                _REPLAY,
                (to_microseconds(due_at), delivery_id),
            )
            if revived.rowcount == 0:
                raise DeliveryNotFound(f"No delivery with id {delivery_id!r}")
            (found,) = select_deliveries(connection, "WHERE id = ?", (delivery_id,))
            return found

        return self._database.write(replay)

    def forget(self, *, before: datetime) -> int:
        forgotten = sum(self._forget(channel, before) for channel in self._database.read(channels_in_use))
        if forgotten:
            # Erasure notifications contain the ids of erased feedback.
            self._database.forget()
        return forgotten

    def _forget(self, channel: str, before: datetime) -> int:
        old = "WHERE channel = ? AND state = 'delivered' AND late = 0 AND due_at < ? ORDER BY due_at, id LIMIT ?"
        parameters = (channel, to_microseconds(before), _CHUNK)

        def forget(connection: sqlite3.Connection) -> int:
            found = select_deliveries(connection, old, parameters)
            _remember_channels(connection, found)
            connection.executemany(_REMOVE, [(delivery.id,) for delivery in found])
            return len(found)

        forgotten = 0
        while True:
            count = self._database.write(forget)
            forgotten += count
            if count < _CHUNK:
                return forgotten

    def _must_end(self, claim: Delivery, change: str, *parameters: object, sent: bool = True) -> None:
        def end(connection: sqlite3.Connection) -> bool:
            ended = _end(connection, claim, change, *parameters)
            if not ended:
                _hand_over(connection, claim, sent=sent)
            return ended

        if not self._database.write(end):
            raise claim.lost()


def _take(connection: sqlite3.Connection, event: Event) -> bool:
    """Remove an event from the waiting events. Returns whether it was waiting."""
    key = (event.application, event.subject_id, event.version, event.id)
    return connection.execute(_TAKE_EVENT, key).rowcount == 1


def _is_held(connection: sqlite3.Connection, claim: Delivery) -> bool:
    return bool(select_deliveries(connection, f"WHERE {_HELD}", (claim.id, claim.attempts)))


def _end(connection: sqlite3.Connection, claim: Delivery, change: str, *parameters: object) -> bool:
    """End the lease of a claim and change its delivery. Returns whether the claim was held."""
    update = f"UPDATE delivery SET {change}, leased_until = NULL WHERE {_HELD}"  # noqa: S608
    return connection.execute(update, (*parameters, claim.id, claim.attempts)).rowcount == 1


def _discard(connection: sqlite3.Connection, claim: Delivery) -> None:
    """Remove the delivery of a claim that is held."""
    if claim.attempts > 1:
        _remember_channels(connection, [claim])
    connection.execute(_REMOVE, (claim.id,))


def _remember_channels(connection: sqlite3.Connection, deliveries: Iterable[Delivery]) -> None:
    """Record that the channels of the deliveries know their feedback."""
    about_feedback = [delivery for delivery in deliveries if delivery.event.type.about_feedback]
    connection.executemany(
        _REMEMBER, [(one.event.application, one.event.subject_id, one.channel) for one in about_feedback]
    )


def _hand_over(connection: sqlite3.Connection, claim: Delivery, *, sent: bool) -> None:
    """Continue an erasure that waits for this claim."""
    event = claim.event
    about_it = (event.application, event.subject_id, claim.claim)
    for waiting in select_deliveries(connection, _AWAITING, about_it):
        if (free := waiting.handed_over(sent=sent)) is None:
            connection.execute(_REMOVE, (waiting.id,))
        else:
            put_deliveries(connection, [free])

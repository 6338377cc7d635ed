"""Lists and counts of deliveries. Each reads ranges of an index, whose conditions are equalities and one due time."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Final

from attrs import evolve

from harken.domain.events import CauseCount, Delivery, DeliveryQuery, DeliveryState, most_first
from harken.domain.instants import from_microseconds, to_microseconds
from harken_adapters.storage.sqlite.conditions import Condition
from harken_adapters.storage.sqlite.deliveries import select_deliveries
from harken_adapters.storage.sqlite.rows import dump

#: Jumps in the index from each channel to the next one, however many deliveries it has.
_CHANNELS: Final = """
    WITH RECURSIVE found (channel) AS (
        SELECT min(channel) FROM delivery
        UNION ALL
        SELECT (SELECT min(channel) FROM delivery WHERE channel > found.channel)
        FROM found WHERE found.channel IS NOT NULL
    )
    SELECT channel FROM found WHERE channel IS NOT NULL
"""
#: Only pending deliveries can be late.
_LATE: Final = {DeliveryState.PENDING: (0, 1), DeliveryState.DELIVERED: (0,), DeliveryState.DEAD: (0,)}
#: Literals: otherwise SQLite does not use the partial indexes.
_DEAD: Final = "state = 'dead'"
_ENDED: Final = "state <> 'pending'"


def find_deliveries(
    connection: sqlite3.Connection, query: DeliveryQuery, *, limit: int, after: Delivery | None, newest_first: bool
) -> list[Delivery]:
    """Return the deliveries that match, in order. See :meth:`Outbox.deliveries`."""
    direction, sign = ("DESC", "<") if newest_first else ("ASC", ">")
    follows, place = "", tuple[object, ...]()
    if after is not None:
        follows, place = f" AND (due_at, id) {sign} (?, ?)", (to_microseconds(after.due_at), after.id)
    found = [
        select_deliveries(
            connection,
            f"WHERE {sql}{follows} ORDER BY due_at {direction}, id {direction} LIMIT ?",
            (*parameters, *place, limit),
        )
        for sql, parameters in _ranges(connection, query)
    ]
    in_order = merge(*found, key=lambda delivery: (delivery.due_at, delivery.id), reverse=newest_first)
    return list(islice(in_order, limit))


def count_deliveries(connection: sqlite3.Connection, query: DeliveryQuery) -> dict[str, int]:
    """Return the number of deliveries that match, by channel."""
    counts: Counter[str] = Counter()
    for sql, parameters in _ranges(connection, query):
        counting = f"SELECT channel, count(*) FROM delivery WHERE {sql} GROUP BY channel"  # noqa: S608 - no values
        counts.update(dict(connection.execute(counting, parameters).fetchall()))
    return dict(sorted(counts.items()))


def count_causes(connection: sqlite3.Connection, query: DeliveryQuery) -> list[CauseCount]:
    """Return the dead deliveries that match, by channel and cause."""
    if query.state not in (None, DeliveryState.DEAD):
        return []
    found: list[CauseCount] = []
    for sql, parameters in _ranges(connection, evolve(query, state=DeliveryState.DEAD)):
        counting = (
            "SELECT channel, cause, count(*), min(due_at), max(due_at) FROM delivery "  # noqa: S608 - no values
            f"WHERE {sql} GROUP BY channel, cause"
        )
        found += [
            CauseCount(
                channel=channel,
                cause=cause,
                count=count,
                first_at=from_microseconds(first),
                last_at=from_microseconds(last),
            )
            for channel, cause, count, first, last in connection.execute(counting, parameters).fetchall()
        ]
    return sorted(found, key=most_first)


def channels_in_use(connection: sqlite3.Connection) -> list[str]:
    """Return the channels that have deliveries."""
    return [channel for (channel,) in connection.execute(_CHANNELS).fetchall()]


def _ranges(connection: sqlite3.Connection, query: DeliveryQuery) -> Iterator[Condition]:
    """Yield conditions, each for one range of an index, that together match the query."""
    others, values = _other_conditions(query)
    subject_id = query.feedback_id if query.feedback_id is not None else query.alert_id
    if subject_id is not None:
        about = "type GLOB 'alert.*'" if query.alert_id is not None else "type NOT GLOB 'alert.*'"
        channel = ("", ()) if query.channel is None else (" AND channel = ?", (query.channel,))
        states = dump([state.value for state in query.states])
        of_states = "state IN (SELECT value FROM json_each(?))"
        yield (
            f"application = ? AND feedback_id = ? AND {about} AND {of_states}{channel[0]}{others}",
            (query.application, subject_id, states, *channel[1], *values),
        )
        return
    names = channels_in_use(connection) if query.channel is None else [query.channel]
    for name in names:
        for state in query.states:
            for sql, parameters in _ranges_of_state(query, name, state):
                yield f"{sql}{others}", (*parameters, *values)


def _ranges_of_state(query: DeliveryQuery, channel: str, state: DeliveryState) -> Iterator[Condition]:
    """Yield the conditions on application, channel and state."""
    if query.application is not None and query.cause is not None:
        yield f"application = ? AND channel = ? AND {_DEAD}", (query.application, channel)
    elif query.application is not None and state is not DeliveryState.PENDING:
        parameters = (query.application, channel, state.value)
        yield f"application = ? AND channel = ? AND state = ? AND {_ENDED}", parameters
    else:
        # The plus sign prevents the use of an index on the application, which would not give the required order.
        of, application = (" AND +application = ?", (query.application,)) if query.application is not None else ("", ())
        for late in _LATE[state]:
            yield f"channel = ? AND state = ? AND late = ?{of}", (channel, state.value, late, *application)


def _other_conditions(query: DeliveryQuery) -> tuple[str, tuple[object, ...]]:
    """Return the conditions on the cause, type and due time, each after ``AND``."""
    sql, values = "", list[object]()
    if query.cause is not None:
        sql, values = f"{sql} AND cause = ?", [*values, query.cause]
    if query.type is not None:
        sql += f" AND type IN ({', '.join('?' * len(query.type.stored))})"
        values += query.type.stored
    if query.due_since is not None:
        sql, values = f"{sql} AND due_at >= ?", [*values, to_microseconds(query.due_since)]
    return sql, tuple(values)

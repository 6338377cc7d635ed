"""Statistics, computed by SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from operator import add
from typing import Any, Final

from attrs import evolve

from harken.domain.insight.sampling import AuthorRatings
from harken.domain.instants import EPOCH, slot_number, slot_start
from harken.domain.query import Dimension, FeedbackQuery, GroupBy, GroupKey
from harken.domain.summary import Summary
from harken_adapters.storage.sqlite.comment_index import split
from harken_adapters.storage.sqlite.conditions import Condition, context_label, one_of, select_in_order, where
from harken_adapters.storage.sqlite.rows import Row, dump
from harken_adapters.storage.sqlite.schema import hour_of, slot_of, sums, sums_of_rows

NEWEST_FIRST: Final = "ORDER BY feedback.created_at DESC, feedback.id DESC"
#: What the thumbs of authors are grouped by.
_RATED: Final = "author, session_id, agent_id, rating, tags, context, created_at, id"
_END_OF_TIME: Final = slot_number(datetime.max.replace(tzinfo=UTC)) + 1
#: Finds the agents with one look-up each, so that of each only the slots of the period are read, which are sorted by
#: agent: without this, SQLite would read the slots of all times.
_AGENTS: Final = """
    WITH RECURSIVE agent (id) AS (
        SELECT min(agent_id) FROM counter WHERE application = ? AND span = 'slot'
        UNION ALL
        SELECT (SELECT min(agent_id) FROM counter WHERE application = ? AND span = 'slot' AND agent_id > agent.id)
        FROM agent WHERE agent.id IS NOT NULL
    )
"""


def summarize(
    connection: sqlite3.Connection, query: FeedbackQuery, group_by: GroupBy | None
) -> Mapping[GroupKey, Summary]:
    """Return the statistics of matching feedback: from counters if possible, otherwise from the rows."""
    if not _can_use_counters(query, group_by):
        return _summaries(_from_rows(connection, query, group_by), _key_of(group_by))
    if query.since is None and query.until is None and not _by_slot(group_by):
        return _summaries(_from_hours(connection, query, group_by), _key_of(group_by))
    return _summaries(_from_slots_and_edges(connection, query, group_by), _key_of(group_by))


def _by_slot(group_by: GroupBy | None) -> bool:
    return group_by is not None and group_by.dimension is Dimension.SLOT


def _can_use_counters(query: FeedbackQuery, group_by: GroupBy | None) -> bool:
    counted = FeedbackQuery(
        application=query.application, agent_id=query.agent_id, since=query.since, until=query.until
    )
    dimension = group_by.dimension if group_by else None
    # The counters of feedback without an agent have the agent ''.
    return (
        query == counted and "" not in (query.agent_id or ()) and dimension in (None, Dimension.AGENT, Dimension.SLOT)
    )


def ratings_by_author(
    connection: sqlite3.Connection, query: FeedbackQuery, group_by: GroupBy | None, limit: int
) -> list[AuthorRatings]:
    """Return how many of the newest matching thumbs each author gave in each group."""
    key, key_parameters = _row_key(group_by)
    joined = " LEFT JOIN json_each(feedback.tags) AS tag" if key == "tag.value" else ""
    newest, parameters = _newest_rated(connection, query, limit)
    rows = connection.execute(
        f"SELECT {key}, CASE WHEN author IS NULL THEN 's' || session_id ELSE 'a' || author END, "  # noqa: S608
        f"count(*), sum(rating = 1) FROM ({newest}) AS feedback{joined} GROUP BY 1, 2",
        (*key_parameters, *parameters),
    )
    key_of = _key_of(group_by)
    return [AuthorRatings(key_of(key), *rest) for key, *rest in rows]


def _newest_rated(connection: sqlite3.Connection, query: FeedbackQuery, limit: int) -> Condition:
    """Return the statement that selects the newest thumbs that match, with its parameters."""
    rated: Condition = ("feedback.rating <> 0", ())
    order = f"{NEWEST_FIRST} LIMIT ?"
    if query.text is None:
        newest, parameters = select_in_order(_RATED, query, rated, order=order)
        return newest, (*parameters, limit)
    found: list[Row] = []
    with closing(split(connection, query)) as parts:
        for part, more in parts:
            newest, parameters = select_in_order("created_at, id", part, rated, *more, order=order)
            found += connection.execute(newest, (*parameters, limit - len(found))).fetchall()
            if len(found) == limit:
                break
    ids = dump([feedback_id for _, feedback_id in found])
    wanted = "application = ? AND id IN (SELECT value FROM json_each(?))"
    return f"SELECT {_RATED} FROM feedback WHERE {wanted}", (query.application, ids)  # noqa: S608 - made of constants


# Each of these yields rows of the key, the UTC hour of day, and the sums in the order of the counter columns.


def _from_rows(connection: sqlite3.Connection, query: FeedbackQuery, group_by: GroupBy | None) -> Iterator[Row]:
    key, key_parameters = _row_key(group_by)
    joined = " LEFT JOIN json_each(feedback.tags) AS tag" if key == "tag.value" else ""
    with closing(split(connection, query)) as parts:
        for part, more in parts:
            condition, parameters = where(part, *more)
            yield from connection.execute(
                f"SELECT {key}, {hour_of('feedback.created_at')}, {sums_of_rows()} "  # noqa: S608
                f"FROM feedback{joined} WHERE {condition} GROUP BY 1, 2",
                (*key_parameters, *parameters),
            )


def _row_key(group_by: GroupBy | None) -> Condition:
    match group_by:
        case None:
            return "NULL", ()
        case GroupBy(Dimension.CONTEXT, str(name)):
            return context_label(name)
        case GroupBy(dimension):
            keys = {
                Dimension.AGENT: "feedback.agent_id",
                Dimension.SESSION: "feedback.session_id",
                Dimension.TAG: "tag.value",
                Dimension.SLOT: slot_of("feedback.created_at"),
            }
            return keys[dimension], ()


def _from_hours(connection: sqlite3.Connection, query: FeedbackQuery, group_by: GroupBy | None) -> Iterator[Row]:
    condition, parameters = _counter_condition(query)
    return connection.execute(
        f"SELECT {_counter_key(group_by)}, bucket, {sums()} FROM counter "  # noqa: S608
        f"WHERE span = 'hour' AND {condition} GROUP BY 1, 2",
        parameters,
    )


def _from_slots(
    connection: sqlite3.Connection, query: FeedbackQuery, group_by: GroupBy | None, first: int, end: int
) -> Iterator[Row]:
    condition, parameters = _counter_condition(query)
    agents, source = "", "counter"
    if query.agent_id is None:
        agents, source = _AGENTS, "agent CROSS JOIN counter ON counter.agent_id = agent.id"
        parameters = (query.application, query.application, *parameters)
    return connection.execute(
        f"{agents} SELECT {_counter_key(group_by)}, bucket / 4 % 24, {sums()} FROM {source} "  # noqa: S608
        f"WHERE span = 'slot' AND {condition} AND bucket >= ? AND bucket < ? GROUP BY 1, 2",
        (*parameters, first, end),
    )


def _from_slots_and_edges(
    connection: sqlite3.Connection, query: FeedbackQuery, group_by: GroupBy | None
) -> Iterator[Row]:
    """Use counters for whole slots, and rows for partial slots at both ends."""
    since, until = query.since or EPOCH, query.until
    first = slot_number(since)
    cut_first = slot_start(first) < since
    first += cut_first
    end = _END_OF_TIME if until is None else slot_number(until)
    if first >= end:
        return _from_rows(connection, query, group_by)
    parts = [_from_slots(connection, query, group_by, first, end)]
    if cut_first:
        parts.append(_from_rows(connection, evolve(query, until=slot_start(first)), group_by))
    if until is not None and slot_start(end) < until:
        parts.append(_from_rows(connection, evolve(query, since=slot_start(end)), group_by))
    return chain.from_iterable(parts)


def _counter_condition(query: FeedbackQuery) -> Condition:
    if query.agent_id is None:
        return "application = ?", (query.application,)
    condition, agents = one_of("agent_id", query.agent_id)
    return f"application = ? AND {condition}", (query.application, *agents)


def _counter_key(group_by: GroupBy | None) -> str:
    if group_by is None:
        return "NULL"
    return "bucket" if group_by.dimension is Dimension.SLOT else "nullif(agent_id, '')"


def _key_of(group_by: GroupBy | None) -> Callable[[Any], GroupKey]:
    return slot_start if _by_slot(group_by) else _return_key


def _return_key(key: str | None) -> GroupKey:
    return key


def _summaries(rows: Iterable[Row], key_of: Callable[[Any], GroupKey]) -> dict[GroupKey, Summary]:
    """Return one summary for each key; several rows may have the same key and hour."""
    totals: dict[Any, list[int]] = {}
    hours: dict[Any, list[int]] = {}
    for key, hour, *counts in rows:
        if key in totals:
            totals[key] = list(map(add, totals[key], counts))
        else:
            totals[key], hours[key] = counts, [0] * 24
        hours[key][hour] += sum(counts[:3])
    return {key_of(key): Summary.from_counts(counts, hours[key]) for key, counts in totals.items()}

"""Text search in SQLite: the index of comments, and the parts of a query that it narrows.

Triggers remove the segments that a change concerns, in the transaction of the change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from attrs import evolve

from harken.domain.errors import SearchNotReady
from harken.domain.instants import from_microseconds
from harken.domain.query import FeedbackQuery
from harken.domain.search import SEARCH_VERSION, TextSearch
from harken_adapters.storage import comment_index
from harken_adapters.storage.comment_index import (
    BUCKETS,
    BUILDING,
    CommentIndexer,
    IndexedEntry,
    Part,
    Segment,
    SegmentBuilder,
    WantedTerms,
    buckets_of,
    not_ready,
    part_of,
    plan,
    range_of,
    times_of,
    wanted_terms,
    with_indexed_filters,
)
from harken_adapters.storage.sqlite.conditions import Condition, one_of, select_in_order, where
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.rows import decode_tags, dump

#: The number of the newest entries that are not indexed: others may still be stored before them.
_NEWEST: Final = 1_000
_CHUNK: Final = 500
_NEWEST_FIRST: Final = "ORDER BY feedback.created_at DESC"

_SEGMENTS: Final = (
    "SELECT number, since, until, entries FROM comment_segment "
    "WHERE application = ? AND until > ? AND since < ? AND version = ? AND begun IS NULL"
)
_PLACES_A_SEGMENT: Final = 256
#: The bucket that has the times of a segment.
_TIMES: Final = BUCKETS


class SqliteCommentIndex(CommentIndexer):
    """Builds segments, each in one short transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    def segments(self, application: str, since: int, until: int) -> Sequence[Segment]:
        return self._database.read(lambda connection: _segments(connection, application, since, until))

    def horizon(self, application: str) -> int | None:
        return self._database.read(lambda connection: _horizon(connection, application))

    def blocked(self, application: str) -> Collection[tuple[int, int]]:  # noqa: ARG002
        # Triggers remove what a change concerns in the same transaction.
        return ()

    def time_of(self, application: str, since: int, until: int, number: int) -> int | None:
        found = self._database.rows(
            "SELECT created_at FROM feedback WHERE application = ? AND created_at >= ? AND created_at < ? "
            "ORDER BY created_at LIMIT 1 OFFSET ?",
            (application, since, until, number),
        )
        return found[0][0] if found else None

    def begin(self, application: str, since: int, until: int) -> object | None:
        return self._database.write(partial(_begin, application=application, since=since, until=until), durable=False)

    def renew(self, key: Any) -> None:
        renewed = "UPDATE comment_segment SET begun = unixepoch() WHERE number = ? AND begun IS NOT NULL"
        self._database.write(lambda connection: connection.execute(renewed, (key,)).rowcount, durable=False)

    def number_of(self, application: str, since: int, until: int, limit: int) -> int:
        query = part_of(FeedbackQuery(application=application).in_any_state(), Part(since, until, None))
        return self._database.read(lambda connection: _count(connection, query, limit=limit))

    def not_ready(self, application: str) -> SearchNotReady:
        return self._database.read(lambda connection: _not_ready(connection, application))

    def entries(self, application: str, since: int, until: int) -> Iterator[IndexedEntry]:
        # In chunks, as comments may be long, and as the reader takes its time. A change in between removes the note.
        place: tuple[int, str] = (since, "")
        while True:
            chunk = self._database.rows(
                "SELECT created_at, id, comment, tags FROM feedback WHERE application = ? AND created_at < ? "
                "AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?",
                (application, until, *place, _CHUNK),
            )
            yield from ((time, comment, decode_tags(tags)) for time, _, comment, tags in chunk)
            if len(chunk) < _CHUNK:
                return
            place = chunk[-1][:2]

    def finish(self, key: Any, until: int, entries: int, builder: SegmentBuilder) -> None:
        content = [(key * _PLACES_A_SEGMENT + bucket, blob) for bucket, blob in builder.buckets()]
        content.append((key * _PLACES_A_SEGMENT + _TIMES, builder.times()))

        def finish(connection: sqlite3.Connection) -> None:
            complete = "UPDATE comment_segment SET until = ?, entries = ?, begun = NULL WHERE number = ?"
            if connection.execute(complete, (until, entries, key)).rowcount:
                connection.executemany("INSERT INTO comment_words VALUES (?, ?)", content)

        self._database.write(finish, durable=False)

    def applications(self) -> Sequence[str]:
        found = self._database.rows("SELECT DISTINCT application FROM comment_segment ORDER BY application")
        return [application for (application,) in found]

    def stored(self, segment: Segment) -> tuple[bytes, Mapping[int, bytes]] | None:
        return self._database.read(lambda connection: _stored(connection, segment))

    def drop(self, segment: Segment) -> bool:
        return bool(self._database.execute("DELETE FROM comment_segment WHERE number = ?", (segment.key,)))


def split(
    connection: sqlite3.Connection, query: FeedbackQuery, *more: Condition
) -> Generator[tuple[FeedbackQuery, Sequence[Condition]], None, None]:
    """Split a query into parts, newest first: matching rows meet the query and the conditions of exactly one part.

    The parts are such that a search checks few comments. ``more`` are conditions that limit the rows.

    Raises:
        SearchNotReady: too many comments are not indexed.
    """
    search = query.search
    walked_since = None if search is None else _walked_since(connection, query, more)
    if search is None or walked_since is None:
        yield query, ()
        return
    # The newest entries are checked first, as most words are found there.
    yield evolve(query, since=walked_since), ()
    yield from _split_by_index(connection, evolve(query, until=walked_since), search, more)


def _walked_since(connection: sqlite3.Connection, query: FeedbackQuery, more: Sequence[Condition]) -> datetime | None:
    """Return the time down to which entries are checked without the index; ``None`` if these are all."""
    order = f"{_NEWEST_FIRST} LIMIT 1 OFFSET ?"
    newest, parameters = select_in_order("feedback.created_at", with_indexed_filters(query), *more, order=order)
    found = connection.execute(newest, (*parameters, comment_index.WALKED)).fetchone()
    return None if found is None else from_microseconds(found[0])


def _split_by_index(
    connection: sqlite3.Connection, query: FeedbackQuery, search: TextSearch, more: Sequence[Condition]
) -> Iterator[tuple[FeedbackQuery, Sequence[Condition]]]:
    segments = _segments(connection, query.application, *range_of(query))
    parts = plan(
        query,
        _times(connection, segments, wanted_terms(query, search)),
        count=lambda part, limit: _count(connection, with_indexed_filters(part), *more, limit=limit),
        horizon=partial(_horizon, connection, query.application),
        not_ready=partial(_not_ready, connection, query.application),
    )
    if parts is None:
        yield query, ()
        return
    for part in parts:
        yield (part_of(query, part), ()) if part.times is None else _at(query, part.times)


def _at(query: FeedbackQuery, times: Sequence[int]) -> tuple[FeedbackQuery, Sequence[Condition]]:
    at_times = "feedback.created_at IN (SELECT value FROM json_each(?))", (dump(times),)
    if query.agent_id is None:
        return query, (at_times,)
    # A condition of its own: in a statement for each agent, each time would be looked up for each agent.
    return evolve(query, agent_id=None), (at_times, one_of("feedback.agent_id", query.agent_id))


def _count(connection: sqlite3.Connection, query: FeedbackQuery, *more: Condition, limit: int) -> int:
    condition, parameters = where(query, *more)
    count: int = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM feedback WHERE {condition} LIMIT ?)",  # noqa: S608 - made of constants
        (*parameters, limit),
    ).fetchone()[0]
    return count


def _horizon(connection: sqlite3.Connection, application: str) -> int | None:
    newest = "SELECT created_at FROM feedback WHERE application = ? ORDER BY created_at DESC LIMIT 1 OFFSET ?"
    found = connection.execute(newest, (application, _NEWEST)).fetchone()
    return found[0] if found else None


def _not_ready(connection: sqlite3.Connection, application: str) -> SearchNotReady:
    complete = "application = ? AND begun IS NULL AND version = ?"
    (indexed,) = connection.execute(
        f"SELECT ifnull(sum(entries), 0) FROM comment_segment WHERE {complete}",  # noqa: S608 - made of constants
        (application, SEARCH_VERSION),
    ).fetchone()
    (total,) = connection.execute("SELECT count(*) FROM feedback WHERE application = ?", (application,)).fetchone()
    return not_ready(indexed, total)


def _segments(connection: sqlite3.Connection, application: str, since: int, until: int) -> list[Segment]:
    found = connection.execute(_SEGMENTS, (application, since, until, SEARCH_VERSION)).fetchall()
    return [Segment(*row) for row in found]


def _times(
    connection: sqlite3.Connection, segments: Sequence[Segment], wanted: WantedTerms
) -> dict[Segment, Sequence[int]]:
    """The times at which each segment may have what is searched for."""
    buckets = buckets_of(wanted)
    places = [segment.key * _PLACES_A_SEGMENT + bucket for segment in segments for bucket in (_TIMES, *buckets)]
    content = dict(
        connection.execute(
            "SELECT place, content FROM comment_words WHERE place IN (SELECT value FROM json_each(?))", (dump(places),)
        ).fetchall()
    )

    def times(segment: Segment) -> Sequence[int]:
        first = segment.key * _PLACES_A_SEGMENT
        words = {bucket: content.get(first + bucket, b"") for bucket in buckets}
        return times_of(wanted, content.get(first + _TIMES, b""), words)

    return {segment: times(segment) for segment in segments}


def _stored(connection: sqlite3.Connection, segment: Segment) -> tuple[bytes, Mapping[int, bytes]] | None:
    if not connection.execute("SELECT 1 FROM comment_segment WHERE number = ?", (segment.key,)).fetchall():
        return None
    first = segment.key * _PLACES_A_SEGMENT
    content = "SELECT place - ?, content FROM comment_words WHERE place BETWEEN ? AND ?"
    buckets = dict(connection.execute(content, (first, first, first + _TIMES)).fetchall())
    return buckets.pop(_TIMES, b""), buckets


def _begin(connection: sqlite3.Connection, application: str, since: int, until: int) -> int | None:
    (now,) = connection.execute("SELECT unixepoch()").fetchone()
    # Also what a process left that was killed, and what another version of the search made.
    connection.execute(
        "DELETE FROM comment_segment WHERE application = ? AND (abs(begun - ?) >= ? OR version <> ?)",
        (application, now, BUILDING.total_seconds(), SEARCH_VERSION),
    )
    if connection.execute(
        "SELECT 1 FROM comment_segment WHERE application = ? AND begun IS NOT NULL", (application,)
    ).fetchall():
        return None
    return connection.execute(
        "INSERT INTO comment_segment (application, since, until, version, entries, begun) VALUES (?, ?, ?, ?, 0, ?)",
        (application, since, until, SEARCH_VERSION, now),
    ).lastrowid

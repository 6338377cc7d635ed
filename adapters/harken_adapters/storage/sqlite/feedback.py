"""The feedback repository of SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from itertools import chain, islice
from typing import Final

from attrs import evolve

from harken.domain.erasure import Erased
from harken.domain.errors import FeedbackNotFound, StaleFeedback
from harken.domain.events import Event
from harken.domain.feedback import Feedback
from harken.domain.insight.sampling import AuthorRatings
from harken.domain.insight.terms import TermCounts
from harken.domain.instants import from_microseconds, to_microseconds
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.ports.repository import (
    Accepted,
    Conflict,
    DuplicateOf,
    FeedbackRepository,
    Outcome,
    SessionEntry,
    Stored,
    Taken,
)
from harken_adapters.storage.sqlite.comment_index import SqliteCommentIndex, split
from harken_adapters.storage.sqlite.conditions import Condition, select_in_order, where
from harken_adapters.storage.sqlite.counting import add_counts
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.erasing import erase
from harken_adapters.storage.sqlite.events import add_events
from harken_adapters.storage.sqlite.rows import COLUMNS, SELECTED, Row, by_id, dump, from_row, select_feedback, to_row
from harken_adapters.storage.sqlite.schema import RESUME_COUNTING, STOP_COUNTING
from harken_adapters.storage.sqlite.session_entries import read_session_entries
from harken_adapters.storage.sqlite.statistics import NEWEST_FIRST, ratings_by_author, summarize
from harken_adapters.storage.sqlite.terms import drop_term_counts, read_term_counts

_CHUNK: Final = 1_000
#: The first chunk of a stream is small, as many readers only want the oldest entries.
_FIRST_CHUNK: Final = 20
_GROWTH: Final = 7
#: The number of rows that one statement inserts. More would save little, and the rows are inserted one by one if one of
#: them has a conflict.
_TOGETHER: Final = 250
#: The number of entries that one transaction erases, with their events, deliveries and alerts.
_ERASED_TOGETHER: Final = 250
#: Extras are written once, and are not among the columns of feedback.
_INSERTED: Final = (*COLUMNS, "extras")
_PLACES: Final = f"({', '.join('?' * len(_INSERTED))})"
_INSERT: Final = f"INSERT INTO feedback ({', '.join(_INSERTED)}) VALUES {_PLACES} ON CONFLICT DO NOTHING"  # noqa: S608
_INSERT_TOGETHER: Final = _INSERT.replace(_PLACES, ", ".join([_PLACES] * _TOGETHER))
_UPDATE: Final = (
    f"UPDATE feedback SET {', '.join(f'{column} = ?' for column in COLUMNS)} "  # noqa: S608
    "WHERE application = ? AND id = ? AND version = ?"
)
_EXTRAS: Final = """
    SELECT id, extras FROM feedback
    WHERE application = ? AND id IN (SELECT value FROM json_each(?)) AND extras IS NOT NULL
"""
#: Reads one index entry for each application, regardless of the amount of feedback.
_APPLICATIONS: Final = """
    WITH RECURSIVE found (application) AS (
        SELECT min(application) FROM feedback
        UNION ALL
        SELECT (SELECT min(application) FROM feedback WHERE application > found.application)
        FROM found WHERE found.application IS NOT NULL
    )
    SELECT application FROM found WHERE application IS NOT NULL
"""
_OLDEST_FIRST: Final = "ORDER BY feedback.created_at, feedback.id"
# The version is a literal because SQLite uses the partial index of changed feedback only then.
_CHANGED: Final = "feedback.application = ? AND feedback.version > 1"
_FIRST_CHANGED_FIRST: Final = "ORDER BY feedback.updated_at, feedback.id"
_LAST_CHANGED_FIRST: Final = "ORDER BY feedback.updated_at DESC, feedback.id DESC"


class SqliteFeedbackRepository(FeedbackRepository):
    """Feedback and its events in two tables, and their counters."""

    def __init__(self, database: Database, index: SqliteCommentIndex) -> None:
        self._database = database
        self._index = index

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        if len(batch) == 1:
            # A single caller waits for this, so latency matters.
            return self._database.write(lambda connection: [_add(connection, batch[0])])
        slices = [batch[start : start + _TOGETHER] for start in range(0, len(batch), _TOGETHER)]
        return self._database.write(
            lambda connection: [outcome for items in slices for outcome in _add_all(connection, items)]
        )

    def get(self, application: str, feedback_id: str) -> Feedback:
        found = self._database.read(lambda connection: by_id(connection, application, feedback_id))
        if found is None:
            raise FeedbackNotFound(application, feedback_id)
        return found

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        wanted = "WHERE application = ? AND id IN (SELECT value FROM json_each(?))"
        found = self._select(wanted, (application, dump(list(feedback_ids))))
        return {feedback.id: feedback for feedback in found}

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        position = () if after is None else (_compare("<", after),)
        self._wake_index(query)
        found = self._database.read(lambda connection: _find(connection, query, position, limit + 1))
        items = tuple(found[:limit])
        return Page(items, Cursor.of(items[-1]) if len(found) > limit else None)

    def count(self, query: FeedbackQuery, *, limit: int) -> int:
        self._wake_index(query)
        return self._database.read(lambda connection: _count(connection, query, limit))

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        return chain.from_iterable(self._chunks(query, _FIRST_CHUNK, _CHUNK))

    def session_entries(self, application: str, session_id: str) -> Sequence[SessionEntry]:
        return self._database.read(lambda connection: read_session_entries(connection, application, session_id))

    def extras(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, str]:
        return dict(self._database.rows(_EXTRAS, (application, dump(list(feedback_ids)))))

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        # In chunks, as in a stream, up to the last change at the start, so that it ends.
        last = self._select_changed((application,), f"{_LAST_CHANGED_FIRST} LIMIT 1")
        if not last:
            return
        until = (to_microseconds(last[0].updated_at), last[0].id)
        place = (to_microseconds(since), "")
        while True:
            chunk = self._select_changed(
                (application, *place, *until, _CHUNK),
                "AND (feedback.updated_at, feedback.id) > (?, ?) AND (feedback.updated_at, feedback.id) <= (?, ?) "
                f"{_FIRST_CHANGED_FIRST} LIMIT ?",
            )
            yield from chunk
            if len(chunk) < _CHUNK:
                return
            place = (to_microseconds(chunk[-1].updated_at), chunk[-1].id)

    def applications(self) -> Sequence[str]:
        return [application for (application,) in self._database.rows(_APPLICATIONS)]

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        key = (feedback.application, feedback.id, feedback.version - 1 if over is None else over)

        def replace(connection: sqlite3.Connection) -> None:
            if connection.execute(_UPDATE, (*to_row(feedback), *key)).rowcount == 0:
                stored = by_id(connection, feedback.application, feedback.id)
                raise _replace_error(feedback, stored)
            add_events(connection, events)

        self._database.write(replace)

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        # One transaction for each chunk, so that writers do not wait long, and memory is bounded.
        chunks = islice(self._ids(query, limit), 1) if limit else self._ids(query, _ERASED_TOGETHER)
        removed = Erased()
        for number, ids in enumerate(chunks):
            if number == 1:
                # Counting again what remains takes less than correcting the counts chunk by chunk.
                self._database.write(partial(drop_term_counts, application=query.application))
            removed += self._database.write(partial(erase, query=query, ids=ids, at=at, continues=not limit))
        # Also if nothing was found: an earlier call may have been killed before this step.
        self._database.forget()
        return removed

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        self._wake_index(query)
        return self._database.read(lambda connection: summarize(connection, query, group_by))

    def ratings_by_author(
        self, query: FeedbackQuery, group_by: GroupBy | None = None, *, limit: int
    ) -> Sequence[AuthorRatings]:
        self._wake_index(query)
        return self._database.read(lambda connection: ratings_by_author(connection, query, group_by, limit))

    def term_counts(self, application: str) -> TermCounts:
        return read_term_counts(self._database, application)

    def _wake_index(self, query: FeedbackQuery) -> None:
        if query.text is not None:
            self._index.wake(query.application)

    def _chunks(self, query: FeedbackQuery, size: int, largest: int) -> Iterator[list[Feedback]]:
        """Yield lists of matching feedback, oldest first: the first of at most ``size``, later ones of more."""
        # One transaction for each list, so that a slow reader does not make SQLite keep an old state of the file.
        # Feedback that is newer than the newest at the start is left out, so that it ends.
        # Without the words, which a search would look for in all of the feedback.
        newest = self.find(evolve(query, text=None), limit=1).items
        if not newest:
            return
        until = _compare("<=", Cursor.of(newest[0]))
        place: tuple[Condition, ...] = ()
        while True:
            chunk = self._select_in_order(query, until, *place, order=_OLDEST_FIRST, limit=size)
            yield chunk
            if len(chunk) < size:
                return
            place = (_compare(">", Cursor.of(chunk[-1])),)
            size = min(size * _GROWTH, largest)

    def _ids(self, query: FeedbackQuery, size: int) -> Iterator[list[str]]:
        """Yield lists of the ids of matching feedback, like :meth:`_chunks`."""
        newest = self.find(evolve(query, text=None), limit=1).items
        place: tuple[Condition, ...] | None = () if newest else None
        while place is not None:
            statement, parameters = select_in_order(
                "feedback.created_at, feedback.id",
                query,
                _compare("<=", Cursor.of(newest[0])),
                *place,
                order=f"{_OLDEST_FIRST} LIMIT ?",
            )
            rows = self._database.rows(statement, (*parameters, size))
            yield [feedback_id for _, feedback_id in rows]
            place = (_compare(">", Cursor(from_microseconds(rows[-1][0]), rows[-1][1])),) if len(rows) == size else None

    def _select_in_order(self, query: FeedbackQuery, *more: Condition, order: str, limit: int) -> list[Feedback]:
        statement, parameters = select_in_order(SELECTED, query, *more, order=f"{order} LIMIT ?")
        return self._database.read(
            lambda connection: [from_row(row) for row in connection.execute(statement, (*parameters, limit)).fetchall()]
        )

    def _select_changed(self, parameters: tuple[object, ...], rest: str) -> list[Feedback]:
        return self._select(f"WHERE {_CHANGED} {rest}", parameters)

    def _select(self, rest: str, parameters: tuple[object, ...]) -> list[Feedback]:
        return self._database.read(lambda connection: select_feedback(connection, rest, parameters))


def _find(
    connection: sqlite3.Connection, query: FeedbackQuery, position: Sequence[Condition], limit: int
) -> list[Feedback]:
    """Return the newest matching entries before a position."""
    found: list[Feedback] = []
    # Closed here, as an interruption would be lost while the interpreter closes it.
    with closing(split(connection, query, *position)) as parts:
        for part, more in parts:
            statement, parameters = select_in_order(SELECTED, part, *position, *more, order=f"{NEWEST_FIRST} LIMIT ?")
            found += map(from_row, connection.execute(statement, (*parameters, limit - len(found))).fetchall())
            if len(found) == limit:
                break
    return found


def _count(connection: sqlite3.Connection, query: FeedbackQuery, limit: int) -> int:
    count = 0
    with closing(split(connection, query)) as parts:
        for part, more in parts:
            condition, parameters = where(part, *more)
            newest = f"SELECT count(*) FROM (SELECT 1 FROM feedback WHERE {condition} LIMIT ?)"  # noqa: S608
            count += connection.execute(newest, (*parameters, limit - count)).fetchone()[0]
            if count == limit:
                break
    return count


def _add_all(connection: sqlite3.Connection, items: Sequence[Accepted]) -> Sequence[Outcome]:
    if len(items) == _TOGETHER and _add_together(connection, items):
        return [Stored(item.feedback) for item in items]
    return [_add(connection, item) for item in items]


def _add_together(connection: sqlite3.Connection, items: Sequence[Accepted]) -> bool:
    """Insert all items in one statement; insert nothing and return ``False`` if one of them has a conflict."""
    rows = [_to_inserted(item) for item in items]
    connection.execute("SAVEPOINT together")
    connection.execute(STOP_COUNTING)
    stored = connection.execute(_INSERT_TOGETHER, list(chain.from_iterable(rows))).rowcount == len(items)
    connection.execute(RESUME_COUNTING)
    if stored:
        add_counts(connection, rows)
    else:
        connection.execute("ROLLBACK TO together")
    connection.execute("RELEASE together")
    if stored:
        add_events(connection, [event for item in items for event in item.events])
    return stored


def _add(connection: sqlite3.Connection, item: Accepted) -> Outcome:
    feedback = item.feedback
    if connection.execute(_INSERT, _to_inserted(item)).rowcount == 0:
        return _conflict(connection, feedback)
    add_events(connection, item.events)
    return Stored(feedback)


def _to_inserted(item: Accepted) -> Row:
    """Return the values of :data:`_INSERTED`."""
    return (*to_row(item.feedback), item.extras or None)


def _conflict(connection: sqlite3.Connection, feedback: Feedback) -> Outcome:
    """Return the outcome for feedback that could not be inserted: what it duplicates or conflicts with."""
    if earlier := by_id(connection, feedback.application, feedback.id):
        return DuplicateOf(earlier) if earlier == feedback else Conflict(earlier, Taken.ID)
    in_session = (feedback.application, feedback.session_id)
    by_key = select_feedback(
        connection,
        "WHERE application = ? AND session_id = ? AND idempotency_key = ? AND ifnull(author, '') = ?",
        (*in_session, feedback.idempotency_key, feedback.author or ""),
    )
    if by_key:
        same_body = by_key[0].fingerprint == feedback.fingerprint
        return DuplicateOf(by_key[0]) if same_body else Conflict(by_key[0], Taken.IDEMPOTENCY_KEY)
    (earlier_vote,) = select_feedback(
        connection,
        "WHERE application = ? AND session_id = ? AND ifnull(message_id, '') = ? AND author = ? AND vote = 1",
        (*in_session, feedback.message_id or "", feedback.author),
    )
    return Conflict(earlier_vote, Taken.VOTE_SLOT)


def _compare(comparison: str, place: Cursor) -> Condition:
    return (
        f"(feedback.created_at, feedback.id) {comparison} (?, ?)",
        (to_microseconds(place.created_at), place.id),
    )


def _replace_error(feedback: Feedback, stored: Feedback | None) -> FeedbackNotFound | StaleFeedback:
    if stored is None:
        return FeedbackNotFound(feedback.application, feedback.id)
    return StaleFeedback(
        f"Feedback {feedback.id!r} now has version {stored.version}; version {feedback.version} cannot follow it"
    )

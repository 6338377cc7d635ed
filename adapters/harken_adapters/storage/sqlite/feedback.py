"""Feedback in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Final

from harken.domain.erasure import Erased
from harken.domain.errors import FeedbackNotFound, StaleFeedback
from harken.domain.events import Event
from harken.domain.feedback import Feedback
from harken.domain.insight.terms import TermCounts
from harken.domain.instants import to_microseconds
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.ports.repository import Accepted, Conflict, DuplicateOf, FeedbackRepository, Outcome, Stored, Taken
from harken_adapters.storage.sqlite.conditions import Condition, where
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.erasing import erase
from harken_adapters.storage.sqlite.events import add_events
from harken_adapters.storage.sqlite.rows import COLUMNS, by_id, dump, select_feedback, to_row
from harken_adapters.storage.sqlite.statistics import summarize
from harken_adapters.storage.sqlite.terms import drop_term_counts, read_term_counts

_CHUNK: Final = 1_000
#: How many rows one statement inserts: enough to make the rest of its cost small, few enough to be worth a try.
_TOGETHER: Final = 250
#: How much feedback one transaction erases, with all that goes with it.
_ERASED_TOGETHER: Final = 250
_PLACES: Final = f"({', '.join('?' * len(COLUMNS))})"
_INSERT: Final = f"INSERT INTO feedback ({', '.join(COLUMNS)}) VALUES {_PLACES} ON CONFLICT DO NOTHING"  # noqa: S608
_INSERT_TOGETHER: Final = _INSERT.replace(_PLACES, ", ".join([_PLACES] * _TOGETHER))
_UPDATE: Final = (
    f"UPDATE feedback SET {', '.join(f'{column} = ?' for column in COLUMNS)} "  # noqa: S608
    "WHERE application = ? AND id = ? AND version = ?"
)
#: From each application straight to the next one in the index, however much feedback lies between them.
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
_NEWEST_FIRST: Final = "ORDER BY feedback.created_at DESC, feedback.id DESC"
# The version is spelt out: only so can SQLite use the index of what was changed.
_CHANGED: Final = "feedback.application = ? AND feedback.version > 1"
_FIRST_CHANGED_FIRST: Final = "ORDER BY feedback.updated_at, feedback.id"
_LAST_CHANGED_FIRST: Final = "ORDER BY feedback.updated_at DESC, feedback.id DESC"


class SqliteFeedbackRepository(FeedbackRepository):
    """Feedback in one table, its events in another, and counters that triggers keep true."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        """See the port."""
        if len(batch) == 1:
            # A lone caller waits for this, so it takes the shortest way.
            return self._database.write(lambda connection: [_add(connection, batch[0])])
        slices = [batch[start : start + _TOGETHER] for start in range(0, len(batch), _TOGETHER)]
        return self._database.write(
            lambda connection: [outcome for items in slices for outcome in _add_all(connection, items)]
        )

    def get(self, application: str, feedback_id: str) -> Feedback:
        """See the port."""
        found = self._database.read(lambda connection: by_id(connection, application, feedback_id))
        if found is None:
            raise FeedbackNotFound(application, feedback_id)
        return found

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        """See the port."""
        wanted = "WHERE application = ? AND id IN (SELECT value FROM json_each(?))"
        found = self._selected(wanted, (application, dump(list(feedback_ids))))
        return {feedback.id: feedback for feedback in found}

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        """See the port."""
        behind = () if after is None else (_beyond("<", after),)
        condition, parameters = where(query, *behind)
        found = self._selected(f"WHERE {condition} {_NEWEST_FIRST} LIMIT ?", (*parameters, limit + 1))
        items = tuple(found[:limit])
        return Page(items, Cursor.of(items[-1]) if len(found) > limit else None)

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        """See the port."""
        return chain.from_iterable(self._chunks(query, _CHUNK))

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        """See the port."""
        # In chunks, as in a stream, and not beyond what was changed last when it began.
        last = self._changed((application,), f"{_LAST_CHANGED_FIRST} LIMIT 1")
        if not last:
            return
        until = (to_microseconds(last[0].updated_at), last[0].id)
        place = (to_microseconds(since), "")
        while True:
            chunk = self._changed(
                (application, *place, *until, _CHUNK),
                "AND (feedback.updated_at, feedback.id) > (?, ?) AND (feedback.updated_at, feedback.id) <= (?, ?) "
                f"{_FIRST_CHANGED_FIRST} LIMIT ?",
            )
            yield from chunk
            if len(chunk) < _CHUNK:
                return
            place = (to_microseconds(chunk[-1].updated_at), chunk[-1].id)

    def applications(self) -> Sequence[str]:
        """See the port."""
        return [application for (application,) in self._database.rows(_APPLICATIONS)]

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        """See the port."""
        key = (feedback.application, feedback.id, feedback.version - 1 if over is None else over)

        def replace(connection: sqlite3.Connection) -> None:
            if connection.execute(_UPDATE, (*to_row(feedback), *key)).rowcount == 0:
                stored = by_id(connection, feedback.application, feedback.id)
                raise _not_replaced(feedback, stored)
            add_events(connection, events)

        self._database.write(replace)

    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        """See the port."""
        # In chunks, each a transaction of its own, so that no writer waits long for it, and memory stays bounded.
        removed = Erased()
        for number, doomed in enumerate(self._chunks(query, _ERASED_TOGETHER)):
            if number == 1:
                # Counting again what remains takes less than correcting the counts chunk by chunk.
                self._database.write(partial(drop_term_counts, application=query.application))
            ids = [feedback.id for feedback in doomed]
            removed += self._database.write(partial(erase, query=query, ids=ids, at=at))
        # Also if nothing was found: who was killed before they came to this may call again.
        self._database.forget()
        return removed

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        """See the port."""
        return self._database.read(lambda connection: summarize(connection, query, group_by))

    def term_counts(self, application: str) -> TermCounts:
        """See the port."""
        return read_term_counts(self._database, application)

    def _chunks(self, query: FeedbackQuery, size: int) -> Iterator[list[Feedback]]:
        """All that matches, oldest first, that many at a time."""
        # Each a transaction of its own: however slowly they are read, no old state of the file has to be kept for them.
        # Newer feedback than the newest that was there at first is left out, so that it ends.
        newest = self.find(query, limit=1).items
        if not newest:
            return
        until = _beyond("<=", Cursor.of(newest[0]))
        place: tuple[Condition, ...] = ()
        while True:
            condition, parameters = where(query, until, *place)
            chunk = self._selected(f"WHERE {condition} {_OLDEST_FIRST} LIMIT ?", (*parameters, size))
            yield chunk
            if len(chunk) < size:
                return
            place = (_beyond(">", Cursor.of(chunk[-1])),)

    def _changed(self, parameters: tuple[object, ...], rest: str) -> list[Feedback]:
        return self._selected(f"WHERE {_CHANGED} {rest}", parameters)

    def _selected(self, rest: str, parameters: tuple[object, ...]) -> list[Feedback]:
        return self._database.read(lambda connection: select_feedback(connection, rest, parameters))


def _add_all(connection: sqlite3.Connection, items: Sequence[Accepted]) -> Sequence[Outcome]:
    if len(items) == _TOGETHER and _add_together(connection, items):
        return [Stored(item.feedback) for item in items]
    return [_add(connection, item) for item in items]


def _add_together(connection: sqlite3.Connection, items: Sequence[Accepted]) -> bool:
    """Insert all in one statement, or nothing, if one of them runs into something."""
    values = [value for item in items for value in to_row(item.feedback)]
    connection.execute("SAVEPOINT together")
    stored = connection.execute(_INSERT_TOGETHER, values).rowcount == len(items)
    if not stored:
        connection.execute("ROLLBACK TO together")
    connection.execute("RELEASE together")
    if stored:
        add_events(connection, [event for item in items for event in item.events])
    return stored


def _add(connection: sqlite3.Connection, item: Accepted) -> Outcome:
    feedback = item.feedback
    if connection.execute(_INSERT, to_row(feedback)).rowcount == 0:
        return _occupied(connection, feedback)
    add_events(connection, item.events)
    return Stored(feedback)


def _occupied(connection: sqlite3.Connection, feedback: Feedback) -> Outcome:
    """What a feedback that could not be inserted ran into."""
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


def _beyond(comparison: str, place: Cursor) -> Condition:
    return (
        f"(feedback.created_at, feedback.id) {comparison} (?, ?)",
        (to_microseconds(place.created_at), place.id),
    )


def _not_replaced(feedback: Feedback, stored: Feedback | None) -> FeedbackNotFound | StaleFeedback:
    if stored is None:
        return FeedbackNotFound(feedback.application, feedback.id)
    return StaleFeedback(
        f"Feedback {feedback.id!r} has version {stored.version} by now; version {feedback.version} cannot follow it"
    )

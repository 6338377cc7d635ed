"""Counts of terms in SQLite: one record for each application, and corrections of it.

A record counts all feedback created before its ``until``. What is newer is counted when the counts are read, and goes
into the record once there is enough of it, also of feedback without terms; so submissions write nothing here. Triggers
store what changes before ``until`` as corrections, in the transaction of the change. An erasure applies them at once,
so that no word of what it erased remains.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from secrets import randbits
from typing import Final

from attrs import frozen

from harken.domain.errors import StorageCorrupt, StorageUnavailable
from harken.domain.feedback import Content, Sentiment
from harken.domain.insight.terms import TOKENIZER_VERSION, TermCounts, TermTally
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.rows import Row, to_rating
from harken_adapters.storage.term_counts import dump_counts, have_counts, load_counts

#: A record is written again when so much changed. Less is counted at each reading, in 40 microseconds a comment.
_ENOUGH: Final = 500
#: The same for entries that are not counted, such as thumbs without a comment: a reading only passes over them.
_ENOUGH_ENTRIES: Final = 5_000
#: How many entries are read at once. More would hold the lock for longer than 0.1 seconds; less would write records
#: more often.
_CHUNK: Final = 20_000

_COUNTED: Final = "status = 'approved' AND withdrawn_at IS NULL AND rating <> 0 AND comment <> ''"
_RECORD: Final = "SELECT generation, until, counts FROM term_counts WHERE application = ? AND tokenizer = ?"
_CORRECTIONS: Final = (
    "SELECT number, sign, rating, comment, polarity FROM term_correction WHERE application = ? ORDER BY number LIMIT ?"
)
_ENTRIES: Final = (
    "SELECT count(*), max(created_at) FROM "
    "(SELECT created_at FROM feedback WHERE application = ? AND created_at >= ? ORDER BY created_at LIMIT ?)"
)
_NEWER: Final = (
    "SELECT id, version, created_at, rating, comment, polarity FROM feedback "  # noqa: S608 - made of constants
    f"WHERE application = ? AND created_at BETWEEN ? AND ? AND {_COUNTED} ORDER BY created_at, id"
)
_RECORDS: Final = "SELECT application, until, counts FROM term_counts WHERE tokenizer = ?"
_MAX_NUMBER: Final = (1 << 63) - 1


@frozen
class _Reading:
    """What one transaction read.

    Attributes:
        generation: of the record; 0 if there is none of this version of the tokenizer.
        since: the record counts what was created before that.
        until: with ``newer``, all is counted that was created before that.
        stored: the record.
        corrections: the number, sign, rating, comment and polarity of each correction.
        newer: the id, version, creation time, rating, comment and polarity of what the record does not count.
        entries: the number of entries that were read for ``newer``, also of those that are not counted.
        is_whole: whether that is all there is.
    """

    generation: int
    since: int
    until: int
    stored: bytes | None
    corrections: Sequence[Row]
    newer: Sequence[Row]
    entries: int
    is_whole: bool

    @property
    def is_worth_storing(self) -> bool:
        """Whether the next readings would take much longer without a new record."""
        return len(self.corrections) + len(self.newer) >= _ENOUGH or self.entries >= _ENOUGH_ENTRIES

    def counts(self) -> TermCounts:
        """The record with all changes."""
        tally = TermTally(load_counts(self.stored) if self.stored else None)
        _correct(tally, self.corrections)
        _add(tally, self.newer)
        return tally.counts


def read_term_counts(database: Database, application: str) -> TermCounts:
    """The counts of an application; what is new goes into its record if there is enough of it."""
    while True:
        reading = database.read(partial(_read, application=application))
        counts = reading.counts()
        if reading.is_whole and not reading.is_worth_storing:
            return counts
        store = partial(_store, application=application, reading=reading, counts=counts, content=dump_counts(counts))
        # What is known already does not depend on a lock of another process, or on space on the disk.
        with suppress(StorageUnavailable) if reading.is_whole else nullcontext():
            # What else is done does not depend on it, so it need not wait for the disk.
            database.write(store, durable=False)
        if reading.is_whole:
            return counts


def apply_corrections(connection: sqlite3.Connection, application: str) -> None:
    """Apply the corrections of an application to its record within a transaction, so that none of them remains."""
    corrections = connection.execute(_CORRECTIONS, (application, _CHUNK)).fetchall()
    if not corrections:
        return
    record = connection.execute(_RECORD, (application, TOKENIZER_VERSION)).fetchone()
    if record is None or len(corrections) == _CHUNK:
        drop_term_counts(connection, application)
        return
    _, until, stored = record
    try:
        tally = TermTally(load_counts(stored))
    except StorageCorrupt:
        # An erasure does not wait until the record is repaired.
        drop_term_counts(connection, application)
        return
    _correct(tally, corrections)
    _put(connection, application, until, dump_counts(tally.counts))
    _remove_corrections(connection, application, corrections[-1][0])


def drop_term_counts(connection: sqlite3.Connection, application: str) -> None:
    """Remove the record of an application with its corrections; the next reading makes a new one."""
    connection.execute("DELETE FROM term_counts WHERE application = ?", (application,))
    connection.execute("DELETE FROM term_correction WHERE application = ?", (application,))


def wrong_term_counts(connection: sqlite3.Connection) -> list[str]:
    """The applications whose record, with its corrections, differs from a recount of the feedback that it counts."""
    records = connection.execute(_RECORDS, (TOKENIZER_VERSION,)).fetchall()
    return [application for application, *record in records if _is_wrong(connection, application, *record)]


def _is_wrong(connection: sqlite3.Connection, application: str, until: int, stored: bytes) -> bool:
    tally = TermTally()
    # The record does not have its corrections yet, so these are taken back.
    _add(tally, connection.execute(_NEWER, (application, 0, until - 1)))
    for _, sign, *content in connection.execute(_CORRECTIONS, (application, -1)):
        tally.add(_content(*content), sign=-sign)
    return not have_counts(stored, tally.counts)


def _read(connection: sqlite3.Connection, application: str) -> _Reading:
    generation, since, stored = connection.execute(_RECORD, (application, TOKENIZER_VERSION)).fetchone() or (0, 0, None)
    # Corrections of a record of another version correct nothing that is used.
    corrections = connection.execute(_CORRECTIONS, (application, _CHUNK)).fetchall() if stored else []
    if len(corrections) == _CHUNK:
        return _Reading(generation, since, since, stored, corrections, newer=[], entries=0, is_whole=False)
    entries, last = connection.execute(_ENTRIES, (application, since, _CHUNK)).fetchone()
    until = last + 1 if entries else since
    newer = connection.execute(_NEWER, (application, since, until - 1)).fetchall()
    return _Reading(generation, since, until, stored, corrections, newer, entries, is_whole=entries < _CHUNK)


def _store(
    connection: sqlite3.Connection, application: str, reading: _Reading, counts: TermCounts, content: bytes
) -> None:
    """Store counts as the record, unless the record was replaced since it was read."""
    record = connection.execute(_RECORD, (application, TOKENIZER_VERSION)).fetchone()
    if (record[0] if record else 0) != reading.generation:
        return
    now = connection.execute(_NEWER, (application, reading.since, reading.until - 1)).fetchall()
    if now != reading.newer:
        content = dump_counts(_exchange(counts, reading.newer, now))
    _put(connection, application, reading.until, content)
    # Corrections that were stored since correct the new record. Without a record, there was nothing to correct.
    last = reading.corrections[-1][0] if reading.corrections else 0
    _remove_corrections(connection, application, last if record else _MAX_NUMBER)


def _exchange(counts: TermCounts, before: Iterable[Row], after: Iterable[Row]) -> TermCounts:
    """The counts with rows as they are now in place of those that were read."""
    tally, old, new = TermTally(counts), set(before), set(after)
    _add(tally, new - old)
    _add(tally, old - new, sign=-1)
    return tally.counts


def _put(connection: sqlite3.Connection, application: str, until: int, content: bytes) -> None:
    # A random generation never comes again, also if the record was removed in between.
    connection.execute(
        "INSERT OR REPLACE INTO term_counts (application, generation, tokenizer, until, counts) VALUES (?, ?, ?, ?, ?)",
        (application, randbits(62) + 1, TOKENIZER_VERSION, until, content),
    )


def _remove_corrections(connection: sqlite3.Connection, application: str, last: int) -> None:
    connection.execute("DELETE FROM term_correction WHERE application = ? AND number <= ?", (application, last))


def _add(tally: TermTally, rows: Iterable[Row], *, sign: int = 1) -> None:
    for _, _, _, *content in rows:
        tally.add(_content(*content), sign=sign)


def _correct(tally: TermTally, corrections: Iterable[Row]) -> None:
    for _, sign, *content in corrections:
        tally.add(_content(*content), sign=sign)


def _content(rating: int, comment: str, polarity: int | None) -> Content:
    """The content of feedback as far as terms depend on it; the polarity in millionths."""
    sentiment = None if polarity is None else Sentiment.from_millionths(polarity, 0)
    return Content(to_rating(rating), comment, sentiment=sentiment)

"""Recomputation of the counters."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Final

from harken.domain.instants import slot_start
from harken_adapters.storage.sqlite.comment_index import SqliteCommentIndex
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.opening import missing_parts
from harken_adapters.storage.sqlite.schema import COUNTS, RESUME_COUNTING, recount_sql
from harken_adapters.storage.sqlite.terms import drop_term_counts, wrong_term_counts

_KEY_LENGTH: Final = 4
_WRONG: Final = "SELECT * FROM counter EXCEPT SELECT * FROM recount"
_RIGHT: Final = "SELECT * FROM recount EXCEPT SELECT * FROM counter"

#: The key of a counter: application, span, agent and bucket.
_Key = tuple[str, str, str, int]
_Counters = dict[_Key, tuple[int, ...]]


def rebuild(database: Database, index: SqliteCommentIndex) -> Sequence[str]:
    """Correct the counters, counts of terms and search index that differ from the feedback, and complete the index.

    Triggers and indexes that are missing are created first. Returns one sentence for each correction.

    The counters are corrected in one transaction, so that nothing is written in between.
    """

    def rebuild(connection: sqlite3.Connection) -> tuple[_Counters, _Counters]:
        # No transaction leaves a row there; if another program did, the trigger would count nothing.
        connection.execute(RESUME_COUNTING)
        # In a table, as there may be more counters than fit into memory; only few are wrong.
        connection.execute(f"CREATE TEMP TABLE recount AS {recount_sql()}")
        wrong, right = _counters(connection, _WRONG), _counters(connection, _RIGHT)
        connection.executemany(
            "DELETE FROM counter WHERE application = ? AND span = ? AND agent_id = ? AND bucket = ?", wrong
        )
        places = ", ".join("?" * (_KEY_LENGTH + len(COUNTS)))
        rows = ((*key, *counts) for key, counts in right.items())
        connection.executemany(f"INSERT INTO counter VALUES ({places})", rows)  # noqa: S608 - only question marks
        connection.execute("DROP TABLE recount")
        return wrong, right

    created = [f"The {part} was missing and was recreated" for part in database.write(_create_missing)]
    return [*created, *_sentences(*database.write(rebuild)), *_rebuild_term_counts(database), *index.rebuild()]


def _create_missing(connection: sqlite3.Connection) -> Collection[str]:
    missing = missing_parts(connection)
    for sql in missing.values():
        connection.execute(sql)
    return missing.keys()


def _rebuild_term_counts(database: Database) -> Iterator[str]:
    """Remove the counts of terms that differ from the feedback: the next reading counts them again."""
    for application in database.read(wrong_term_counts):
        database.write(partial(drop_term_counts, application=application))
        yield f"The counts of terms of {application!r} differed from its feedback, and are counted again"


def _counters(connection: sqlite3.Connection, sql: str) -> _Counters:
    rows = connection.execute(sql).fetchall()
    return {tuple(row[:_KEY_LENGTH]): tuple(row[_KEY_LENGTH:]) for row in rows}


def _sentences(wrong: _Counters, right: _Counters) -> Iterator[str]:
    for key in sorted({**wrong, **right}):
        counted = _format_counts(right.get(key))
        yield f"The statistics of {_name(key)} were {_format_counts(wrong.get(key))}; a recount gives {counted}"


def _name(key: _Key) -> str:
    application, span, agent_id, bucket = key
    agent = f"agent {agent_id!r}" if agent_id else "no agent"
    when = f"from {slot_start(bucket):%Y-%m-%dT%H:%MZ} on" if span == "slot" else f"at hour {bucket} UTC"
    return f"{application!r} for {agent} {when}"


def _format_counts(counts: Sequence[int] | None) -> str:
    if counts is None:
        return "nothing"
    return ", ".join(f"{name} {count}" for name, count in zip(COUNTS, counts, strict=True) if count) or "only zeros"

"""The baseline: the driver alone, with the same rows and pragmas."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from harken_adapters.storage.sqlite.rows import COLUMNS

_COLUMNS = ", ".join(COLUMNS)
_TABLE = """
    CREATE TABLE IF NOT EXISTS bare (
        application TEXT NOT NULL, id TEXT NOT NULL, session_id TEXT NOT NULL, message_id TEXT, agent_id TEXT,
        author TEXT, rating INTEGER NOT NULL, comment TEXT NOT NULL, tags TEXT NOT NULL, context TEXT NOT NULL,
        polarity INTEGER, subjectivity INTEGER, status TEXT NOT NULL, decision TEXT, reply TEXT,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, withdrawn_at INTEGER, version INTEGER NOT NULL,
        revisions TEXT, idempotency_key TEXT, fingerprint TEXT NOT NULL, vote INTEGER NOT NULL, later_keys TEXT,
        PRIMARY KEY (application, id)
    ) STRICT, WITHOUT ROWID
"""
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS bare_time ON bare (application, created_at, id)",
    "CREATE INDEX IF NOT EXISTS bare_session ON bare (application, session_id, created_at, id)",
    "CREATE INDEX IF NOT EXISTS bare_agent ON bare (application, agent_id, created_at, id)",
    """
    CREATE UNIQUE INDEX IF NOT EXISTS bare_key ON bare (application, session_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL
    """,
)
_INSERT = f"INSERT INTO bare ({_COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS))})"

Row = tuple[object, ...]


def connect(path: Path, *, indexed: bool) -> sqlite3.Connection:
    """A connection with Harken's pragmas to a table with Harken's columns, with or without its indexes."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    for statement in (_TABLE, *(_INDEXES if indexed else ())):
        connection.execute(statement)
    return connection


@contextmanager
def connection(path: Path, *, indexed: bool) -> Iterator[sqlite3.Connection]:
    """A connection that is closed at the end of the context."""
    with closing(connect(path, indexed=indexed)) as opened:
        yield opened


def rows_of(path: Path) -> list[Row]:
    """The rows of a file that Harken wrote."""
    with closing(sqlite3.connect(path)) as opened:
        return opened.execute(f"SELECT {_COLUMNS} FROM feedback ORDER BY id").fetchall()


def insert(to: sqlite3.Connection, row: Row) -> None:
    """Insert and commit one row."""
    to.execute("BEGIN IMMEDIATE")
    to.execute(_INSERT, row)
    to.execute("COMMIT")


def insert_many(to: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Insert rows in one transaction."""
    to.execute("BEGIN IMMEDIATE")
    to.executemany(_INSERT, rows)
    to.execute("COMMIT")

"""Session metadata in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final

from harken.domain.metadata import MetadataSize
from harken.domain.texts import as_texts
from harken.ports.sessions import JsonValue, SessionRepository
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.rows import dump

_CHUNK: Final = 1_000
_SELECT_SIZE: Final = """
    SELECT count(*), ifnull(sum(length(CAST(name AS BLOB)) + length(CAST(value AS BLOB))), 0)
    FROM session_metadata WHERE application = ? AND session_id = ?
"""
#: A page is a number of sessions, not of rows, so that a session's metadata is always complete.
_SELECT_CHUNK: Final = """
    SELECT application, session_id, name, value FROM session_metadata
    WHERE (application, session_id) IN (
        SELECT DISTINCT application, session_id FROM session_metadata
        WHERE (application, session_id) > (?, ?) ORDER BY application, session_id LIMIT ?
    )
    ORDER BY application, session_id, name
"""


class SqliteSessionRepository(SessionRepository):
    """Stores each name of a session as one row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        select = "SELECT name, value FROM session_metadata WHERE application = ? AND session_id = ? ORDER BY name"
        rows = self._database.rows(select, (application, session_id))
        return {name: json.loads(value) for name, value in rows}

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        rows = [(application, session_id, name, dump(value)) for name, value in changes.items()]

        def update(connection: sqlite3.Connection) -> None:
            before = _size(connection, application, session_id)
            connection.executemany("INSERT OR REPLACE INTO session_metadata VALUES (?, ?, ?, ?)", rows)
            # An error rolls the transaction back.
            before.check_growth_to(_size(connection, application, session_id))

        self._database.write(update)

    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        session = (application, session_id)
        of_session = "DELETE FROM session_metadata WHERE application = ? AND session_id = ?"
        delete = of_session if keys is None else f"{of_session} AND name = ?"
        wanted = [session] if keys is None else [(*session, name) for name in set(as_texts(keys))]
        deleted = self._database.write(lambda connection: connection.executemany(delete, wanted).rowcount)
        if deleted:
            self._database.forget()
        return deleted

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        # In chunks, each in its own transaction, so that a slow reader does not hold an old state of the file.
        place = ("", "")
        while True:
            rows = self._database.rows(_SELECT_CHUNK, (*place, _CHUNK))
            sessions = [(key, list(group)) for key, group in groupby(rows, key=lambda row: (row[0], row[1]))]
            for (application, session_id), group in sessions:
                yield application, session_id, {name: json.loads(value) for _, _, name, value in group}
            if len(sessions) < _CHUNK:
                return
            place = sessions[-1][0]


def _size(connection: sqlite3.Connection, application: str, session_id: str) -> MetadataSize:
    return MetadataSize(*connection.execute(_SELECT_SIZE, (application, session_id)).fetchone())

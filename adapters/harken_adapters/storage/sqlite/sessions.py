"""Session metadata in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final

from harken.domain.metadata import MetadataSize
from harken.domain.texts import as_texts
from harken.ports.sessions import ChangeMetadata, JsonValue, MetadataVersions, SessionRepository
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.rows import dump

_CHUNK: Final = 1_000
_SELECT: Final = "SELECT name, value FROM session_metadata WHERE application = ? AND session_id = ? ORDER BY name"
_DELETE: Final = "DELETE FROM session_metadata WHERE application = ? AND session_id = ?"
_INSERT: Final = "INSERT OR REPLACE INTO session_metadata VALUES (?, ?, ?, ?)"
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
        rows = self._database.rows(_SELECT, (application, session_id))
        return {name: json.loads(value) for name, value in rows}

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        rows = [(application, session_id, name, dump(value)) for name, value in changes.items()]

        def update(connection: sqlite3.Connection) -> None:
            before = _size(connection, application, session_id)
            connection.executemany(_INSERT, rows)
            # An error rolls the transaction back.
            before.check_growth_to(_size(connection, application, session_id))

        self._database.write(update)

    def change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions:
        session = (application, session_id)

        def change(connection: sqlite3.Connection) -> tuple[MetadataVersions, bool]:
            stored = dict(connection.execute(_SELECT, session).fetchall())
            before = {name: json.loads(value) for name, value in stored.items()}
            after = dict(sorted(apply(before).items()))
            new = {name: dump(value) for name, value in after.items()}
            size = _size(connection, application, session_id)
            removed = [(*session, name) for name in stored if name not in new]
            connection.executemany(f"{_DELETE} AND name = ?", removed)
            changed = [(*session, name, value) for name, value in new.items() if stored.get(name) != value]
            connection.executemany(_INSERT, changed)
            new_size = _size(connection, application, session_id)
            # An error rolls the transaction back.
            size.check_growth_to(new_size)
            return MetadataVersions(before, after), new_size.bytes < size.bytes

        versions, is_smaller = self._database.write(change)
        if is_smaller:
            self._database.forget()
        return versions

    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        session = (application, session_id)
        delete = _DELETE if keys is None else f"{_DELETE} AND name = ?"
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

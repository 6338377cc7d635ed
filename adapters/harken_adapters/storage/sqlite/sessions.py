"""Sessions' metadata in SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from harken.ports.sessions import JsonValue, SessionRepository
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.rows import dump


class SqliteSessionRepository(SessionRepository):
    """One row for each session and name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        """See the port."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT name, value FROM session_metadata WHERE application = ? AND session_id = ? ORDER BY name",
                (application, session_id),
            )
            return {name: json.loads(value) for name, value in rows}

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        """See the port."""
        rows = [(application, session_id, name, dump(value)) for name, value in changes.items()]
        with self._database.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO session_metadata VALUES (?, ?, ?, ?)", rows)

    def delete(self, application: str, session_id: str, keys: Iterable[str] | None = None) -> int:
        """See the port."""
        of_session = "DELETE FROM session_metadata WHERE application = ? AND session_id = ?"
        with self._database.write() as connection:
            if keys is None:
                deleted = connection.execute(of_session, (application, session_id)).rowcount
            else:
                deleted = sum(
                    connection.execute(f"{of_session} AND name = ?", (application, session_id, name)).rowcount
                    for name in set(keys)
                )
        if deleted:
            self._database.forget()
        return deleted

"""State entries in SQLite."""

from __future__ import annotations

import json
from collections.abc import Sequence

from harken.ports.state import StateEntry, StateRepository
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.rows import Row, dump


class SqliteStateRepository(StateRepository):
    """Stores each entry as one row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, kind: str) -> Sequence[StateEntry]:
        return self._select("kind = ? ORDER BY name", (kind,))

    def get(self, kind: str, name: str) -> StateEntry | None:
        found = self._select("kind = ? AND name = ?", (kind, name))
        return found[0] if found else None

    def put(self, kind: str, entry: StateEntry) -> bool:
        value = dump(dict(entry.value))
        if entry.version == 1:
            insert = "INSERT INTO document (kind, name, value, version) VALUES (?, ?, ?, 1) ON CONFLICT DO NOTHING"
            return self._write(insert, (kind, entry.name, value))
        return self._write(
            "UPDATE document SET value = ?, version = ? WHERE kind = ? AND name = ? AND version = ?",
            (value, entry.version, kind, entry.name, entry.version - 1),
        )

    def delete(self, kind: str, name: str) -> bool:
        return self._write("DELETE FROM document WHERE kind = ? AND name = ?", (kind, name))

    def _write(self, statement: str, parameters: Row) -> bool:
        return self._database.execute(statement, parameters) == 1

    def _select(self, condition: str, parameters: Row) -> list[StateEntry]:
        select = f"SELECT name, value, version FROM document WHERE {condition}"  # noqa: S608
        rows = self._database.rows(select, parameters)
        return [StateEntry(name, json.loads(value), version) for name, value, version in rows]

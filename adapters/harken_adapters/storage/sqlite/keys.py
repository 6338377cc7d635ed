"""API keys in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from harken.domain.access import ApiKey, Scope
from harken.domain.instants import (
    from_microseconds,
    from_microseconds_or_none,
    to_microseconds,
    to_microseconds_or_none,
)
from harken.ports.keys import KeyRepository
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.rows import Row, dump

_COLUMNS: Final = "id, application, scopes, name, digest, created_at, revoked_at, agents, agent_scopes"
_SELECT: Final = f"SELECT {_COLUMNS} FROM api_key"  # noqa: S608 - constants
_INSERT: Final = f"INSERT INTO api_key ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608


class SqliteKeyRepository(KeyRepository):
    """Stores each key as one row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: ApiKey) -> bool:
        return self._database.execute(_INSERT, _row(key)) == 1

    def get(self, key_id: str) -> ApiKey | None:
        return self._database.read(lambda connection: _by_id(connection, key_id))

    def keys(self) -> Sequence[ApiKey]:
        return [_key(row) for row in self._database.rows(f"{_SELECT} ORDER BY created_at, id")]

    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:

        def revoke(connection: sqlite3.Connection) -> ApiKey | None:
            connection.execute(
                "UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (to_microseconds(at), key_id)
            )
            return _by_id(connection, key_id)

        return self._database.write(revoke)


def _by_id(connection: sqlite3.Connection, key_id: str) -> ApiKey | None:
    row = connection.execute(f"{_SELECT} WHERE id = ?", (key_id,)).fetchone()
    return None if row is None else _key(row)


def _row(key: ApiKey) -> Row:
    scopes = dump(sorted(scope.value for scope in key.scopes))
    limited = key.agents is not None
    return (
        key.id,
        key.application,
        "[]" if limited else scopes,
        key.name,
        key.digest,
        to_microseconds(key.created_at),
        to_microseconds_or_none(key.revoked_at),
        None if key.agents is None else dump(sorted(key.agents)),
        scopes if limited else None,
    )


def _key(row: Row) -> ApiKey:
    key_id, application, scopes, name, digest, created_at, revoked_at, agents, agent_scopes = row
    return ApiKey(
        id=key_id,
        application=application,
        scopes=frozenset(map(Scope, json.loads(scopes if agents is None else agent_scopes))),
        name=name,
        digest=digest,
        created_at=from_microseconds(created_at),
        revoked_at=from_microseconds_or_none(revoked_at),
        agents=None if agents is None else frozenset(json.loads(agents)),
    )

"""Conversations in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from harken.ports.conversations import ConversationRepository, JsonObject, missing_messages
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.rows import Row

_CHUNK: Final = 200
_SESSION: Final = "application = ? AND session_id = ?"
_AGENT: Final = f"{_SESSION} AND agent_id = ?"
_PUT: Final = "INSERT OR REPLACE INTO agent VALUES (?, ?, ?, ?)"
_PUT_FIRST: Final = "INSERT INTO agent VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_APPEND: Final = "INSERT INTO message VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SELECT_MESSAGES: Final = f"SELECT number, value FROM message WHERE {_AGENT} AND number > ? ORDER BY number LIMIT ?"  # noqa: S608 - constants
_SELECT_SESSIONS: Final = """
    SELECT application, session_id FROM agent WHERE (application, session_id) > (?, ?)
    UNION
    SELECT application, session_id FROM message WHERE (application, session_id) > (?, ?)
    ORDER BY 1, 2 LIMIT ?
"""


class SqliteConversationRepository(ConversationRepository):
    """Stores each agent and each message as one row. Text is escaped, as it may not be valid Unicode."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def agents(self, application: str, session_id: str) -> Mapping[str, JsonObject]:
        select = f"SELECT agent_id, value FROM agent WHERE {_SESSION} ORDER BY agent_id"  # noqa: S608 - constants
        return {agent_id: json.loads(value) for agent_id, value in self._select(select, (application, session_id))}

    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        select = f"SELECT value FROM agent WHERE {_AGENT}"  # noqa: S608 - constants
        found: list[JsonObject] = [
            json.loads(value) for (value,) in self._select(select, (application, session_id, agent_id))
        ]
        return found[0] if found else None

    def put_agent(
        self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool = True
    ) -> bool:
        row = (application, session_id, agent_id, json.dumps(value))
        return self._write(_PUT if replace else _PUT_FIRST, row) == 1

    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        row = (application, session_id, agent_id, number, json.dumps(message))
        return self._write(_APPEND, row) == 1

    def append_many(
        self,
        application: str,
        session_id: str,
        agent_id: str,
        messages: Sequence[tuple[int, JsonObject]],
        *,
        after: int | None = None,
    ) -> Collection[int]:
        agent = (application, session_id, agent_id)
        start = messages[0][0] - 1 if after is None else after
        # One more than these, of which one differs.
        compared = (*agent, start, len(messages) + 1)

        def append(connection: sqlite3.Connection) -> Collection[int]:
            stored = [(number, json.loads(value)) for number, value in connection.execute(_SELECT_MESSAGES, compared)]
            missing = dict(missing_messages(messages, stored))
            rows = ((*agent, number, json.dumps(message)) for number, message in missing.items())
            connection.executemany(_APPEND, rows)
            return [number for number, _ in messages if number not in missing]

        return self._database.write(append)

    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        update = f"UPDATE message SET value = ? WHERE {_AGENT} AND number = ?"  # noqa: S608 - constants
        replaced = self._write(update, (json.dumps(message), application, session_id, agent_id, number)) == 1
        if replaced:
            # The replaced message may be one that must no longer be readable.
            self._database.forget()
        return replaced

    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        select = f"SELECT DISTINCT agent_id FROM message WHERE {_SESSION} ORDER BY agent_id"  # noqa: S608 - constants
        return [agent_id for (agent_id,) in self._select(select, (application, session_id))]

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        rows = self._select(_SELECT_MESSAGES, (application, session_id, agent_id, after, limit))
        return [(number, json.loads(value)) for number, value in rows]

    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        if agent_id is None:
            rows = self._select(f"SELECT count(*) FROM message WHERE {_SESSION}", (application, session_id))  # noqa: S608
        else:
            rows = self._select(f"SELECT count(*) FROM message WHERE {_AGENT}", (application, session_id, agent_id))  # noqa: S608
        return int(rows[0][0])

    def erase(self, application: str, session_id: str) -> int:
        session = (application, session_id)

        def erase(connection: sqlite3.Connection) -> tuple[int, int]:
            agents = connection.execute(f"DELETE FROM agent WHERE {_SESSION}", session).rowcount  # noqa: S608
            messages = connection.execute(f"DELETE FROM message WHERE {_SESSION}", session).rowcount  # noqa: S608
            return agents, messages

        _, messages = self._database.write(erase)
        self._database.forget()
        return messages

    def sessions(self) -> Iterator[tuple[str, str]]:
        # In chunks, each in its own transaction, so that a slow reader does not hold an old state of the file.
        place = ("", "")
        while chunk := self._select(_SELECT_SESSIONS, (*place, *place, _CHUNK)):
            yield from ((application, session_id) for application, session_id in chunk)
            place = chunk[-1]

    def _select(self, statement: str, parameters: Row) -> list[Row]:
        return self._database.rows(statement, parameters)

    def _write(self, statement: str, parameters: Row) -> int:
        return self._database.execute(statement, parameters)

"""What a session shows of its feedback, made by SQLite: objects and times in Python take several times as long."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Final

from harken.domain.feedback import Sentiment
from harken.ports.repository import SessionEntry

#: Takes half as long as ``json.loads``, which also looks for white space around short values.
_from_json: Final = json.JSONDecoder().raw_decode

#: The SQL expression of each field, or NULL. Entries without any of them need no JSON. The context and the extras have
#: columns of their own, as putting JSON into JSON, and taking it out again, takes time.
_FIELDS: Final = {
    "message_id": "message_id",
    "agent_id": "agent_id",
    "author": "author",
    "tags": "json(nullif(tags, '[]'))",
    "sentiment": "CASE WHEN polarity IS NOT NULL THEN json_array(polarity, subjectivity) END",
    "idempotency_key": "idempotency_key",
}
_SELECT: Final = f"""\
SELECT
    CASE rating WHEN 1 THEN 'up' WHEN -1 THEN 'down' END,
    comment,
    strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06d', created_at % 1000000),
    CASE
        WHEN tags = '[]' AND message_id IS NULL AND agent_id IS NULL AND author IS NULL AND polarity IS NULL
            AND idempotency_key IS NULL
        THEN NULL ELSE json_array({", ".join(_FIELDS.values())})
    END,
    nullif(context, '{{}}'),
    extras
FROM feedback
WHERE application = ? AND session_id = ? AND status = 'approved' AND withdrawn_at IS NULL
ORDER BY created_at, id
"""  # noqa: S608 - made of constants


def read_session_entries(connection: sqlite3.Connection, application: str, session_id: str) -> list[SessionEntry]:
    """Return what the session shows of its counted feedback, oldest first."""
    rows = connection.execute(_SELECT, (application, session_id)).fetchall()
    return [
        SessionEntry(rating, comment, created_at, _rest(*others) if any(others) else None)
        for rating, comment, created_at, *others in rows
    ]


def _rest(fields: str | None, context: str | None, extras: str | None) -> dict[str, Any]:
    rest = {} if fields is None else _decode(fields)
    if context is not None:
        rest["context"], _ = _from_json(context)
    if extras is not None:
        rest["extras"] = extras
    return rest


def _decode(fields: str) -> dict[str, Any]:
    decoded, _ = _from_json(fields)
    values = {name: value for name, value in zip(_FIELDS, decoded, strict=True) if value is not None}
    if "sentiment" in values:
        values["sentiment"] = Sentiment.from_millionths(*values["sentiment"]).to_dict()
    return values

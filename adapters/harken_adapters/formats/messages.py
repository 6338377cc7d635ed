"""Messages of stored conversations.

A message is an object with a ``role``, a ``content`` and an id (``tracking_id`` or ``id``), or an object that has such
a ``message``, as Strands stores it. Its content is a text or a list of blocks, of which those with a ``text`` count.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from harken.domain.instants import parse_instant
from harken.ports.conversations import JsonObject

#: The results of tools are messages of the user's role, in Strands and at some providers.
_TOOL_RESULTS: Final = frozenset({"toolResult", "tool_result"})


@frozen
class Message:
    """A message.

    Attributes:
        id: its id, if it has one.
        role: who wrote it: ``user`` or ``assistant``; any JSON value may have been stored.
        text: its text; empty if it has none.
        has_tool_results: whether it has results of tools, which are not words of the user.
        created_at: when it was stored, if that is known, in UTC.
    """

    id: object
    role: object
    text: str
    has_tool_results: bool
    created_at: datetime | None

    @classmethod
    def of(cls, record: JsonObject) -> Message:
        """The message in a stored record, which may be any JSON object."""
        message: Any = record.get("message")
        if not isinstance(message, Mapping):
            message = record
        # A guardrail replaced the content.
        redacted: Any = record.get("redact_message")
        content = (redacted if isinstance(redacted, Mapping) else message).get("content")
        blocks: list[Any] = [{"text": content}] if isinstance(content, str) else content or []
        blocks = [block for block in blocks if isinstance(block, Mapping)] if isinstance(blocks, list) else []
        return cls(
            message.get("tracking_id") or message.get("id"),
            message.get("role"),
            "\n".join(block["text"] for block in blocks if isinstance(block.get("text"), str)),
            any(_is_tool_result(block) for block in blocks),
            _time_of(record.get("created_at")),
        )


def _is_tool_result(block: Mapping[str, Any]) -> bool:
    return not _TOOL_RESULTS.isdisjoint(block) or (isinstance(kind := block.get("type"), str) and kind in _TOOL_RESULTS)


def _time_of(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_instant(value)
    except ValueError:
        return None

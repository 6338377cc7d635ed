"""The conversation repository in memory."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from harken.ports.conversations import ConversationRepository, JsonObject
from harken_adapters.storage.memory.data import Conversation, Data, insert_place


def _as_json(value: JsonObject) -> JsonObject:
    """Return a copy with JSON types only, as from a storage that stores text: a tuple becomes a list.

    Not ``deepcopy``, which cannot copy deeply nested values.
    """
    copied: JsonObject = json.loads(json.dumps(value))
    return copied


class MemoryConversationRepository(ConversationRepository):
    """Conversations in dictionaries; values are copied when they are stored and read."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def agents(self, application: str, session_id: str) -> Mapping[str, JsonObject]:
        with self._data.locked():
            return {name: _as_json(value) for name, value in sorted(self._read(application, session_id).agents.items())}

    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        with self._data.locked():
            value = self._read(application, session_id).agents.get(agent_id)
            return None if value is None else _as_json(value)

    def put_agent(
        self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool = True
    ) -> bool:
        with self._data.locked():
            if not replace and agent_id in self._read(application, session_id).agents:
                return False
            self._write(application, session_id).agents[agent_id] = _as_json(value)
            return True

    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        with self._data.locked():
            if number in self._read(application, session_id).messages.get(agent_id, {}):
                return False
            conversation = self._write(application, session_id)
            # The number first: an interruption may leave a number without a message, but not the reverse.
            insert_place(conversation.numbers[agent_id], number)
            conversation.messages[agent_id][number] = _as_json(message)
            return True

    def append_many(
        self,
        application: str,
        session_id: str,
        agent_id: str,
        messages: Sequence[tuple[int, JsonObject]],
        *,
        after: int | None = None,
    ) -> Collection[int]:
        with self._data.locked():
            return super().append_many(application, session_id, agent_id, messages, after=after)

    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        with self._data.locked():
            messages = self._read(application, session_id).messages.get(agent_id, {})
            if number not in messages:
                return False
            messages[number] = _as_json(message)
            return True

    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        with self._data.locked():
            messages = self._read(application, session_id).messages
            return sorted(agent_id for agent_id, of_agent in messages.items() if of_agent)

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        with self._data.locked():
            conversation = self._read(application, session_id)
            numbers = conversation.numbers.get(agent_id, [])
            first = bisect_right(numbers, after)
            messages = conversation.messages.get(agent_id, {})
            stored = (number for number in islice(numbers, first, None) if number in messages)
            return [(number, _as_json(messages[number])) for number in islice(stored, limit)]

    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        with self._data.locked():
            messages = self._read(application, session_id).messages
            return sum(len(one) for of, one in messages.items() if agent_id in (None, of))

    def erase(self, application: str, session_id: str) -> int:
        with self._data.locked():
            erased = self._data.conversations.pop((application, session_id), Conversation())
            return sum(map(len, erased.messages.values()))

    def sessions(self) -> Iterator[tuple[str, str]]:
        with self._data.locked():
            sessions = sorted(self._data.conversations)
        yield from sessions

    def _read(self, application: str, session_id: str) -> Conversation:
        return self._data.conversations.get((application, session_id)) or Conversation()

    def _write(self, application: str, session_id: str) -> Conversation:
        return self._data.conversations.setdefault((application, session_id), Conversation())

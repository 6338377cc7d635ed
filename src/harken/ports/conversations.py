"""The port for stored conversations: the messages and the state of agents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Final

from harken.domain.metadata import is_same_json
from harken.ports.sessions import JsonValue

#: A JSON object; it is returned as it was stored, including the order of names.
JsonObject = Mapping[str, JsonValue]

#: The id of the agent whose state is the record of a session itself, such as its type. It has no messages.
SESSION_RECORD: Final = "session:"
#: The prefix of the ids of graphs and swarms, whose states are stored like those of agents.
MULTI_AGENT: Final = "multi_agent:"

#: How many levels of objects and lists a value may have. Callers check it; every storage supports it.
MAX_NESTING: Final = 500


def reserved_id_problem(agent_id: str) -> str:
    """Why an agent cannot have this id: another record has it, or may have it; empty if it can."""
    reserved = (SESSION_RECORD, MULTI_AGENT)
    if agent_id.startswith(reserved):
        return f"agent_id must not begin with {' or '.join(reserved)}, as other records of Harken do, got {agent_id!r}"
    return ""


def is_same_message(one: JsonObject, other: JsonObject) -> bool:
    """Whether two records have the same message. What hosts store beside it, such as metrics, may differ."""
    return is_same_json(one.get("message", one), other.get("message", other))


def missing_messages(
    messages: Sequence[tuple[int, JsonObject]], stored: Sequence[tuple[int, JsonObject]]
) -> Sequence[tuple[int, JsonObject]]:
    """The messages that continue a conversation: those that are not stored, up to the first difference.

    A difference is a stored message whose number has another message in ``messages``, or none. Both are sorted.
    """
    given = dict(messages)
    different = (
        number for number, message in stored if number not in given or not is_same_message(given[number], message)
    )
    end = next(different, None)
    numbers = {number for number, _ in stored}
    return [one for one in messages if one[0] not in numbers and (end is None or one[0] < end)]


class ConversationRepository(ABC):
    """Stores agents and their messages by application and session, one record for each message.

    The caller that appends messages numbers them. Values have at most :data:`MAX_NESTING` levels, and 12 MB as JSON.
    They are copied, never shared with callers. Any thread may call any method at any time. All methods raise
    ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def agents(self, application: str, session_id: str) -> Mapping[str, JsonObject]:
        """The state of the agents of a session, by agent id, sorted by code point."""

    @abstractmethod
    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        """The state of an agent; ``None`` if there is none."""

    @abstractmethod
    def put_agent(
        self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool = True
    ) -> bool:
        """Store the state of an agent durably and atomically, and replace its earlier state.

        Without ``replace``, returns ``False``, and stores nothing, if the agent has a state. Otherwise ``True``.
        """

    @abstractmethod
    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        """Store a message durably, in constant time. ``number`` is from 0 to 2**63 - 1.

        Returns ``False``, and stores nothing, if the agent has a message with that number.
        """

    def append_many(
        self,
        application: str,
        session_id: str,
        agent_id: str,
        messages: Sequence[tuple[int, JsonObject]],
        *,
        after: int | None = None,
    ) -> Collection[int]:
        """Store the :func:`missing_messages` of these durably. Returns the numbers of those that were not stored.

        They are compared with the stored messages above ``after``, by default from the first of these on. At least one
        message is given, sorted by number, each number once. A message that is stored at the same time with one of the
        numbers is compared too. If it fails, the first of the messages may be stored.

        This implementation calls :meth:`messages` and :meth:`append_in_order`.
        """
        place = (application, session_id, agent_id)
        start = messages[0][0] - 1 if after is None else after
        appended: set[int] = set()
        # Each round but the last ends at a message that was stored at the same time.
        for _ in range(len(messages) + 1):
            # If there is one more than these, one of them differs.
            stored = self.messages(*place, limit=len(messages) + 1, after=start)
            missing = missing_messages(messages, stored)
            count = self.append_in_order(*place, missing) if missing else 0
            appended.update(number for number, _ in missing[:count])
            if count == len(missing):
                break
        return [number for number, _ in messages if number not in appended]

    def append_in_order(
        self, application: str, session_id: str, agent_id: str, messages: Sequence[tuple[int, JsonObject]]
    ) -> int:
        """Store messages durably, one after the other, up to the first whose number is in use. Returns how many.

        This implementation calls :meth:`append`; storages should use few operations.
        """
        place = (application, session_id, agent_id)
        return sum(1 for _ in takewhile(lambda one: self.append(*place, *one), messages))

    @abstractmethod
    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        """Replace the message with that number durably; ``False`` if there is none."""

    @abstractmethod
    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        """The ids of the agents that have messages in a session, sorted by code point."""

    @abstractmethod
    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        """At most ``limit`` messages of an agent with numbers above ``after``, with their numbers, sorted by number."""

    @abstractmethod
    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        """The number of messages of an agent, or of all agents of the session if ``None``."""

    @abstractmethod
    def erase(self, application: str, session_id: str) -> int:
        """Remove all agents and messages of a session permanently and durably; returns the number of messages."""

    @abstractmethod
    def sessions(self) -> Iterator[tuple[str, str]]:
        """Application and session id of every session with an agent or a message, sorted by both by code point.

        In constant memory. The storage may be written to meanwhile: a session that exists all the time is returned
        exactly once.
        """

"""The port for stored conversations: the messages and the state of agents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

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
        self, application: str, session_id: str, agent_id: str, messages: Sequence[tuple[int, JsonObject]]
    ) -> Collection[int]:
        """Store messages with different numbers durably. Returns the numbers of those that were not stored.

        Those are the numbers that the agent has a message with. If it fails, any of the messages may be stored. This
        implementation calls :meth:`append`; storages should use few operations.
        """
        place = (application, session_id, agent_id)
        return [number for number, message in messages if not self.append(*place, number, message)]

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

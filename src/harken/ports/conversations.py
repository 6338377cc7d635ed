"""Where is kept what agents say in a session, and what they know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from harken.ports.sessions import JsonValue

#: A JSON object; it comes out as it went in, the order of names included.
JsonObject = Mapping[str, JsonValue]


class ConversationRepository(ABC):
    """Keeps agents and their messages by application and session: one record for each message, so that none grows.

    Messages of an agent are numbered by whoever appends them. What was handed out or taken in is never shared. All
    methods may be called by any thread at any time. All raise ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def agents(self, application: str, session_id: str) -> Mapping[str, JsonObject]:
        """What the agents of a session know, by agent id, sorted by code point."""

    @abstractmethod
    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        """What an agent knows; ``None`` if nothing was put."""

    @abstractmethod
    def put_agent(self, application: str, session_id: str, agent_id: str, value: JsonObject) -> None:
        """Keep what an agent knows, durably, in the place of what it knew before."""

    @abstractmethod
    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        """Keep a message durably, as fast however many there are. ``number`` is from 0 to 2**63 - 1.

        Says whether that was done: not if the agent has a message of that number, which stays as it is.
        """

    @abstractmethod
    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        """Put a message durably in the place of the one of that number; and say whether there is one."""

    @abstractmethod
    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        """The ids of the agents that have messages in a session, sorted by code point."""

    @abstractmethod
    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        """At most ``limit`` messages of an agent with their numbers, sorted by number; those above ``after``."""

    @abstractmethod
    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        """How many messages an agent has; all agents of the session, if ``None``."""

    @abstractmethod
    def erase(self, application: str, session_id: str) -> int:
        """Remove all agents and messages of a session for good, durably, and say how many messages there were."""

    @abstractmethod
    def sessions(self) -> Iterator[tuple[str, str]]:
        """Application and session id of every session with an agent or a message, sorted by both by code point.

        In constant memory. The storage may be written to meanwhile: what was there all along comes exactly once.
        """

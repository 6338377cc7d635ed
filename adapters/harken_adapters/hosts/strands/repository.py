"""Where Strands keeps its sessions: in Harken's conversations, so in whatever storage Harken has."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from strands.session.session_repository import SessionRepository
from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

from harken import ConversationConflict
from harken.services.conversations import ConversationService

if TYPE_CHECKING:
    from strands.multiagent.base import MultiAgentBase

#: Before the ids of graphs and swarms, which are kept beside agents.
_MULTI_AGENT: Final = "multi_agent:"


class HarkenSessionRepository(SessionRepository):
    """The sessions of an application; one record for each agent, and one for each message.

    A session is there as soon as something is kept in it, so it needs no record of its own.
    """

    def __init__(self, conversations: ConversationService, application: str) -> None:
        self._conversations = conversations
        self._application = application
        self._details: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._written: dict[tuple[str, str], dict[str, Any]] = {}

    def create_session(self, session: Session, **kwargs: Any) -> Session:  # noqa: ARG002 - of the framework
        """Nothing has to be made."""
        return session

    def read_session(self, session_id: str, **kwargs: Any) -> Session:  # noqa: ARG002
        """The session, which is always there."""
        return Session(session_id=session_id, session_type=SessionType.AGENT)

    # --- agents ----------------------------------------------------------------------------------------------------

    def create_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep what an agent knows."""
        self._put(session_id, session_agent.agent_id, session_agent.to_dict())

    def read_agent(self, session_id: str, agent_id: str, **kwargs: Any) -> SessionAgent | None:  # noqa: ARG002
        """What an agent knew when it was last kept."""
        kept = self.record(session_id, agent_id)
        return None if kept is None or "state" not in kept else SessionAgent.from_dict(kept)

    def update_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep what an agent knows now."""
        record = session_agent.to_dict()
        record["created_at"] = self.written(session_id, session_agent.agent_id).get("created_at", record["created_at"])
        self._put(session_id, session_agent.agent_id, record)

    def note(self, session_id: str, agent_id: str, details: Mapping[str, Any]) -> None:
        """Have these details of an agent kept beside what it knows, with the next write or :meth:`flush`."""
        self._details[session_id, agent_id] = details

    def flush(self, session_id: str, agent_id: str) -> None:
        """Keep noted details that were not kept yet."""
        written = self.written(session_id, agent_id)
        if written and {**written, **self._details.get((session_id, agent_id), {})} != written:
            self._put(session_id, agent_id, written)

    def written(self, session_id: str, agent_id: str) -> Mapping[str, Any]:
        """What was last read or kept here of an agent; empty if nothing was."""
        return self._written.get((session_id, agent_id), {})

    def record(self, session_id: str, agent_id: str) -> dict[str, Any] | None:
        """All that is kept of an agent, details included."""
        kept = self._conversations.agent(self._application, session_id, agent_id)
        if kept is None:
            return None
        self._written[session_id, agent_id] = dict(kept)
        return dict(kept)

    def records(self, session_id: str) -> dict[str, dict[str, Any]]:
        """All that is kept of the agents of a session, by agent id."""
        agents = self._conversations.agents(self._application, session_id)
        return {agent_id: dict(kept) for agent_id, kept in agents.items() if not agent_id.startswith(_MULTI_AGENT)}

    def configure(self, session_id: str, agent_id: str, changes: Mapping[str, Any]) -> None:
        """Change details of an agent that is there.

        Raises:
            LookupError: it is not.
        """
        record = self.record(session_id, agent_id)
        if record is None:
            raise LookupError(f"No agent {agent_id!r} was ever in session {session_id!r}")
        self._details[session_id, agent_id] = {**self._details.get((session_id, agent_id), {}), **changes}
        self._put(session_id, agent_id, record)

    def _put(self, session_id: str, agent_id: str, record: Mapping[str, Any]) -> None:
        whole = {**record, **self._details.get((session_id, agent_id), {})}
        self._conversations.put_agent(self._application, session_id, agent_id, whole)
        self._written[session_id, agent_id] = whole

    # --- messages --------------------------------------------------------------------------------------------------

    def create_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep a message.

        Raises:
            SessionException: there is one of that number; another process goes on with this conversation.
        """
        try:
            self._conversations.append(
                self._application, session_id, agent_id, session_message.message_id, session_message.to_dict()
            )
        except ConversationConflict as error:
            raise SessionException(str(error)) from error

    def read_message(self, session_id: str, agent_id: str, message_id: int, **kwargs: Any) -> SessionMessage | None:  # noqa: ARG002
        """A message by its number."""
        found = self._conversations.message(self._application, session_id, agent_id, message_id)
        return None if found is None else SessionMessage.from_dict(dict(found))

    def update_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep a message in the place of the one of its number, which keeps its time.

        Raises:
            SessionException: there is none.
        """
        try:
            self._conversations.replace(
                self._application, session_id, agent_id, session_message.message_id, session_message.to_dict()
            )
        except ConversationConflict as error:
            raise SessionException(str(error)) from error

    def list_messages(
        self,
        session_id: str,
        agent_id: str,
        limit: int | None = None,
        offset: int = 0,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[SessionMessage]:
        """Messages, oldest first: those behind the first ``offset``. Read page by page."""
        stream = self._conversations.stream(self._application, session_id, agent_id, after=offset - 1)
        return [SessionMessage.from_dict(dict(message)) for _, message in islice(stream, limit)]

    # --- graphs and swarms -----------------------------------------------------------------------------------------

    def create_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep how far a graph or a swarm is."""
        self._conversations.put_agent(
            self._application, session_id, f"{_MULTI_AGENT}{multi_agent.id}", multi_agent.serialize_state()
        )

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **kwargs: Any) -> dict[str, Any] | None:  # noqa: ARG002
        """How far a graph or a swarm was when it was last kept."""
        kept = self._conversations.agent(self._application, session_id, f"{_MULTI_AGENT}{multi_agent_id}")
        return None if kept is None else dict(kept)

    def update_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:
        """Keep how far a graph or a swarm is now."""
        self.create_multi_agent(session_id, multi_agent, **kwargs)

"""Where Strands keeps its sessions: in Harken's conversations, so in whatever storage Harken has."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from strands.session.session_repository import SessionRepository
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

from harken import ConfigurationError, InvalidConversation
from harken.services.conversations import MAX_SIZE, ConversationService
from harken_adapters.hosts.strands.encoding import decoded, encoded, fitted, size_of
from harken_adapters.hosts.strands.errors import session_errors

if TYPE_CHECKING:
    from strands.multiagent.base import MultiAgentBase

logger = logging.getLogger(__name__)

_T = TypeVar("_T", SessionAgent, SessionMessage)

#: Before the ids of graphs and swarms, which are kept beside agents.
_MULTI_AGENT: Final = "multi_agent:"
#: Room for a message of placeholders.
_SMALLEST: Final = 1_000


class HarkenSessionRepository(SessionRepository):
    """The sessions of an application; one record for each agent, and one for each message.

    A session is there as soon as something is kept in it, so it needs no record of its own. Whatever an agent's state
    and messages hold is kept as JSON, see :mod:`harken_adapters.hosts.strands.encoding`.
    """

    def __init__(
        self, conversations: ConversationService, application: str, *, max_record_bytes: int = MAX_SIZE
    ) -> None:
        """Sessions of an application.

        Args:
            conversations: where they are kept.
            application: whose they are.
            max_record_bytes: how many bytes of JSON a message, or the state of an agent, may have; files count a third
                more than they have. What makes a record larger is left out of it, and a placeholder says so.

        Raises:
            ConfigurationError: ``max_record_bytes`` is not from 1,000 to 12,582,912, which is what every storage takes.
        """
        if not _SMALLEST <= max_record_bytes <= MAX_SIZE:
            raise ConfigurationError(
                f"max_record_bytes must be from {_SMALLEST:,} to {MAX_SIZE:,}, got {max_record_bytes:,}"
            )
        self._conversations = conversations
        self._application = application
        self._max_record_bytes = max_record_bytes
        #: By session and agent, encoded.
        self._details: dict[tuple[str, str], dict[str, Any]] = {}
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
        self._put(session_id, session_agent.agent_id, _values(session_agent))

    def read_agent(self, session_id: str, agent_id: str, **kwargs: Any) -> SessionAgent | None:  # noqa: ARG002
        """What an agent knew when it was last kept."""
        kept = self._read(session_id, agent_id)
        return None if kept is None or "state" not in kept else _restored(SessionAgent, kept)

    def update_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep what an agent knows now."""
        record = _values(session_agent)
        written = self._written.get((session_id, session_agent.agent_id), {})
        record["created_at"] = written.get("created_at", record["created_at"])
        self._put(session_id, session_agent.agent_id, record)

    def note(self, session_id: str, agent_id: str, details: Mapping[str, Any]) -> None:
        """Have these details of an agent kept beside what it knows, with the next write or :meth:`flush`."""
        self._details[session_id, agent_id] = encoded(details, f"How agent {agent_id!r} is set up")

    def flush(self, session_id: str, agent_id: str) -> None:
        """Keep noted details that were not kept yet."""
        written = self._written.get((session_id, agent_id))
        if written and {**written, **self._details.get((session_id, agent_id), {})} != written:
            self._put_encoded(session_id, agent_id, written)

    def written(self, session_id: str, agent_id: str, name: str) -> Any:
        """A value of what was last read or kept here of an agent; ``None`` if there is none."""
        return decoded(self._written.get((session_id, agent_id), {}).get(name))

    def record(self, session_id: str, agent_id: str) -> dict[str, Any] | None:
        """All that is kept of an agent, details included."""
        kept = self._read(session_id, agent_id)
        return None if kept is None else decoded(kept)

    def records(self, session_id: str) -> dict[str, dict[str, Any]]:
        """All that is kept of the agents of a session, by agent id."""
        with session_errors():
            agents = self._conversations.agents(self._application, session_id)
        return {
            agent_id: decoded(dict(kept)) for agent_id, kept in agents.items() if not agent_id.startswith(_MULTI_AGENT)
        }

    def configure(self, session_id: str, agent_id: str, changes: Mapping[str, Any]) -> None:
        """Change details of an agent that is there.

        Raises:
            LookupError: it is not.
        """
        record = self._read(session_id, agent_id)
        if record is None:
            raise LookupError(f"No agent {agent_id!r} was ever in session {session_id!r}")
        before = self._details.get((session_id, agent_id), {})
        self._details[session_id, agent_id] = {**before, **encoded(changes, f"How agent {agent_id!r} is set up")}
        self._put_encoded(session_id, agent_id, record)

    def _read(self, session_id: str, agent_id: str) -> dict[str, Any] | None:
        with session_errors():
            kept = self._conversations.agent(self._application, session_id, agent_id)
        if kept is None:
            return None
        self._written[session_id, agent_id] = dict(kept)
        return dict(kept)

    def _put(self, session_id: str, agent_id: str, record: Mapping[str, Any]) -> None:
        self._put_encoded(session_id, agent_id, encoded(record, f"What agent {agent_id!r} knows"))

    def _put_encoded(self, session_id: str, agent_id: str, record: Mapping[str, Any]) -> None:
        whole = {**record, **self._details.get((session_id, agent_id), {})}
        self._put_fitted(session_id, agent_id, whole)
        self._written[session_id, agent_id] = whole

    def _put_fitted(self, session_id: str, agent_id: str, record: dict[str, Any]) -> None:
        what = f"What agent {agent_id!r} knows"
        record = fitted(record, self._max_record_bytes, what)
        try:
            with session_errors():
                self._conversations.put_agent(self._application, session_id, agent_id, record)
        except InvalidConversation:
            if size_of(record) <= MAX_SIZE:
                raise
            # The turn goes on; what was kept before is what is restored.
            logger.exception("%s was not kept", what)

    # --- messages --------------------------------------------------------------------------------------------------

    def create_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep a message.

        Raises:
            SessionException: there is one of that number; another process goes on with this conversation.
        """
        number = session_message.message_id
        with session_errors():
            self._conversations.append(
                self._application, session_id, agent_id, number, self._message(agent_id, session_message)
            )

    def read_message(self, session_id: str, agent_id: str, message_id: int, **kwargs: Any) -> SessionMessage | None:  # noqa: ARG002
        """A message by its number."""
        with session_errors():
            found = self._conversations.message(self._application, session_id, agent_id, message_id)
        return None if found is None else _restored(SessionMessage, found)

    def update_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep a message in the place of the one of its number, which keeps its time.

        Raises:
            SessionException: there is none.
        """
        number = session_message.message_id
        with session_errors():
            self._conversations.replace(
                self._application, session_id, agent_id, number, self._message(agent_id, session_message)
            )

    def _message(self, agent_id: str, session_message: SessionMessage) -> dict[str, Any]:
        what = f"Message {session_message.message_id} of agent {agent_id!r}"
        return fitted(encoded(_values(session_message), what), self._max_record_bytes, what)

    def list_messages(
        self,
        session_id: str,
        agent_id: str,
        limit: int | None = None,
        offset: int = 0,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[SessionMessage]:
        """Messages, oldest first: those behind the first ``offset``. Read page by page."""
        with session_errors():
            stream = self._conversations.stream(self._application, session_id, agent_id, after=offset - 1)
            return [_restored(SessionMessage, message) for _, message in islice(stream, limit)]

    # --- graphs and swarms -----------------------------------------------------------------------------------------

    def create_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep how far a graph or a swarm is."""
        what = f"What graph or swarm {multi_agent.id!r} has done"
        self._put_fitted(session_id, f"{_MULTI_AGENT}{multi_agent.id}", encoded(multi_agent.serialize_state(), what))

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **kwargs: Any) -> dict[str, Any] | None:  # noqa: ARG002
        """How far a graph or a swarm was when it was last kept."""
        with session_errors():
            kept = self._conversations.agent(self._application, session_id, f"{_MULTI_AGENT}{multi_agent_id}")
        return None if kept is None else decoded(dict(kept))

    def update_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:
        """Keep how far a graph or a swarm is now."""
        self.create_multi_agent(session_id, multi_agent, **kwargs)


def _values(record: SessionAgent | SessionMessage) -> dict[str, Any]:
    # Not its ``to_dict``, which fails on what is nested deeply.
    return {one.name: getattr(record, one.name) for one in fields(record)}


def _restored(kind: type[_T], kept: Mapping[str, Any]) -> _T:
    known = {one.name for one in fields(kind)}
    return kind(**{name: decoded(value) for name, value in kept.items() if name in known})

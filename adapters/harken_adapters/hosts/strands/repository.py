"""The session repository of Strands, on Harken's conversations and so on any storage."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from strands.session.session_repository import SessionRepository
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

from harken import ConfigurationError, InvalidConversation
from harken.ports.conversations import MULTI_AGENT, SESSION_RECORD, reserved_id_problem
from harken.services.conversations import MAX_SIZE, ConversationService
from harken_adapters.formats.value_encoding import decode, encode
from harken_adapters.hosts.strands.errors import InvalidSession, session_errors
from harken_adapters.hosts.strands.shortening import shorten, size_of

if TYPE_CHECKING:
    from strands.multiagent.base import MultiAgentBase

logger = logging.getLogger(__name__)

_T = TypeVar("_T", SessionAgent, SessionMessage)

#: What is stored beside the values of Strands, and stays when those are stored again. ``original`` has values that a
#: migration found and Strands does not know.
_PROMPT: Final = "prompt_metadata"
_KEPT_OF_AGENTS: Final[Sequence[str]] = ("model", "system_prompt", _PROMPT, "original")
_KEPT: Final = ("event_loop_metrics", "guardrail_events", "original")
#: Enough for a message of placeholders.
_SMALLEST: Final = 1_000


class UnknownAgent(LookupError, ValueError):
    """The agent is unknown in the session. A ``ValueError``, as in mongodb_session_manager."""


class HarkenSessionRepository(SessionRepository):
    """The sessions of an application, with one record for each agent and one for each message.

    Sessions have no record of their own and always exist. State and messages are stored as JSON, see
    :mod:`harken_adapters.formats.value_encoding`.
    """

    def __init__(
        self, conversations: ConversationService, application: str, *, max_record_bytes: int = MAX_SIZE
    ) -> None:
        """Create the repository.

        Args:
            conversations: the service that stores conversations.
            application: the application of the sessions.
            max_record_bytes: the maximum size of a message or an agent's state as JSON. Base64 makes files a third
                larger. Placeholders replace the largest parts of a larger record.

        Raises:
            ConfigurationError: ``max_record_bytes`` is not from 1,000 to 12,582,912.
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
        self._initial_states: dict[tuple[str, str], dict[str, Any]] = {}

    def create_session(self, session: Session, **kwargs: Any) -> Session:  # noqa: ARG002 - of the framework
        """Returns the session; nothing has to be stored."""
        return session

    def read_session(self, session_id: str, **kwargs: Any) -> Session:  # noqa: ARG002
        """Returns the session, which always exists."""
        return Session(session_id=session_id, session_type=SessionType.AGENT)

    def session_record(self, session_id: str) -> dict[str, Any]:
        """What a migration found about the session, such as ``session_type`` and ``created_at``; empty without one."""
        with session_errors():
            found = self._conversations.agent(self._application, session_id, SESSION_RECORD)
        record: dict[str, Any] = {} if found is None else decode(dict(found))
        return record

    # --- agents ----------------------------------------------------------------------------------------------------

    def create_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:  # noqa: ARG002
        """Store an agent.

        Raises:
            InvalidSession: the id is invalid, or is reserved for other records; nothing was stored.
        """
        self._put(session_id, session_agent.agent_id, _values(session_agent))

    def read_agent(self, session_id: str, agent_id: str, **kwargs: Any) -> SessionAgent | None:  # noqa: ARG002
        """The stored agent; ``None`` if it is unknown."""
        record = self._read(session_id, agent_id)
        if record is None or "state" not in record:
            return None
        agent = _restore(SessionAgent, record)
        state = agent.conversation_manager_state
        if not _is_restorable(state):
            agent.conversation_manager_state = self._initial_states.get((session_id, agent_id), state)
        return agent

    def update_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:  # noqa: ARG002
        """Store a changed agent, with the original time of creation."""
        record = _values(session_agent)
        written = self._written.get((session_id, session_agent.agent_id), {})
        record["created_at"] = written.get("created_at", record["created_at"])
        self._put(session_id, session_agent.agent_id, record)

    def set_details(self, session_id: str, agent_id: str, details: Mapping[str, Any]) -> None:
        """Store these details of an agent with its next write, or with :meth:`flush`."""
        self._details[session_id, agent_id] = encode(details, f"The configuration of agent {agent_id!r}")

    def set_initial_state(self, session_id: str, agent_id: str, state: Mapping[str, Any]) -> None:
        """Restore an agent with this state of its conversation manager if none is stored, as after some migrations."""
        self._initial_states[session_id, agent_id] = dict(state)

    def flush(self, session_id: str, agent_id: str) -> None:
        """Store details that were set and not stored yet."""
        written = self._written.get((session_id, agent_id))
        if written and {**written, **self._details.get((session_id, agent_id), {})} != written:
            self._put_encoded(session_id, agent_id, written)

    def written(self, session_id: str, agent_id: str, name: str) -> Any:
        """A value of the record that was last read or written for an agent; ``None`` if there is none."""
        return decode(self._written.get((session_id, agent_id), {}).get(name))

    def record(self, session_id: str, agent_id: str) -> dict[str, Any] | None:
        """The record of an agent, with its details; ``None`` if it is unknown."""
        record = self._read(session_id, agent_id)
        return None if record is None else decode(record)

    def records(self, session_id: str) -> dict[str, dict[str, Any]]:
        """The records of the agents of a session, by agent id."""
        with session_errors():
            agents = self._conversations.agents(self._application, session_id)
        return {agent_id: decode(dict(one)) for agent_id, one in agents.items() if not reserved_id_problem(agent_id)}

    def configure(self, session_id: str, agent_id: str, changes: Mapping[str, Any]) -> None:
        """Change details of a stored agent.

        Raises:
            UnknownAgent: the agent is unknown.
        """
        record = self._read(session_id, agent_id)
        if record is None:
            raise UnknownAgent(f"Agent {agent_id!r} is unknown in session {session_id!r}")
        before = self._details.get((session_id, agent_id), {})
        self._details[session_id, agent_id] = {**before, **encode(changes, f"The configuration of agent {agent_id!r}")}
        self._put_encoded(session_id, agent_id, record)

    def set_prompt(self, session_id: str, agent_id: str, prompt: Mapping[str, Any]) -> None:
        """Store what the prompt of an agent is, also before its first turn. It stays until it is set again."""
        record = self._read(session_id, agent_id) or {}
        encoded = encode(prompt, f"The prompt metadata of agent {agent_id!r}")
        self._put_encoded(session_id, agent_id, {**record, _PROMPT: encoded})

    def _read(self, session_id: str, agent_id: str) -> dict[str, Any] | None:
        if reserved_id_problem(agent_id):
            return None
        with session_errors():
            record = self._conversations.agent(self._application, session_id, agent_id)
        if record is None:
            return None
        self._written[session_id, agent_id] = dict(record)
        return dict(record)

    def _put(self, session_id: str, agent_id: str, record: Mapping[str, Any]) -> None:
        self._put_encoded(session_id, agent_id, encode(record, f"The state of agent {agent_id!r}"))

    def _put_encoded(self, session_id: str, agent_id: str, record: Mapping[str, Any]) -> None:
        _check_not_reserved(agent_id)
        before = self._written.get((session_id, agent_id), {})
        kept = {name: before[name] for name in _KEPT_OF_AGENTS if name in before}
        whole: dict[str, Any] = {**kept, **record, **self._details.get((session_id, agent_id), {})}
        self._put_shortened(session_id, agent_id, whole)
        self._written[session_id, agent_id] = whole

    def _put_shortened(self, session_id: str, agent_id: str, record: dict[str, Any]) -> None:
        name = f"The state of agent {agent_id!r}"
        record = shorten(record, self._max_record_bytes, name)
        try:
            with session_errors():
                self._conversations.put_agent(self._application, session_id, agent_id, record)
        except InvalidConversation:
            if size_of(record) <= MAX_SIZE:
                raise
            # The turn continues. The previously stored record stays.
            logger.exception("%s was not stored", name)

    # --- messages --------------------------------------------------------------------------------------------------

    def create_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:  # noqa: ARG002
        """Store a message.

        Raises:
            SessionException: the number exists: another process continued this conversation.
            InvalidSession: an id is invalid, or is reserved for other records; nothing was stored.
        """
        _check_not_reserved(agent_id)
        number = session_message.message_id
        with session_errors():
            self._conversations.append(
                self._application, session_id, agent_id, number, self._encode(agent_id, session_message)
            )

    def read_message(self, session_id: str, agent_id: str, message_id: int, **kwargs: Any) -> SessionMessage | None:  # noqa: ARG002
        """A message by its number; ``None`` if it does not exist."""
        with session_errors():
            found = self._conversations.message(self._application, session_id, agent_id, message_id)
        return None if found is None else _restore(SessionMessage, found)

    def update_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:  # noqa: ARG002
        """Replace the message with the same number; its time and its details stay.

        Raises:
            SessionException: the message does not exist.
        """
        self.set_message_details(session_id, agent_id, session_message, {})

    def set_message_details(
        self, session_id: str, agent_id: str, session_message: SessionMessage, details: Mapping[str, Any]
    ) -> None:
        """Replace a message, and store details with it: its metrics, and its guardrail events after earlier ones.

        Raises:
            SessionException: the message does not exist.
        """
        number = session_message.message_id
        with session_errors():
            stored: Mapping[str, Any] = (
                self._conversations.message(self._application, session_id, agent_id, number) or {}
            )
        kept = {name: stored[name] for name in _KEPT if name in stored}
        added = encode(details, f"The details of message {number} of agent {agent_id!r}")
        events = [*kept.get("guardrail_events", ()), *added.get("guardrail_events", ())]
        whole = {**kept, **added, **({"guardrail_events": events} if events else {})}
        with session_errors():
            self._conversations.replace(
                self._application, session_id, agent_id, number, self._encode(agent_id, session_message, whole)
            )

    def message_details(self, session_id: str, agent_id: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The numbers and details of the messages that have any, oldest first."""
        with session_errors():
            for number, message in self._conversations.stream(self._application, session_id, agent_id):
                if found := {name: decode(message[name]) for name in _KEPT if name in message}:
                    yield number, found

    def speakers(self, session_id: str) -> Sequence[str]:
        """The ids of the agents that have messages in a session."""
        with session_errors():
            return self._conversations.speakers(self._application, session_id)

    def _encode(
        self, agent_id: str, session_message: SessionMessage, encoded_details: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        name = f"Message {session_message.message_id} of agent {agent_id!r}"
        record = {**encode(_values(session_message), name), **(encoded_details or {})}
        return shorten(record, self._max_record_bytes, name)

    def list_messages(
        self,
        session_id: str,
        agent_id: str,
        limit: int | None = None,
        offset: int = 0,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[SessionMessage]:
        """Messages, oldest first, without the first ``offset``; all or ``limit`` of them. They are read in pages."""
        agent = (self._application, session_id, agent_id)
        with session_errors():
            # The numbers of migrated messages may have gaps. Then the skipped ones are counted.
            skipped = offset if offset and self._has_gaps(*agent) else 0
            most = None if limit is None else skipped + limit
            found = self._conversations.stream(*agent, after=offset - skipped - 1, limit=most)
            return [_restore(SessionMessage, message) for _, message in islice(found, skipped, None)]

    def _has_gaps(self, *agent: str) -> bool:
        last = self._conversations.count(*agent) - 1
        return [number for number, _ in self._conversations.messages(*agent, limit=2, after=last - 1)] != [last]

    # --- graphs and swarms -----------------------------------------------------------------------------------------

    def create_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:  # noqa: ARG002
        """Store the state of a graph or swarm."""
        name = f"The state of graph or swarm {multi_agent.id!r}"
        self._put_shortened(session_id, f"{MULTI_AGENT}{multi_agent.id}", encode(multi_agent.serialize_state(), name))

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **kwargs: Any) -> dict[str, Any] | None:  # noqa: ARG002
        """The stored state of a graph or swarm; ``None`` if it is unknown."""
        with session_errors():
            record = self._conversations.agent(self._application, session_id, f"{MULTI_AGENT}{multi_agent_id}")
        return None if record is None else decode(dict(record))

    def update_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:
        """Store the changed state of a graph or swarm."""
        self.create_multi_agent(session_id, multi_agent, **kwargs)


def _check_not_reserved(agent_id: str) -> None:
    if problem := reserved_id_problem(agent_id):
        raise InvalidSession(problem)


def _is_restorable(state: object) -> bool:
    """Whether a conversation manager of Strands can restore this state."""
    return isinstance(state, Mapping) and {"__name__", "removed_message_count"} <= state.keys()


def _values(record: SessionAgent | SessionMessage) -> dict[str, Any]:
    # Not ``to_dict``, which fails on deeply nested values.
    return {one.name: getattr(record, one.name) for one in fields(record)}


def _restore(kind: type[_T], record: Mapping[str, Any]) -> _T:
    known = {one.name for one in fields(kind)}
    return kind(**{name: decode(value) for name, value in record.items() if name in known})

"""Reads the agents of a session document, as the records that the Strands host stores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from attrs import frozen

from harken.domain.rules import label_problem
from harken.ports.conversations import JsonObject, reserved_id_problem
from harken_adapters.formats.migrating.documents import TIMES, Document, instant_text
from harken_adapters.formats.migrating.guardrail_events import GuardrailEvents
from harken_adapters.formats.migrating.messages import ORIGINAL, Message, messages_of
from harken_adapters.formats.value_encoding import encode_exactly
from harken_adapters.formats.values import plain

#: What an agent has in a document, besides agents whose ids begin with its own id and a dot.
_AGENT: Final = frozenset({"agent_data", "messages", *TIMES})

_Object = Mapping[str, Any]


@frozen
class Agent:
    """An agent.

    Attributes:
        id: its id.
        raw: its value in the document, without its messages.
        messages: its messages, in the order of their numbers.
        record: what is stored.
        problem: why neither it nor its messages can be stored; empty if they can.
    """

    id: str
    raw: object
    messages: Sequence[Message]
    record: JsonObject
    problem: str = ""


@frozen
class Conversation:
    """The agents of a document, and its guardrail events that belong to none of their messages, with the reasons."""

    agents: Sequence[Agent]
    other_events: Sequence[tuple[object, str]]

    @property
    def only_agent(self) -> str | None:
        """The id of the agent, if there is exactly one and it can be stored."""
        match self.agents:
            case [agent] if not agent.problem:
                return agent.id
        return None

    def tracking_id(self, number: int, agent_id: object) -> str | None:
        """The tracking id of a message, by its number in the document; ``None`` if it is not the only one.

        Args:
            number: the number.
            agent_id: the agent, or ``None`` for the only one that has such a message.
        """
        found = self._tracking_ids.get((agent_id, number), []) if isinstance(agent_id, str | None) else []
        return found[0] if len(found) == 1 and not label_problem("message_id", found[0]) else None

    @cached_property
    def _tracking_ids(self) -> Mapping[tuple[str | None, int], Sequence[str]]:
        """The tracking ids of messages, by agent and number, and for all agents by ``None`` and number."""
        found: dict[tuple[str | None, int], list[str]] = defaultdict(list)
        for agent in self.agents:
            for message in () if agent.problem else agent.messages:
                if message.original_number is not None and not message.problem:
                    for agent_id in (agent.id, None):
                        found[agent_id, message.original_number].append(message.tracking_id)
        return found


def conversation_of(document: Document) -> Conversation:
    """The conversation in a document."""
    agents = document.get("agents")
    events = GuardrailEvents(document.get("guardrail_events"))
    if agents is None or isinstance(agents, Mapping):
        read = [_agent(agent_id, value, events) for agent_id, value in _agents(agents or {})]
    else:
        read = [Agent("", agents, (), {}, f"agents must be an object, got {type(agents).__name__}")]
    return Conversation(read, events.rest())


def session_record_of(document: Document) -> _Object:
    """What a document has about the session itself; empty if it has nothing."""
    names = ("session_type", *TIMES)
    return {name: instant_text(document[name]) for name in names if document.get(name) is not None}


def _agents(agents: _Object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The ids and values of agents. An id with a dot is a path, as MongoDB stored it."""
    for name, value in agents.items():
        agent_id = f"{prefix}{name}"
        if not isinstance(value, Mapping):
            yield agent_id, value
            continue
        inner = {key: one for key, one in value.items() if key not in _AGENT and _has_agents(one)}
        own = {key: one for key, one in value.items() if key not in inner}
        if own or not inner:
            yield agent_id, own
        yield from _agents(inner, f"{agent_id}.")


def _has_agents(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return not value.keys().isdisjoint({"agent_data", "messages"}) or any(map(_has_agents, value.values()))


def _agent(agent_id: str, value: Any, events: GuardrailEvents) -> Agent:
    if not isinstance(value, Mapping):
        return Agent(agent_id, value, (), {}, f"an agent must be an object, got {type(value).__name__}")
    messages = messages_of(agent_id, value.get("messages"), events)
    raw = {name: one for name, one in value.items() if name != "messages"}
    has_messages = any(not message.problem for message in messages)
    try:
        record = encode_exactly(_record(agent_id, raw, has_messages=has_messages), "the agent")
    except (TypeError, ValueError) as error:
        return Agent(agent_id, raw, messages, {}, str(error))
    return Agent(agent_id, raw, messages, record, _id_problem(agent_id))


def _id_problem(agent_id: str) -> str:
    problem = label_problem("agent_id", agent_id)
    return problem.message if problem else reserved_id_problem(agent_id)


def _record(agent_id: str, value: _Object, *, has_messages: bool) -> dict[str, Any]:
    """The record of an agent. Values of other names are kept under ``original``.

    Raises:
        TypeError: the agent's data or state is not an object.
    """
    rest = {name: one for name, one in value.items() if name != "agent_data"} | _object("agent_data", value)
    if rest.get("agent_id") == agent_id:
        del rest["agent_id"]
    record: dict[str, Any] = {"agent_id": agent_id}
    if rest.get("state") is not None or has_messages:
        # An agent with messages must be restorable, so that the numbers of its next messages follow theirs.
        record |= {"state": plain(_object("state", rest), finite=False), "conversation_manager_state": {}}
        rest.pop("state", None)
    for name in ("conversation_manager_state", "_internal_state"):
        if isinstance(rest.get(name), Mapping):
            record[name] = rest.pop(name)
    for name in (*TIMES, "model", "system_prompt", "prompt_metadata"):
        if (found := rest.pop(name, None)) is not None:
            record[name] = instant_text(found)
    rest = {name: one for name, one in rest.items() if one is not None}
    return {**record, ORIGINAL: rest} if rest else record


def _object(name: str, value: _Object) -> dict[str, Any]:
    """A member that is an object or missing."""
    found = value.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise TypeError(f"{name} must be an object, got {type(found).__name__}")
    return dict(found or {})

"""Assigns the guardrail events of a session document to its messages.

The library stores an event in the session, and with its trace in the message, where a later event replaces it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from harken_adapters.formats.migrating.documents import instant_text, whole_number
from harken_adapters.formats.values import plain

_Object = Mapping[str, Any]


class GuardrailEvents:
    """The events of a session."""

    def __init__(self, given: object) -> None:
        """Read the events of a document, which may be any value."""
        listed: list[Any] = given if isinstance(given, list) else [] if given is None else [given]
        self._invalid = [(event, problem) for event in listed if (problem := _problem(event))]
        self._events: dict[int, _Object] = dict(enumerate(event for event in listed if not _problem(event)))
        #: Where the events of each message are, by agent and number.
        self._positions: dict[tuple[str, int], list[int]] = defaultdict(list)
        for position, event in self._events.items():
            agent_id, number = event.get("agent_id"), whole_number(event.get("message_id"))
            if isinstance(agent_id, str) and number is not None:
                self._positions[agent_id, number].append(position)

    def take(self, agent_id: str, messages: Sequence[tuple[int | None, object]]) -> list[list[dict[str, Any]]]:
        """The events of each message of an agent, oldest first.

        Args:
            agent_id: the id of the agent.
            messages: the number of each message in the document, and the event that is stored with it or ``None``.
        """
        found = [self._own(agent_id, number, event) for number, event in messages]
        for events, (number, _) in zip(found, messages, strict=True):
            theirs = [] if number is None else self._positions.pop((agent_id, number), [])
            events.extend(_record(self._events.pop(position)) for position in theirs)
            events.sort(key=lambda event: str(event["timestamp"]))
        return found

    def rest(self) -> Sequence[tuple[object, str]]:
        """The events that no message has, each with the reason."""
        lost = [(event, "a guardrail event of a message that does not exist") for event in self._events.values()]
        return [*self._invalid, *lost]

    def _own(self, agent_id: str, number: int | None, event: Any) -> list[dict[str, Any]]:
        """The event that is stored with a message, which replaces the one of the session."""
        if event is None:
            return []
        if problem := _problem(event):
            self._invalid.append((event, problem))
            return []
        positions = [] if number is None else self._positions[agent_id, number]
        equal = (position for position in positions if _is_same(self._events[position], event))
        if (found := next(equal, None)) is not None:
            positions.remove(found)
            del self._events[found]
        return [_record(event)]


def _problem(event: object) -> str:
    if not isinstance(event, Mapping):
        return f"a guardrail event must be an object, got {type(event).__name__}"
    if not isinstance(event.get("timestamp"), datetime | str):
        return f"a guardrail event must have a timestamp, got {plain(event.get('timestamp'))!r}"
    return ""


def _record(event: _Object) -> dict[str, Any]:
    rest = {name: one for name, one in event.items() if name not in {"agent_id", "message_id"}}
    return {**rest, "timestamp": instant_text(event["timestamp"])}


def _is_same(event: _Object, other: _Object) -> bool:
    return all(event.get(name) == other.get(name) for name in ("action", "timestamp"))

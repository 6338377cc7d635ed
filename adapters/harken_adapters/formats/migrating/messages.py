"""Reads the messages of an agent in a session document, as the records that the Strands host stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final

from attrs import define, field

from harken.domain.instants import parse_instant
from harken.domain.rules import MAX_ID_LENGTH
from harken.ports.conversations import JsonObject
from harken_adapters.formats.migrating.documents import TIMES, instant_text, whole_number
from harken_adapters.formats.migrating.guardrail_events import GuardrailEvents
from harken_adapters.formats.value_encoding import encode_exactly
from harken_adapters.formats.values import plain

#: Where a record has the values of a document that have no other place.
ORIGINAL: Final = "original"
_LARGEST_NUMBER: Final = 2**63 - 1
_Record = dict[str, Any]


@define
class Message:
    """A message of an agent.

    Attributes:
        raw: its value in the document.
        original_number: its number in the document, if it has a valid one.
        problem: why it cannot be stored; empty if it can.
        number: its number in the target.
        tracking_id: the id to which feedback refers.
        events: its guardrail events, oldest first.
        record: what is stored.
    """

    raw: object
    original_number: int | None
    problem: str = ""
    number: int = -1
    tracking_id: str = ""
    events: list[_Record] = field(factory=list)
    record: JsonObject = field(factory=dict)

    @property
    def is_renumbered(self) -> bool:
        """Whether its number is not that of the document."""
        return self.number != self.original_number


def messages_of(agent_id: str, given: object, events: GuardrailEvents) -> list[Message]:
    """The messages of an agent, sorted by number, after those that cannot be stored.

    Args:
        agent_id: the id of the agent.
        given: what the document has, any value.
        events: the guardrail events of the session.
    """
    if given is None:
        return []
    if not isinstance(given, list):
        return [Message(given, None, f"messages must be a list, got {type(given).__name__}")]
    messages = [Message(raw, _id(raw)) for raw in given]
    valid: list[tuple[Message, _Record]] = []
    for message in messages:
        try:
            valid.append((message, _record(message.raw)))
        except TypeError as error:
            message.problem = str(error)
    _number(valid)
    own = [(message.original_number, record.pop("guardrail_event", None)) for message, record in valid]
    for (message, record), of_message in zip(valid, events.take(agent_id, own), strict=True):
        message.events = of_message
        _complete(agent_id, message, record)
    return sorted(messages, key=lambda one: one.number)


def _id(raw: object) -> int | None:
    number = whole_number(raw.get("message_id")) if isinstance(raw, Mapping) else None
    return number if number is not None and 0 <= number <= _LARGEST_NUMBER else None


def _record(raw: object) -> _Record:
    """The record of a message, without its number, and with the guardrail event that is stored with it.

    Raises:
        TypeError: it has no valid message.
    """
    if not isinstance(raw, Mapping):
        raise TypeError(f"a message must be an object, got {type(raw).__name__}")
    rest = dict(raw)
    message = rest.pop("message", None)
    if message is None:
        # The documentation of the library shows messages without this level.
        message = {name: rest.pop(name) for name in ("role", "content", "tracking_id") if name in rest}
    redacted = rest.pop("redact_message", None)
    record: _Record = {
        "message": _message("message", message),
        "redact_message": None if redacted is None else _message("redact_message", redacted),
    }
    for name in (*TIMES, "event_loop_metrics", "guardrail_event"):
        if (found := rest.pop(name, None)) is not None:
            record[name] = instant_text(found)
    return {**record, ORIGINAL: rest}


def _message(name: str, message: object) -> _Record:
    """A message of Strands, with its content as a list of blocks."""
    if not isinstance(message, Mapping):
        raise TypeError(f"{name} must be an object, got {type(message).__name__}")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not role:
        raise TypeError(f"{name} must have a role, such as 'user', got {plain(role)!r:.100}")
    blocks = [content] if isinstance(content, str) else content
    if not isinstance(blocks, list) or not all(isinstance(block, str | Mapping) for block in blocks):
        raise TypeError(f"{name} must have a content, a text or a list of blocks, got {plain(content)!r:.100}")
    return {**message, "content": [{"text": block} if isinstance(block, str) else block for block in blocks]}


def _number(messages: Sequence[tuple[Message, _Record]]) -> None:
    """Number the messages as in the document; or if these numbers do not increase, in the order of their times."""
    ids = [message.original_number for message, _ in messages if message.original_number is not None]
    if len(ids) == len(messages) and all(one < other for one, other in pairwise(ids)):
        for (message, _), number in zip(messages, ids, strict=True):
            message.number = number
        return
    moment = datetime.min.replace(tzinfo=UTC)
    timed: list[tuple[datetime, Message]] = []
    for message, record in messages:
        # Without a time, it follows the message before it.
        moment = _moment(record.get("created_at")) or moment
        timed.append((moment, message))
    for number, (_, message) in enumerate(sorted(timed, key=itemgetter(0))):
        message.number = number


def _moment(value: object) -> datetime | None:
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _complete(agent_id: str, message: Message, record: _Record) -> None:
    """Add the number, the tracking id and the guardrail events of a message to its record."""
    original = record.pop(ORIGINAL)
    if not message.is_renumbered:
        del original["message_id"]
    given = record["message"].get("tracking_id")
    message.tracking_id = given if given and isinstance(given, str) else _tracking_id(agent_id, message.number)
    record["message"] = {**record["message"], "tracking_id": message.tracking_id}
    record["message_id"] = message.number
    if message.events:
        record["guardrail_events"] = message.events
    if original:
        record[ORIGINAL] = original
    try:
        message.record = encode_exactly(record, "the message")
    except (TypeError, ValueError) as error:
        message.problem = str(error)


def _tracking_id(agent_id: str, number: int) -> str:
    """An id that is unique in the session."""
    tracking_id = f"{agent_id}:{number}"
    if len(tracking_id) <= MAX_ID_LENGTH:
        return tracking_id
    return f"{blake2b(agent_id.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}:{number}"

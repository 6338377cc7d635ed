"""Generated session documents, as mongodb_session_manager stores them in MongoDB; some are invalid."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from attrs import Factory, define
from bson import Int64, ObjectId
from bson.decimal128 import Decimal128

Document = dict[str, Any]
#: A rejected entry: its session, and its position in the array.
Place = tuple[str, int | None]

DEFAULT: Final = "default"
_START: Final = datetime(2024, 1, 26, 10)  # noqa: DTZ001 - as BSON gives it, which means UTC


@define
class Expected:
    """The expected result: the number of kept entries by application and session, and the rejected values.

    Attributes:
        others: the number of other values by kind, such as ``messages``.
        others_kept: the number of those that are kept.
        renumbered: the number of kept messages that get another number.
        conversations: the texts that an agent is restored with, by application, session and agent.
    """

    documents: int = 0
    entries: int = 0
    kept: Counter[tuple[str, str]] = Factory(Counter)
    rejected: list[Place] = Factory(list)
    values: int = 0
    values_kept: int = 0
    others: Counter[str] = Factory(Counter)
    others_kept: Counter[str] = Factory(Counter)
    renumbered: int = 0
    conversations: dict[tuple[str, str, str], list[str]] = Factory(dict)

    def add(self, kind: str, session_id: str, *, kept: bool, count: int = 1) -> None:
        """Count other values."""
        self.others[kind] += count
        if kept:
            self.others_kept[kind] += count
        else:
            self.rejected += [(session_id, None)] * count


def session_documents(size: int, expected: Expected, seed: int = 1) -> Iterator[Document]:
    """Yield this many documents in random order of ids, and record the expected result."""
    chance = Random(seed)
    for number in range(size):
        document: Document = {"_id": _document_id(chance, number)}
        session_id = str(document["_id"])
        application = chance.choice((DEFAULT, DEFAULT, "shop", "", None))
        if application is not None:
            document["application_name"] = application
        _feedbacks(chance, document, (application or DEFAULT, session_id), expected)
        _metadata(chance, document, expected)
        expected.documents += 1
        yield document


def library_documents(size: int, expected: Expected, seed: int = 1) -> Iterator[Document]:
    """Yield such documents with conversations: one to four agents with about 50 messages each, some of them invalid."""
    chance = Random(seed)
    for document in session_documents(size, expected, seed):
        session_id = str(document["_id"])
        expected.add("sessions", session_id, kept=_is_usable(session_id))
        _conversation(chance, document, expected)
        yield document


def _is_usable(session_id: str) -> bool:
    return session_id.isprintable() and len(session_id) <= 200


def _document_id(chance: Random, number: int) -> object:
    make: Callable[[], object] = chance.choices(
        (
            lambda: f"session-{chance.randrange(10**6):06}-{number}",
            lambda: number,
            lambda: ObjectId(f"{number:024x}"),
            lambda: UUID(int=number),
            lambda: f"bell\x07-{number}",
            lambda: "x" * 201 + str(number),
        ),
        weights=(90, 3, 3, 2, 1, 1),
    )[0]
    return make()


def _feedbacks(chance: Random, document: Document, session: tuple[str, str], expected: Expected) -> None:
    shape = chance.randrange(100)
    session_id = session[1]
    if shape == 0:
        return
    if shape in (1, 2):
        document["feedbacks"] = [None, "all fine", {"rating": "up"}, 7][chance.randrange(4)]
        if document["feedbacks"] is not None:
            expected.entries += 1
            expected.rejected.append((session_id, None))
        return
    document["feedbacks"] = []
    usable = _is_usable(session_id)
    for position in range(chance.choice((0, 1, 1, 1, 2, 2, 3))):
        bad = chance.random() < 0.05
        entry = _bad_entry(chance) if bad else _entry(chance)
        document["feedbacks"].append(entry)
        expected.entries += 1
        if bad or not usable:
            expected.rejected.append((session_id, position))
        else:
            expected.kept[session] += 1
    if usable and document["feedbacks"] and not bad and chance.random() < 0.1:
        # The user clicked twice at the same instant.
        document["feedbacks"].append(dict(entry))
        expected.entries += 1
        expected.kept[session] += 1


def _entry(chance: Random) -> Document:
    at = _START + timedelta(milliseconds=chance.randrange(10**10))
    rating = chance.choice(("up", "down", None))
    entry: Document = {"rating": rating, "comment": f"words {chance.randrange(50)} 👍" if rating == "down" else ""}
    entry["created_at"] = at if chance.random() < 0.5 else at.isoformat()
    extras: Document = {
        "message_id": f"m-{chance.randrange(9)}",
        "agent_id": "helper",
        "author": chance.randrange(9),
        "tags": ["slow"],
        "user.tier": "gold",
        "_id": ObjectId(f"{chance.randrange(10**6):024x}"),
        "seen_at": at,
        "nested": {"a": [1, at, {"b": float("nan")}]},
        "price": Decimal128("1.10"),
        "big": Int64(2**40),
        "share": float("inf"),
        "blob": b"\x00\xff",
    }
    for name in chance.sample(sorted(extras), chance.randrange(4)):
        entry[name] = extras[name]
    return entry


def _bad_entry(chance: Random) -> object:
    fine = _entry(chance)
    return chance.choice(
        (
            "great!",
            None,
            [fine],
            42,
            {**fine, "rating": "meh"},
            {**fine, "rating": 1},
            {**fine, "comment": "x" * 10_001},
            {**fine, "comment": ["a"]},
            {**fine, "created_at": "yesterday"},
            {**fine, "created_at": datetime(1969, 1, 1)},  # noqa: DTZ001
        )
    )


def _metadata(chance: Random, document: Document, expected: Expected) -> None:
    if chance.random() < 0.5:
        return
    values: Document = {"tier": "gold", "seen_at": _START, "user": ObjectId("0" * 24), "history": ["up", {"n": 1}]}
    values |= {"ratio": float("nan"), "blob": b"\x00\xff"}
    spoilt: Document = {"bell\x07": 1, "": 2, "deep": {"\x07": 1}}
    chosen = {name: values[name] for name in chance.sample(sorted(values), chance.randrange(4))}
    unfit = {name: spoilt[name] for name in chance.sample(sorted(spoilt), chance.random() < 0.1)}
    document["metadata"] = metadata = {**chosen, **unfit}
    session_id = str(document["_id"])
    usable = _is_usable(session_id)
    expected.values += len(metadata)
    expected.values_kept += len(chosen) if usable else 0
    expected.rejected += [(session_id, None)] * (len(unfit) if usable else len(metadata))


# --- conversations ----------------------------------------------------------------------------------------------------

_AGENTS: Final = ("helper", "billing agent", "größe", "v1.2", "x" * 200)
_METRICS: Final = {
    "accumulated_metrics": {"latencyMs": 7, "timeToFirstByteMs": 2},
    "accumulated_usage": {"inputTokens": 5, "outputTokens": 4, "totalTokens": 9},
    "cycle_metrics": {"cycle_count": 1, "total_duration": 0.25, "average_cycle_time": 0.25},
    "tool_usage": {"weather": {"call_count": 1, "success_count": 1, "error_count": 0, "success_rate": 1.0}},
}


def _conversation(chance: Random, document: Document, expected: Expected) -> None:
    """Add agents, their messages and guardrail events to a document."""
    session_id, application = str(document["_id"]), document.get("application_name") or DEFAULT
    usable = _is_usable(session_id)
    document |= {
        "session_id": session_id,
        "session_type": "default",
        "session_viewer_password": "secret",
        "created_at": _START,
        "updated_at": _START,
        "agents": {},
        "guardrail_events": [],
    }
    for agent_id in chance.sample(_AGENTS, chance.randrange(1, 4)):
        messages, said = _messages(chance, document, agent_id, expected, usable=usable)
        state, offset = _manager_state(chance, len(said))
        data = {"agent_id": agent_id, "state": {"tone": "kind"}, "conversation_manager_state": state, "model": "m"}
        data |= {"created_at": _START, "updated_at": _START, "system_prompt": "Be kind", "_internal_state": {}}
        agent: Document = {"created_at": _START, "updated_at": _START, "agent_data": data, "messages": messages}
        if chance.random() < 0.1:
            del agent["agent_data"]
            offset = 0
        _put(document["agents"], agent_id, agent)
        expected.add("agents", session_id, kept=usable)
        if usable:
            expected.conversations[application, session_id, agent_id] = said[offset:]
    if chance.random() < 0.3:
        _put(document["agents"], *_odd_agent(chance, session_id, expected, usable=usable))
    if chance.random() < 0.1:
        document["guardrail_events"].append(chance.choice((7, {"agent_id": "helper"}, _event("helper", 999))))
        expected.add("guardrail_events", session_id, kept=False)


def _put(agents: Document, agent_id: str, agent: object) -> None:
    """Store an agent as MongoDB does, for which a dot separates the names of a path."""
    *path, name = agent_id.split(".")
    for one in path:
        agents = agents.setdefault(one, {})
    agents[name] = agent


def _manager_state(chance: Random, said: int) -> tuple[Document | None, int]:
    """The state of a conversation manager, and how many messages it removed."""
    removed = chance.choice((0, 0, 10)) if said > 10 else 0
    whole: Document = {"__name__": "SlidingWindowConversationManager", "removed_message_count": removed}
    return chance.choices(((whole, removed), ({}, 0), (None, 0)), weights=(8, 1, 1))[0]


def _odd_agent(chance: Random, session_id: str, expected: Expected, *, usable: bool) -> tuple[str, object]:
    """An agent without messages, or one that is rejected with its message."""
    prompt = {"prompt_id": "p", "prompt_version": 3}
    kept: tuple[tuple[str, object], ...] = (
        ("half", {"agent_data": {"prompt_metadata": prompt}}),
        ("empty", {}),
        ("silent", {"agent_data": {"agent_id": "silent", "state": {}, "conversation_manager_state": {}}}),
        ("nothing", {"agent_data": None, "messages": None}),
    )
    message = {"message_id": 0, "role": "user", "content": "Hi"}
    rejected: tuple[tuple[str, object], ...] = (
        ("session:1", {"messages": [message]}),
        ("multi_agent:g", {"messages": [message]}),
        ("bell\x07", {"messages": [message]}),
        ("stateless", {"agent_data": {"state": 7}, "messages": [message]}),
        ("text", "fine"),
    )
    if chance.random() < 0.5:
        expected.add("agents", session_id, kept=usable)
        return chance.choice(kept)
    agent_id, agent = chance.choice(rejected)
    expected.add("agents", session_id, kept=False)
    expected.add("messages", session_id, kept=False, count=isinstance(agent, dict))
    return agent_id, agent


def _messages(
    chance: Random, document: Document, agent_id: str, expected: Expected, *, usable: bool
) -> tuple[list[object], list[str]]:
    """The messages of an agent, and the texts that it is restored with."""
    session_id = str(document["_id"])
    first, said = chance.choice((0, 0, 0, 1)), []
    messages: list[object] = []
    for number in range(chance.choice((0, 1, 50, 50, 50))):
        message, text = _message(chance, agent_id, number)
        message |= {"message_id": first + number}
        said.append(text)
        messages.append(message)
        expected.add("messages", session_id, kept=usable)
        if "guardrail_event" in message:
            document["guardrail_events"].append(_event(agent_id, first + number))
            expected.add("guardrail_events", session_id, kept=usable)
    if len(messages) > 1 and chance.random() < 0.1:
        # Two managers continued the session at once, which gave two messages the same number.
        extra, text = _message(chance, agent_id, len(messages))
        messages.append({**extra, "message_id": messages[-1]["message_id"]})  # type: ignore[index]
        said.append(text)
        expected.add("messages", session_id, kept=usable)
        expected.renumbered += usable * (len(messages) - 1 if first else 1)
        if "guardrail_event" in extra:
            expected.add("guardrail_events", session_id, kept=usable)
    if chance.random() < 0.1:
        messages.append(
            chance.choice((None, "Hi", {"message_id": 99}, {"message_id": 99, "message": {"role": "user"}}))
        )
        expected.add("messages", session_id, kept=False)
    return messages, said


def _message(chance: Random, agent_id: str, number: int) -> tuple[Document, str]:
    role, text = ("user", "assistant")[number % 2], f"{agent_id[:9]} {number} {chance.randrange(99)}"
    at = _START + timedelta(seconds=number)
    content: list[Document] = [{"text": text}]
    whole: Document = {"message": {"role": role, "content": content}, "created_at": at, "updated_at": at}
    whole["redact_message"] = None
    if chance.random() < 0.3:
        whole["message"]["tracking_id"] = f"{agent_id[:9]}-{number}"
    if role == "assistant":
        whole["event_loop_metrics"] = _METRICS
    odd = chance.randrange(20)
    if odd == 0:
        return {"role": role, "content": text, "created_at": at}, text
    if odd == 1:
        content.append({"document": {"name": "file", "format": "txt", "source": {"bytes": b"\x00\xff"}}})
    if odd == 2:
        whole |= {"latency_ms": 7, "storage_id": ObjectId("0" * 24), "created_at": at.isoformat()}
    if odd == 3:
        whole["redact_message"] = {"role": role, "content": [{"text": "[removed]"}]}
        whole["guardrail_event"] = {"action": "BLOCKED", "timestamp": _START, "trace": {"score": 0.5}}
        return whole, "[removed]"
    return whole, text


def _event(agent_id: str, number: int) -> Document:
    return {"agent_id": agent_id, "message_id": number, "action": "BLOCKED", "timestamp": _START}

"""Migrating the conversations of session documents: what is stored, how agents continue, and that nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial, reduce
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st
from strands import Agent

import harken
from harken import Harken
from harken.services.conversations import CONTINUED, MAX_SIZE
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.migrating.conversations import Agent as AgentOfDocument
from harken_adapters.formats.migrating.conversations import Conversation
from harken_adapters.formats.migrating.counts import Migrated
from harken_adapters.formats.migrating.documents import Document, application_of
from harken_adapters.formats.migrating.feedback import plan_of
from harken_adapters.formats.migrating.guardrail_events import GuardrailEvents
from harken_adapters.formats.migrating.messages import Message
from harken_adapters.formats.migrating.migration import Migration
from harken_adapters.formats.value_encoding import MAX_DEPTH
from harken_adapters.hosts.session_manager import MongoDBSessionManager
from local_model import LocalModel
from session_documents import Expected, library_documents

AT = datetime(2026, 3, 22, 10, 0, 0, 123_000)  # noqa: DTZ001 - as BSON gives it, which means UTC
AT_TEXT = "2026-03-22T10:00:00.123000+00:00"


def migrated(
    hk: Harken, documents: Iterable[Document], *, dry_run: bool = False
) -> tuple[Migrated, list[tuple[Any, str, Any]]]:
    """Migrate documents as the driver returns them. Returns the tally, and session, reason and value of rejects."""
    rejected: list[tuple[Any, str, Any]] = []
    read: list[Document] = [
        bson.decode(bson.encode(one, codec_options=CODEC), codec_options=CODEC) for one in documents
    ]
    of = partial(application_of, named=None, default="default")
    profile, plan = plan_of(read, ImportOptions(), "sessions", application_of=of, known=lambda _: ())
    migration = Migration(
        hk,
        profile,
        plan,
        lambda place, reason, value: rejected.append((place["session"], reason, value)),
        dry_run=dry_run,
    )
    for _ in migration.batches(read):
        pass
    return migration.tally, rejected


#: Those of the migration.
CODEC: Any = bson.CodecOptions(
    uuid_representation=bson.binary.UuidRepresentation.STANDARD,
    datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_AUTO,
)


def session(agents: object = None, **fields: object) -> Document:
    """The document of a session."""
    return {"_id": "s", **({} if agents is None else {"agents": agents}), **fields}


def said(number: object, text: str = "Hi", role: str = "user", **fields: object) -> Document:
    """A message in a document."""
    message = {"role": role, "content": [{"text": text}]}
    return {"message_id": number, "message": message, "redact_message": None, "created_at": AT, **fields}


def open_session(hk: Harken, application: str | None = None, session_id: str = "s") -> MongoDBSessionManager:
    """A manager of a migrated session."""
    return MongoDBSessionManager(session_id, client=hk, application_name=application)


def agent_of(manager: MongoDBSessionManager, agent_id: str = "helper") -> Agent:
    """An agent of a session, which is restored."""
    model = LocalModel(["Fine."])
    return Agent(model=model, session_manager=manager, agent_id=agent_id, callback_handler=None, system_prompt="New")


def texts(agent: Agent) -> list[str]:
    """The texts of the messages of an agent."""
    return [block["text"] for message in agent.messages for block in message["content"] if "text" in block]


def stored(hk: Harken, agent_id: str = "helper") -> list[tuple[int, Any]]:
    """The records of messages."""
    return list(hk.conversations.stream("default", "s", agent_id))


#: Nested more deeply than a value can be.
DEEP: Any = reduce(lambda value, _: [value], range(MAX_DEPTH + 5), 1)


# --- agents -----------------------------------------------------------------------------------------------------------


def test_an_agent_continues(hk: Harken) -> None:
    """It has its messages, its state and its configuration, and numbers its next messages after the last one."""
    data = {
        "agent_id": "helper",
        "state": {"tone": "kind", "n": Int64(1)},
        "conversation_manager_state": {"__name__": "SlidingWindowConversationManager", "removed_message_count": 1},
        "_internal_state": {"interrupt_state": {"interrupts": {}, "context": {}, "activated": False}},
        "model": "claude",
        "system_prompt": "Be kind",
        "prompt_metadata": {"prompt_id": "p", "since": AT},
        "created_at": AT,
        "updated_at": "2026-03-22T11:00:00+00:00",
        "lab": [ObjectId("0" * 24), AT],
    }
    messages = [said(0, "Hello"), said(1, "Hi", "assistant", event_loop_metrics={"cycle_metrics": {"cycle_count": 1}})]
    tally, rejected = migrated(hk, [session({"helper": {"agent_data": data, "messages": messages, "created_at": AT}})])
    assert (tally.agents, tally.messages, rejected) == (Tally(1, 1, 0, 0), Tally(2, 2, 0, 0), [])
    manager = open_session(hk)
    config = {"model": "claude", "system_prompt": "Be kind", "prompt_metadata": {"prompt_id": "p", "since": AT}}
    assert manager.list_agents() == [{"agent_id": "helper", **config}]
    assert manager.get_message_metrics("helper") == {1: {"cycle_metrics": {"cycle_count": 1}}}
    agent = agent_of(manager)
    assert (texts(agent), agent.state.get()) == (["Hi"], {"tone": "kind", "n": 1})
    agent("And now?")
    assert [number for number, _ in stored(hk)] == [0, 1, 2, 3]
    again = open_session(hk)
    assert texts(agent_of(again)) == ["Hi", "And now?", "Fine."]
    record: Any = again.session_repository.record("s", "helper")  # type: ignore[attr-defined]  # Strands' type
    assert (record["created_at"], record["prompt_metadata"]) == (AT_TEXT, config["prompt_metadata"])
    assert record["original"] == {"lab": [ObjectId("0" * 24), AT]}


@pytest.mark.parametrize("state", [None, {}, {"__name__": "SlidingWindowConversationManager"}, "lost"])
def test_an_agent_without_a_state_of_its_conversation_manager(hk: Harken, state: object) -> None:
    """It is restored with the initial state, and all messages."""
    data = {"state": {"a": 1}, "conversation_manager_state": state}
    migrated(hk, [session({"helper": {"agent_data": data, "messages": [said(0, "Hello")]}})])
    agent = agent_of(open_session(hk))
    assert (texts(agent), agent.state.get()) == (["Hello"], {"a": 1})


def test_an_agent_without_data(hk: Harken) -> None:
    """Its messages are restored, and the next ones follow them."""
    assert migrated(hk, [session({"helper": {"messages": [said(0), said(1)]}})])[1] == []
    agent_of(open_session(hk))("More?")
    assert [number for number, _ in stored(hk)] == [0, 1, 2, 3]


def test_half_an_agent(hk: Harken) -> None:
    """A prompt that was set before the first turn is kept with the agent that begins later."""
    assert migrated(hk, [session({"helper": {"agent_data": {"prompt_metadata": {"prompt_id": "p"}}}})])[1] == []
    manager = open_session(hk)
    agent_of(manager)("Hi")
    assert manager.get_agent_config("helper")["prompt_metadata"] == {"prompt_id": "p"}  # type: ignore[index]  # not None
    assert len(stored(hk)) == 2


def test_ids_with_dots_are_paths(hk: Harken) -> None:
    """MongoDB stored the agent ``a.b`` within ``a``, which may be an agent too."""
    inner = {"agent_data": {"agent_id": "a.b", "state": {}}, "messages": [said(0)]}
    agents = {"a": {"messages": [said(0), said(1)], "b": inner}, "v1": {"2": {"5": {"messages": [said(0)]}}}}
    tally, rejected = migrated(hk, [session(agents)])
    assert (tally.agents.added, tally.messages.added, rejected) == (3, 4, [])
    assert [len(stored(hk, one)) for one in ("a", "a.b", "v1.2.5")] == [2, 1, 1]


@pytest.mark.parametrize(
    ("agent_id", "agent", "reason"),
    [
        ("session:1", {"messages": [said(0)]}, "agent_id must not begin with session: or multi_agent:"),
        ("multi_agent:g", {"messages": [said(0)]}, "agent_id must not begin with session: or multi_agent:"),
        ("a\nb", {"messages": [said(0)]}, "agent_id must not contain control characters"),
        ("x" * 201, {"messages": [said(0)]}, "agent_id too long: 201 characters (max: 200)"),
        ("a", {"agent_data": "lost", "messages": [said(0)]}, "agent_data must be an object, got str"),
        ("a", {"agent_data": {"state": [1]}, "messages": [said(0)]}, "state must be an object, got list"),
        ("a", {"agent_data": {"x": DEEP}, "messages": [said(0)]}, "the agent.original.x[0][0]"),
    ],
)
def test_an_invalid_agent_is_rejected_with_its_messages(
    hk: Harken, agent_id: str, agent: Document, reason: str
) -> None:
    """Both are reported, and other agents are not affected."""
    tally, rejected = migrated(hk, [session({agent_id: agent, "helper": {"messages": [said(0)]}})])
    assert (tally.agents, tally.messages) == (Tally(2, 1, 0, 1), Tally(2, 1, 0, 1))
    (_, why, value), (_, why_message, message) = rejected
    assert why.startswith(reason)
    assert (value["agent"], message["agent"], message["message"]["message_id"]) == (agent_id, agent_id, 0)
    assert why_message == "the agent was rejected"


@pytest.mark.parametrize(
    ("agents", "kind", "reason"),
    [
        ({"helper": "fine"}, "agents", "an agent must be an object, got str"),
        ([1], "agents", "agents must be an object, got list"),
        ({"helper": {"messages": {"0": 1}}}, "messages", "messages must be a list, got dict"),
    ],
)
def test_what_is_no_object_counts_as_one_value(hk: Harken, agents: object, kind: str, reason: str) -> None:
    """It is reported and counted."""
    tally, rejected = migrated(hk, [session(agents)])
    assert (tally.kinds[kind].rejected, [why for _, why, _ in rejected]) == (1, [reason])


def test_an_invalid_session_is_rejected_whole(hk: Harken) -> None:
    """Each of its values is."""
    document = session({"helper": {"messages": [said(0)]}}, session_type="AGENT", guardrail_events=[7])
    tally, rejected = migrated(hk, [{**document, "_id": "a\nb"}, {**document, "application_name": "x\ny"}])
    for one in (tally.sessions, tally.agents, tally.messages, tally.guardrail_events):
        assert one == Tally(2, 0, 0, 2)
    assert len(rejected) == 8


# --- messages ---------------------------------------------------------------------------------------------------------


def test_messages_keep_their_numbers(hk: Harken) -> None:
    """Numbers that increase are kept, also with gaps; the first messages that are not restored are those removed."""
    state = {"__name__": "SlidingWindowConversationManager", "removed_message_count": 2}
    messages = [said(number, f"{number}") for number in (1, 2, 5, 9)]
    tally, _ = migrated(
        hk, [session({"helper": {"agent_data": {"conversation_manager_state": state}, "messages": messages}})]
    )
    assert ([number for number, _ in stored(hk)], tally.renumbered) == ([1, 2, 5, 9], 0)
    manager = open_session(hk)
    agent = agent_of(manager)
    assert texts(agent) == ["5", "9"]
    agent("And now?")
    assert [number for number, _ in stored(hk)] == [1, 2, 5, 9, 10, 11]
    found = manager.session_repository.list_messages("s", "helper", limit=2, offset=1)
    assert [one.message_id for one in found] == [2, 5]


@pytest.mark.parametrize("numbers", [(0, 1, 1, 2), (3, 2, 1, 0), (0, None, 2, 3), (0, "1", 2, 3), (-1, 0, 1, 2)])
def test_other_numbers_are_replaced(hk: Harken, numbers: tuple[object, ...]) -> None:
    """The messages are numbered by time, then by their order; their records have the original number."""
    times = (AT, "2026-03-22T11:00:00Z", None, AT)
    messages = [said(number, text, created_at=at) for number, text, at in zip(numbers, "abcd", times, strict=True)]
    tally, rejected = migrated(hk, [session({"helper": {"messages": messages}})])
    assert [message["message"]["content"] for _, message in stored(hk)] == [[{"text": text}] for text in "adbc"]
    assert (tally.messages.added, rejected) == (4, [])
    originals = [message.get("original", message)["message_id"] for _, message in stored(hk)]
    assert originals == [numbers[index] for index in (0, 3, 1, 2)]
    assert tally.renumbered == sum(new != original for new, original in enumerate(originals))
    assert texts(agent_of(open_session(hk))) == list("adbc")


def test_values_of_messages_come_back_equal(hk: Harken) -> None:
    """Content as text becomes a block; bytes in tool blocks, tracking ids, redactions and other values are kept."""
    result = {"toolResult": {"toolUseId": "1", "content": [{"document": {"source": {"bytes": b"\x00\xff"}}}]}}
    redacted = {"role": "user", "content": [{"text": "[removed]"}]}
    messages = [
        {"message_id": 0, "role": "user", "content": "Hi", "created_at": AT},
        {"message_id": 1, "message": {"role": "user", "content": [result], "tracking_id": "t-1"}, "latency_ms": 7},
        {"message_id": 2, "message": {"role": "user", "content": ["a", {"text": "b"}]}, "redact_message": redacted},
    ]
    assert migrated(hk, [session({"helper": {"messages": messages}})])[1] == []
    first, second, third = open_session(hk).session_repository.list_messages("s", "helper")
    assert first.message == {"role": "user", "content": [{"text": "Hi"}], "tracking_id": "helper:0"}
    assert second.message == {"role": "user", "content": [result], "tracking_id": "t-1"}
    assert third.message["content"] == [{"text": "a"}, {"text": "b"}]
    assert (third.to_message(), first.created_at) == (redacted, AT_TEXT)
    assert stored(hk)[1][1]["original"] == {"latency_ms": 7}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Hi", "a message must be an object, got str"),
        ({"message_id": 1}, "message must have a role, such as 'user', got None"),
        ({"message_id": 1, "message": "Hi"}, "message must be an object, got str"),
        ({"message_id": 1, "message": {"role": "user"}}, "message must have a content, a text or a list of blocks"),
        ({"message_id": 1, "role": "user", "content": [1]}, "message must have a content, a text or a list of blocks"),
        ({**said(1), "redact_message": 7}, "redact_message must be an object, got int"),
        ({**said(1), "other": DEEP}, "the message.original.other[0][0]"),
    ],
)
def test_an_invalid_message_does_not_affect_others(hk: Harken, message: object, reason: str) -> None:
    """It is reported with its value."""
    tally, rejected = migrated(hk, [session({"helper": {"messages": [said(0), message, said(2)]}})])
    assert tally.messages == Tally(3, 2, 0, 1)
    [(_, why, value)] = rejected
    assert (why[: len(reason)], value["agent"]) == (reason, "helper")
    assert [number for number, _ in stored(hk)] == [0, 2]


def test_a_message_that_is_too_large_is_rejected(hk: Harken) -> None:
    """The others of the agent are stored."""
    messages = [said(0), said(1, "x" * 13_000_000), said(2)]
    tally, [(_, reason, _)] = migrated(hk, [session({"helper": {"messages": messages}})])
    assert tally.messages == Tally(3, 2, 0, 1)
    assert reason.startswith("Message 1 of agent 'helper' is too large")


# --- guardrail events, sessions ---------------------------------------------------------------------------------------


def test_guardrail_events_belong_to_their_messages(hk: Harken) -> None:
    """An event of the session and of its message is one; earlier events of the message are only in the session."""
    own = {"action": "BLOCKED", "timestamp": AT, "stop_reason": "content_filtered", "trace": {"score": 0.5}}
    earlier = {"action": "BLOCKED", "timestamp": datetime(2026, 3, 21)}  # noqa: DTZ001
    place = {"agent_id": "helper", "message_id": 1}
    listed = [{**place, **earlier}, {**place, "action": "BLOCKED", "timestamp": AT, "stop_reason": "content_filtered"}]
    agents = {"helper": {"messages": [said(0), said(1, guardrail_event=own), said(2, guardrail_event=earlier)]}}
    tally, rejected = migrated(hk, [session(agents, guardrail_events=listed)])
    assert (tally.guardrail_events, rejected) == (Tally(3, 3, 0, 0), [])
    manager = open_session(hk)
    texts_of = {"timestamp": "2026-03-21T00:00:00+00:00"}
    assert manager.get_guardrail_events() == [
        {**place, **earlier, **texts_of},
        {**place, "message_id": 2, **earlier, **texts_of},
        {**place, **own, "timestamp": AT_TEXT},
    ]
    agent = agent_of(manager)
    manager.redact_latest_message({"role": "user", "content": [{"text": "[removed]"}]}, agent, action="REMOVED")
    assert [event["action"] for event in manager.get_guardrail_events()] == ["BLOCKED"] * 3 + ["REMOVED"]


class CountedEvent(dict[str, Any]):
    """A guardrail event that counts how often it is read."""

    reads = 0

    def get(self, *args: Any) -> Any:
        CountedEvent.reads += 1
        return super().get(*args)


class CountedMessages(list[Message]):
    """Messages that count how often they are searched."""

    searches = 0

    def __iter__(self) -> Iterator[Message]:
        CountedMessages.searches += 1
        return super().__iter__()


def test_many_events_are_assigned_in_one_pass() -> None:
    """The time for a document grows with its events, not with their square."""
    events = GuardrailEvents(
        [CountedEvent(agent_id="helper", message_id=number, timestamp=AT) for number in range(1_000)]
    )
    CountedEvent.reads = 0
    found = events.take("helper", [(number, CountedEvent(timestamp=AT)) for number in range(1_000)])
    assert [len(of_message) for of_message in found] == [1] * 1_000
    assert events.rest() == []
    assert CountedEvent.reads <= 10_000


def test_many_entries_are_linked_in_one_pass() -> None:
    """The messages of a document are read once, however many entries of feedback refer to them."""
    messages = CountedMessages(Message({}, number, tracking_id=f"t-{number}") for number in range(100))
    conversation = Conversation(
        [AgentOfDocument("helper", {}, messages, {}), AgentOfDocument("other", {}, messages[:50], {})], ()
    )
    CountedMessages.searches = 0
    assert [conversation.tracking_id(number, "helper") for number in range(101)] == [
        *(f"t-{number}" for number in range(100)),
        None,
    ]
    assert conversation.tracking_id(60, None) == "t-60"
    assert conversation.tracking_id(10, None) is conversation.tracking_id(10, ["helper"]) is None
    assert CountedMessages.searches == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (7, "a guardrail event must be an object, got int"),
        ({"agent_id": "helper", "message_id": 0}, "a guardrail event must have a timestamp, got None"),
        (
            {"agent_id": "helper", "message_id": 5, "timestamp": AT},
            "a guardrail event of a message that does not exist",
        ),
        ({"agent_id": ["helper"], "message_id": 0, "timestamp": AT}, "a guardrail event of a message that does not"),
    ],
)
def test_other_guardrail_events_are_rejected(hk: Harken, event: object, reason: str) -> None:
    """Each is reported and counted."""
    tally, rejected = migrated(hk, [session({"helper": {"messages": [said(0)]}}, guardrail_events=[event])])
    assert (tally.guardrail_events, len(rejected)) == (Tally(1, 0, 0, 1), 1)
    assert rejected[0][1].startswith(reason)


def test_a_session_keeps_its_type_and_times(hk: Harken) -> None:
    """Their record is not an agent: it is neither listed, nor counted when the session is erased."""
    tally, _ = migrated(hk, [session({"helper": {}}, session_type="default", created_at=AT, updated_at=AT)])
    assert (tally.sessions, tally.agents) == (Tally(1, 1, 0, 0), Tally(1, 1, 0, 0))
    manager = open_session(hk)
    record = {"session_type": "default", "created_at": AT_TEXT, "updated_at": AT_TEXT}
    assert manager.session_repository.session_record("s") == record  # type: ignore[attr-defined]  # as above
    assert [one["agent_id"] for one in manager.list_agents()] == ["helper"]
    assert hk.collection.erase(hk.query(session_id="s")).agents == 1
    assert manager.session_repository.session_record("s") == {}  # type: ignore[attr-defined]  # as above


# --- feedback ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "message_id"),
    [
        ({"message_id": 1, "agent_id": "helper"}, "t-1"),
        ({"message_id": 1.0, "agent_id": "helper"}, "t-1"),
        ({"message_id": 0, "agent_id": "helper"}, "helper:0"),
        ({"message_id": 2}, "helper:2"),
        ({"message_id": 1}, "1"),
        ({"message_id": 2, "agent_id": "critic"}, "2"),
        ({"message_id": 9}, "9"),
        ({"message_id": "2"}, "2"),
        ({}, None),
    ],
)
def test_feedback_is_linked_to_its_message(hk: Harken, entry: Document, message_id: str | None) -> None:
    """The number is that of a message of its agent, or of the only agent with such a message."""
    tracked = {**said(1), "message": {**said(1)["message"], "tracking_id": "t-1"}}
    agents = {"helper": {"messages": [said(0), tracked, said(2)]}, "critic": {"messages": [said(0), said(1)]}}
    document = session(agents, feedbacks=[{"rating": "up", **entry}])
    assert migrated(hk, [document])[1] == []
    [feedback] = hk.export()
    assert feedback.message_id == message_id
    [found] = open_session(hk).get_feedbacks()
    del found["created_at"]
    assert found == {"rating": "up", "comment": "", **entry}
    assert {name: type(value) for name, value in found.items() if name in entry} == {
        name: type(value) for name, value in entry.items()
    }


@pytest.mark.parametrize(
    ("entry", "agents", "agent_id"),
    [
        ({}, ("helper",), "helper"),
        ({"agent_id": None}, ("helper",), "helper"),
        ({"message_id": 0}, ("helper",), "helper"),
        ({"agent_id": "critic"}, ("helper",), "critic"),
        ({"agent_id": ["critic"]}, ("helper",), None),
        ({}, ("helper", "critic"), None),
        ({}, ("session:1",), None),
        ({}, (), None),
    ],
)
def test_feedback_without_an_agent(hk: Harken, entry: Document, agents: tuple[str, ...], agent_id: str | None) -> None:
    """It is about the agent of its session, if there is one; what session managers return is unchanged."""
    document = session({name: {"messages": [said(0)]} for name in agents}, feedbacks=[{"rating": "up", **entry}])
    migrated(hk, [document])
    assert [one.agent_id for one in hk.export()] == [agent_id]
    [found] = open_session(hk).get_feedbacks()
    del found["created_at"]
    assert found == {"rating": "up", "comment": "", **entry}
    # Without its agent, it was migrated by earlier versions: the same entry.
    assert migrated(hk, [session(feedbacks=document["feedbacks"])])[0].feedback.duplicates == 1


def test_feedback_that_was_migrated_without_its_message(hk: Harken) -> None:
    """It is a duplicate when its conversation is migrated later, and is not changed."""
    entries = [{"rating": "up", "message_id": 0, "agent_id": "helper"}]
    migrated(hk, [session(feedbacks=entries)])
    tally, _ = migrated(hk, [session({"helper": {"messages": [said(0)]}}, feedbacks=entries)])
    assert (tally.feedback, tally.messages) == (Tally(1, 0, 1, 0), Tally(1, 1, 0, 0))
    assert [one.message_id for one in hk.export()] == ["0"]


def test_feedback_on_renumbered_messages(hk: Harken) -> None:
    """It refers to the number in the document; a number that is not unique is only a text."""
    messages = [said(4, "a"), said(3, "b"), said(3, "c")]
    entries = [{"rating": "up", "message_id": 4}, {"rating": "up", "message_id": 3}]
    migrated(hk, [session({"x" * 200: {"messages": messages}}, feedbacks=entries)])
    [first, _, _] = [message for _, message in stored(hk, "x" * 200)]
    assert sorted(str(one.message_id) for one in hk.export()) == sorted(["3", first["message"]["tracking_id"]])
    assert len(first["message"]["tracking_id"]) < 200


# --- repeated migrations ----------------------------------------------------------------------------------------------


def test_a_repeated_migration_keeps_what_the_target_has(hk: Harken) -> None:
    """Equal values are duplicates, new ones are added, and different ones are rejected and not overwritten."""
    helper = {"agent_data": {"state": {"n": 1}}, "messages": [said(0), said(1)]}
    document = session({"helper": helper}, session_type="AGENT")
    migrated(hk, [document])
    tally, rejected = migrated(hk, [document])
    assert (tally.sessions, tally.agents, tally.messages) == (Tally(1, 0, 1, 0), Tally(1, 0, 1, 0), Tally(2, 0, 2, 0))
    assert rejected == []
    grown = {"agent_data": {"state": {"n": 2}}, "messages": [*helper["messages"], said(2, guardrail_event=event())]}
    tally, rejected = migrated(hk, [session({"helper": grown}, session_type="other")])
    assert (tally.sessions, tally.agents, tally.messages) == (Tally(1, 0, 0, 1), Tally(1, 0, 0, 1), Tally(3, 1, 2, 0))
    assert (tally.guardrail_events, {reason for _, reason, _ in rejected}) == (
        Tally(1, 1, 0, 0),
        {"the target has another value, which was kept"},
    )
    assert hk.conversations.agent("default", "s", "helper")["state"] == {"n": 1}  # type: ignore[index]


def test_a_message_whose_metrics_changed_does_not_end_a_conversation(hk: Harken) -> None:
    """It is rejected and not overwritten, and later messages are added."""
    migrated(hk, [session({"helper": {"messages": [said(0), said(1)]}})])
    messages = [said(0), said(1, event_loop_metrics={"cycle_metrics": {}}), said(2)]
    tally, rejected = migrated(hk, [session({"helper": {"messages": messages}})])
    assert (tally.messages, len(rejected)) == (Tally(3, 1, 1, 1), 1)
    assert "event_loop_metrics" not in stored(hk)[1][1]


def event() -> Document:
    """A guardrail event of a message."""
    return {"action": "BLOCKED", "timestamp": AT}


def test_a_conversation_that_was_continued_gets_no_further_messages(hk: Harken) -> None:
    """They would follow messages that do not belong to them."""
    migrated(hk, [session({"helper": {"messages": [said(0), said(1)]}})])
    agent_of(open_session(hk))("And now?")
    longer = [said(number, f"{number}" if number > 1 else "Hi") for number in range(6)]
    tally, rejected = migrated(hk, [session({"helper": {"messages": longer}})])
    assert tally.messages == Tally(6, 0, 2, 4)
    assert len(stored(hk)) == 4
    assert Counter(reason for _, reason, _ in rejected) == {
        "the target has another value, which was kept": 3,
        CONTINUED: 2,
    }


def test_a_conversation_that_was_continued_before_a_missing_message_gets_no_further_ones(hk: Harken) -> None:
    """A message of the target whose number the document does not have is another one; gaps before it are filled."""
    migrated(hk, [session({"helper": {"messages": [said(0), said(3)]}})])
    hk.conversations.append("default", "s", "helper", 5, {"message": {"role": "user", "content": [{"text": "live"}]}})
    document = session({"helper": {"messages": [said(number) for number in (0, 2, 3, 4, 6, 8)]}})
    tally, rejected = migrated(hk, [document])
    assert (tally.messages, [reason for _, reason, _ in rejected]) == (Tally(6, 2, 2, 2), [CONTINUED] * 2)
    assert [number for number, _ in stored(hk)] == [0, 2, 3, 4, 5]
    again, rejected = migrated(hk, [document])
    assert (again.messages, [reason for _, reason, _ in rejected]) == (Tally(6, 0, 4, 2), [CONTINUED] * 2)


def test_a_message_that_is_too_large_does_not_end_a_conversation(hk: Harken) -> None:
    """It is rejected with the reason, and others are added; but not to a conversation that was continued instead."""
    messages = [said(0), said(1, "x" * MAX_SIZE), said(2, guardrail_event=event())]
    for session_id in ("s", "t"):
        document = {**session({"helper": {"messages": messages}}), "_id": session_id}
        if session_id == "t":
            hk.conversations.append("default", "t", "helper", 1, {"message": "live"})
        tally, rejected = migrated(hk, [document])
        added = 2 if session_id == "s" else 1
        assert tally.messages == Tally(3, added, 0, 3 - added)
        assert (tally.guardrail_events.added, tally.guardrail_events.rejected) == (added - 1, 2 - added)
        assert "is too large" in rejected[0][1]


def test_a_dry_run_stores_nothing(hk: Harken) -> None:
    """Everything is checked and counted."""
    documents = list(library_documents(40, Expected(), seed=3))
    tally, rejected = migrated(hk, documents, dry_run=True)
    assert list(hk.export()) == []
    assert [hk.conversations.speakers("default", str(one["_id"])) for one in documents[:5]] == [[]] * 5
    real, really_rejected = migrated(hk, documents)
    assert (tally, rejected) == (real, really_rejected)


# --- all of it --------------------------------------------------------------------------------------------------------


odd = st.sampled_from(
    (None, True, 7, -1.5, "x", "", [1], {"a": {"b": 1}}, b"\0", AT, ObjectId("0" * 24), bson.Regex("a"))
)
numbers = st.integers(-1, 3) | odd
guardrail_events = odd | st.fixed_dictionaries(
    {"agent_id": st.sampled_from("ab") | odd, "message_id": numbers, "timestamp": st.just(AT) | odd}
)
messages = odd | st.fixed_dictionaries(
    {"message_id": numbers, "role": st.just("user") | odd, "content": st.text(max_size=3) | odd},
    optional=dict.fromkeys(("created_at", "redact_message", "event_loop_metrics", "other", "message"), odd)
    | {"guardrail_event": guardrail_events},
)
arrays = st.lists(messages, max_size=3) | odd
agents = odd | st.fixed_dictionaries(
    {"messages": arrays},
    optional={"b": st.fixed_dictionaries({"messages": arrays}), "created_at": odd}
    | {"agent_data": st.dictionaries(st.sampled_from(("state", "agent_id", "model", "other")), odd) | odd},
)
documents = st.fixed_dictionaries(
    {
        "_id": st.sampled_from("st") | odd,
        "agents": st.dictionaries(st.sampled_from(("a", "b", "a.b", "")), agents) | odd,
    },
    optional={"guardrail_events": st.lists(guardrail_events, max_size=3) | odd, "session_type": odd, "updated_at": odd},
)


@given(st.lists(documents, max_size=3))
def test_any_conversation_is_accounted_for(found: list[Document]) -> None:
    """No document stops a migration; each value is stored or rejected, and a repeated migration adds nothing."""
    with harken.connect("memory://") as hk:
        tally, rejected = migrated(hk, found)
        for one in tally.kinds.values():
            assert one.read == one.added + one.duplicates + one.rejected
        assert len(rejected) == tally.rejected
        again, _ = migrated(hk, found)
        assert [one.added for one in again.kinds.values()] == [0] * 6
        assert [one.read for one in again.kinds.values()] == [one.read for one in tally.kinds.values()]
        for document in found:
            if document["_id"] in ("s", "t"):
                manager = open_session(hk, session_id=document["_id"])
                for agent_id in manager.session_repository.speakers(document["_id"]):  # type: ignore[attr-defined]
                    agent_of(manager, agent_id)
                manager.get_guardrail_events()


def check_whole_migration(hk: Harken, size: int) -> None:
    """Migrate generated sessions twice; then an agent of each one continues."""
    expected = Expected()
    documents = list(library_documents(size, expected, seed=size))
    tally, rejected = migrated(hk, documents)
    kept = expected.others_kept
    for kind, read in expected.others.items():
        assert tally.kinds[kind] == Tally(read, kept[kind], 0, read - kept[kind]), kind
    assert tally.feedback == Tally(expected.entries, expected.kept.total(), 0, expected.entries - expected.kept.total())
    assert tally.renumbered == expected.renumbered
    assert Counter(session_id for session_id, _, _ in rejected) == Counter(one for one, _ in expected.rejected)
    again, rejected_again = migrated(hk, documents)
    for kind, one in tally.kinds.items():
        assert again.kinds[kind] == Tally(one.read, 0, one.added, one.rejected), kind
    assert rejected_again == rejected
    last = {(application, session_id): agent_id for application, session_id, agent_id in expected.conversations}
    for (application, session_id), agent_id in last.items():
        manager = open_session(hk, application, session_id)
        agent = agent_of(manager, agent_id)
        assert texts(agent) == expected.conversations[application, session_id, agent_id]
        before = manager.get_message_count(agent_id)
        agent("And now?")
        assert (manager.get_message_count(agent_id), texts(agent)[-2:]) == (before + 2, ["And now?", "Fine."])


def test_generated_sessions_are_migrated(hk: Harken) -> None:
    """In memory."""
    check_whole_migration(hk, 60)


@pytest.mark.slow
@pytest.mark.parametrize("storage_url", ["sqlite", "mongodb"], indirect=True)
def test_500_sessions_are_migrated(storage_url: str) -> None:
    """With several agents, 50 messages each, odd values and guardrail events: each is accounted for and continues."""
    with harken.connect(storage_url) as hk:
        check_whole_migration(hk, 500)

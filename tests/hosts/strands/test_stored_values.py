"""Any value in an agent's state and messages is stored and restored as far as possible, and never stops a turn."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import UUID

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from strands import Agent, tool
from strands.multiagent import GraphBuilder
from strands.session.file_session_manager import FileSessionManager
from strands.session.session_repository import SessionRepository
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

import harken
from harken import ConfigurationError, Harken
from harken.configuration.storage_urls import open_storage
from harken.services.conversations import MAX_SIZE
from harken.services.copying import Copying
from harken_adapters.formats.value_encoding import MAX_DEPTH, decode, encode
from harken_adapters.hosts.session_manager import MongoDBSessionManager, MongoDBSessionManagerFactory
from harken_adapters.hosts.strands import HarkenSessionManager, HarkenSessionRepository
from local_model import LocalModel, ToolCall

SMALL = 20_000
T = TypeVar("T")


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sqlite", "mongodb"))])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harken]:
    """A Harken on each storage."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'feedback.db'}"}
    with harken.connect(urls.get(request.param) or request.getfixturevalue("mongodb_url")) as hk:
        yield hk


def create_agent(hk: Harken, answers: list[Any], *, limit: int = MAX_SIZE, **options: Any) -> Agent:
    """An agent with a session on Harken."""
    manager = HarkenSessionManager(hk, "s", max_record_bytes=limit)
    return Agent(model=LocalModel(answers), session_manager=manager, agent_id="a", callback_handler=None, **options)


def tool_returning(value: Any) -> Any:
    """A tool whose result is the value."""

    @tool
    def look() -> dict[str, Any]:
        """Look."""
        return {"status": "success", "content": [value]}

    return look


def results(agent: Agent) -> list[Any]:
    """The tool results, in order."""
    blocks = [block for message in agent.messages for block in message["content"]]
    return [block["toolResult"]["content"][0] for block in blocks if "toolResult" in block]


class Level(IntEnum):
    """A subclass of int."""

    HIGH = 3


class Word(StrEnum):
    """A subclass of str."""

    YES = "yes"


@frozen
class WithoutText:
    """An object whose text cannot be read."""

    def __str__(self) -> str:
        raise ZeroDivisionError


#: A value, and the value that is restored.
VALUES: dict[str, tuple[Any, Any]] = {
    "nan": (float("nan"), float("nan")),
    "infinity": ([float("inf"), -float("inf")], [float("inf"), -float("inf")]),
    "nested": ({"a": [{"b": (float("nan"), b"x")}]}, {"a": [{"b": [float("nan"), b"x"]}]}),
    "names": ({float("nan"): 1, 2: 2, None: 3, True: 4, (1,): 5}, {"NaN": 1, "2": 2, "null": 3, "true": 4, "(1,)": 5}),
    "huge": ([2**70, 10**5_000, -(10**5_000)], [2**70, 10**5_000, -(10**5_000)]),
    "bytes": ([b"a", bytearray(b"b"), memoryview(b"c")], [b"a", b"b", b"c"]),
    "set": ({1}, [1]),
    "times": (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    "numbers": ([Decimal("1.5"), Level.HIGH, Word.YES], ["1.5", 3, "yes"]),
    "id": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "text": (["\ud800", "\x00", ""], ["\ud800", "\x00", ""]),
    "no text": (WithoutText(), "<WithoutText>"),
    "a marker": ({"__bytes_encoded__": True, "data": "!"}, {"__bytes_encoded__": True, "data": "!"}),
    "our marker": ({"__harken_encoded__": "float", "data": 1}, {"__harken_encoded__": "float", "data": 1}),
    "half a marker": ({"__harken_encoded__": []}, {"__harken_encoded__": []}),
}


@pytest.mark.parametrize(
    "marker",
    [
        {"__bytes_encoded__": True, "data": "é"},
        {"__bytes_encoded__": True, "data": "!"},
        {"__harken_encoded__": "float", "data": 10**400},
        {"__harken_encoded__": "float", "data": "é"},
        {"__harken_encoded__": "int", "data": "é"},
        {"__harken_encoded__": "dict", "data": [[[1], 2]]},
        {"__harken_encoded__": "dict", "data": 1},
    ],
)
def test_an_invalid_marker_is_returned_unchanged(hk: Harken, marker: dict[str, Any]) -> None:
    """A message that another program stored, with something that only looks like a marker, is readable."""
    message = {"role": "user", "content": [{"toolResult": {"content": [{"json": marker}]}}]}
    hk.conversations.append("default", "s", "a", 0, {"message": message, "message_id": 0})
    (found,) = HarkenSessionRepository(hk.conversations, "default").list_messages("s", "a")
    assert found.message == message


@pytest.mark.parametrize("name", VALUES)
def test_any_value_is_stored(stored: Harken, name: str) -> None:
    """Values are stored as JSON, with a marker, or as text."""
    value, restored = VALUES[name]
    repository = HarkenSessionRepository(stored.conversations, "default")
    for number, change in enumerate((repository.create_message, repository.update_message)):
        result: Any = {"toolUseId": "t", "status": "success", "content": [{"json": [number, value]}]}
        change("s", "a", SessionMessage({"role": "user", "content": [{"toolResult": result}]}, 0))
        (message,) = repository.list_messages("s", "a")
        found = message.message["content"][0]["toolResult"]["content"][0]["json"]
        # Compared as texts, because NaN is not equal to itself.
        assert list(map(repr, _leaves(found))) == list(map(repr, _leaves([number, restored])))
    repository.create_agent("s", SessionAgent("a", {"k": value}, {"k": value}, {"k": value}))
    agent = repository.read_agent("s", "a")
    assert agent is not None
    for state in (agent.state, agent.conversation_manager_state, agent._internal_state):
        assert list(map(repr, _leaves(state))) == list(map(repr, _leaves({"k": restored})))


@pytest.mark.parametrize("name", ["nan", "infinity", "nested", "times", "set"])
def test_a_turn_continues_after_a_tool_result(hk: Harken, name: str) -> None:
    """The agent answers after any result, and the next process restores the result."""
    value, restored = VALUES[name]
    agent = create_agent(hk, ["one", ToolCall("look", {}), "two", "three"], tools=[tool_returning({"json": value})])
    for question in ("hi", "look", "and now?"):
        agent(question)
    (found,) = results(create_agent(hk, []))
    assert list(map(repr, _leaves(found["json"]))) == list(map(repr, _leaves(restored)))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from ((name, leaf) for name, item in value.items() for leaf in _leaves(item))
    elif isinstance(value, list):
        yield from ((index, leaf) for index, item in enumerate(value) for leaf in _leaves(item))
    else:
        yield hex(value) if type(value) is int else value


def test_state_is_stored(stored: Harken) -> None:
    """NaN and large integers in an agent's state are restored."""
    agent = create_agent(stored, ["one", "two"])
    agent("hi")
    agent.state.set("scores", {"low": float("nan"), "high": [float("inf"), 2**70]})
    agent("hello?")
    assert (
        repr(create_agent(stored, []).state.get()) == "{'scores': {'low': nan, 'high': [inf, 1180591620717411303424]}}"
    )
    record = stored.conversations.agent("default", "s", "a")
    assert record is not None
    assert record["state"] == {
        "scores": {
            "low": {"__harken_encoded__": "float", "data": "nan"},
            "high": [{"__harken_encoded__": "float", "data": "inf"}, 2**70],
        }
    }


@pytest.mark.slow
def test_a_copy_is_restored_equally(tmp_path: Path, mongodb_url: str) -> None:
    """Values that JSON cannot represent survive copies from memory to SQLite and MongoDB."""
    urls = [f"sqlite:///{tmp_path / 'feedback.db'}", mongodb_url]
    with open_storage("memory://") as source:
        with harken.connect(source) as hk:
            agent = create_agent(
                hk, [ToolCall("look", {}), "two"], tools=[tool_returning({"json": [float("nan"), b"x", 10**5_000]})]
            )
            agent.state.set("k", float("-inf"))
            agent("look")
        before = source
        for url in urls:
            with open_storage(url) as target:
                copying = Copying(before, target, lambda part, reason: pytest.fail(f"{part}: {reason}"))
                list(copying.batches())
                with harken.connect(target) as hk:
                    restored = create_agent(hk, [])
                    assert restored.state.get("k") == float("-inf")
                    nan, data, number = results(restored)[0]["json"]
                    assert (repr(nan), data, number == 10**5_000) == ("nan", b"x", True)
                list(Copying(target, source, lambda part, reason: pytest.fail(f"{part}: {reason}")).batches())


_SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(st.characters(codec="utf-8"))
)
_NAMES = (
    st.text(st.characters(codec="utf-8"), max_size=5) | st.integers(-9, 9) | st.floats() | st.booleans() | st.none()
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(_JSON)
def test_values_are_restored_as_by_file_sessions(value: Any) -> None:
    """Any value that Strands' file sessions can store is restored as by them."""
    found = []
    with TemporaryDirectory() as folder, harken.connect("memory://") as hk:
        files = FileSessionManager("s", storage_dir=folder)
        ours = HarkenSessionRepository(hk.conversations, "default")
        repositories: list[SessionRepository] = [files, ours]
        for repository in repositories:
            repository.create_agent("s", SessionAgent("a", {"k": value}, {"removed_message_count": 0}))
            agent = repository.read_agent("s", "a")
            assert agent is not None
            found.append(json.dumps(agent.state))
    assert found[0] == found[1]


@pytest.mark.slow
@given(st.recursive(_SCALARS | st.binary(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_markers_are_unambiguous(value: Any) -> None:
    """Values that look like markers are restored, at any depth, also if they are encoded repeatedly."""
    once = encode(value, "x")
    assert repr(decode(once)) == repr(value)
    assert repr(decode(encode(once, "x"))) == repr(once)


def _below(frames: int, do: Callable[[], T]) -> T:
    return do() if frames == 0 else _below(frames - 1, do)


def test_depth_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Values that are nested too deeply or contain themselves are stored up to the maximum depth."""
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(5_000):
        inner["a"] = inner = {}
    circle: list[Any] = [1]
    circle.append(circle)
    with harken.connect("memory://") as hk:
        repository = HarkenSessionRepository(hk.conversations, "default")
        content: Any = [{"toolResult": {"toolUseId": "t", "status": "success", "content": [{"json": [deep, circle]}]}}]
        # A stack depth that is realistic for an agent in an application.
        _below(
            300, lambda: repository.create_message("s", "a", SessionMessage({"role": "user", "content": content}, 0))
        )
        message = _below(300, lambda: repository.read_message("s", "a", 0))
    assert message is not None
    stored_deep, stored_circle = message.message["content"][0]["toolResult"]["content"][0]["json"]
    assert stored_circle == [1, "[a list nested too deeply to store]"]
    depth = 0
    while isinstance(stored_deep, dict):
        stored_deep, depth = stored_deep["a"], depth + 1
    assert MAX_DEPTH - 10 < depth < MAX_DEPTH
    assert "stored as text: dict, list" in caplog.text


# --- Large values -----------------------------------------------------------------------------------------------------


def _file(kind: str, data: bytes, **more: Any) -> dict[str, Any]:
    formats = {"image": "png", "document": "pdf", "video": "mp4"}
    return {kind: {"format": formats[kind], "source": {"bytes": data}, **more}}


@pytest.mark.parametrize("kind", ["image", "document", "video"])
@pytest.mark.parametrize("where", ["message", "tool result"])
def test_a_large_file_is_replaced(stored: Harken, kind: str, where: str, caplog: pytest.LogCaptureFixture) -> None:
    """The turn continues with the file; the stored message has a placeholder instead, and all other blocks."""
    more = {"name": "report"} if kind == "document" else {}
    large, small = _file(kind, b"x" * SMALL, **more), _file("image", b"small")
    seen: list[Any] = []

    def look(messages: Any) -> str:
        seen.append(messages)
        return "I see"

    answers: list[Any] = [look, look] if where == "message" else [ToolCall("look", {}), look, look]
    agent = create_agent(stored, answers, limit=SMALL, tools=[tool_returning(large)])
    agent([{"text": "Look"}, small, *([large] if where == "message" else [])])
    agent("And now?")
    assert any("x" * SMALL in str(message) for message in seen[-1])
    name = f"{large[kind]['format']} {kind}"
    assert f"stored without: {name}" in caplog.text
    restored = create_agent(stored, ["Still here"], limit=SMALL)
    first = restored.messages[0]["content"]
    placeholder = first[2]["text"] if where == "message" else results(restored)[0]["text"]
    assert placeholder.startswith(f"[{name} of 26,")
    assert first[:2] == [{"text": "Look"}, small]
    assert str(restored("Are you there?")).strip() == "Still here"


@pytest.mark.slow
def test_an_image_above_the_maximum_limit(stored: Harken) -> None:
    """An image of more than 12 MiB is replaced on each storage, by both session managers."""
    image = _file("image", b"\x00" * 13_000_000)
    for manager in (HarkenSessionManager(stored, "one"), MongoDBSessionManager("two", harken=stored)):
        agent = Agent(model=LocalModel(["I see"]), session_manager=manager, agent_id="a", callback_handler=None)
        agent([{"text": "Look"}, image])
        agent("And now?")
        again = HarkenSessionManager(stored, manager.session_id)
        restored = Agent(model=LocalModel([]), session_manager=again, agent_id="a", callback_handler=None)
        assert restored.messages[0]["content"][1]["text"].startswith("[png image of 17,333,")
        assert len(restored.messages) == 4


def test_no_more_is_replaced_than_necessary(hk: Harken) -> None:
    """The largest file is replaced first, files before texts if that is sufficient, and then texts."""
    agent = create_agent(hk, ["ok"], limit=SMALL)
    agent([_file("image", b"1" * 4_000), _file("image", b"2" * 9_000), {"text": "t" * 7_000}])
    agent([_file("image", b"3" * 300), {"text": "t" * SMALL}])
    agent([{"text": "t" * 900} for _ in range(3)])
    contents = [message["content"] for message in create_agent(hk, []).messages if message["role"] == "user"]
    assert [next(iter(block)) for block in contents[0]] == ["image", "text", "text"]
    assert contents[0][2] == {"text": "t" * 7_000}
    assert (contents[1][0], contents[1][1]) == (
        _file("image", b"3" * 300),
        {"text": f"[text of {SMALL + 2:,} bytes was too large to store]"},
    )
    assert contents[2] == [{"text": "t" * 900} for _ in range(3)]


def test_large_inputs_and_results_of_tools(hk: Harken) -> None:
    """Large inputs and results are replaced; the call and its result keep their common id."""

    @tool
    def add(numbers: list[int]) -> dict[str, Any]:
        """Add."""
        return {"status": "success", "content": [{"json": {"numbers": numbers}}]}

    agent = create_agent(hk, [ToolCall("add", {"numbers": list(range(9_000))}), "done"], limit=SMALL, tools=[add])
    agent("Add these")
    restored = create_agent(hk, ["Go on"], limit=SMALL)
    call, result = restored.messages[1]["content"][0]["toolUse"], restored.messages[2]["content"][0]["toolResult"]
    assert call["toolUseId"] == result["toolUseId"]
    assert call["input"]["text"].startswith("[input of ")  # type: ignore[index]
    assert result["content"][0]["text"].startswith("[JSON of ")
    restored("Are you there?")
    assert len(create_agent(hk, []).messages) == 6


def test_large_state_never_stops_a_turn(hk: Harken) -> None:
    """The largest values are replaced, and the others are stored."""
    agent = create_agent(hk, ["ok"], limit=SMALL)
    agent("hi")
    agent.state.set("notes", "n" * SMALL)
    agent.state.set("topic", "orders")
    agent("hello")
    state = create_agent(hk, [], limit=SMALL).state.get()
    assert (state["topic"], state["notes"][:9]) == ("orders", "[text of ")
    agent.state.set("numbers", list(range(SMALL)))
    agent("hello again")
    restored = create_agent(hk, [], limit=SMALL)
    assert (restored.state.get("topic"), restored.state.get("numbers")[:12]) == ("orders", "[numbers of ")
    assert len(restored.messages) == 6


@pytest.mark.slow
def test_a_record_that_cannot_be_shortened_never_stops_a_turn(hk: Harken, caplog: pytest.LogCaptureFixture) -> None:
    """If a record is too large for any storage, the previous one stays, and an error is logged."""
    agent = create_agent(hk, ["ok"])
    agent.state.set("topic", "orders")
    agent("hi")
    agent._model_state = {"history": ["x" * 900] * 15_000}
    agent("hello")
    assert "The state of agent 'a' was not stored" in caplog.text
    restored = create_agent(hk, [])
    assert (restored.state.get("topic"), len(restored.messages)) == ("orders", 4)


def test_a_large_redaction(hk: Harken) -> None:
    """A message with which a guardrail replaces another may be too large too."""
    agent = create_agent(hk, ["answer"], limit=SMALL)
    agent("question")
    manager = HarkenSessionManager(hk, "s", max_record_bytes=SMALL)
    again = Agent(model=LocalModel([]), session_manager=manager, agent_id="a", callback_handler=None)
    content: Any = [{"text": "[redacted]"}, _file("image", b"x" * SMALL), {"json": float("nan")}]
    manager.redact_latest_message({"role": "assistant", "content": content}, again)
    content = create_agent(hk, []).messages[1]["content"]
    assert content[0] == {"text": "[redacted]"}
    assert content[1]["text"].startswith("[png image of ")


def test_the_state_of_a_graph(stored: Harken) -> None:
    """It may have values that JSON cannot represent, and files that are too large."""

    class Multi:
        """The part of a graph that a session uses."""

        id = "graph"

        def serialize_state(self) -> dict[str, Any]:
            message = {"role": "assistant", "content": [_file("image", b"x" * SMALL), {"text": "done"}]}
            return {"node_results": {"a": {"score": float("nan"), "data": b"x", "message": message}}}

    repository = HarkenSessionRepository(stored.conversations, "default", max_record_bytes=SMALL)
    repository.create_multi_agent("s", Multi())  # type: ignore[arg-type]
    state = repository.read_multi_agent("s", "graph")
    assert state is not None
    result = state["node_results"]["a"]
    assert (repr(result["score"]), result["data"]) == ("nan", b"x")
    assert result["message"]["content"][0]["text"].startswith("[png image of ")
    assert result["message"]["content"][1] == {"text": "done"}


def test_a_graph_with_nan_in_a_nodes_state(hk: Harken) -> None:
    """A graph runs and is restored."""
    for _ in range(2):
        node = Agent(model=LocalModel(["done"]), agent_id="node", callback_handler=None)
        node.state.set("confidence", float("nan"))
        builder = GraphBuilder()
        builder.add_node(node, "node")
        builder.set_max_node_executions(10)
        builder.set_session_manager(HarkenSessionManager(hk, "s"))
        assert str(builder.build()("go").results["node"].result).strip() == "done"


@pytest.mark.parametrize("limit", [999, MAX_SIZE + 1])
def test_the_range_of_the_limit(hk: Harken, limit: int) -> None:
    """A limit that is too large for a storage, or too small for a message, is an error."""
    with pytest.raises(ConfigurationError, match="must be from 1,000 to 12,582,912"):
        HarkenSessionManager(hk, "s", max_record_bytes=limit)
    with pytest.raises(ConfigurationError, match="must be from 1,000 to 12,582,912"):
        MongoDBSessionManagerFactory(harken=hk).create_session_manager("s", max_record_bytes=limit)


def test_no_warning_for_values_that_are_restored(hk: Harken, caplog: pytest.LogCaptureFixture) -> None:
    """NaN and bytes are restored unchanged, without a warning."""
    caplog.set_level(logging.WARNING)
    agent = create_agent(hk, [ToolCall("look", {}), "two"], tools=[tool_returning({"json": [float("nan"), b"x"]})])
    agent("look")
    assert [record for record in caplog.records if record.name.startswith("harken")] == []


def test_sessions_of_earlier_versions_are_restored(hk: Harken) -> None:
    """Records in Strands' format, with its marker of bytes only, are read."""
    content: Any = [{"text": "hi"}, _file("image", b"png")]
    message = SessionMessage({"role": "user", "content": content}, 0)
    hk.conversations.append("default", "s", "a", 0, message.to_dict())
    repository = HarkenSessionRepository(hk.conversations, "default")
    assert repository.read_message("s", "a", 0) == message
    assert repository.create_session(Session("s", SessionType.AGENT)).session_id == "s"

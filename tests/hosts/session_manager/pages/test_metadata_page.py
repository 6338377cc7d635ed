"""Metadata: partial updates, paths, exact values, hooks, and the tool for agents."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from bson import Decimal128, ObjectId
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient
from strands import Agent

from harken import InvalidMetadata
from harken_adapters.hosts.session_manager import MongoDBSessionManager
from hosts.session_manager.pages.conftest import Open
from local_model import LocalModel, ToolCall
from support import in_threads


def stored(manager: MongoDBSessionManager) -> dict[str, Any]:
    """The metadata of a session by name."""
    metadata: dict[str, Any] = manager.get_metadata()["metadata"]
    return metadata


def test_metadata_is_built_step_by_step(open_session: Open) -> None:
    """An update keeps the other names; another session manager of the session returns all, with the session's id."""
    manager = open_session("session-1")
    assert manager.get_metadata() == {"_id": "session-1", "metadata": {}}
    manager.update_metadata({"status": "new", "customer": {"name": "Ann", "tier": "basic"}})
    manager.update_metadata({"status": "active", "turns": 1})
    manager.update_metadata({"customer.tier": "premium", "customer.tags": ["early"]})
    expected = {"status": "active", "turns": 1, "customer": {"name": "Ann", "tier": "premium", "tags": ["early"]}}
    assert open_session("session-1").get_metadata() == {"_id": "session-1", "metadata": expected}
    assert stored(open_session("session-2")) == {}


def test_deleting_removes_exactly_the_names(open_session: Open) -> None:
    """Names and paths are removed, and their siblings stay; an unknown name is not an error."""
    manager = open_session()
    manager.update_metadata({"a": 1, "ab": 2, "user": {"name": "Ann", "token": "x", "nested": {"n": 1}}, "list": [1]})
    manager.delete_metadata(["a", "user.token", "user.nested.n", "unknown", "user.unknown", "a.b", "list.0"])
    assert stored(manager) == {"ab": 2, "user": {"name": "Ann", "nested": {}}, "list": [1]}
    manager.delete_metadata(metadata_keys=["user"])
    assert stored(manager) == {"ab": 2, "list": [1]}


def test_a_dotted_key_is_a_path(open_session: Open) -> None:
    """It creates the dictionaries on the way; through another value it is refused, and nothing is changed."""
    manager = open_session()
    manager.update_metadata({"preferences.mail.weekly": True, "visits": 1, "since": date(2026, 1, 1)})
    before = {"preferences": {"mail": {"weekly": True}}, "visits": 1, "since": date(2026, 1, 1)}
    assert stored(manager) == before
    for path in ("visits.last", "preferences.mail.weekly.x", "since.data", "since.__harken_encoded__"):
        with pytest.raises(InvalidMetadata, match=path.replace(".", r"\.")):
            manager.update_metadata({"fine": 1, path: 2})
    assert stored(manager) == before


def test_concurrent_updates_of_paths_lose_nothing(open_session: Open) -> None:
    """Session managers that set and delete paths of one dictionary at the same time do not undo each other."""
    managers = [open_session() for _ in range(3)]
    managers[0].update_metadata({"steps": {f"old-{number}": "x" for number in range(9)}})
    calls: list[Callable[[], object]] = []
    for number in range(9):
        manager = managers[number % 3]
        calls.append(partial(manager.update_metadata, {f"steps.new-{number}": number}))
        calls.append(partial(manager.delete_metadata, [f"steps.old-{number}"]))
    in_threads(calls)
    assert stored(managers[0]) == {"steps": {f"new-{number}": number for number in range(9)}}


EVERY_TYPE = {
    "text": "größe ✓",
    "number": 1.5,
    "none": None,
    "list": [1, [True, None], {"a": []}],
    "nested": {"deep": {"deeper": {"when": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)}}},
    "local": datetime(2026, 1, 2, 3, 4, 5, 678_000),  # noqa: DTZ001 - the library returns such times
    "in Delhi": datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "day": date(2026, 1, 2),
    "time": time(12, 30),
    "bytes": b"\x00\xff",
    "infinite": float("inf"),
    "uuid": UUID(int=7),
    "id": ObjectId("65f1a0b2c3d4e5f60718293a"),
    "price": Decimal128("9.90"),
    "looks like a marker": {"__harken_encoded__": "datetime", "data": "2026-01-01"},
    "$set": {"a.b": 1, "50 %": {"$": "%2E"}},
}


def test_values_come_back_equal(open_session: Open) -> None:
    """Dates, bytes, BSON types, lists and nested values are returned with their types, also under any name."""
    open_session().update_metadata(EVERY_TYPE)
    found = stored(open_session())
    assert found == EVERY_TYPE
    assert {name: type(value) for name, value in found.items()} == {name: type(one) for name, one in EVERY_TYPE.items()}


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=5)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5)
    | st.binary(max_size=5)
    | st.datetimes()
    | st.dates()
    | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            names | st.sampled_from(["__bytes_encoded__", "__harken_encoded__", "data"]), inner, max_size=2
        )
    ),
    max_leaves=5,
)


def test_any_value_comes_back_equal(open_session: Open) -> None:
    """Values of any type are returned equal, nested in each other and under any name."""
    manager = open_session()

    @given(st.dictionaries(names.filter(lambda name: "." not in name), values, max_size=3))
    def keep(metadata: dict[str, Any]) -> None:
        manager.delete_metadata(list(stored(manager)))
        manager.update_metadata(metadata)
        assert stored(manager) == metadata

    keep()


@pytest.mark.parametrize(
    ("value", "kind"), [(object(), "object"), ({1, 2}, "set"), (1j, "complex"), (len, "builtin_function_or_method")]
)
def test_an_unknown_type_is_named(open_session: Open, value: object, kind: str) -> None:
    """The error names the value and its type, and nothing of the update is stored."""
    manager = open_session()
    with pytest.raises(InvalidMetadata, match=rf"metadata\.user\.list\[1\]\.it must be .*, got {kind}"):
        manager.update_metadata({"fine": 1, "user": {"list": [0, {"it": value}]}})
    assert stored(manager) == {}


def test_values_that_were_stored_as_json(open_session: Open) -> None:
    """Metadata that another door of Harken stored is returned unchanged, and its dictionaries have paths too."""
    manager = open_session()
    manager.harken.sessions.update(manager.application, "session-1", {"user": {"when": "2026-01-01"}, "a.b": [1]})
    manager.update_metadata({"user.name": "Ann"})
    assert stored(manager) == {"user": {"when": "2026-01-01", "name": "Ann"}, "a.b": [1]}


def test_hooks_see_every_operation(open_session: Open) -> None:
    """They get the action and its argument by name; they may change it, and refuse."""
    seen: list[tuple[object, ...]] = []

    def hook(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
        seen.append((action, session_id, kwargs))
        if action == "update":
            if "forbidden" in kwargs["metadata"]:
                raise PermissionError("forbidden")
            kwargs["metadata"]["updated_at"] = datetime(2026, 1, 1, tzinfo=UTC)
        return original_func(**kwargs)

    manager = open_session(metadata_hook=hook)
    manager.update_metadata({"a": 1})
    assert stored(manager) == {"a": 1, "updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
    with pytest.raises(PermissionError):
        manager.update_metadata({"forbidden": 1})
    manager.delete_metadata(["a"])
    assert stored(manager) == {"updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
    assert [action for action, *_ in seen] == ["update", "get", "update", "delete", "get"]
    assert seen[0] == ("update", "session-1", {"metadata": {"a": 1, "updated_at": datetime(2026, 1, 1, tzinfo=UTC)}})
    assert seen[3] == ("delete", "session-1", {"keys": ["a"]})


def test_a_hook_may_cache(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit makes no call to the storage."""
    cache: dict[str, Any] = {}

    def hook(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
        if action == "get":
            if session_id not in cache:
                cache[session_id] = original_func()
            return cache[session_id]
        cache.pop(session_id, None)
        return original_func(*kwargs.values())

    manager = open_session(metadata_hook=hook)
    manager.update_metadata({"a": 1})
    assert stored(manager) == {"a": 1}
    reads: list[str] = []
    repository: Any = manager.harken.sessions._repository
    read = repository.get

    def get(application: str, session_id: str) -> object:
        reads.append(session_id)
        return read(application, session_id)

    monkeypatch.setattr(repository, "get", get)
    assert [stored(manager) for _ in range(3)] == [{"a": 1}] * 3
    assert reads == []
    manager.delete_metadata(["a"])
    reads.clear()
    assert stored(manager) == {}
    assert reads == ["session-1"]


def test_the_tool(open_session: Open) -> None:
    """Actions in any case, and JSON text for both arguments; it never raises, and its calls go through the hooks."""
    actions: list[str] = []

    def hook(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
        actions.append(f"{action} {session_id}")
        if "forbidden" in kwargs.get("metadata", {}):
            raise ValueError("not allowed")
        return original_func(**kwargs)

    manager = open_session(metadata_hook=hook)
    manage: Any = manager.get_metadata_tool()
    assert manage("SET", {"topic": "refunds", "user": {"name": "Ann"}}) == (
        "Successfully updated metadata fields: ['topic', 'user']"
    )
    assert manage("update", '{"user.tier": 1}') == "Successfully updated metadata fields: ['user.tier']"
    assert manage("get", keys=["topic"]) == 'Metadata retrieved: {"topic": "refunds"}'
    assert manage("Get", keys='["user.tier", "unknown"]') == 'Metadata retrieved: {"user.tier": 1}'
    assert manage("get", keys=["unknown"]) == "No metadata found for keys: ['unknown']"
    manager.update_metadata({"when": date(2026, 1, 2)})
    everything = manage("get")
    assert everything.startswith("All metadata: ")
    assert json.loads(everything.partition(": ")[2]) == {
        "topic": "refunds",
        "user": {"name": "Ann", "tier": 1},
        "when": "2026-01-02",
    }
    assert manage("delete", keys=["topic", "user.name"]) == (
        "Successfully deleted metadata fields: ['topic', 'user.name']"
    )
    for arguments in (
        ("set", {"forbidden": 1}),
        ("set", "{not JSON"),
        ("set", {"user.tier.x": 1}),
        ("set",),
        ("delete",),
        ("drop", {}),
    ):
        assert manage(*arguments).startswith("Error: ")
    assert stored(manager) == {"user": {"tier": 1}, "when": date(2026, 1, 2)}
    assert {"update session-1", "get session-1", "delete session-1"} == set(actions)


def test_an_agent_uses_the_tool(open_session: Open) -> None:
    """What it stores in one turn is there for the program, and for the agent of another session manager."""
    manager = open_session()
    calls = [ToolCall("manage_metadata", {"action": "set", "metadata": '{"user.language": "es"}'}), "Stored"]
    tools = [manager.get_metadata_tool()]
    Agent(model=LocalModel(calls), session_manager=manager, tools=tools, callback_handler=None)("I speak Spanish")
    assert stored(manager) == {"user": {"language": "es"}}
    later = open_session()
    model = LocalModel([ToolCall("manage_metadata", {"action": "get"}), "Spanish"])
    agent = Agent(model=model, session_manager=later, tools=[later.get_metadata_tool()], callback_handler=None)
    agent("Which language do I speak?")
    results = [block["toolResult"] for one in agent.messages for block in one["content"] if "toolResult" in block]
    assert results[-1]["content"] == [{"text": 'All metadata: {"user": {"language": "es"}}'}]


def test_metadata_fields(open_session: Open, place: dict[str, Any]) -> None:
    """On MongoDB each name or path has an index, under its name in the documents; the others need none."""
    manager = open_session(metadata_fields=["status", "customer.tier", "50 %"])
    manager.update_metadata({"status": "new", "customer.tier": 1, "50 %": b"half"})
    assert stored(manager) == {"status": "new", "customer": {"tier": 1}, "50 %": b"half"}
    url = place.get("connection_string", "")
    if not url.startswith("mongodb"):
        return
    with MongoClient[Any](url) as client:
        collection = client.get_default_database()["harken_sessions"]
        keys = [index["key"] for index in collection.index_information().values()]
        for name in ("status", "customer.tier", "50 %25"):
            assert [("application", 1), (f"metadata.{name}", 1)] in keys
        assert collection.count_documents({"application": manager.application, "metadata.customer.tier": 1}) == 1

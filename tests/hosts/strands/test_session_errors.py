"""Storage errors are both Harken's errors and ``SessionException`` of Strands, from every method."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from strands import Agent
from strands.types.exceptions import SessionException
from strands.types.session import SessionAgent, SessionMessage

import harken
from harken import InvalidConversation, StorageClosed, StorageIncompatible, StorageUnavailable
from harken.configuration.storage_urls import open_storage
from harken_adapters.hosts.session_manager import (
    MongoDBSessionManager,
    MongoDBSessionManagerFactory,
    initialize_global_factory,
)
from harken_adapters.hosts.strands import AgentFeedback, HarkenSessionManager
from harken_adapters.hosts.strands.repository import HarkenSessionRepository, UnknownAgent
from local_model import LocalModel

MESSAGE = SessionMessage({"role": "user", "content": [{"text": "hi"}]}, 0)


class Graph:
    """The part of a graph that a session uses."""

    id = "graph"

    def serialize_state(self) -> dict[str, Any]:
        """An empty state."""
        return {}


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sqlite", "mongodb"))])
def closed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MongoDBSessionManager]:
    """A session manager on a closed storage."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'feedback.db'}"}
    with open_storage(urls.get(request.param) or request.getfixturevalue("mongodb_url")) as storage:
        hk = harken.connect(storage)
    yield MongoDBSessionManager("s", harken=hk)
    hk.close()


METHODS: dict[str, Callable[[MongoDBSessionManager], object]] = {
    "feedback.submit": lambda manager: manager.feedback.submit("up"),
    "AgentFeedback.submit": lambda manager: AgentFeedback(manager.harken, "s").submit("up"),
    "add_feedback": lambda manager: manager.add_feedback({"rating": "up"}),
    "get_feedbacks": lambda manager: manager.get_feedbacks(),
    "update_metadata": lambda manager: manager.update_metadata({"a": 1}),
    "get_metadata": lambda manager: manager.get_metadata(),
    "delete_metadata": lambda manager: manager.delete_metadata(["a"]),
    "list_agents": lambda manager: manager.list_agents(),
    "get_agent_config": lambda manager: manager.get_agent_config("a"),
    "update_agent_config": lambda manager: manager.update_agent_config("a", model="m"),
    "get_message_count": lambda manager: manager.get_message_count(),
    "an agent": lambda manager: Agent(model=LocalModel([]), session_manager=manager, callback_handler=None),
    "create_agent": lambda manager: manager.session_repository.create_agent("s", SessionAgent("a", {}, {})),
    "read_agent": lambda manager: manager.session_repository.read_agent("s", "a"),
    "update_agent": lambda manager: manager.session_repository.update_agent("s", SessionAgent("a", {}, {})),
    "create_message": lambda manager: manager.session_repository.create_message("s", "a", MESSAGE),
    "read_message": lambda manager: manager.session_repository.read_message("s", "a", 0),
    "update_message": lambda manager: manager.session_repository.update_message("s", "a", MESSAGE),
    "list_messages": lambda manager: manager.session_repository.list_messages("s", "a"),
    "create_multi_agent": lambda manager: manager.session_repository.create_multi_agent("s", Graph()),  # type: ignore[arg-type]
    "read_multi_agent": lambda manager: manager.session_repository.read_multi_agent("s", "graph"),
    "update_multi_agent": lambda manager: manager.session_repository.update_multi_agent("s", Graph()),  # type: ignore[arg-type]
    "sync_multi_agent": lambda manager: manager.sync_multi_agent(Graph()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("method", METHODS)
def test_a_closed_storage(closed: MongoDBSessionManager, method: str) -> None:
    """The error is an instance of both classes."""
    with pytest.raises(SessionException, match="closed") as caught:
        METHODS[method](closed)
    assert isinstance(caught.value, StorageClosed)


@pytest.mark.parametrize("agent_id", ["session:", "session:1", "multi_agent:graph"])
def test_an_id_of_another_record(agent_id: str) -> None:
    """An agent cannot have the id of the record of a session or of a graph, nor read or change such a record."""
    with harken.connect("memory://") as hk:
        hk.conversations.put_agent("default", "s", agent_id, {"state": {}, "session_type": "AGENT"})
        repository = HarkenSessionRepository(hk.conversations, "default")
        for store in (
            lambda: repository.create_agent("s", SessionAgent(agent_id, {}, {})),
            lambda: repository.update_agent("s", SessionAgent(agent_id, {}, {})),
            lambda: repository.set_prompt("s", agent_id, {}),
            lambda: repository.create_message("s", agent_id, MESSAGE),
            lambda: Agent(model=LocalModel([]), session_manager=HarkenSessionManager(hk, "s"), agent_id=agent_id),
        ):
            with pytest.raises(
                SessionException, match="agent_id must not begin with session: or multi_agent:"
            ) as caught:
                store()
            assert isinstance(caught.value, InvalidConversation)
        assert (repository.read_agent("s", agent_id), repository.record("s", agent_id)) == (None, None)
        with pytest.raises(UnknownAgent):
            repository.configure("s", agent_id, {"model": "m"})
        assert hk.conversations.agent("default", "s", agent_id) == {"state": {}, "session_type": "AGENT"}
        assert hk.conversations.count("default", "s") == 0


def test_hooks(closed: MongoDBSessionManager) -> None:
    """The function that a hook calls raises the same error, so the hook can catch it."""
    caught: list[Exception] = []

    def hook(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
        try:
            return original_func(*(kwargs[name] for name in ("feedback", "metadata", "keys") if name in kwargs))
        except SessionException as error:
            caught.append(error)
            return {"metadata": {}}

    manager = MongoDBSessionManager("s", harken=closed.harken, feedback_hook=hook, metadata_hook=hook)
    manager.add_feedback({"rating": "up"})
    manager.get_metadata()
    manager.update_metadata({"a": 1})
    manager.delete_metadata("a")
    assert [isinstance(error, StorageClosed) for error in caught] == [True] * 4


def test_tools(closed: MongoDBSessionManager) -> None:
    """The tool result has the error, also if a program calls the tool."""
    for tool, call in (
        (closed.get_feedback_tool(), {"rating": "up"}),
        (closed.feedback.tool(), {"rating": "up"}),
    ):
        agent = Agent(model=LocalModel([]), tools=[tool], callback_handler=None)
        result = getattr(agent.tool, tool.tool_name)(**call, record_direct_tool_call=False)
        assert (result["status"], "closed" in str(result["content"])) == ("error", True)
    # Its results are texts, as in mongodb_session_manager.
    assert "closed" in closed.get_metadata_tool()(action="get")  # type: ignore[operator] # a decorated function


OPENERS: dict[str, Callable[[str], object]] = {
    "session manager": lambda url: MongoDBSessionManager("s", url),
    "factory": MongoDBSessionManagerFactory,
    "global factory": initialize_global_factory,
}


@pytest.mark.parametrize("opener", OPENERS)
def test_opening(opener: str, tmp_path: Path) -> None:
    """A storage that cannot be opened, and one that was not created by Harken."""
    with pytest.raises(SessionException) as caught:
        OPENERS[opener](f"sqlite:///{tmp_path / 'nowhere' / 'feedback.db'}")
    assert isinstance(caught.value, StorageUnavailable)
    (tmp_path / "other.db").write_bytes(b"not a database, but long enough to be read as one" * 20)
    with pytest.raises(SessionException) as caught:
        OPENERS[opener](f"sqlite:///{tmp_path / 'other.db'}")
    assert isinstance(caught.value, StorageIncompatible)


@pytest.mark.slow
def test_a_server_that_does_not_answer() -> None:
    """Opening MongoDB without a server raises ``SessionException``."""
    with pytest.raises(SessionException) as caught:
        MongoDBSessionManager("s", "mongodb://127.0.0.1:1/?timeoutMS=500")
    assert isinstance(caught.value, StorageUnavailable)


def test_invalid_session_ids() -> None:
    """The error is both ``SessionException`` and ``ValueError``."""
    with harken.connect("memory://") as hk, pytest.raises(SessionException) as caught:
        Agent(model=LocalModel([]), session_manager=HarkenSessionManager(hk, "a\nb"), callback_handler=None)
    assert isinstance(caught.value, ValueError)

"""The feedback tool: what is said about one answer counts once, however often a model calls the tool."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from strands import Agent
from strands.session.file_session_manager import FileSessionManager
from strands.types.tools import AgentTool

import harken
from harken import Harken, Receipt
from harken_adapters.hosts.session_manager import MongoDBSessionManager
from harken_adapters.hosts.strands import AgentFeedback, HarkenSessionManager
from local_model import LocalModel, ToolCall
from support import in_threads

DOWN = ToolCall("record_feedback", {"rating": "down", "comment": "wrong order"})
UP = ToolCall("record_feedback", {"rating": "up", "comment": "right after all"})


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sqlite", "mongodb"))])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harken]:
    """A Harken on each storage."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'feedback.db'}"}
    with harken.connect(urls.get(request.param) or request.getfixturevalue("mongodb_url")) as hk:
        yield hk


def _strands(hk: Harken, _: Path) -> tuple[AgentTool, dict[str, Any]]:
    manager = HarkenSessionManager(hk, "s")
    return manager.feedback.tool(), {"session_manager": manager}


def _session_manager(hk: Harken, _: Path) -> tuple[AgentTool, dict[str, Any]]:
    manager = MongoDBSessionManager("s", harken=hk)
    return manager.get_feedback_tool(), {"session_manager": manager}


def _beside_files(hk: Harken, folder: Path) -> tuple[AgentTool, dict[str, Any]]:
    feedback = AgentFeedback(hk, "s")
    files = FileSessionManager("s", storage_dir=str(folder / "sessions"))
    return feedback.tool(), {"session_manager": files, "hooks": [feedback]}


HOSTS = {"strands": _strands, "session manager": _session_manager, "beside files": _beside_files}


@pytest.fixture(params=HOSTS)
def talk(request: pytest.FixtureRequest, stored: Harken, tmp_path: Path) -> Callable[[list[Any]], Agent]:
    """Makes an agent of one session that says these things, as a new process would."""

    def begin(answers: list[Any]) -> Agent:
        tool, options = HOSTS[request.param](stored, tmp_path)
        return Agent(model=LocalModel(answers), tools=[tool], agent_id="a", callback_handler=None, **options)

    return begin


def _kept(hk: Harken) -> list[tuple[str | None, str]]:
    return [(one.rating.value, one.comment) for one in hk.stream(session_id="s")]


def test_the_same_call_twice(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """One after the other in a turn: one thumbs-down, without a revision."""
    agent = talk(["Here it is", DOWN, DOWN, "noted"])
    agent("where is my order")
    agent("wrong order, please note that")
    (feedback,) = stored.stream()
    assert (feedback.comment, feedback.version, stored.summary().negative) == ("wrong order", 1, 1)


def test_calls_at_once(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """In one message of the model, which Strands runs in parallel: one entry."""
    agent = talk(["Here it is", [DOWN, DOWN, DOWN], "noted"])
    agent("where is my order")
    agent("wrong order, please note that")
    assert _kept(stored) == [("down", "wrong order")]


def test_a_correction(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """What was said last counts, and what was said before is a revision of it."""
    agent = talk(["Here it is", DOWN, UP, "noted"])
    agent("where is my order")
    agent("wrong order; no, it is the right one")
    (feedback,) = stored.stream()
    assert (feedback.rating, feedback.comment) == (harken.Rating.UP, "right after all")
    assert [revision.comment for revision in feedback.revisions] == ["wrong order"]


def test_after_a_restart(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """A new process knows what was said about an answer before; each answer counts for itself."""
    talk(["Here it is", DOWN, "noted"])("where is my order")
    agent = talk([UP, "noted", DOWN, "and another"])
    for question in ("it is right after all", "the last one is wrong"):
        agent(question)
    answers = {one.message_id for one in stored.stream()}
    assert len(answers) == len(_kept(stored)) == stored.summary().total
    talk([DOWN, DOWN, "noted"])("still wrong")
    talk([DOWN, DOWN, "noted"])("still wrong")
    assert stored.summary().total == len({one.message_id for one in stored.stream()})


def test_two_answers_count_twice(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """Feedback on different answers is never one."""
    agent = talk(["one", DOWN, "two", DOWN, "three"])
    for question in ("first", "that is wrong", "that as well"):
        agent(question)
    assert _kept(stored) == [("down", "wrong order")] * 2
    assert stored.summary().negative == 2


def test_many_threads(stored: Harken) -> None:
    """However many call the tool at once, through hooks or not, one entry is kept, and nobody is refused."""
    managers = [MongoDBSessionManager("s", harken=stored) for _ in range(4)]
    tools: list[Any] = [manager.get_feedback_tool() for manager in managers]
    said = in_threads(
        [lambda tool=tool, n=n: tool(rating="down", comment=f"wrong {n}") for n in range(4) for tool in tools]
    )
    assert {result["status"] for result in said} == {"success"}
    assert stored.summary().negative == 1


def test_hooks_see_each_call(hk: Harken) -> None:
    """A hook is called each time, may change what is kept or say whose it is, and what it skips changes nothing."""
    seen: list[str] = []

    def hook(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
        feedback = kwargs["feedback"]
        seen.append(feedback["comment"])
        if feedback["comment"] == "skip":
            return None
        author = "ann" if feedback["comment"] == "by ann" else None
        return original_func({**feedback, "comment": feedback["comment"].upper(), "author": author})

    manager = MongoDBSessionManager("s", harken=hk, feedback_hook=hook)
    tool: Any = manager.get_feedback_tool()
    for comment in ("first", "second", "skip", "by ann"):
        tool(rating="down", comment=comment)
    assert seen == ["first", "second", "skip", "by ann"]
    assert [(one.comment, one.author) for one in hk.stream()] == [("SECOND", "session:s"), ("BY ANN", "ann")]


def test_other_feedback_still_counts(hk: Harken) -> None:
    """What a program submits itself is a new entry each time, and none of it is the tool's."""
    manager = MongoDBSessionManager("s", harken=hk)
    tool: Any = manager.get_feedback_tool()
    tool(rating="up", comment="")
    for _ in range(2):
        manager.add_feedback({"rating": "up"})
        assert isinstance(manager.feedback.submit("up"), Receipt)
    assert hk.summary().positive == 5


def test_a_session_with_the_longest_id(hk: Harken) -> None:
    """Its user has an author that fits, and is another one than that of a session with nearly the same id."""
    for session_id in ("s" * 200, "s" * 199 + "t"):
        tool: Any = HarkenSessionManager(hk, session_id).feedback.tool()
        for _ in range(2):
            assert tool(rating="up")["status"] == "success"
    assert len({one.author for one in hk.stream()}) == hk.summary().total == 2

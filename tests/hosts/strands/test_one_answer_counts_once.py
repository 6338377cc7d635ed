"""The feedback tool: feedback on one answer counts once, even if a model calls the tool repeatedly."""

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


def _with_file_sessions(hk: Harken, folder: Path) -> tuple[AgentTool, dict[str, Any]]:
    feedback = AgentFeedback(hk, "s")
    files = FileSessionManager("s", storage_dir=str(folder / "sessions"))
    return feedback.tool(), {"session_manager": files, "hooks": [feedback]}


HOSTS = {"strands": _strands, "session manager": _session_manager, "file sessions": _with_file_sessions}


@pytest.fixture(params=HOSTS)
def talk(request: pytest.FixtureRequest, stored: Harken, tmp_path: Path) -> Callable[[list[Any]], Agent]:
    """A function that creates an agent of the session with these responses, as a new process would."""

    def start(answers: list[Any]) -> Agent:
        tool, options = HOSTS[request.param](stored, tmp_path)
        return Agent(model=LocalModel(answers), tools=[tool], agent_id="a", callback_handler=None, **options)

    return start


def _entries(hk: Harken) -> list[tuple[str | None, str]]:
    return [(one.rating.value, one.comment) for one in hk.export(session_id="s")]


def test_the_same_call_twice(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """Two equal calls in a turn store one thumbs-down without a revision."""
    agent = talk(["Here it is", DOWN, DOWN, "noted"])
    agent("where is my order")
    agent("wrong order, please note that")
    (feedback,) = stored.export()
    assert (feedback.comment, feedback.version, stored.summary().negative) == ("wrong order", 1, 1)


def test_parallel_calls(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """Calls in one message, which Strands runs in parallel, store one entry."""
    agent = talk(["Here it is", [DOWN, DOWN, DOWN], "noted"])
    agent("where is my order")
    agent("wrong order, please note that")
    assert _entries(stored) == [("down", "wrong order")]


def test_a_correction(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """The last call counts, and the previous feedback is a revision."""
    agent = talk(["Here it is", DOWN, UP, "noted"])
    agent("where is my order")
    agent("wrong order; no, it is the right one")
    (feedback,) = stored.export()
    assert (feedback.rating, feedback.comment) == (harken.Rating.UP, "right after all")
    assert [revision.comment for revision in feedback.revisions] == ["wrong order"]


def test_after_a_restart(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """A new process revises earlier feedback on an answer; each answer counts separately."""
    talk(["Here it is", DOWN, "noted"])("where is my order")
    agent = talk([UP, "noted", DOWN, "and another"])
    for question in ("it is right after all", "the last one is wrong"):
        agent(question)
    answers = {one.message_id for one in stored.export()}
    assert len(answers) == len(_entries(stored)) == stored.summary().total
    talk([DOWN, DOWN, "noted"])("still wrong")
    talk([DOWN, DOWN, "noted"])("still wrong")
    assert stored.summary().total == len({one.message_id for one in stored.export()})


def test_two_answers_count_twice(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """Feedback on different answers is counted separately."""
    agent = talk(["one", DOWN, "two", DOWN, "three"])
    for question in ("first", "that is wrong", "that as well"):
        agent(question)
    assert _entries(stored) == [("down", "wrong order")] * 2
    assert stored.summary().negative == 2


def test_many_threads(stored: Harken) -> None:
    """Concurrent calls of the tool store one entry, and none is rejected."""
    managers = [MongoDBSessionManager("s", harken=stored) for _ in range(4)]
    tools: list[Any] = [manager.get_feedback_tool() for manager in managers]
    results = in_threads(
        [lambda tool=tool, n=n: tool(rating="down", comment=f"wrong {n}") for n in range(4) for tool in tools]
    )
    assert {result["status"] for result in results} == {"success"}
    assert stored.summary().negative == 1


def test_hooks_see_each_call(hk: Harken) -> None:
    """A hook is called each time. It may change the feedback or its author; skipped calls change nothing."""
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
    assert [(one.comment, one.author) for one in hk.export()] == [("SECOND", "session:s"), ("BY ANN", "ann")]


def test_other_feedback_still_counts(hk: Harken) -> None:
    """Each submission of the program is a new entry, separate from the tool's entry."""
    manager = MongoDBSessionManager("s", harken=hk)
    tool: Any = manager.get_feedback_tool()
    tool(rating="up", comment="")
    for _ in range(2):
        manager.add_feedback({"rating": "up"})
        assert isinstance(manager.feedback.submit("up"), Receipt)
    assert hk.summary().positive == 5


def test_a_session_with_the_longest_id(hk: Harken) -> None:
    """The author of its user has a valid length, and differs from that of a session with almost the same id."""
    for session_id in ("s" * 200, "s" * 199 + "t"):
        tool: Any = HarkenSessionManager(hk, session_id).feedback.tool()
        for _ in range(2):
            assert tool(rating="up")["status"] == "success"
    assert len({one.author for one in hk.export()}) == hk.summary().total == 2


# --- The rated answer -------------------------------------------------------------------------------------------------


def rate(rating: str, comment: str = "", **options: Any) -> ToolCall:
    """A call of the feedback tool."""
    return ToolCall("record_feedback", {"rating": rating, "comment": comment, **options})


BAD, LATE, GOOD = rate("down"), rate("down", "late"), rate("up", "good")


def _votes(hk: Harken, agent: Agent) -> dict[str | None, tuple[str | None, str]]:
    """Rating and comment of each vote, by the text of its answer."""
    texts = {message["tracking_id"]: message["content"][0].get("text") for message in agent.messages}
    return {texts[one.message_id or ""]: (one.rating.value, one.comment) for one in hk.export(session_id="s")}


def test_a_reason_and_a_correction(stored: Harken, talk: Callable[[list[Any]], Agent]) -> None:
    """Both refer to the first answer, also if a new process handles each turn."""
    for turn in (["A"], [BAD, "Why?"], [LATE, "Noted"], [GOOD, "Thanks"]):
        agent = talk(turn)
        agent("go on")
    assert _votes(stored, agent) == {"A": ("up", "good")}
    (feedback,) = stored.export()
    assert [revision.comment for revision in feedback.revisions] == ["late"]


@pytest.mark.parametrize("stored", ["memory"], indirect=True)
@pytest.mark.parametrize("talk", ["strands"], indirect=True)
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("turns", "votes"),
    [
        pytest.param(
            [["A"], [BAD, "Why?"], [LATE, "Noted"]], {"A": ("down", "late")}, id="a reason that was asked for"
        ),
        pytest.param(
            [["A"], [BAD, "Why?"], [BAD, "Sorry, why?"], [LATE, "Noted"]],
            {"A": ("down", "late")},
            id="a reason that was asked for twice",
        ),
        pytest.param(
            [["A"], [BAD, "Why?"], [LATE, "Noted"], [GOOD, "Thanks"], [LATE, "Well"]],
            {"A": ("down", "late")},
            id="a rating that is changed twice",
        ),
        pytest.param([["A"], [LATE, "Noted"], [GOOD, GOOD, "Thanks"]], {"A": ("up", "good")}, id="a correction"),
        pytest.param(
            [["A"], [BAD, "Why?"], ["B"], [LATE, "Noted"]], {"B": ("down", "late")}, id="the user has moved on"
        ),
        pytest.param(
            [["A"], [LATE, "Noted"], ["B"], [GOOD, "Thanks"]],
            {"A": ("down", "late"), "B": ("up", "good")},
            id="another answer was good",
        ),
        pytest.param(
            [["A"], [LATE, "B"], [LATE, "Noted"]],
            {"A": ("down", "late"), "B": ("down", "late")},
            id="the next attempt was as bad",
        ),
        pytest.param(
            [["A"], [LATE, "B"], [rate("up", same_answer=False), "Thanks"]],
            {"A": ("down", "late"), "B": ("up", "")},
            id="the model says that it is about the next attempt",
        ),
        pytest.param(
            [["A"], [BAD, "B"], [rate("down", "wrong", same_answer="false"), "Noted"]],
            {"B": ("down", "wrong")},
            id="the next attempt instead of a reason",
        ),
        pytest.param(
            [["A"], [LATE, "Noted"], ["B"], [rate("down", "and rude", same_answer=True), "Noted"]],
            {"A": ("down", "and rude")},
            id="the model says that it is about the earlier answer",
        ),
        pytest.param(
            [["A"], [BAD, rate("down", "late", same_answer=True), "Noted"]],
            {"A": ("down", "late")},
            id="again in the same turn",
        ),
        pytest.param(
            [["A"], [LATE, "B"], [[rate("up", same_answer=False), rate("down", "wrong", same_answer=True)], "Noted"]],
            {"A": ("down", "wrong"), "B": ("up", "")},
            id="two answers at once",
        ),
        pytest.param(
            [["A"], [[BAD, BAD], "Why?"], [[LATE, LATE], "Noted"]], {"A": ("down", "late")}, id="parallel calls"
        ),
    ],
)
def test_feedback_refers_to_the_answer_that_the_user_means(
    stored: Harken, talk: Callable[[list[Any]], Agent], turns: list[list[Any]], votes: dict[str, Any], restart: bool
) -> None:
    """A reason or a correction does not refer to the agent's question or thanks, with and without restarts."""
    agent = talk([response for turn in turns for response in turn])
    for number, turn in enumerate(turns):
        agent = talk(turn) if restart else agent
        agent(f"message {number}")
    assert _votes(stored, agent) == votes
    assert stored.summary().total == len(votes)


def test_feedback_before_any_answer(hk: Harken) -> None:
    """It refers to the session, and so does the reason that the agent asks for."""
    manager = MongoDBSessionManager("s", harken=hk)
    model = LocalModel([BAD, "Why?", LATE, "Noted"])
    agent = Agent(model=model, tools=[manager.get_feedback_tool()], session_manager=manager, callback_handler=None)
    for text in ("I hate this", "It is late"):
        agent(text)
    assert [(one.comment, one.message_id) for one in hk.export()] == [("late", None)]


def test_another_agent_collects_feedback(hk: Harken) -> None:
    """Feedback and its reason refer to the answer of the agent before."""
    feedback = AgentFeedback(hk, "s")
    agents = {
        name: Agent(
            model=LocalModel(answers), agent_id=name, hooks=[feedback], tools=[feedback.tool()], callback_handler=None
        )
        for name, answers in {"writer": ["A", "B"], "critic": [BAD, "Why?", LATE, "Noted", GOOD, "Thanks"]}.items()
    }
    for name in ("writer", "critic", "critic", "writer", "critic"):
        agents[name]("go on")
    written = [message["tracking_id"] for message in agents["writer"].messages if message["role"] == "assistant"]
    entries = [(one.agent_id, one.message_id, one.rating.value) for one in hk.export()]
    assert entries == [("writer", written[0], "down"), ("writer", written[1], "up")]


def test_an_agent_that_is_a_tool_collects_feedback(hk: Harken) -> None:
    """Feedback refers to the answer of the agent that the user talks to, also after a question for the reason."""
    feedback = AgentFeedback(hk, "s")
    model = LocalModel([BAD, "no reason yet", LATE, "done"])
    collector = Agent(
        model=model,
        name="collector",
        agent_id="collector",
        hooks=[feedback],
        tools=[feedback.tool()],
        callback_handler=None,
    )
    ask = ToolCall("collector", {"input": "The user did not like it"})
    talker = Agent(
        model=LocalModel(["A", ask, "Why?", ask, "Noted"]),
        agent_id="talker",
        hooks=[feedback],
        tools=[collector.as_tool()],
        callback_handler=None,
    )
    for text in ("Hello", "Bad", "It is late"):
        talker(text)
    entries = [(one.agent_id, one.message_id, one.comment) for one in hk.export()]
    assert entries == [("talker", talker.messages[1]["tracking_id"], "late")]


def test_a_program_calls_the_tool(hk: Harken) -> None:
    """A call through the agent refers to the latest answer, and another call changes the vote."""
    feedback = AgentFeedback(hk, "s")
    agent = Agent(model=LocalModel(["A"]), hooks=[feedback], tools=[feedback.tool()], callback_handler=None)
    agent("Hello")
    for rating in ("down", "up"):
        assert agent.tool.record_feedback(rating=rating, comment="well")["status"] == "success"
    assert _votes(hk, agent) == {"A": ("up", "well")}


def test_a_hook_names_the_message(hk: Harken) -> None:
    """A message id from a hook takes precedence over the answer that the tool determined."""
    hook = lambda original, action, session_id, feedback: original({**feedback, "message_id": "mine"})  # noqa: E731
    manager = MongoDBSessionManager("s", harken=hk, feedback_hook=hook)
    tools = [manager.get_feedback_tool()]
    agent = Agent(model=LocalModel(["A", LATE, "Noted"]), tools=tools, session_manager=manager, callback_handler=None)
    for text in ("Hello", "It is late"):
        agent(text)
    assert [(one.message_id, one.agent_id) for one in hk.export()] == [("mine", None)]


@pytest.mark.parametrize("given", ["all", {}, {"rating": ["up"]}, {"rating": "up", "comment": {}, "same_answer": {}}])
def test_a_call_that_is_invalid(hk: Harken, given: Any) -> None:
    """Invalid arguments return an error to the model and never stop the turn."""
    feedback = AgentFeedback(hk, "s")
    model = LocalModel(["A", ToolCall("record_feedback", given), "Noted"])
    agent = Agent(model=model, hooks=[feedback], tools=[feedback.tool()], callback_handler=None)
    for text in ("Hello", "Fine"):
        agent(text)
    assert hk.summary().total == 0
    assert agent.messages[-1]["content"] == [{"text": "Noted"}]

"""Strands agents on Harken: what they say and know persists, and feedback is tied to the answer that it is about."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from strands import Agent
from strands.agent.conversation_manager import SlidingWindowConversationManager, SummarizingConversationManager
from strands.multiagent import GraphBuilder
from strands.multiagent.graph import Graph
from strands.session.file_session_manager import FileSessionManager
from strands.types.content import Messages
from strands.types.exceptions import SessionException
from strands.types.session import SessionMessage

import harken
from harken import Harken
from harken.configuration.storage_urls import open_storage
from harken_adapters.hosts.session_manager import MongoDBSessionManager
from harken_adapters.hosts.strands import AgentFeedback, HarkenSessionManager
from local_model import LocalModel, ToolCall

#: Enough for the library to be loaded on a busy machine.
_PATIENCE = 60


def talking(hk: Harken, answers: list[Any], *, session: str = "session-1", **options: Any) -> Agent:
    """An agent with a session on Harken."""
    manager = HarkenSessionManager(hk, session)
    return Agent(
        model=LocalModel(answers), session_manager=manager, agent_id="helper", callback_handler=None, **options
    )


def _unreachable(_: Messages) -> str:
    raise ConnectionError


def texts(agent: Agent) -> list[str]:
    """What was said, in order."""
    return [block["text"] for message in agent.messages for block in message["content"] if "text" in block]


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harken]:
    """A Harken on each storage."""
    urls = {"memory": lambda: "memory://", "sqlite": lambda: f"sqlite:///{tmp_path / 'feedback.db'}"}
    url = urls.get(request.param, lambda: request.getfixturevalue("mongodb_url"))()
    with harken.connect(url) as hk:
        yield hk


class TestPersisting:
    """A conversation goes on where it was left."""

    def test_a_conversation_is_restored(self, stored: Harken) -> None:
        """Messages, state, what was used up and the cycles, of one agent and not of another."""
        before = talking(stored, ["Good morning", "I am fine"], system_prompt="Be kind")
        before.state.set("language", "en")
        before("Hello")
        before("How are you?")
        after = talking(stored, ["Goodbye"])
        assert after.messages == before.messages
        assert texts(after) == ["Hello", "Good morning", "How are you?", "I am fine"]
        assert after.state.get() == {"language": "en"}
        assert after.event_loop_metrics.accumulated_usage == before.event_loop_metrics.accumulated_usage
        assert after.event_loop_metrics.accumulated_usage["totalTokens"] > 0
        assert after.event_loop_metrics.accumulated_metrics == before.event_loop_metrics.accumulated_metrics
        assert after.event_loop_metrics.cycle_count == 2
        other = Agent(
            model=LocalModel(["x"]),
            session_manager=HarkenSessionManager(stored, "session-1"),
            agent_id="other",
            callback_handler=None,
        )
        assert other.messages == []
        after("Bye")
        assert talking(stored, []).event_loop_metrics.cycle_count == 3

    def test_tool_calls_and_bytes_are_restored(self, stored: Harken) -> None:
        """Whatever a message holds comes back: calls, results, pictures, and what is no valid Unicode."""
        manager = HarkenSessionManager(stored, "session-1")
        feedback = manager.feedback.tool()
        answers = ["Hi", ToolCall("record_feedback", {"rating": "up", "comment": "Nice \ud800"}), "Thank you"]
        agent = Agent(
            model=LocalModel(answers),
            session_manager=manager,
            agent_id="helper",
            tools=[feedback],
            callback_handler=None,
        )
        agent([{"text": "Look"}, {"image": {"format": "png", "source": {"bytes": b"\x89PNG\x00"}}}])
        agent("That was nice")
        assert talking(stored, []).messages == agent.messages

    def test_a_long_history_is_read_by_page(self, hk: Harken) -> None:
        """A window of the latest messages is restored, and the rest stays where it is."""
        window = SlidingWindowConversationManager(window_size=4)
        agent = talking(hk, ["answer"], conversation_manager=window)
        for number in range(10):
            agent(f"question {number}")
        again = talking(hk, [], conversation_manager=SlidingWindowConversationManager(window_size=4))
        assert texts(again) == texts(agent) == ["question 8", "answer", "question 9", "answer"]
        manager = HarkenSessionManager(hk, "session-1")
        page = manager.session_repository.list_messages("session-1", "helper", limit=3, offset=2)
        assert [message.message_id for message in page] == [2, 3, 4]
        assert hk.conversations.count("default", "session-1", "helper") == 20

    def test_a_summary_is_restored(self, hk: Harken) -> None:
        """What a conversation manager put in the place of older messages is there again."""
        manager = SummarizingConversationManager(preserve_recent_messages=2)
        agent = talking(
            hk, ["answer 1", "answer 2", "They greeted each other", "answer 3"], conversation_manager=manager
        )
        agent("question 1")
        agent("question 2")
        manager.reduce_context(agent)
        agent("question 3")
        again = talking(hk, [], conversation_manager=SummarizingConversationManager(preserve_recent_messages=2))
        assert texts(again) == texts(agent)

    def test_a_message_can_be_redacted(self, hk: Harken) -> None:
        """What a guardrail puts in the place of the latest message is what is restored."""
        agent = talking(hk, ["answer"])
        agent("my password is secret")
        manager = HarkenSessionManager(hk, "session-1")
        again = Agent(model=LocalModel([]), session_manager=manager, agent_id="helper", callback_handler=None)
        manager.redact_latest_message({"role": "assistant", "content": [{"text": "[redacted]"}]}, again)
        assert texts(talking(hk, [])) == ["my password is secret", "[redacted]"]

    def test_when_an_agent_was_made_stays(self, stored: Harken) -> None:
        """However often what it knows is kept, and by how many processes."""
        made = set()
        for _ in range(3):
            talking(stored, ["answer"])("Hello")
            kept = HarkenSessionManager(stored, "session-1").session_repository.read_agent("session-1", "helper")
            assert kept is not None
            made.add(kept.created_at)
        assert len(made) == 1

    def test_two_who_go_on_at_once_do_not_mix(self, hk: Harken) -> None:
        """The second to add a message of one number is told; what the first one added stays."""
        first, second = (talking(hk, ["answer"]) for _ in range(2))
        first("question")
        with pytest.raises(SessionException, match="load it again"):
            second("another question")
        assert texts(talking(hk, [])) == ["question", "answer"]

    def test_there_is_no_message_to_change(self, hk: Harken) -> None:
        """Changing a message that is not there is an error, and reading it gives nothing."""
        repository = HarkenSessionManager(hk, "session-1").session_repository
        message = SessionMessage({"role": "user", "content": [{"text": "hi"}]}, 0)
        with pytest.raises(SessionException, match="no message 0"):
            repository.update_message("session-1", "helper", message)
        assert repository.read_message("session-1", "helper", 0) is None
        repository.create_message("session-1", "helper", message)
        assert repository.read_message("session-1", "helper", 0) == message

    def test_a_graph_goes_on_where_it_stopped(self, hk: Harken) -> None:
        """A node that was done is not done again; and a graph is no agent of the session."""
        with pytest.raises(ConnectionError):
            self._graph(hk, {"draft": LocalModel(["a draft"]), "review": LocalModel([_unreachable])})("write")
        result = self._graph(hk, {"draft": LocalModel(["another"]), "review": LocalModel(["fine"])})("write")
        assert [node.node_id for node in result.execution_order] == ["draft", "review"]
        assert [str(result.results[name].result).strip() for name in ("draft", "review")] == ["a draft", "fine"]
        assert MongoDBSessionManager("session-1", harken=hk).list_agents() == []

    def _graph(self, hk: Harken, models: dict[str, LocalModel]) -> Graph:
        builder = GraphBuilder()
        for name, model in models.items():
            builder.add_node(Agent(model=model, agent_id=name, callback_handler=None), name)
        builder.add_edge("draft", "review")
        builder.set_max_node_executions(10)
        builder.set_session_manager(MongoDBSessionManager("session-1", harken=hk))
        return builder.build()


class TestAgents:
    """What a session manager tells of agents."""

    def test_agents_are_listed_with_how_they_were_set_up(self, hk: Harken) -> None:
        """Model and system prompt, by agent id; messages are counted by agent, or all."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        for agent_id in ("writer", "critic"):
            agent = Agent(
                model=LocalModel(["answer"]),
                agent_id=agent_id,
                session_manager=manager,
                system_prompt=f"You are a {agent_id}",
                callback_handler=None,
            )
            agent("go")
        agent("go on")
        listed = manager.list_agents()
        assert [one["agent_id"] for one in listed] == ["critic", "writer"]
        assert manager.get_agent_config("writer") == listed[1]
        assert listed[1]["system_prompt"] == "You are a writer"
        assert listed[1]["model"] == agent.model.get_config()["model_id"]
        assert [manager.get_message_count(one) for one in (None, "writer", "critic", "nobody")] == [6, 2, 4, 0]

    def test_how_an_agent_is_set_up_can_be_changed(self, hk: Harken) -> None:
        """What is given is changed and the rest stays; an agent that was never there is an error."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        talking(hk, ["answer"], system_prompt="Be kind")("Hello")
        manager.update_agent_config("helper", model="another-model")
        again = MongoDBSessionManager("session-1", harken=hk)
        assert again.get_agent_config("helper") == {
            "agent_id": "helper",
            "model": "another-model",
            "system_prompt": "Be kind",
        }
        assert texts(talking(hk, [])) == ["Hello", "answer"]
        assert manager.get_agent_config("nobody") is None
        with pytest.raises(LookupError, match="'nobody' was ever in session"):
            manager.update_agent_config("nobody", model="another-model")


class TestFeedback:
    """Feedback is about the latest answer."""

    def test_feedback_is_tied_to_the_latest_answer(self, hk: Harken) -> None:
        """To its message and its agent; before there is an answer, to the session only."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        agent = Agent(
            model=LocalModel(["one", "two"]), session_manager=manager, agent_id="helper", callback_handler=None
        )
        manager.add_feedback({"rating": None, "comment": "before"})
        for rating in ("up", "up"):
            agent("question")
            manager.add_feedback({"rating": rating, "comment": "after"})
        answers = [message["tracking_id"] for message in agent.messages if message["role"] == "assistant"]
        kept = list(hk.stream(session_id="session-1"))
        assert [(one.message_id, one.agent_id) for one in kept] == [
            (None, None),
            (answers[0], "helper"),
            (answers[1], "helper"),
        ]
        assert manager.latest_answer is not None
        assert manager.latest_answer.message_id == answers[1]

    def test_feedback_may_name_its_message(self, hk: Harken) -> None:
        """Then that is what it is about, whatever was said last; and so with another agent."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        agent = Agent(model=LocalModel(["one"]), session_manager=manager, agent_id="helper", callback_handler=None)
        agent("question")
        manager.add_feedback({"rating": "up", "message_id": "earlier"})
        manager.add_feedback({"rating": "up", "agent_id": "other"})
        kept = list(hk.stream(session_id="session-1"))
        assert [(one.message_id, one.agent_id) for one in kept] == [("earlier", None), (None, "other")]

    def test_another_session_manager_can_be_combined(self, hk: Harken, tmp_path: Path) -> None:
        """Beside a session manager of Strands the latest answer is known too, after a restart as well."""
        for said in ("one", "two"):
            feedback = AgentFeedback(hk, "session-1", application="web")
            agent = Agent(
                model=LocalModel([said]),
                session_manager=FileSessionManager("session-1", storage_dir=str(tmp_path)),
                hooks=[feedback],
                agent_id="helper",
                callback_handler=None,
            )
            if said == "two":
                feedback.submit("down", "The first one was wrong", author="ann", tags=["facts"])
            agent("question")
            feedback.submit("up", said)
        ids = [message["tracking_id"] for message in agent.messages if message["role"] == "assistant"]
        kept = list(hk.stream(application="web"))
        assert [(one.message_id, one.comment) for one in kept] == [
            (ids[0], "one"),
            (ids[0], "The first one was wrong"),
            (ids[1], "two"),
        ]
        assert (kept[1].author, kept[1].tags, kept[1].agent_id) == ("ann", ("facts",), "helper")

    def test_an_agent_keeps_what_its_user_says(self, hk: Harken) -> None:
        """The tool ties it to the answer before, not to the message in which the agent calls the tool."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        calls = [
            ToolCall("record_feedback", {"rating": "down"}),
            ToolCall("record_feedback", {"rating": "down", "comment": "It was wrong"}),
            ToolCall("record_feedback", {"rating": "neutral", "comment": "Never mind"}),
        ]
        agent = Agent(
            model=LocalModel(["Paris", *calls, "I am sorry"]),
            session_manager=manager,
            agent_id="helper",
            tools=[manager.get_feedback_tool()],
            callback_handler=None,
        )
        agent("What is the capital of Australia?")
        answer = manager.latest_answer
        assert answer is not None
        agent("That was wrong! Well, never mind")
        results = [block["toolResult"] for one in agent.messages for block in one["content"] if "toolResult" in block]
        assert [result["status"] for result in results] == ["error", "success", "success"]
        assert "Please provide a comment" in results[0]["content"][0]["text"]
        kept = [(one.rating.value, one.comment, one.message_id) for one in hk.stream(session_id="session-1")]
        # What they said last counts, once.
        assert kept == [(None, "Never mind", answer.message_id)]

    def test_an_agent_is_told_when_a_hook_skips_its_feedback(self, hk: Harken) -> None:
        """The tool goes through the hooks as everything does."""
        manager = MongoDBSessionManager("session-1", harken=hk, feedback_hook=lambda *_, **__: None)
        agent = Agent(
            model=LocalModel([ToolCall("record_feedback", {"rating": "up"}), "Well"]),
            session_manager=manager,
            tools=[manager.get_feedback_tool()],
            callback_handler=None,
        )
        agent("Great!")
        (result,) = [block["toolResult"] for one in agent.messages for block in one["content"] if "toolResult" in block]
        assert result["content"] == [{"text": "The feedback was not kept."}]

    def test_an_agent_manages_metadata(self, hk: Harken) -> None:
        """It sets, reads and deletes names, and is told what was wrong with what it wanted."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        calls: list[dict[str, Any]] = [
            {"action": "set", "metadata_to_set": {"language": "en", "topic": "invoices"}},
            {"action": "get", "keys": ["topic"]},
            {"action": "delete", "keys": ["topic"]},
            {"action": "get"},
            {"action": "set", "metadata_to_set": {"a.b": 1}},
            {"action": "forget"},
            {"action": "set", "metadata_to_set": {"topic": "refunds", "t": 1, "o": 2, "lang": "fr"}},
            {"action": "get", "keys": "language"},
            {"action": "delete", "keys": "topic"},
            {"action": "delete", "keys": "topic"},
        ]
        agent = Agent(
            model=LocalModel([*(ToolCall("manage_metadata", call) for call in calls), "Done"]),
            session_manager=manager,
            tools=[manager.get_metadata_tool()],
            callback_handler=None,
        )
        agent("Remember this")
        results = [block["toolResult"] for one in agent.messages for block in one["content"] if "toolResult" in block]
        said = [(result["status"], result["content"][0]["text"]) for result in results]
        assert said[:4] == [
            ("success", "Set: language, topic."),
            ("success", '{"topic": "invoices"}'),
            ("success", "Deleted: topic."),
            ("success", '{"language": "en"}'),
        ]
        assert [status for status, _ in said[4:6]] == ["error", "error"]
        assert "may only have letters" in said[4][1]
        assert "expected 'get'" in said[5][1]
        assert said[7:] == [
            ("success", '{"language": "en"}'),
            ("success", "Deleted: topic."),
            ("error", "Nothing was deleted: there is no topic."),
        ]
        assert manager.get_metadata() == {"metadata": {"lang": "fr", "language": "en", "o": 2, "t": 1}}


_TALK = """
import sys
from local_model import LocalModel
from strands import Agent
from harken_adapters.hosts.session_manager import create_mongodb_session_manager

manager = create_mongodb_session_manager(session_id="session-1", connection_string=sys.argv[1])
agent = Agent(
    model=LocalModel(sys.argv[2:]),
    agent_id="helper",
    session_manager=manager,
    callback_handler=None,
)
for _ in sys.argv[2:]:
    agent("Where is my order?")
"""
_RATE = (
    _TALK
    + """
manager.add_feedback({"rating": "down", "comment": "Could not find my order"})
print("rated", flush=True)
sys.stdin.read()
"""
)
_LOOK = (
    _TALK
    + """
print([block["text"] for message in agent.messages for block in message["content"]])
(feedback,) = manager.get_feedbacks()
print([message["tracking_id"] for message in agent.messages].index(feedback["message_id"]), feedback["comment"])
print(manager.latest_answer.message_id == feedback["message_id"], agent.event_loop_metrics.cycle_count)
manager.close()
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "mongodb"])
def test_a_new_process_goes_on_where_one_was_stopped(
    storage: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """An agent talks, gets feedback on its second message, and is killed; a new process finds both, tied together."""
    url = request.getfixturevalue("mongodb_url") if storage == "mongodb" else f"sqlite:///{tmp_path / 'feedback.db'}"
    rating = subprocess.Popen(
        [sys.executable, "-c", _RATE, url, "Let me look", "It is lost"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with rating:
        assert rating.stdout is not None
        assert rating.stdout.readline() == "rated\n"
        rating.kill()
    looked = subprocess.run(
        [sys.executable, "-c", _LOOK, url],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert looked.stdout.splitlines() == [
        "['Where is my order?', 'Let me look', 'Where is my order?', 'It is lost']",
        "3 Could not find my order",
        "True 2",
    ]


@pytest.mark.slow
def test_a_storage_that_fails_is_not_passed_over() -> None:
    """An agent whose session cannot be kept stops with the storage's error."""
    with open_storage("memory://") as storage, harken.connect(storage) as hk:
        agent = talking(hk, ["answer"])
    with pytest.raises(harken.StorageClosed):
        agent("Hello")

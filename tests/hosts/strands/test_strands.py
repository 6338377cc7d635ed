"""Strands agents on Harken: messages and state persist, and feedback is linked to the rated answer."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
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
from harken.ports.conversations import JsonObject
from harken.ports.storage import Storage
from harken.services.conversations import ConversationService
from harken_adapters.formats.exporting import write_all
from harken_adapters.formats.pairs import Pairs
from harken_adapters.hosts.session_manager import MongoDBSessionManager
from harken_adapters.hosts.strands import AgentFeedback, HarkenSessionManager
from harken_adapters.hosts.strands.repository import HarkenSessionRepository
from local_model import LocalModel, ToolCall

#: Seconds; enough to load the library on a busy machine.
_PATIENCE = 60


def create_agent(hk: Harken, answers: list[Any], *, session: str = "session-1", **options: Any) -> Agent:
    """An agent with a session on Harken."""
    manager = HarkenSessionManager(hk, session)
    return Agent(
        model=LocalModel(answers), session_manager=manager, agent_id="helper", callback_handler=None, **options
    )


def _unreachable(_: Messages) -> str:
    raise ConnectionError


class CountingConversations(ConversationService):
    """Counts the messages that are read."""

    read = 0

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        """As of the base class."""
        found = super().messages(application, session_id, agent_id, limit=limit, after=after)
        self.read += len(found)
        return found


@pytest.fixture
def storage() -> Iterator[Storage]:
    """An empty storage in memory."""
    with open_storage("memory://") as opened:
        yield opened


def texts(agent: Agent) -> list[str]:
    """The texts of all messages, in order."""
    return [block["text"] for message in agent.messages for block in message["content"] if "text" in block]


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harken]:
    """A Harken on each storage."""
    urls = {"memory": lambda: "memory://", "sqlite": lambda: f"sqlite:///{tmp_path / 'feedback.db'}"}
    url = urls.get(request.param, lambda: request.getfixturevalue("mongodb_url"))()
    with harken.connect(url) as hk:
        yield hk


class TestPairs:
    """Rated answers are exported with their prompts."""

    def test_the_prompt_of_an_answer_after_a_tool_call(self, stored: Harken) -> None:
        """The prompt is what the user said, not the result of the tool; redacted messages stay redacted."""
        agent = create_agent(stored, ["Hello", ToolCall("rate_answer", {}), "In Oslo"])
        manager: Any = agent._session_manager
        agent("My card is 4242")
        manager.feedback.submit("up")
        agent("Where is it?")
        manager.feedback.submit("down", "It is in Bergen", tags=["wrong"])
        (first,) = [one for number, one in stored.conversations.messages("default", "session-1", "helper", limit=1)]
        redacted = {"role": "user", "content": [{"text": "[redacted]"}]}
        stored.conversations.replace("default", "session-1", "helper", 0, {**first, "redact_message": redacted})
        pairs, file = Pairs(stored.conversations), BytesIO()
        write_all(stored.export(), file, pairs.writer)
        lines = [json.loads(line) for line in file.getvalue().splitlines()]
        assert [(one["prompt"], one["answer"], one["rating"]) for one in lines] == [
            ("[redacted]", "Hello", "up"),
            ("Where is it?", "In Oslo", "down"),
        ]
        assert (pairs.written, pairs.no_message, pairs.not_found, pairs.no_text) == (2, 0, 0, 0)


class TestPersisting:
    """A conversation continues in a new process."""

    def test_a_conversation_is_restored(self, stored: Harken) -> None:
        """Messages, state, token usage and cycles of the agent are restored, and not for another agent."""
        before = create_agent(stored, ["Good morning", "I am fine"], system_prompt="Be kind")
        before.state.set("language", "en")
        before("Hello")
        before("How are you?")
        after = create_agent(stored, ["Goodbye"])
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
        assert create_agent(stored, []).event_loop_metrics.cycle_count == 3

    def test_tool_calls_and_bytes_are_restored(self, stored: Harken) -> None:
        """Tool calls, tool results, images and invalid Unicode are restored."""
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
        assert create_agent(stored, []).messages == agent.messages

    def test_a_long_history_is_read_in_pages(self, hk: Harken) -> None:
        """The messages in the window are restored, and the others stay stored."""
        window = SlidingWindowConversationManager(window_size=4)
        agent = create_agent(hk, ["answer"], conversation_manager=window)
        for number in range(10):
            agent(f"question {number}")
        again = create_agent(hk, [], conversation_manager=SlidingWindowConversationManager(window_size=4))
        assert texts(again) == texts(agent) == ["question 8", "answer", "question 9", "answer"]
        manager = HarkenSessionManager(hk, "session-1")
        page = manager.session_repository.list_messages("session-1", "helper", limit=3, offset=2)
        assert [message.message_id for message in page] == [2, 3, 4]
        assert hk.conversations.count("default", "session-1", "helper") == 20

    @pytest.mark.parametrize("step", [1, 2])
    def test_only_the_listed_messages_are_read(self, storage: Storage, step: int) -> None:
        """Of many messages, those up to the last one that is listed; without gaps in the numbers, only those."""
        numbers = range(0, 600 * step, step)
        agent = ("default", "session-1", "helper")
        record = SessionMessage({"role": "user", "content": [{"text": "Hi"}]}, 0).to_dict()
        counting = CountingConversations(storage.conversations)
        counting.append_many(*agent, [(number, {**record, "message_id": number}) for number in numbers])
        repository = HarkenSessionRepository(counting, "default")
        for limit, offset in ((3, 0), (3, 2), (3, 590), (3, 599), (3, 600), (0, 0), (None, 0), (None, 590), (900, 0)):
            counting.read = 0
            end = None if limit is None else offset + limit
            found = repository.list_messages("session-1", "helper", limit=limit, offset=offset)
            assert [one.message_id for one in found] == list(numbers[offset:end])
            # Two to find out whether there are gaps.
            assert counting.read <= len(found) + 2 + (offset if step > 1 else 0)

    def test_a_summary_is_restored(self, hk: Harken) -> None:
        """The summary that replaced older messages is restored."""
        manager = SummarizingConversationManager(preserve_recent_messages=2)
        agent = create_agent(
            hk, ["answer 1", "answer 2", "They greeted each other", "answer 3"], conversation_manager=manager
        )
        agent("question 1")
        agent("question 2")
        manager.reduce_context(agent)
        agent("question 3")
        again = create_agent(hk, [], conversation_manager=SummarizingConversationManager(preserve_recent_messages=2))
        assert texts(again) == texts(agent)

    def test_a_message_can_be_redacted(self, hk: Harken) -> None:
        """The message with which a guardrail replaces the latest one is restored."""
        agent = create_agent(hk, ["answer"])
        agent("my password is secret")
        manager = HarkenSessionManager(hk, "session-1")
        again = Agent(model=LocalModel([]), session_manager=manager, agent_id="helper", callback_handler=None)
        manager.redact_latest_message({"role": "assistant", "content": [{"text": "[redacted]"}]}, again)
        assert texts(create_agent(hk, [])) == ["my password is secret", "[redacted]"]

    def test_the_creation_time_of_an_agent_never_changes(self, stored: Harken) -> None:
        """Also if several processes store it again."""
        times = set()
        for _ in range(3):
            create_agent(stored, ["answer"])("Hello")
            agent = HarkenSessionManager(stored, "session-1").session_repository.read_agent("session-1", "helper")
            assert agent is not None
            times.add(agent.created_at)
        assert len(times) == 1

    def test_concurrent_continuations_are_detected(self, hk: Harken) -> None:
        """The second process that adds a message with the same number gets an error; the first message stays."""
        first, second = (create_agent(hk, ["answer"]) for _ in range(2))
        first("question")
        with pytest.raises(SessionException, match="load it again"):
            second("another question")
        assert texts(create_agent(hk, [])) == ["question", "answer"]

    def test_an_unknown_message(self, hk: Harken) -> None:
        """Changing it is an error, and reading it returns None."""
        repository = HarkenSessionManager(hk, "session-1").session_repository
        message = SessionMessage({"role": "user", "content": [{"text": "hi"}]}, 0)
        with pytest.raises(SessionException, match="no message 0"):
            repository.update_message("session-1", "helper", message)
        assert repository.read_message("session-1", "helper", 0) is None
        repository.create_message("session-1", "helper", message)
        assert repository.read_message("session-1", "helper", 0) == message

    def test_a_graph_continues_after_a_failure(self, hk: Harken) -> None:
        """Completed nodes do not run again, and the graph is not listed as an agent."""
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
    """The agents of a session."""

    def test_agents_are_listed_with_their_configuration(self, hk: Harken) -> None:
        """Model and system prompt by agent id; messages are counted by agent, or for all."""
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

    def test_the_configuration_of_an_agent_can_be_changed(self, hk: Harken) -> None:
        """Given values change and others stay; an unknown agent is an error."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        create_agent(hk, ["answer"], system_prompt="Be kind")("Hello")
        manager.update_agent_config("helper", model="another-model")
        again = MongoDBSessionManager("session-1", harken=hk)
        assert again.get_agent_config("helper") == {
            "agent_id": "helper",
            "model": "another-model",
            "system_prompt": "Be kind",
            "prompt_metadata": None,
        }
        assert texts(create_agent(hk, [])) == ["Hello", "answer"]
        assert manager.get_agent_config("nobody") is None
        with pytest.raises(LookupError, match="'nobody' is unknown in session"):
            manager.update_agent_config("nobody", model="another-model")


class TestFeedback:
    """Feedback on answers."""

    def test_feedback_is_linked_to_the_latest_answer(self, hk: Harken) -> None:
        """It has the message and the agent of the answer; before the first answer, only the session."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        agent = Agent(
            model=LocalModel(["one", "two"]), session_manager=manager, agent_id="helper", callback_handler=None
        )
        manager.add_feedback({"rating": None, "comment": "before"})
        for rating in ("up", "up"):
            agent("question")
            manager.add_feedback({"rating": rating, "comment": "after"})
        answers = [message["tracking_id"] for message in agent.messages if message["role"] == "assistant"]
        entries = list(hk.export(session_id="session-1"))
        assert [(one.message_id, one.agent_id) for one in entries] == [
            (None, None),
            (answers[0], "helper"),
            (answers[1], "helper"),
        ]
        assert manager.latest_answer is not None
        assert manager.latest_answer.message_id == answers[1]

    def test_feedback_may_name_its_message(self, hk: Harken) -> None:
        """A given message or agent takes precedence over the latest answer."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        agent = Agent(model=LocalModel(["one"]), session_manager=manager, agent_id="helper", callback_handler=None)
        agent("question")
        manager.add_feedback({"rating": "up", "message_id": "earlier"})
        manager.add_feedback({"rating": "up", "agent_id": "other"})
        entries = list(hk.export(session_id="session-1"))
        assert [(one.message_id, one.agent_id) for one in entries] == [("earlier", None), (None, "other")]

    def test_another_session_manager_can_be_combined(self, hk: Harken, tmp_path: Path) -> None:
        """With a session manager of Strands, the latest answer is known too, also after a restart."""
        for text in ("one", "two"):
            feedback = AgentFeedback(hk, "session-1", application="web")
            agent = Agent(
                model=LocalModel([text]),
                session_manager=FileSessionManager("session-1", storage_dir=str(tmp_path)),
                hooks=[feedback],
                agent_id="helper",
                callback_handler=None,
            )
            if text == "two":
                feedback.submit("down", "The first one was wrong", author="ann", tags=["facts"])
            agent("question")
            feedback.submit("up", text)
        ids = [message["tracking_id"] for message in agent.messages if message["role"] == "assistant"]
        entries = list(hk.export(application="web"))
        assert [(one.message_id, one.comment) for one in entries] == [
            (ids[0], "one"),
            (ids[0], "The first one was wrong"),
            (ids[1], "two"),
        ]
        assert (entries[1].author, entries[1].tags, entries[1].agent_id) == ("ann", ("facts",), "helper")

    def test_an_agent_records_feedback(self, hk: Harken) -> None:
        """The feedback refers to the answer before, not to the message in which the agent calls the tool."""
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
        entries = [(one.rating.value, one.comment, one.message_id) for one in hk.export(session_id="session-1")]
        # Only the last call counts.
        assert entries == [(None, "Never mind", answer.message_id)]

    def test_the_tool_result_says_that_a_hook_skipped_the_feedback(self, hk: Harken) -> None:
        """The tool submits through the hooks."""
        manager = MongoDBSessionManager("session-1", harken=hk, feedback_hook=lambda *_, **__: None)
        agent = Agent(
            model=LocalModel([ToolCall("record_feedback", {"rating": "up"}), "Well"]),
            session_manager=manager,
            tools=[manager.get_feedback_tool()],
            callback_handler=None,
        )
        agent("Great!")
        (result,) = [block["toolResult"] for one in agent.messages for block in one["content"] if "toolResult" in block]
        assert result["content"] == [{"text": "The feedback was not stored."}]

    def test_an_agent_manages_metadata(self, hk: Harken) -> None:
        """It sets, reads and deletes names, in any spelling of the action and as JSON text; results are texts."""
        manager = MongoDBSessionManager("session-1", harken=hk)
        calls: list[dict[str, Any]] = [
            {"action": "set", "metadata": {"language": "en", "topic": "invoices"}},
            {"action": "GET", "keys": ["topic"]},
            {"action": "delete", "keys": ["topic"]},
            {"action": "get"},
            {"action": "set", "metadata": {"a..b": 1}},
            {"action": "forget"},
            {"action": "set"},
            {"action": "delete"},
            {"action": "get", "keys": {"a": 1}},
            {"action": "set", "metadata": "{topic: 1}"},
            {"action": "Update", "metadata": '{"topic": "refunds", "t": 1, "o": 2, "lang": "fr"}'},
            {"action": "get", "keys": "language"},
            {"action": "delete", "keys": '["topic", "nothing"]'},
            {"action": "get", "keys": ["topic"]},
            {"action": "delete", "keys": ["topic"]},
        ]
        agent = Agent(
            model=LocalModel([*(ToolCall("manage_metadata", call) for call in calls), "Done"]),
            session_manager=manager,
            tools=[manager.get_metadata_tool()],
            callback_handler=None,
        )
        agent("Remember this")
        results = [block["toolResult"] for one in agent.messages for block in one["content"] if "toolResult" in block]
        texts = [result["content"][0]["text"] for result in results]
        assert texts[:4] == [
            "Successfully updated metadata fields: ['language', 'topic']",
            'Metadata retrieved: {"topic": "invoices"}',
            "Successfully deleted metadata fields: ['topic']",
            'All metadata: {"language": "en"}',
        ]
        assert all(text.startswith("Error: ") for text in texts[4:10])
        assert [
            part in text
            for part, text in zip(
                ["has an empty name", "expected 'get'", "needs metadata", "needs keys", "not a list", "not JSON"],
                texts[4:10],
                strict=True,
            )
        ] == [True] * 6
        assert texts[10:] == [
            "Successfully updated metadata fields: ['topic', 't', 'o', 'lang']",
            'Metadata retrieved: {"language": "en"}',
            "Successfully deleted metadata fields: ['topic', 'nothing']",
            "No metadata found for keys: ['topic']",
            "No metadata found for keys: ['topic']",
        ]
        assert manager.get_metadata()["metadata"] == {"lang": "fr", "language": "en", "o": 2, "t": 1}


_TALK = """
import sys
from local_model import LocalModel
from strands import Agent
from harken_adapters.formats.exporting import write_all
from harken_adapters.formats.pairs import Pairs
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
_READ = (
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
def test_a_new_process_continues_after_a_kill(storage: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The process of an agent is killed after feedback on its second message; a new process restores both, linked."""
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
    reading = subprocess.run(
        [sys.executable, "-c", _READ, url],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert reading.stdout.splitlines() == [
        "['Where is my order?', 'Let me look', 'Where is my order?', 'It is lost']",
        "3 Could not find my order",
        "True 2",
    ]


@pytest.mark.slow
def test_a_storage_failure_stops_the_agent() -> None:
    """An agent whose session cannot be stored raises the storage's error."""
    with open_storage("memory://") as storage, harken.connect(storage) as hk:
        agent = create_agent(hk, ["answer"])
    with pytest.raises(harken.StorageClosed):
        agent("Hello")

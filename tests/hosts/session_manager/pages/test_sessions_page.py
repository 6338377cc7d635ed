"""Sessions: what is restored, the metrics of answers, the prompts of agents, and interventions of guardrails."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from strands import Agent, tool

from harken_adapters.hosts.session_manager import GUARDRAIL_ACTION_BLOCKED, MongoDBSessionManager
from hosts.session_manager.pages.conftest import Open
from local_model import LocalModel, ToolCall

#: As Amazon Bedrock reports it.
TRACE: dict[str, Any] = {
    "inputAssessment": {"guardrail-1": {"contentPolicy": {"filters": [{"type": "HATE", "confidence": "HIGH"}]}}},
    "outputAssessments": {
        "guardrail-1": [
            {"topicPolicy": {"topics": [{"name": "Loans", "action": "BLOCKED"}]}},
            {"wordPolicy": {"customWords": [{"match": "darn"}], "managedWordLists": [{"type": "PROFANITY"}]}},
        ]
    },
}
REDACTED: Any = {"role": "user", "content": [{"text": "[removed]"}]}


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    if city == "Atlantis":
        raise LookupError(city)
    return "Rain"


def agent_of(manager: MongoDBSessionManager, answers: list[Any], agent_id: str = "helper", **options: Any) -> Agent:
    """An agent of the session."""
    return Agent(
        model=LocalModel(answers), session_manager=manager, agent_id=agent_id, callback_handler=None, **options
    )


def texts(agent: Agent) -> list[str]:
    """The texts of all messages, in order."""
    return [block["text"] for message in agent.messages for block in message["content"] if "text" in block]


def test_a_conversation_continues(open_session: Open) -> None:
    """Another session manager restores messages and state of each agent separately; metadata is shared."""
    first = open_session()
    agent = agent_of(first, ["Hello"], state={"tone": "kind"})
    agent("Hi")
    agent_of(first, ["No"], "critic")("Yes?")
    first.update_metadata({"language": "en"})
    second = open_session()
    again = agent_of(second, ["Bye"])
    assert (texts(again), again.state.get()) == (["Hi", "Hello"], {"tone": "kind"})
    assert texts(agent_of(second, [], "critic")) == ["Yes?", "No"]
    assert second.get_metadata() == {"_id": "session-1", "metadata": {"language": "en"}}
    assert [second.get_message_count(one) for one in ("helper", "critic", "nobody")] == [2, 2, 0]


class TestMetrics:
    """The metrics of an agent are stored with its answers."""

    def test_usage_and_tools(self, open_session: Open) -> None:
        """Tokens, latency, cycles and calls of tools, as Strands counts them, with the last message of each turn."""
        manager = open_session()
        calls = [ToolCall("weather", {"city": city}) for city in ("Oslo", "Atlantis")]
        agent = agent_of(manager, [calls, "It rains"], tools=[weather])
        agent("How is the weather?")
        [(number, metrics)] = open_session().get_message_metrics("helper").items()
        assert number == len(agent.messages) - 1
        assert metrics["accumulated_usage"] == {
            "cacheReadInputTokens": 0,
            "cacheWriteInputTokens": 0,
            **agent.event_loop_metrics.accumulated_usage,
        }
        assert metrics["accumulated_metrics"] == {"latencyMs": 14, "timeToFirstByteMs": 0}
        assert metrics["cycle_metrics"]["cycle_count"] == 2
        used = metrics["tool_usage"]["weather"]
        assert (used["call_count"], used["success_count"], used["error_count"]) == (2, 1, 1)
        assert used["success_rate"] == 0.5
        agent("And now?")
        assert list(manager.get_message_metrics("helper")) == [number, number + 2]

    def test_without_an_answer(self, open_session: Open) -> None:
        """An agent that said nothing has no metrics, and messages are not changed by reading or syncing again."""
        manager = open_session()
        agent = agent_of(manager, ["Hello"])
        manager.sync_agent(agent)
        assert manager.get_message_metrics("helper") == {}
        agent("Hi")
        before = manager.get_message_metrics("helper")
        manager.sync_agent(agent)
        assert manager.get_message_metrics("helper") == before


class TestPrompts:
    """Which prompt an agent uses."""

    def test_a_prompt_stays(self, open_session: Open) -> None:
        """It is returned with the configuration, also after further turns, in other processes, and of an agent that was
        restored without a system prompt.
        """
        manager = open_session()
        agent = agent_of(manager, ["one", "two"], system_prompt="Be kind")
        agent("go")
        prompt = {"prompt_id": "p-1", "prompt_version": "3", "temperature": 0.2, "labels": ["a", "b"]}
        manager.set_prompt_metadata("helper", prompt)
        agent("go on")
        other = open_session()
        agent_of(other, ["three"])("and on")
        expected = {"agent_id": "helper", "model": "local", "system_prompt": "Be kind", "prompt_metadata": prompt}
        assert open_session().get_agent_config("helper") == expected
        assert open_session().list_agents() == [expected]

    def test_a_changed_prompt_stays(self, open_session: Open) -> None:
        """A turn of an agent without a system prompt does not remove the one that was set."""
        manager = open_session()
        agent = agent_of(manager, ["one", "two"])
        agent("go")
        manager.update_agent_config("helper", system_prompt="Be brief")
        agent("go on")
        agent_of(open_session(), ["three"])("and on")
        config = open_session().get_agent_config("helper")
        assert config is not None
        assert config["system_prompt"] == "Be brief"

    def test_a_prompt_before_the_first_turn(self, open_session: Open) -> None:
        """It may be set before the agent exists, and replaced."""
        manager = open_session()
        manager.set_prompt_metadata("helper", {"prompt_id": "p-1"})
        agent = agent_of(manager, ["one"])
        agent("go")
        config = open_session().get_agent_config("helper")
        assert config is not None
        assert (config["prompt_metadata"], config["model"]) == ({"prompt_id": "p-1"}, "local")
        manager.update_agent_config("helper", prompt_metadata={"prompt_id": "p-2"})
        assert [one["prompt_metadata"] for one in open_session().list_agents()] == [{"prompt_id": "p-2"}]
        assert texts(agent_of(open_session(), [])) == ["go", "one"]

    def test_an_unknown_agent(self, open_session: Open) -> None:
        """Its configuration cannot be changed; the error is a ``ValueError``."""
        with pytest.raises(ValueError, match="'nobody' is unknown in session"):
            open_session().update_agent_config("nobody", model="m")


class TestGuardrails:
    """Redaction, and the audit of interventions."""

    def test_an_intervention_is_recorded(self, open_session: Open) -> None:
        """The content is replaced; action, reason, policies and trace are kept with the message."""
        manager = open_session()
        agent = agent_of(manager, ["Sorry"])
        agent("darn")
        began = datetime.now(UTC)
        manager.redact_latest_message(REDACTED, agent, stop_reason="guardrail_intervened", guardrail_trace=TRACE)
        manager.redact_latest_message(REDACTED, agent, action="ANONYMIZED")
        first, second = open_session().get_guardrail_events()
        assert (
            began <= datetime.fromisoformat(first.pop("timestamp")) <= datetime.fromisoformat(second.pop("timestamp"))
        )
        assert first == {
            "agent_id": "helper",
            "message_id": 1,
            "action": GUARDRAIL_ACTION_BLOCKED,
            "stop_reason": "guardrail_intervened",
            "policies_triggered": {
                "contentPolicy": ["HATE/HIGH"],
                "topicPolicy": ["Loans/BLOCKED"],
                "wordPolicy": ["darn", "PROFANITY/UNKNOWN"],
            },
            "trace": TRACE,
        }
        assert second == {"agent_id": "helper", "message_id": 1, "action": "ANONYMIZED"}
        assert texts(agent_of(open_session(), [])) == ["darn", "[removed]"]
        assert list(manager.get_message_metrics("helper")) == [1]

    def test_interventions_of_several_agents(self, open_session: Open) -> None:
        """They are listed in the order in which they happened, and stay when conversations continue."""
        manager = open_session()
        for agent_id in ("b", "a"):
            agent = agent_of(manager, ["Sorry"], agent_id)
            agent("darn")
            manager.redact_latest_message(REDACTED, agent)
            agent("ok")
        listed = [(event["agent_id"], event["message_id"]) for event in open_session().get_guardrail_events()]
        assert listed == [("b", 1), ("a", 1)]
        assert open_session("other").get_guardrail_events() == []

"""The page of one entry: its conversation, its session, and what a limited key sees of them."""

from collections.abc import Iterator
from typing import Any

import pytest

import harken
from harken import Feedback, Harken
from hosts.serving import Server, served
from hosts.web.site import Visitor, texts_of

pytestmark = pytest.mark.slow


def message(number: int, role: str, text: str) -> dict[str, Any]:
    """A message as the session manager stores it."""
    return {"message": {"role": role, "content": [{"text": text}]}, "message_id": number}


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken with a session of two agents, which have a conversation each."""
    with harken.connect("memory://") as connected:
        for agent in ("helper", "seller"):
            talk = (message(0, "user", f"A question to the {agent}"), message(1, "assistant", f"I am the {agent}"))
            for number, one in enumerate(talk):
                connected.conversations.append("default", "s", agent, number, one)
        connected.sessions.update("default", "s", {"customer": "Kim Example"})
        yield connected


@pytest.fixture
def feedback(hk: Harken) -> Feedback:
    """Feedback about one of the agents, in a session with much more."""
    hk.submit("s", "up", "Thanks", agent_id="seller")
    for _ in range(28):
        hk.submit("s", "up", agent_id="helper")
    hk.submit("other", "up", agent_id="helper")
    return hk.submit("s", "down", "Not an answer", agent_id="helper").feedback


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server that requires keys."""
    with served(hk, access="keys") as serving:
        yield serving


def test_the_conversation_and_the_session(hk: Harken, server: Server, feedback: Feedback) -> None:
    """The conversation with the agent that was rated is shown, with what is known about the session."""
    reader = Visitor.signed_in(server, hk.keys.create("default", ["read"]).text)
    shown = texts_of(reader.page(f"/dashboard/feedback/{feedback.id}"))
    assert "A question to the helper" in shown
    assert "I am the helper" in shown
    assert "4 messages" in shown
    assert "Kim Example" in shown
    assert "30 approved" in shown


@pytest.mark.parametrize("scopes", [["read"], ["read", "moderate"], ["admin"]])
def test_a_key_that_is_limited_to_agents(hk: Harken, server: Server, feedback: Feedback, scopes: list[str]) -> None:
    """It shows neither the conversations of other agents nor the metadata of the session, which the API refuses too."""
    reader = Visitor.signed_in(server, hk.keys.create("default", scopes, agents=["helper"]).text)
    shown = texts_of(reader.page(f"/dashboard/feedback/{feedback.id}"))
    assert "I am the helper" in shown
    assert "2 messages" in shown
    assert "29 approved" in shown
    assert "Kim Example" not in shown
    other = hk.submit("quiet", "up", agent_id="helper").feedback
    hk.conversations.append("default", "quiet", "seller", 0, message(0, "user", "A question to the seller"))
    hk.conversations.append("default", "quiet", "seller", 1, message(1, "assistant", "I am the seller"))
    assert "seller" not in texts_of(reader.page(f"/dashboard/feedback/{other.id}"))

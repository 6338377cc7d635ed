"""The page of one entry: its conversation, its session, and what a limited key sees of them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import harken
from harken import Feedback, Harken
from harken.services.conversations import ConversationService
from harken_adapters.hosts.session_manager import MongoDBSessionManager
from harken_adapters.hosts.web import conversation
from hosts.serving import Server, served
from hosts.web.site import Visitor, links_of, served_at, texts_of
from support import ManualClock

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


def test_values_of_metadata(hk: Harken, server: Server, feedback: Feedback) -> None:
    """They are shown as JSON, and what session managers encode as the text of its value."""
    values = {
        "since": datetime(2026, 11, 1, 9, tzinfo=UTC),
        "account": {"company": "ACME", "vip": None},
        "huge": 10**5000,
    }
    MongoDBSessionManager("s", harken=hk).update_metadata(values)
    reader = Visitor.signed_in(server, hk.keys.create("default", ["read"]).text)
    shown = texts_of(reader.page(f"/dashboard/feedback/{feedback.id}"))
    assert "2026-11-01T09:00:00" in shown
    assert '{"company": "ACME", "vip": null}' in shown


def test_odd_names_of_metadata(hk: Harken, server: Server, feedback: Feedback) -> None:
    """They are shown as text, and never change the order of what is around them."""
    odd = {"<b>bold</b>": "x", "a.b": {"$set": "<i>", "\u05d0": 1}, "\u202eback": 1}
    hk.sessions.update("default", "s", odd)
    key = hk.keys.create("default", ["admin"]).text
    html = Visitor.signed_in(server, key).get(f"/dashboard/feedback/{feedback.id}").text
    assert "<dt>&lt;b&gt;bold&lt;/b&gt;</dt>" in html
    assert "<dt>a.b</dt>" in html
    assert "&#34;$set&#34;: &#34;&lt;i&gt;&#34;" in html
    assert "<dt>\u202eback</dt>" not in html
    # Isolated: text from right to left has marks around it.
    assert "<dd>{&#34;$set&#34;" not in html


def talk(hk: Harken, count: int, session: str = "long", text: str = "text {}.") -> None:
    """A conversation of as many messages, in turn of the user and the agent."""
    for number in range(count):
        said = message(number, ("user", "assistant")[number % 2], text.format(number))
        said["message"]["id"] = f"m{number}"
        hk.conversations.append("default", session, "helper", number, said)


def shown_numbers(page: Any) -> list[int]:
    """The numbers of the messages of a page."""
    return [int(number) for number in re.findall(r"text (\d+)\.", page.text)]


class TestLongConversations:
    def test_the_message_in_question(self, hk: Harken, server: Server) -> None:
        """However far down it is, the messages around it are shown, and how many are left out."""
        talk(hk, 2_100)
        one = hk.submit("long", "down", "No", agent_id="helper", message_id="m2050").feedback
        reader = Visitor.signed_in(server, hk.keys.create("default", ["read"]).text)
        page = reader.page(f"/dashboard/feedback/{one.id}")
        assert shown_numbers(page) == [*range(2_030, 2_061)]
        assert "2,030 earlier messages are not shown." in texts_of(page)
        assert "39 later messages are not shown." in texts_of(page)

    def test_a_message_that_is_not_found(self, hk: Harken, server: Server) -> None:
        """The last messages are shown, and the page says so."""
        talk(hk, 100)
        one = hk.submit("long", "down", "No", agent_id="helper", message_id="gone").feedback
        reader = Visitor.signed_in(server, hk.keys.create("default", ["read"]).text)
        page = reader.page(f"/dashboard/feedback/{one.id}")
        assert shown_numbers(page) == [*range(69, 100)]
        assert "was not found. These are the last ones." in texts_of(page)

    def test_much_that_is_not_shown(self, hk: Harken, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """The results of tools count as well when the message in question is searched for; the last ones are shown."""
        monkeypatch.setattr(conversation, "_READ", 200_000)
        result = {"toolResult": {"toolUseId": "t", "status": "success", "content": [{"text": "y" * 20_000}]}}
        for agent in ("helper", "seller"):
            for number in range(0, 60, 2):
                said = message(number, "user", "")
                said["message"]["content"] = [result]
                hk.conversations.append("default", "long", agent, number, said)
                hk.conversations.append(
                    "default", "long", agent, number + 1, message(number + 1, "assistant", f"text {number + 1}.")
                )
        one = hk.submit("long", "down", "No", agent_id="helper", message_id="gone").feedback
        read: list[int] = []
        messages = ConversationService.messages

        def record(service: Any, *args: Any, **kwargs: Any) -> Any:
            found = messages(service, *args, **kwargs)
            read.append(len(found))
            return found

        monkeypatch.setattr(ConversationService, "messages", record)
        reader = Visitor.signed_in(server, hk.keys.create("default", ["read"]).text)
        assert "These are the last ones." in texts_of(reader.page(f"/dashboard/feedback/{one.id}"))
        assert sum(read) < 40

    def test_a_place_that_is_not_counted(self, hk: Harken, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """An entry of a search with too many hits to count is in the list, at a place that is not known."""
        monkeypatch.setattr("harken_adapters.hosts.web.entries._MOST_COUNTED", 3)
        given = [hk.submit(f"s{number}", "up", "fine").feedback for number in range(6)]
        reader = Visitor.signed_in(server, hk.keys.create("default", ["read"]).text)
        shown = texts_of(reader.page(f"/dashboard/feedback/{given[0].id}?text=fine"))
        assert "one of at least 3" in shown
        assert "not in this list" not in shown

    def test_long_messages(self, hk: Harken, server: Server) -> None:
        """The start of each is shown, and a link leads to the rest; the page stays small."""
        talk(hk, 40, text="text {}." + "x" * 100_000)
        one = hk.submit("long", "down", "No", agent_id="helper", message_id="m30").feedback
        reader = Visitor.signed_in(server, hk.keys.create("default", ["read"]).text)
        page = reader.page(f"/dashboard/feedback/{one.id}")
        assert len(page.text) < 100_000
        assert "98,008 more characters" in texts_of(page)
        (link,) = [link for link in links_of(page) if link.endswith("#message-30")]
        whole = reader.page(link)
        assert f"text 30.{'x' * 100_000}" in whole.text
        assert len(whole.text) < 200_000

    @pytest.mark.parametrize("at", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00", "9999-12-31T23:59-14:00"])
    @pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
    def test_times_at_the_edges_of_the_calendar(self, hk: Harken, server: Server, at: str, zone: str) -> None:
        """A message is shown in every time zone, even if its time is at the edge."""
        said = {**message(0, "user", "Hello"), "created_at": at}
        hk.conversations.append("default", "edge", "helper", 0, said)
        one = hk.submit("edge", "down", "No", agent_id="helper").feedback
        reader = Visitor.signed_in(server, hk.keys.create("default", ["read"]).text)
        assert "Hello" in texts_of(reader.page(f"/dashboard/feedback/{one.id}?zone={zone}"))


def test_what_happened_is_in_order(clock: ManualClock) -> None:
    """A decision after the last delivery stands below it."""
    routes: Any = [{"name": "new", "channel": "log", "events": ["feedback.created"]}]
    with harken.connect("memory://", clock=clock, channels={"log": {"kind": "log"}}, routes=routes) as hk:
        one = hk.submit("s", "up", "fine").feedback
        hk.relay.run_due()
        clock.turn(minutes=1)
        hk.moderation.decide("default", one.id, "rejected")
        with served_at(hk, clock, relay=False) as server:
            shown = texts_of(Visitor(server).page(f"/dashboard/feedback/{one.id}"))
    assert shown.index("Up with a comment") < shown.index("Notified : log arrived") < shown.index("Rejected by")

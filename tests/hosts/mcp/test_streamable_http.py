"""The MCP server over streamable HTTP: who may call what."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from mcp_types import CallToolResult

from harken import Harken
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.mcp import create_app
from harken_adapters.tokens import SessionTokens
from hosts.mcp_client import MODES, answer_of, failure_of, over_http, run
from hosts.serving import OPEN, Server, problem, serving

#: Each starts a server.
pytestmark = pytest.mark.slow

SECRET = "a secret of at least thirty-two bytes"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server with write access. Its settings open the HTTP API, which must not matter."""
    with serving(create_app(hk, ServerSettings(**OPEN, token_secrets=(SECRET,)), write=True)) as started:
        yield started


def key(hk: Harken, *scopes: str, application: str = "default", **options: Any) -> str:
    """The text of a new API key."""
    return hk.keys.create(application, scopes or ("read",), **options).text


def call(server: Server, credential: str, tool: str, mode: str = "auto", **arguments: Any) -> CallToolResult:
    """Call a tool with a key."""

    async def ask() -> CallToolResult:
        async with over_http(f"{server.url}/mcp", credential, mode=mode) as client:
            return await client.call_tool(tool, arguments)

    return run(ask)


def post(server: Server, **headers: str) -> requests.Response:
    """List the tools with these headers."""
    return server.ask("POST", "/mcp", json=LIST, headers={**ACCEPT, **headers})


class TestAuthentication:
    def test_needs_a_key(self, hk: Harken, server: Server) -> None:
        """Without a valid key in the header there is no access, also from this machine and with open settings."""
        good = key(hk)
        for headers in (
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer hk_00_unknown"},
            {"Authorization": f"Basic {good}"},
            {"Authorization": f"Bearer {good}x"},
            {"Cookie": f"harken_key={good}"},
            {"X-Api-Key": good},
        ):
            answer = post(server, **headers)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert post(server, Authorization=f"Bearer {good}").status_code == 200

    @pytest.mark.parametrize(
        ("header", "value", "status"),
        [("Host", "evil.example", 421), ("Origin", "http://evil.example", 403), ("Origin", "null", 403)],
    )
    def test_pages_of_other_sites_are_refused(
        self, hk: Harken, server: Server, header: str, value: str, status: int
    ) -> None:
        """Even with a key: a page whose name was pointed to this machine (DNS rebinding) gets nothing."""
        assert post(server, Authorization=f"Bearer {key(hk)}", **{header: value}).status_code == status

    def test_further_names(self, hk: Harken) -> None:
        """The operator names the hosts under which clients reach the server."""
        credential = f"Bearer {key(hk)}"
        with serving(create_app(hk, ServerSettings(**OPEN), allowed_hosts=["mcp.example.com"])) as server:
            for name in ("mcp.example.com", "mcp.example.com:8443", "localhost:1"):
                assert post(server, Authorization=credential, Host=name).status_code == 200
            assert post(server, Authorization=credential, Host="mcp.example.com.evil.example").status_code == 421

    @pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
    def test_only_post(self, hk: Harken, server: Server, method: str) -> None:
        """There are no streams that could stay open, and no sessions."""
        answer = server.ask(method, "/mcp", headers={**ACCEPT, "Authorization": f"Bearer {key(hk)}"})
        problem(answer, 405, "method-not-allowed")

    def test_large_messages_are_refused(self, hk: Harken, server: Server) -> None:
        """Before they are parsed."""
        answer = server.ask(
            "POST", "/mcp", data=b"[" * 400_000, headers={**ACCEPT, "Authorization": f"Bearer {key(hk)}"}
        )
        assert answer.status_code == 413

    def test_guessing_is_limited(self, hk: Harken) -> None:
        """Invalid keys are limited for an address, which does not affect valid ones."""
        good = key(hk)
        settings = ServerSettings(**{**OPEN, "limit_by_address": "5/minute"})
        with serving(create_app(hk, settings)) as server:
            statuses = [post(server, Authorization=f"Bearer hk_00_{number}").status_code for number in range(10)]
            assert (statuses[0], statuses[-1]) == (401, 429)
            assert post(server, Authorization=f"Bearer {good}").status_code == 200


class TestAuthorization:
    @pytest.mark.parametrize("mode", MODES)
    def test_the_key_names_the_application(self, hk: Harken, server: Server, mode: str) -> None:
        """Two keys see and store feedback of their own applications only."""
        hk.submit("s", "up")
        mine, other = key(hk, "read", "submit"), key(hk, "read", "submit", application="other")
        stored = answer_of(call(server, other, "record_feedback", mode, session_id="s", rating="down", comment="late"))
        feedback_id = stored["result"]["feedback_id"]
        assert answer_of(call(server, mine, "get_statistics", mode))["result"]["negative"] == 0
        assert answer_of(call(server, other, "get_statistics", mode))["result"]["negative"] == 1
        assert "No feedback" in failure_of(call(server, mine, "get_feedback", mode, feedback_id=feedback_id))
        assert hk.summary(application="other").total == 1

    def test_tools_by_scope(self, hk: Harken, server: Server) -> None:
        """A key is offered the tools that it may call, and is refused the others."""

        async def names(credential: str) -> set[str]:
            async with over_http(f"{server.url}/mcp", credential) as client:
                return {tool.name for tool in (await client.list_tools()).tools}

        async def both() -> list[set[str]]:
            return await asyncio.gather(names(key(hk, "read")), names(key(hk, "submit")))

        reading, writing = run(both)
        assert "record_feedback" not in reading
        assert writing == {"record_feedback"}
        assert "requires the scope 'submit'" in failure_of(
            call(server, key(hk, "read"), "record_feedback", session_id="s", rating="up")
        )
        assert "requires the scope 'read'" in failure_of(call(server, key(hk, "submit"), "get_statistics"))
        assert hk.summary().total == 0

    def test_a_key_for_agents(self, hk: Harken, server: Server) -> None:
        """A key for one agent sees, compares and stores only feedback about it."""
        hk.submit("s", "up", agent_id="a1")
        hidden = hk.submit("s", "down", "secret", agent_id="a2").feedback.id
        limited = key(hk, "read", "submit", agents=["a1"])
        assert answer_of(call(server, limited, "get_statistics"))["result"]["total_feedbacks"] == 1
        assert [one["key"] for one in answer_of(call(server, limited, "compare_groups"))["result"]["groups"]] == ["a1"]
        assert "limited to the agents 'a1'" in failure_of(call(server, limited, "list_feedback", agent_id="a2"))
        assert "limited to the agents 'a1'" in failure_of(
            call(server, limited, "compare_feedback", before_agent_id="a2", after_agent_id="a1")
        )
        assert "No feedback" in failure_of(call(server, limited, "get_feedback", feedback_id=hidden))
        stored = answer_of(call(server, limited, "record_feedback", session_id="s", rating="up"))
        assert hk.collection.get("default", stored["result"]["feedback_id"]).agent_id == "a1"

    def test_a_session_token(self, hk: Harken, server: Server) -> None:
        """A token records feedback of its author in its session, and reads no statistics."""
        token = SessionTokens((SECRET,)).mint(session_id="s", author="ann")
        answer_of(call(server, token, "record_feedback", session_id="s", rating="up"))
        assert hk.feedback().items[0].author == "ann"
        assert "another session" in failure_of(call(server, token, "record_feedback", session_id="t", rating="up"))
        assert "can only submit" in failure_of(call(server, token, "get_statistics"))

    def test_calls_are_limited(self, hk: Harken) -> None:
        """The rate limits of the HTTP API apply to each key."""
        settings = ServerSettings(**{**OPEN, "limit_by_key": "3/minute"})
        with serving(create_app(hk, settings)) as server:
            credential = key(hk)

            async def ask() -> list[CallToolResult]:
                async with over_http(f"{server.url}/mcp", credential) as client:
                    return [await client.call_tool("get_statistics", {}) for _ in range(5)]

            answers = run(ask)
            assert [answer.is_error for answer in answers] == [False, False, False, True, True]
            assert "More than 3 requests in 60 seconds by this API key" in failure_of(answers[-1])


def test_read_only(hk: Harken) -> None:
    """Without write access not even an admin's key can record feedback."""
    with serving(create_app(hk, ServerSettings(**OPEN))) as server:
        answer = call(server, key(hk, "admin"), "record_feedback", session_id="s", rating="up")
    assert "Unknown tool" in failure_of(answer)
    assert hk.summary().total == 0

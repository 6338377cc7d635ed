"""Changes of session metadata through every host are sent to channels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import harken
from channels import Recorder
from harken import Harken
from harken_adapters.hosts.session_manager import MongoDBSessionManager
from hosts.serving import served

EVENT = "session.metadata_updated"
ROUTE = {"name": "sessions", "channel": "team", "events": [EVENT]}
UPDATED, DELETED = ("update", {"tier": "pro"}), ("delete", {"tier": None})


@pytest.fixture
def channel() -> Recorder:
    """The receiver of the channel ``team``."""
    return Recorder()


@pytest.fixture
def hk(channel: Recorder) -> Iterator[Harken]:
    """A Harken with a route for changes of sessions."""
    with harken.connect("memory://", channels={"team": channel}, routes=[ROUTE]) as connected:
        yield connected


def sent(hk: Harken, channel: Recorder) -> list[tuple[str, Any]]:
    """Run the relay; returns the operations and values that arrived."""
    hk.relay.run_due()
    return [(one.session.operation, one.session.metadata) for one in channel.arrived if one.session]


def test_over_http(hk: Harken, channel: Recorder) -> None:
    """Updates and deletions over HTTP; the delivery has its session, and the route can be put there too."""
    with served(hk) as server:
        path = "/api/sessions/session-1/metadata"
        assert server.ask("PATCH", path, json={"tier": "pro"}).status_code == 200
        assert sent(hk, channel) == [UPDATED]
        assert server.ask("DELETE", f"{path}?key=tier").status_code == 200
        assert sent(hk, channel) == [UPDATED, DELETED]
        (first, _) = server.get(f"/api/deliveries?state=delivered&type={EVENT}")["deliveries"]
        assert (first["event"]["type"], first["event"]["session_id"]) == (EVENT, "session-1")
        assert json.loads(first["event"]["subject_id"])["names"] == ["tier"]
        refused = server.ask("PUT", "/api/routes/downs", json={"channel": "team", "events": [EVENT], "ratings": ["up"]})
        assert refused.status_code == 422
        assert "is about a session, so the filter 'ratings' never matches it" in refused.json()["detail"]
        added = server.ask("PUT", "/api/routes/again", json={"channel": "team", "events": [EVENT]})
        assert added.json()["events"] == [EVENT]


def test_by_a_session_manager(hk: Harken, channel: Recorder) -> None:
    """The session manager and its tool."""
    manager = MongoDBSessionManager("session-1", harken=hk)
    manager.update_metadata({"tier": "pro"})
    assert sent(hk, channel) == [UPDATED]
    manager.delete_metadata(["tier"])
    assert sent(hk, channel) == [UPDATED, DELETED]


def test_by_the_tool_of_agents(hk: Harken, channel: Recorder) -> None:
    """The tool with which agents manage the metadata of their session."""
    tool: Any = MongoDBSessionManager("session-1", harken=hk).get_metadata_tool()
    tool(action="set", metadata={"tier": "pro"})
    assert sent(hk, channel) == [UPDATED]
    tool(action="delete", keys=["tier"])
    assert sent(hk, channel) == [UPDATED, DELETED]

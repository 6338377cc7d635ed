"""The ``Prefer`` header: which values ask for the whole feedback, and what callers with few rights see of it."""

import pytest

from harken import Harken, Scope
from harken_adapters.hosts.http.wire.messages import Request
from harken_adapters.hosts.http.wire.preferences import prefers_representation
from hosts.serving import Server, served

PREFER = {"Prefer": "return=representation"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("return=representation", True),
        ('Return = "representation" ; x=1', True),
        ("respond-async, return=representation", True),
        ("return=minimal, return=representation", False),
        ("return=representation, return=minimal", True),
        ("return", False),
        ("representation", False),
        ("return=representations", False),
        ("", False),
        (None, False),
    ],
)
def test_values(value: str | None, expected: bool) -> None:
    """The first ``return`` counts, in any case; other preferences are ignored."""
    request = Request(method="GET", path="/", parts={}, header={"prefer": value}.get)
    assert prefers_representation(request) is expected


def test_without_the_header_responses_are_short(server: Server) -> None:
    """A page that does not ask gets the same short response as ever."""
    given = server.post("/api/sessions/s/feedback", {"rating": "up"})
    assert given.keys() == {"status", "message", "feedback_id", "version"}


def test_a_key_that_only_submits(hk: Harken) -> None:
    """It sees what an author sees: the decision of a moderator is not part of it."""
    key = {"Authorization": f"Bearer {hk.keys.create('default', [Scope.SUBMIT]).text}"}
    path, body = "/api/sessions/s/messages/m/feedback?author=ann", {"rating": "up"}
    with served(hk, access="keys") as server:
        known = server.ask("PUT", path, json=body, headers=key | PREFER).json()
        rejected = hk.moderation.decide(
            "default", known["feedback_id"], "rejected", moderator="mod", reason="secret", expected_version=1
        )
        again = server.ask("PUT", path, json=body, headers=key | PREFER)
    assert rejected.moderation.reason == "secret"
    assert again.json()["feedback"]["status"] == "rejected"
    assert again.json()["feedback"]["moderation"] is None
    assert "secret" not in again.text


def test_a_key_for_other_agents(hk: Harken) -> None:
    """A key that is limited to agents gets no feedback about others, and no revisions."""
    key = {"Authorization": f"Bearer {hk.keys.create('default', ['submit', 'read'], agents=['a']).text}"}
    hk.vote("s", "down", "private words", author="ann", message_id="m", agent_id="a")
    with served(hk, access="keys") as server:
        path, body = "/api/sessions/s/messages/m/feedback?author=ann", {"rating": "up", "agent_id": "a"}
        cast = server.ask("PUT", path, json=body, headers=key | PREFER | {"Idempotency-Key": "k"})
        assert cast.json()["feedback"]["revisions"] == []
        assert "private words" not in cast.text
        hk.vote("s", "down", "other words", author="ann", message_id="m", agent_id="b")
        late = server.ask("PUT", path, json=body, headers=key | PREFER | {"Idempotency-Key": "k"})
        assert "feedback" not in late.json()
        listed = server.ask("GET", "/api/sessions/s/votes?author=ann", headers=key | PREFER)
        assert listed.json()["votes"] == []
        assert server.ask("DELETE", path, headers=key | PREFER).status_code == 204
    assert "other words" not in late.text + listed.text

"""API keys and dry runs of routes over HTTP."""

from collections.abc import Iterator
from typing import Any

import pytest

import harken
from channels import Recorder
from harken import Harken
from harken_adapters.hosts.http.operations import keys
from hosts.serving import Server, problem, served
from support import ManualClock, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with a channel."""
    with harken.connect("memory://", clock=clock, channels={"team": Recorder()}) as connected:
        yield connected


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server that requires keys."""
    with served(hk, access="keys") as serving:
        yield serving


def bearing(hk: Harken, *scopes: str, application: str = "default", agents: Any = None) -> dict[str, Any]:
    """The Authorization header of a new key."""
    made = hk.keys.create(application, scopes or ["admin"], agents=agents, name=f"of {application}")
    return {"headers": {"Authorization": f"Bearer {made.text}"}}


def ids(answer: Any) -> set[str]:
    """The ids of the listed keys."""
    return {key["id"] for key in answer["keys"]}


class TestKeys:
    def test_a_key_is_created_used_and_revoked(self, hk: Harken, server: Server) -> None:
        """The text is in the response to the creation only; the list says when the key was used."""
        admin = bearing(hk)
        body = {"scopes": ["read", "submit"], "name": "web", "agents": ["a", "b"]}
        made = server.post("/api/keys", body, **admin)
        text = made.pop("key")
        assert (made["scopes"], made["agents"], made["name"]) == (["submit", "read"], ["a", "b"], "web")
        assert (made["revoked_at"], made["last_used_at"]) == (None, None)
        answer = server.ask("GET", "/api/keys", **admin)
        assert made in answer.json()["keys"]
        assert text not in answer.text
        assert hk.keys.authenticate(text).digest not in answer.text
        server.get("/api/feedback?agent_id=a", headers={"Authorization": f"Bearer {text}"})

        def listed() -> Any:
            return next(key for key in server.get("/api/keys", **admin)["keys"] if key["id"] == made["id"])

        eventually(lambda: listed()["last_used_at"] is not None)
        revoked = server.ask("DELETE", f"/api/keys/{made['id']}", **admin)
        assert (revoked.status_code, revoked.json()["revoked_at"]) == (200, "2026-03-04T12:00:00.000000Z")
        assert server.ask("DELETE", f"/api/keys/{made['id']}", **admin).json() == revoked.json() == listed()

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"scopes": []},
            {"scopes": "admin"},
            {"scopes": ["all"]},
            {"scopes": [1]},
            {"scopes": ["read"], "name": 0},
            {"scopes": ["read"], "name": "a\nb"},
            {"scopes": ["read"], "agents": []},
            {"scopes": ["read"], "agents": "a"},
            {"scopes": ["read"], "agents": [None]},
            {"scopes": ["read"], "application": "shop"},
        ],
    )
    def test_an_invalid_key_is_not_created(self, hk: Harken, server: Server, body: Any) -> None:
        """Nothing is stored, in particular no key for all agents or another application."""
        admin = bearing(hk)
        problem(server.ask("POST", "/api/keys", json=body, **admin), 422, "invalid")
        assert len(hk.keys.keys("default")) == 1

    def test_tenants_are_separate(self, hk: Harken, server: Server) -> None:
        """A key for one application neither lists, creates nor revokes keys of another, with the same answers."""
        admin, foreign = bearing(hk), bearing(hk, application="shop")
        (theirs,) = hk.keys.keys("shop")
        assert ids(server.get("/api/keys", **admin)) == {key.id for key in hk.keys.keys("default")}
        unknown = problem(server.ask("DELETE", "/api/keys/0123456789abcdef", **admin), 404, "not-found")
        known = problem(server.ask("DELETE", f"/api/keys/{theirs.id}", **admin), 404, "not-found")
        assert known["detail"] == unknown["detail"]
        for method, path in (("GET", "/api/keys"), ("POST", "/api/keys"), ("DELETE", f"/api/keys/{theirs.id}")):
            asked = f"{path}?application=shop"
            answer = server.ask(method, asked, **({"json": {"scopes": ["read"]}} if method == "POST" else {}), **admin)
            problem(answer, 403, "forbidden")
        assert ids(server.get("/api/keys", **foreign)) == {theirs.id}
        assert not theirs.revoked
        assert len(hk.keys.keys()) == 2

    def test_the_text_of_a_key_is_not_repeated(self, hk: Harken, server: Server) -> None:
        """Who sends a whole key as an id by mistake does not find it in the message."""
        made = hk.keys.create("shop", ["read"])
        answer = server.ask("DELETE", f"/api/keys/{made.text}", **bearing(hk))
        assert made.text.split("_", 2)[2] not in problem(answer, 404, "not-found")["detail"]

    def test_a_key_for_agents_gives_no_more_than_it_has(self, hk: Harken, server: Server) -> None:
        """It manages keys for some of its agents only."""
        own = bearing(hk, agents=["a", "b"])
        mine, both, mixed = (
            hk.keys.create("default", ["admin"], agents=agents).key for agents in (["a"], ["a", "b"], ["a", "c"])
        )
        for_all = hk.keys.create("default", ["read"]).key
        found = ids(server.get("/api/keys", **own))
        assert {mine.id, both.id} <= found
        assert found.isdisjoint({mixed.id, for_all.id})
        for key in (mixed, for_all):
            problem(server.ask("DELETE", f"/api/keys/{key.id}", **own), 404, "not-found")
        for agents in (["c"], ["a", "c"]):
            answer = server.ask("POST", "/api/keys", json={"scopes": ["read"], "agents": agents}, **own)
            assert "limited to the agents 'a', 'b'" in problem(answer, 403, "forbidden")["detail"]
        assert server.post("/api/keys", {"scopes": ["admin"], "agents": ["b"]}, **own)["agents"] == ["b"]
        # Without agents, it is for those of the caller, not for all.
        for body in ({"scopes": ["admin"]}, {"scopes": ["admin"], "agents": None}):
            assert server.post("/api/keys", body, **own)["agents"] == ["a", "b"]
        assert server.ask("DELETE", f"/api/keys/{mine.id}", **own).status_code == 200

    @pytest.mark.parametrize("scope", ["submit", "read", "moderate"])
    def test_other_scopes_may_not(self, hk: Harken, server: Server, scope: str) -> None:
        """Only the scope admin permits it."""
        other = bearing(hk, scope)
        problem(server.ask("GET", "/api/keys", **other), 403, "forbidden")
        problem(server.ask("POST", "/api/keys", json={"scopes": ["submit"]}, **other), 403, "forbidden")
        problem(server.ask("DELETE", f"/api/keys/{hk.keys.keys('default')[0].id}", **other), 403, "forbidden")

    def test_the_number_of_keys_is_limited(self, hk: Harken, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """An application cannot fill the storage with keys, by revoking them either; others are not affected."""
        monkeypatch.setattr(keys, "MAX_KEYS", 3)
        admin, foreign = bearing(hk), bearing(hk, application="shop")
        for _ in range(2):
            made = server.post("/api/keys", {"scopes": ["read"]}, **admin)
            server.ask("DELETE", f"/api/keys/{made['id']}", **admin)
        problem(server.ask("POST", "/api/keys", json={"scopes": ["read"]}, **admin), 409, "conflict")
        server.post("/api/keys", {"scopes": ["read"]}, **foreign)


class TestDryRuns:
    def test_a_route_is_dry_run(self, hk: Harken, server: Server) -> None:
        """The numbers and examples are those of the application; nothing is stored."""
        admin = bearing(hk)
        given = hk.submit("s", "down", "slow", agent_id="a").feedback
        hk.submit("s", "up", agent_id="a")
        hk.submit("s", "down", "slow", agent_id="a", application="shop")
        body = {"channel": "team", "ratings": ["down"]}
        found = server.post("/api/routes/new/dry-run", body, status=200, **admin)
        assert (found["matched"], found["total"], found["is_complete"]) == (1, 2, True)
        assert [one["id"] for one in found["examples"]] == [given.id]
        assert "new" not in [route.name for route in hk.routes.routes()]

    def test_other_applications_are_refused(self, hk: Harken, server: Server) -> None:
        """A dry run shows nothing of another application."""
        hk.submit("s", "down", "slow", application="shop")
        admin = bearing(hk)
        path = "/api/routes/new/dry-run"
        body = {"channel": "team", "applications": ["shop"]}
        problem(server.ask("POST", path, json=body, **admin), 403, "forbidden")
        problem(server.ask("POST", f"{path}?application=shop", json={"channel": "team"}, **admin), 403, "forbidden")
        problem(server.ask("POST", path, json={"channel": "none"}, **admin), 409, "conflict")
        problem(server.ask("POST", path, json={"channel": "team", "ratings": ["good"]}, **admin), 422, "invalid")

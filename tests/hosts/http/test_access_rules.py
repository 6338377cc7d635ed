"""The access rules of the HTTP API in short form, fast enough to run on each change. Other tests cover them in full."""

from collections.abc import Iterator
from typing import Any

import pytest

import harken
from harken import Cursor, Feedback, Harken
from harken.clock import utc_now
from harken_adapters.hosts.fastapi import SessionTokens
from harken_adapters.hosts.flask import create_app
from harken_adapters.hosts.http.settings import ServerSettings
from hosts.serving import OPEN, Server, problem, served, serving_wsgi, signed_in
from support import NOON, ManualClock

SECRET = "a secret that is long enough for HS256"
PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
#: Cursors that were never issued.
FORGED = ["garbage", "0", "../../etc/passwd", str(Cursor(NOON, "x"))[:-3], "%00"]


@pytest.fixture(scope="module")
def locked() -> Iterator[tuple[Harken, Server]]:
    """A Harken that requires credentials."""
    settings = {**OPEN, "access": "keys", "token_secrets": (SECRET,)}
    with harken.connect("memory://") as hk, served(hk, **settings) as server:
        yield hk, server


@pytest.fixture
def given(locked: tuple[Harken, Server]) -> Feedback:
    """A vote about an agent, changed once."""
    hk, _ = locked
    hk.collection.set_vote(harken.Target("s", "m", "helper"), "ann", "down", "because")
    return hk.collection.set_vote(harken.Target("s", "m", "helper"), "ann", "up", "better").feedback


def bearing(hk: Harken, *scopes: str, **options: Any) -> dict[str, str]:
    """The Authorization header with a new key."""
    return {"Authorization": f"Bearer {hk.keys.create('default', scopes, **options).text}"}


def token(**claims: Any) -> dict[str, str]:
    """The Authorization header with a new session token."""
    return {"Authorization": f"Bearer {SessionTokens([SECRET], clock=utc_now).mint(**claims)}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
    ],
)
def test_a_cookie_needs_proof_of_the_page(locked: tuple[Harken, Server], headers: dict[str, str], status: int) -> None:
    """A cookie may change data only if the browser proves that a page of the service sent the request."""
    hk, server = locked
    key = hk.keys.create("default", ["submit"]).text
    answer = server.ask("POST", PATH, json=UP, headers={**signed_in(server, key), **headers})
    assert answer.status_code == status
    if status == 403:
        problem(answer, 403, "forbidden")


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_pages_of_other_origins_cannot_change_data(server: Server, hk: Harken, origin: str) -> None:
    """Requests without JSON, which browsers send cross-origin without a preflight, are rejected."""
    feedback = hk.submit("s", "up", author="ann").feedback
    answer = server.ask("DELETE", f"/api/feedback/{feedback.id}", headers={"Origin": origin})
    problem(answer, 403, "forbidden")
    assert not hk.collection.get("default", feedback.id).withdrawn
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.ask("DELETE", f"/api/feedback/{feedback.id}", data=b"a=b", headers=form)
    problem(answer, 415, "unsupported-media-type")
    assert not hk.collection.get("default", feedback.id).withdrawn
    assert server.ask("DELETE", f"/api/feedback/{feedback.id}", headers={"Origin": server.url}).status_code == 204


def test_a_change_needs_the_version_that_was_seen(server: Server, hk: Harken) -> None:
    """The ETag is the version. With If-Match, one change is accepted and a later one is rejected as outdated."""
    path = f"/api/feedback/{hk.submit('s', 'up', 'first').feedback.id}"
    seen = server.ask("GET", path).headers["etag"]
    changed = server.ask("PATCH", path, json={"comment": "second"}, headers={"If-Match": seen})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    problem(server.ask("PATCH", path, json={"comment": "third"}, headers={"If-Match": seen}), 412, "changed-meanwhile")
    problem(server.ask("PATCH", path, json={"comment": "third"}, headers={"If-Match": "x"}), 422, "invalid")
    assert server.get(path)["comment"] == "second"
    assert server.ask("PATCH", path, json={"comment": "third"}, headers={"If-Match": '"2"'}).status_code == 200


def test_a_key_that_is_limited_to_agents(locked: tuple[Harken, Server], given: Feedback) -> None:
    """It accesses only feedback about its agents, and nothing that is not about agents."""
    hk, server = locked
    path = f"/api/feedback/{given.id}"
    theirs = bearing(hk, "read", "submit", agents=["helper"])
    shown = server.get(path, headers=theirs)
    assert (shown["comment"], shown["revisions"]) == ("better", [])
    assert len(server.get(path, headers=bearing(hk, "read"))["revisions"]) == 1
    problem(server.ask("GET", path, headers=bearing(hk, "read", agents=["other"])), 404, "not-found")
    problem(server.ask("GET", "/api/feedback?agent_id=other", headers=theirs), 403, "forbidden")
    problem(server.ask("GET", "/api/sessions/s/metadata", headers=theirs), 403, "forbidden")


def test_a_token_shows_its_author_only_what_is_theirs(locked: tuple[Harken, Server], given: Feedback) -> None:
    """Feedback of other authors in the same session is not found, and the moderator of its own feedback is hidden."""
    hk, server = locked
    hk.moderation.decide("default", given.id, "rejected", moderator="mo", reason="private")
    path = f"/api/feedback/{given.id}"
    mine = server.ask("GET", path, headers=token(session_id="s", author="ann"))
    assert mine.status_code == 200
    assert "private" not in mine.text
    assert '"mo"' not in mine.text
    assert "private" in server.ask("GET", path, headers=bearing(hk, "read")).text
    for claims in ({"session_id": "s", "author": "bob"}, {"session_id": "s"}, {"session_id": "t", "author": "ann"}):
        problem(server.ask("GET", path, headers=token(**claims)), 404, "not-found")


@pytest.mark.parametrize("cursor", FORGED)
def test_an_unknown_cursor(server: Server, cursor: str) -> None:
    """An unknown cursor is rejected, and does not return the first page."""
    document = problem(server.ask("GET", "/api/feedback", params={"after": cursor}), 422, "invalid")
    assert "cursor" in document["detail"].lower() or "after" in document["detail"]


def test_keys_and_addresses_are_counted_apart(hk: Harken, clock: ManualClock) -> None:
    """A key has its own limit, independent of its address and other keys; so does the session of each tenant."""
    limits = {"limit_by_key": "2/minute", "limit_by_address": "1/minute"}
    with served(hk, access="open", **limits) as server:
        one, two = bearing(hk, "submit"), bearing(hk, "submit")
        statuses = [server.ask("POST", PATH, json=UP, headers=headers).status_code for headers in (one, one, one, two)]
        assert statuses == [201, 201, 429, 201]
        assert [server.ask("POST", PATH, json=UP).status_code for _ in range(2)] == [201, 429]
    with served(hk, limit_by_session="1/minute") as server:
        asked = [{"application": application} for application in ("shop", "shop", "bakery")]
        assert [server.ask("POST", PATH, json=UP, params=one).status_code for one in asked] == [201, 429, 201]


def test_heads_have_no_body(hk: Harken) -> None:
    """HEAD of a page has no body, and unsupported methods are rejected with Allow."""
    app = create_app(ServerSettings(**OPEN), harken=hk)
    with served(hk) as first, serving_wsgi(app) as second:
        for server in (first, second):
            got, headed = server.ask("GET", "/healthz"), server.ask("HEAD", "/healthz")
            raw = server.send(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (headed.status_code, headed.content) == (200, b"")
            assert headed.headers["content-type"] == got.headers["content-type"]
            assert raw.endswith(b"\r\n\r\n")
            answer = server.ask("PUT", "/api/feedback", json={})
            problem(answer, 405, "method-not-allowed")
            assert answer.headers["allow"] == "GET, POST"

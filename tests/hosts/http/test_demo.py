"""The demo page: who gets a session token from it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

import pytest

import harken
from harken import Scope
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from harken_adapters.tokens import SessionTokens
from hosts.serving import OPEN, Server, served, serving

pytestmark = pytest.mark.slow

SECRET: Final = "a secret that has thirty-two bytes or more"
OFF: Final = "The thumbs are switched off"


def shown(server: Server, **headers: str) -> tuple[str | None, str]:
    """The session token in the page, if there is one, and the page."""
    answer = server.ask("GET", "/demo", headers=headers)
    assert answer.status_code == 200
    found = re.search(r' token="([^"]+)"', answer.text)
    return found and found[1], answer.text


def bearer(text: str) -> dict[str, str]:
    """The header with credentials."""
    return {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize("scope", [Scope.SUBMIT, Scope.ADMIN])
def test_a_key_that_may_submit(scope: Scope) -> None:
    """With it, the thumbs work, and the page says where the feedback is stored and that it counts."""
    with harken.connect("memory://") as hk, served(hk, access="keys", token_secrets=(SECRET,)) as server:
        token, page = shown(server, **bearer(hk.keys.create("a<b", [scope]).text))
        assert token is not None
        path = "/api/sessions/demo/messages/answer-1/feedback"
        sent = server.ask("PUT", path, json={"rating": "up", "agent_id": "skylark"}, headers=bearer(token))
        assert sent.ok
        assert hk.summary(application="a<b").positive == 1
        assert "session <code>demo</code> of the application <code>a&lt;b</code>, and counts" in page
        assert OFF not in page


def test_open_access() -> None:
    """Without keys, anyone may submit feedback, so the thumbs work."""
    with harken.connect("memory://") as hk, served(hk, token_secrets=(SECRET,)) as server:
        assert shown(server)[0] is not None


@pytest.mark.parametrize(
    "key",
    [
        {"scopes": [Scope.READ, Scope.MODERATE]},
        {"scopes": [Scope.READ], "agents": ["helper"]},
        {"scopes": [Scope.SUBMIT], "agents": ["helper"]},
    ],
)
def test_other_keys(key: dict[str, Any]) -> None:
    """A key that may not submit, or not for every agent, gets no token that may; the page says why."""
    with harken.connect("memory://") as hk, served(hk, access="keys", token_secrets=(SECRET,)) as server:
        token, page = shown(server, **bearer(hk.keys.create("default", **key).text))
        assert token is None
        assert "sign in with an API key that has the scope <code>submit</code> and is not limited to agents" in page
        assert page.count(" disabled>") == 3


@pytest.mark.parametrize("access", ["keys", "open"])
def test_session_tokens(access: str) -> None:
    """A session token is not exchanged for another one, which would have no limits and never expire."""
    limits: dict[str, Any] = {"author": "kim", "agent": "helper", "context": {"tier": "free"}}
    text = SessionTokens([SECRET]).mint(session_id="visitor", origin="https://shop.example", **limits)
    with harken.connect("memory://") as hk, served(hk, access=access, token_secrets=(SECRET,)) as server:
        for credentials in (text, SessionTokens([SECRET]).mint(session_id="demo", author="demo")):
            token, page = shown(server, **bearer(credentials), Origin="https://shop.example")
            assert token is None
            assert OFF in page


def test_without_secrets() -> None:
    """A server without secrets cannot sign tokens; the page says which setting is missing."""
    with harken.connect("memory://") as hk, served(hk) as server:
        token, page = shown(server)
        assert token is None
        assert "set <code>token_secrets</code> in the table" in page


def test_without_credentials() -> None:
    """A browser that is not signed in is sent to the sign-in page."""
    with harken.connect("memory://") as hk, served(hk, access="keys", token_secrets=(SECRET,)) as server:
        answer = server.ask("GET", "/demo", allow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fdemo")


def test_a_secret_for_the_demo_alone(mongodb_url: str) -> None:
    """Servers with different secrets for their demos accept only their own tokens, but share rate limits."""
    patient = f"{mongodb_url}&timeoutMS=60000"
    settings = ServerSettings(**{**OPEN, "limit_by_address": "4/hour", "limit_storage": patient})
    with (
        harken.connect("memory://") as hk,
        serving(create_app(settings, harken=hk, demo_secret=SECRET)) as server,
        serving(create_app(settings, harken=hk, demo_secret=f"other {SECRET}")) as other,
    ):
        token = shown(server)[0]
        assert token is not None
        ask = partial(Server.ask, method="GET", path="/api/sessions/demo/votes", headers=bearer(token))
        assert [ask(one).status_code for one in (server, other)] == [200, 401]
        statuses = [one.ask("GET", "/api/feedback").status_code for one in (server, other) * 3]
        assert statuses == [200, 200, 200, 429, 429, 429]

"""Rate limits over HTTP: what is counted, the headers, and attempts to bypass them."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from harken import Harken
from harken.services.keys import MAX_FAILURES
from harken_adapters.hosts.fastapi import ServerSettings, SessionTokens
from harken_adapters.hosts.http.api import Api
from hosts.serving import OPEN, Server, problem, served, served_api, stored_feedback
from support import PATIENCE, ManualClock, in_threads

PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}


@contextmanager
def limited(hk: Harken, clock: ManualClock, **settings: Any) -> Iterator[Server]:
    """A Harken served with these limits, whose windows end when the clock is advanced."""
    with served_api(Api(hk, ServerSettings(**{**OPEN, **settings}), clock=clock)) as server:
        yield server


def statuses(calls: int, call: Callable[[int], requests.Response]) -> list[int]:
    """The status codes of this many requests."""
    return [call(number).status_code for number in range(calls)]


def test_a_flood_from_one_address(hk: Harken, clock: ManualClock) -> None:
    """Over the limit, nothing is stored, and the response has the limit and the time to retry."""
    with limited(hk, clock, limit_by_address="3/minute") as server:
        clock.turn(seconds=20)
        for left in (2, 1, 0):
            answer = server.ask("POST", PATH, json=UP)
            assert answer.status_code == 201
            assert answer.headers["ratelimit-policy"] == '"address";q=3;w=60'
            assert answer.headers["ratelimit"] == f'"address";r={left};t=40'
            assert "retry-after" not in answer.headers
        for _ in range(3):
            answer = server.ask("POST", PATH, json=UP)
            assert "3 requests in 60 seconds" in problem(answer, 429, "rate-limited")["detail"]
            assert answer.headers["retry-after"] == "40"
            assert answer.headers["ratelimit-policy"] == '"address";q=3;w=60'
            assert answer.headers["ratelimit"] == '"address";r=0;t=40'
        assert len(stored_feedback(hk)) == 3
        clock.turn(seconds=40)
        server.post(PATH, UP)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP"])
def test_headers_do_not_bypass_the_limit(hk: Harken, clock: ManualClock, header: str) -> None:
    """Without trusted proxies, forwarding headers are ignored and the address of the connection counts."""
    with limited(hk, clock, limit_by_address="3/minute") as server:
        found = statuses(6, lambda number: server.ask("POST", PATH, json=UP, headers={header: f"203.0.113.{number}"}))
    assert found == [201] * 3 + [429] * 3


def test_with_a_trusted_proxy(hk: Harken, clock: ManualClock) -> None:
    """With a trusted proxy, each client has its own limit, and cannot forge its address."""
    with limited(hk, clock, limit_by_address="2/minute", trusted_proxies=("127.0.0.1",)) as server:

        def by(client: str) -> Callable[[int], requests.Response]:
            return lambda number: server.ask(
                "POST", PATH, json=UP, headers={"X-Forwarded-For": f"198.51.100.{number}, {client}"}
            )

        assert statuses(3, by("203.0.113.1")) == [201, 201, 429]
        assert statuses(3, by("203.0.113.2")) == [201, 201, 429]
        # All addresses of a /64 network count as one client.
        assert statuses(2, by("2001:db8::1")) + statuses(2, by("2001:db8::2")) == [201, 201, 429, 429]


def test_by_session(hk: Harken, clock: ManualClock) -> None:
    """A session has one limit for all ways of submitting feedback; other sessions and reads are not affected."""
    with limited(hk, clock, limit_by_session="3/minute") as server:
        server.post(PATH, UP)
        server.post("/api/feedback?session_id=s", UP)
        vote = "/api/sessions/s/messages/m/feedback?author=a"
        assert server.ask("PUT", vote, json=UP).status_code == 200
        for method, path in (("POST", PATH), ("POST", "/api/feedback?session_id=s"), ("PUT", vote), ("DELETE", vote)):
            answer = server.ask(method, path, json=UP)
            assert "this session" in problem(answer, 429, "rate-limited")["detail"]
        server.post("/api/sessions/t/feedback", UP)
        assert server.get(PATH)["total_feedbacks"] == 3


def test_by_key(hk: Harken, clock: ManualClock) -> None:
    """A key has its own limit for all addresses, and does not use up the limit of the address."""
    made = [{"Authorization": f"Bearer {hk.keys.create('default', ['submit']).text}"} for _ in range(2)]
    with limited(hk, clock, limit_by_key="3/minute", limit_by_address="3/minute") as server:
        for headers in made:
            found = [server.ask("POST", PATH, json=UP, headers=headers).status_code for _ in range(5)]
            assert found == [201] * 3 + [429] * 2


def bearing(credential: str) -> dict[str, str]:
    """The Authorization header for a credential."""
    return {"Authorization": f"Bearer {credential}"}


def invalid_key(number: int) -> dict[str, str]:
    """An Authorization header with a made-up key."""
    return bearing(f"hk_{number:016x}_{'A' * 43}")


def test_pages_count(hk: Harken, clock: ManualClock) -> None:
    """Pages of the dashboard count against the limit of their key, like calls, and say when to come back."""
    with limited(hk, clock, access="keys", limit_by_key="3/minute") as server:
        one, other = ({"Authorization": f"Bearer {hk.keys.create('default', ['read']).text}"} for _ in range(2))
        server.get("/api/feedback", headers=one)
        pages = ("/dashboard", "/dashboard/feedback", "/dashboard", "/dashboard/preferences")
        found = statuses(4, lambda number: server.ask("GET", pages[number], headers=one))
        assert found == [200, 200, 429, 429]
        answer = server.ask("GET", "/dashboard", headers=one)
        assert (answer.headers["retry-after"], "3 requests in 60 seconds" in answer.text) == ("60", True)
        assert server.ask("GET", "/dashboard", headers=other).status_code == 200
        clock.turn(seconds=60)
        assert server.ask("GET", "/dashboard", headers=one).status_code == 200


def test_made_up_keys(hk: Harken, clock: ManualClock) -> None:
    """Invalid credentials from one address are limited until the window ends, whether or not they are cached."""
    with limited(hk, clock, access="keys", limit_by_address="3/minute") as server:
        found = [server.ask("GET", PATH, headers=invalid_key(number // 2)) for number in range(6)]
        assert [answer.status_code for answer in found] == [401] * 3 + [429] * 3
        assert "invalid credentials" in problem(found[-1], 429, "rate-limited")["detail"]
        assert found[-1].headers["ratelimit-policy"] == '"failures";q=3;w=60'
        clock.turn(seconds=60)
        problem(server.ask("GET", PATH, headers=invalid_key(9)), 401, "unauthorized")


def test_invalid_credentials_do_not_lock_out_valid_ones(hk: Harken, clock: ManualClock) -> None:
    """After many failures from an address, valid keys and tokens are still accepted from it, cached or not, and are not
    counted as failures.
    """
    secret = "a secret that is long enough for HS256"
    seen, new = (bearing(hk.keys.create("default", ["submit", "read"]).text) for _ in range(2))
    token = bearing(SessionTokens([secret], clock=clock).mint(session_id="s"))
    settings = {"access": "keys", "token_secrets": (secret,), "limit_by_address": "3/minute"}
    with limited(hk, clock, **settings) as server:
        server.post(PATH, UP, headers=seen)
        for number in range(2 * MAX_FAILURES):
            server.ask("GET", PATH, headers=invalid_key(number))
        problem(server.ask("GET", PATH, headers=bearing("x.y.z")), 429, "rate-limited")
        for headers in (seen, new):
            for _ in range(5):
                server.post(PATH, UP, headers=headers)
        assert statuses(4, lambda _: server.ask("POST", PATH, json=UP, headers=token)) == [201] * 3 + [429]
        made = bearing(hk.keys.create("default", ["submit"]).text)
        server.post(PATH, UP, headers=made)


def test_a_rejected_request_counts_against_no_other_limit(hk: Harken, clock: ManualClock) -> None:
    """An address that has used up its limit does not use up that of a session."""
    settings = {"limit_by_address": "2/minute", "limit_by_session": "4/minute", "trusted_proxies": ("127.0.0.1",)}
    with limited(hk, clock, **settings) as server:

        def by(client: str) -> Callable[[int], requests.Response]:
            return lambda _: server.ask("POST", PATH, json=UP, headers={"X-Forwarded-For": client})

        assert statuses(9, by("203.0.113.1")) == [201] * 2 + [429] * 7
        assert statuses(3, by("203.0.113.2")) == [201] * 2 + [429]


def test_all_limits_are_in_the_headers(hk: Harken, clock: ManualClock) -> None:
    """A response has all applicable limits, the most restrictive first."""
    with limited(
        hk, clock, limit_production="5/minute", limit_by_address="4/minute", limit_by_session="9/hour"
    ) as server:
        answer = server.ask("POST", "/api/feedback?session_id=s", json=UP)
        assert answer.headers["ratelimit-policy"] == '"address";q=4;w=60, "production";q=5;w=60, "session";q=9;w=3600'
        assert re.fullmatch(
            r'"address";r=3;t=60, "production";r=4;t=60, "session";r=8;t=3600', answer.headers["ratelimit"]
        )
        refused = server.ask("POST", "/api/feedback?session_id=s", json={"rating": "down"})
        problem(refused, 400, "feedback-refused")


def test_exact_under_a_flood(hk: Harken) -> None:
    """Under concurrent load, exactly as many requests succeed as the limit allows."""
    # A long window, as this test uses the real clock.
    with served(hk, limit_by_address="20/year") as server:

        def several() -> list[int]:
            with requests.Session() as session:
                return [session.post(f"{server.url}{PATH}", json=UP, timeout=PATIENCE).status_code for _ in range(10)]

        found = [status for result in in_threads([several] * 5) for status in result]
    assert (found.count(201), found.count(429)) == (20, 30)
    assert len(stored_feedback(hk)) == 20


def test_no_limits(server: Server) -> None:
    """Without limits, there are no rate limit headers."""
    answer = server.ask("POST", PATH, json=UP)
    assert not any(name.lower().startswith(("ratelimit", "retry")) for name in answer.headers)

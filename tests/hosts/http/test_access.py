"""Authentication and authorization over HTTP: API keys, session tokens, CORS, and logs."""

import io
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests
from attrs import evolve

import harken
from harken import Harken, Scope
from harken.clock import utc_now
from harken.ports.repository import Accepted, Outcome
from harken_adapters.hosts.fastapi import ServerSettings, SessionTokens
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.wire.messages import Request
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.storage import memory
from harken_adapters.storage.memory import MemoryFeedbackRepository
from hosts.serving import (
    OPEN,
    RawAnswer,
    Server,
    call_operation,
    problem,
    raw_request,
    served,
    served_api,
    stored_feedback,
)
from support import ManualClock, eventually

PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
LISTING = next(one for one in OPERATIONS if one.name == "list_votes")
SECRET = "a secret that is long enough for HS256"
OTHER_SECRET = "another secret, as long as HS256 needs it"
#: The operations that accept session tokens.
OF_A_TOKEN = {
    "submit_feedback",
    "submit_feedback_in_production",
    "set_vote",
    "withdraw_vote",
    "set_session_vote",
    "withdraw_session_vote",
    "list_votes",
    "get_feedback",
    "change_feedback",
    "withdraw_feedback",
}
#: The resources that all applications share, for which only keys of the default application suffice.
OF_THE_OPERATOR = {"switch_channel_on", "switch_channel_off"}
#: A CORS preflight request for submitting feedback.
PREFLIGHT = {
    "Origin": "https://shop.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}
TOKENS = SessionTokens([SECRET], clock=utc_now)


def bearing(credential: str) -> dict[str, str]:
    """The Authorization header for a credential."""
    return {"Authorization": f"Bearer {credential}"}


def status_of(answer: requests.Response) -> int:
    """The status code, without reading a stream."""
    with answer:
        return answer.status_code


@pytest.fixture(scope="module")
def locked() -> Iterator[tuple[Harken, Server]]:
    """A Harken that requires an API key or session token."""
    settings = {**OPEN, "access": "keys", "token_secrets": (SECRET,)}
    with harken.connect("memory://") as hk, served(hk, **settings) as server:
        yield hk, server


@pytest.fixture(scope="module")
def keyless() -> Iterator[tuple[Harken, Server]]:
    """A Harken that requires an API key and has none yet."""
    with harken.connect("memory://") as hk, served(hk, access="keys") as server:
        yield hk, server


@pytest.fixture
def all_keys(locked: tuple[Harken, Server]) -> dict[Scope, str]:
    """For each scope, a key with all other scopes."""
    hk, _ = locked
    plain = set(Scope) - {Scope.ADMIN}
    return {scope: hk.keys.create("default", plain - {scope}).text for scope in Scope}


class TestKeys:
    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
    def test_each_operation_needs_its_scope(
        self, locked: tuple[Harken, Server], all_keys: dict[Scope, str], operation: Operation
    ) -> None:
        """A key with all scopes except the required one is rejected; one with only the required scope is accepted."""
        hk, server = locked
        feedback_id = hk.submit("s", "up", author="a").feedback.id
        before = stored_feedback(hk)
        document = problem(
            call_operation(server, operation, feedback_id, headers=bearing(all_keys[operation.scope])), 403, "forbidden"
        )
        assert f"'{operation.scope.value}'" in document["detail"]
        assert stored_feedback(hk) == before
        for scope in (operation.scope, Scope.ADMIN):
            key = hk.keys.create("default", [scope]).text
            assert status_of(call_operation(server, operation, feedback_id, headers=bearing(key))) not in (401, 403)

    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
    def test_each_operation_needs_credentials(self, locked: tuple[Harken, Server], operation: Operation) -> None:
        """Without credentials, every operation is rejected, and the response says how to send them."""
        hk, server = locked
        feedback_id = hk.submit("s", "up", author="a").feedback.id
        before = stored_feedback(hk)
        answer = call_operation(server, operation, feedback_id)
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == 'Bearer realm="harken"'
        assert stored_feedback(hk) == before

    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
    def test_a_key_is_for_one_application(self, locked: tuple[Harken, Server], operation: Operation) -> None:
        """A key cannot access another application, neither by name nor by id, nor change shared resources."""
        hk, server = locked
        feedback_id = hk.submit("s", "up", author="a").feedback.id
        before, states = stored_feedback(hk), hk.channels.states()
        headers = bearing(hk.keys.create("shop", ["admin"]).text)
        refused = call_operation(server, operation, feedback_id, query="application=default", headers=headers)
        problem(refused, 403, "forbidden")
        status = status_of(call_operation(server, operation, feedback_id, headers=headers))
        assert (status == 403) == (operation.name in OF_THE_OPERATOR)
        assert status != 401
        assert (stored_feedback(hk), hk.channels.states()) == (before, states)

    def test_feedback_belongs_to_the_application_of_the_key(self, locked: tuple[Harken, Server]) -> None:
        """Feedback is stored, listed and counted in the application of the key."""
        hk, server = locked
        headers = bearing(hk.keys.create("bakery", ["submit", "read"]).text)
        made = server.post(PATH, UP, headers=headers)
        assert [one.id for one in stored_feedback(hk, "bakery")] == [made["feedback_id"]]
        assert server.get(f"{PATH}/stats", headers=headers)["total_feedbacks"] == 1
        assert server.get("/api/feedback?application=bakery", headers=headers)["feedbacks"]

    @pytest.mark.parametrize(
        "header",
        [
            "Bearer",
            "Bearer ",
            "Basic dXNlcjpwYXNz",
            "hk_1_2",
            "Bearer hk_",
            "Bearer hk_0123456789abcdef_",
            "Bearer hk_0123456789abcdef_" + "A" * 43,
            "Bearer x.y.z",
            "Bearer " + "A" * 20_000,
            "Bearer \xe9\xff",
        ],
    )
    def test_invalid_credentials_are_rejected(self, locked: tuple[Harken, Server], header: str) -> None:
        """Invalid credentials are rejected every time, and never repeated in the response."""
        _, server = locked
        for _ in range(3):
            answer = RawAnswer.parse(server.send(raw_request("GET", "/api/feedback", f"Authorization: {header}")))
            document = problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == 'Bearer realm="harken", error="invalid_token"'
            assert "hk_0123" not in json.dumps(document)

    def test_revoked_within_five_seconds(self, hk: Harken) -> None:
        """A revoked key is rejected within five seconds, however often it is used in the meantime."""
        seconds = [0.0]
        api = Api(hk, ServerSettings(**{**OPEN, "access": "keys"}), timer=lambda: seconds[0])
        with served_api(api) as server:
            made = hk.keys.create("default", ["read"])
            server.get("/api/feedback", headers=bearing(made.text))
            hk.keys.revoke(made.key.id)
            for now in (1.0, 3.0, 5.0):
                seconds[0] = now
                server.ask("GET", "/api/feedback", headers=bearing(made.text))
            seconds[0] = 5.001
            problem(server.ask("GET", "/api/feedback", headers=bearing(made.text)), 401, "unauthorized")

    @pytest.mark.parametrize("name", ["export_feedback", "watch_events"])
    def test_revoking_a_key_ends_streams(self, hk: Harken, name: str) -> None:
        """Once a key is known to be revoked, its exports are aborted and its event streams end; until then they
        continue.
        """
        seconds = [0.0]
        for number in range(600):
            hk.submit_soon("s", "up", f"{number}")
        eventually(lambda: hk.summary().total == 600)
        with closing(Api(hk, ServerSettings(**{**OPEN, "access": "keys"}), timer=lambda: seconds[0])) as api:
            made = hk.keys.create("default", ["read"])
            operation = next(one for one in OPERATIONS if one.name == name)
            headers = {"authorization": f"Bearer {made.text}"}
            request = Request(method="GET", path=operation.path, parts={}, header=headers.get)
            source = api.complete(operation, api.admit(operation, request)).chunks
            assert source is not None
            chunks = iter(source)
            next(chunks)
            hk.keys.revoke(made.key.id)
            seconds[0] = 5.0
            hk.submit("s", "up", "once more")
            assert b"comment" in next(chunks)
            hk.submit("s", "up", "private")
            seconds[0] = 5.001
            if name == "export_feedback":
                with pytest.raises(Problem, match="revoked"):
                    list(chunks)
            else:
                for chunk in chunks:
                    assert b"private" not in chunk

    def test_the_cache_lifetime_starts_before_the_read(self) -> None:
        """The cache lifetime of a key starts before the storage is read, not when its answer arrives."""
        seconds = [0.0]

        class Slow(memory.MemoryKeyRepository):
            def get(self, key_id: str) -> harken.ApiKey | None:
                found = super().get(key_id)
                seconds[0] += 4.0
                return found

        with memory.open_storage() as storage:
            assert isinstance(storage.keys, memory.MemoryKeyRepository)
            slow = evolve(storage, keys=Slow(storage.keys._data))
            with harken.connect(slow) as hk:
                api = Api(hk, ServerSettings(**{**OPEN, "access": "keys"}), timer=lambda: seconds[0])
                with served_api(api) as server:
                    made = hk.keys.create("default", ["read"])
                    server.get("/api/feedback", headers=bearing(made.text))
                    hk.keys.revoke(made.key.id)
                    seconds[0] = 5.001
                    problem(server.ask("GET", "/api/feedback", headers=bearing(made.text)), 401, "unauthorized")


class TestTokens:
    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
    def test_allowed_operations(self, locked: tuple[Harken, Server], operation: Operation) -> None:
        """A session token can submit, change, withdraw and read its own feedback, and nothing else."""
        hk, server = locked
        feedback_id = hk.submit("s", "up", author="a").feedback.id
        headers = bearing(TOKENS.mint(session_id="s", author="a"))
        answer = call_operation(server, operation, feedback_id, headers=headers)
        if operation.name in OF_A_TOKEN:
            assert answer.status_code in (200, 201, 204), answer.text
        else:
            problem(answer, 403, "forbidden")

    @pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.tokens], ids=lambda one: one.name)
    @pytest.mark.parametrize("claims", [{"session_id": "t"}, {"author": "b"}, {"application": "shop"}])
    def test_a_token_for_something_else(
        self, locked: tuple[Harken, Server], operation: Operation, claims: dict[str, Any]
    ) -> None:
        """A token for another session, author or application cannot change any feedback, nor find out whether it
        exists.
        """
        hk, server = locked
        feedback_id = hk.submit("s", "up", "mine", author="a").feedback.id
        before = stored_feedback(hk)
        token = TOKENS.mint(**{"session_id": "s", "author": "a", **claims})
        answer = call_operation(server, operation, feedback_id, query="application=default", headers=bearing(token))
        if "author" in claims and "{feedback_id}" not in operation.path and "author=a" not in (answer.url or ""):
            # Its own feedback, as the request does not name another author.
            assert answer.status_code == 201
            assert stored_feedback(hk)[-1].author == "b"
        elif "application" not in claims and "{feedback_id}" in operation.path:
            unknown = call_operation(server, operation, "unknown", query="application=default", headers=bearing(token))
            details = [problem(each, 404, "not-found")["detail"] for each in (answer, unknown)]
            assert details[0].replace(feedback_id, "unknown") == details[1]
            assert stored_feedback(hk) == before
        else:
            problem(answer, 403, "forbidden")
            assert stored_feedback(hk) == before

    def test_an_id_of_another_application(self, locked: tuple[Harken, Server]) -> None:
        """Feedback of another application is not found."""
        hk, server = locked
        feedback_id = hk.submit("s", "up", "mine", author="a").feedback.id
        headers = bearing(TOKENS.mint(session_id="s", author="a", application="shop"))
        for method, options in (("GET", {}), ("DELETE", {}), ("PATCH", {"json": {"comment": "x"}})):
            answer = server.ask(method, f"/api/feedback/{feedback_id}", headers=headers, **options)
            problem(answer, 404, "not-found")

    def test_its_author_is_the_author(self, locked: tuple[Harken, Server]) -> None:
        """The author of feedback is that of the token; naming another author is rejected."""
        hk, server = locked
        headers = bearing(TOKENS.mint(session_id="mine", author="kim"))
        path = "/api/sessions/mine/feedback"
        for body in (UP, {**UP, "author": "kim"}, {**UP, "author": None}):
            made = server.post(path, body, headers=headers)
            assert hk.collection.get("default", made["feedback_id"]).author == "kim"
        for author in ("lee", "", 7, ["kim"]):
            problem(server.ask("POST", path, json={**UP, "author": author}, headers=headers), 403, "forbidden")

    def test_without_an_author(self, locked: tuple[Harken, Server]) -> None:
        """A token without an author has its session as the author, with one vote for each message."""
        hk, server = locked
        headers = bearing(TOKENS.mint(session_id="anonymous"))
        vote = "/api/sessions/anonymous/messages/m/feedback"
        for rating in ("up", None):
            assert server.ask("PUT", vote, json={"rating": rating}, headers=headers).status_code == 200
        (found,) = server.get("/api/sessions/anonymous/votes", headers=headers)["votes"]
        assert found["rating"] is None
        assert hk.collection.get("default", found["feedback_id"]).author == "anonymous"
        problem(server.ask("PUT", f"{vote}?author=kim", json=UP, headers=headers), 403, "forbidden")

    @pytest.mark.parametrize("origin", [None, "https://evil.example", "null", "https://shop.example.evil.example"])
    def test_of_another_origin(self, locked: tuple[Harken, Server], origin: str | None) -> None:
        """A token for one origin is rejected for pages of other origins, and for changes without an Origin header."""
        hk, server = locked
        headers = bearing(TOKENS.mint(session_id="s", author="a", origin="https://shop.example"))
        right = {**headers, "Origin": "https://shop.example"}
        feedback_id = server.post(PATH, UP, headers=right)["feedback_id"]
        before = stored_feedback(hk)
        wrong = {**headers, "Origin": origin} if origin else headers
        problem(server.ask("POST", PATH, json=UP, headers=wrong), 403, "forbidden")
        problem(server.ask("DELETE", f"/api/feedback/{feedback_id}", headers=wrong), 403, "forbidden")
        shown = server.ask("GET", f"/api/feedback/{feedback_id}", headers=wrong)
        assert shown.status_code == (403 if origin else 200)
        assert stored_feedback(hk) == before

    def test_tampered_with(self, locked: tuple[Harken, Server]) -> None:
        """A token with any modification, or with a signature by another secret, is rejected."""
        _, server = locked
        token = TOKENS.mint(session_id="s", author="a")
        head, body, signature = token.split(".")
        _, stranger_body, _ = TOKENS.mint(session_id="s", author="admin").split(".")
        forged = SessionTokens([OTHER_SECRET], clock=utc_now).mint(session_id="s", author="a")
        unsigned = "eyJhbGciOiJub25lIn0"
        for wrong in (
            f"{head}.{stranger_body}.{signature}",
            f"{unsigned}.{body}.",
            f"{unsigned}.{body}.{signature}",
            f"{head}.{body}.",
            f"{token}A",
            forged,
        ):
            problem(server.ask("POST", PATH, json=UP, headers=bearing(wrong)), 401, "unauthorized")

    def test_expired(self, hk: Harken, clock: ManualClock) -> None:
        """A token expires at its expiry time, even if it has just been used, and the response says so."""
        tokens = SessionTokens([SECRET], clock=clock)
        settings = ServerSettings(**{**OPEN, "access": "keys", "token_secrets": (SECRET,)})
        with served_api(Api(hk, settings, clock=clock)) as server:
            used = bearing(tokens.mint(session_id="s", lifetime=timedelta(minutes=1)))
            unused = bearing(tokens.mint(session_id="s", author="b", lifetime=timedelta(minutes=1)))
            clock.turn(seconds=59)
            server.post(PATH, UP, headers=used)
            clock.turn(seconds=1)
            for headers in (used, unused):
                answer = server.ask("POST", PATH, json=UP, headers=headers)
                assert "expired" in problem(answer, 401, "unauthorized")["detail"]
                assert "invalid_token" in answer.headers["www-authenticate"]
        assert len(stored_feedback(hk)) == 1

    def test_secrets_are_changed_without_a_gap(self, hk: Harken) -> None:
        """Tokens of the old secret are accepted while it is still configured, and rejected after that."""
        old = bearing(SessionTokens([OTHER_SECRET], clock=utc_now).mint(session_id="s"))
        new = bearing(TOKENS.mint(session_id="s"))
        with served(hk, access="keys", token_secrets=(SECRET, OTHER_SECRET)) as server:
            for headers in (old, new):
                server.post(PATH, UP, headers=headers)
        with served(hk, access="keys", token_secrets=(SECRET,)) as server:
            server.post(PATH, UP, headers=new)
            problem(server.ask("POST", PATH, json=UP, headers=old), 401, "unauthorized")

    def test_without_a_secret(self, hk: Harken) -> None:
        """Without a configured secret, all tokens are rejected."""
        with served(hk, access="keys") as server:
            answer = server.ask("POST", PATH, json=UP, headers=bearing(TOKENS.mint(session_id="s")))
            problem(answer, 401, "unauthorized")


class TestWithoutKeys:
    @pytest.mark.parametrize("headers", [{}, {"Host": "localhost"}, {"X-Forwarded-For": "127.0.0.1"}])
    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
    def test_all_requests_are_rejected(
        self, keyless: tuple[Harken, Server], operation: Operation, headers: dict[str, str]
    ) -> None:
        """Without any key, requests from localhost are rejected too, and the response says how to create a key."""
        hk, server = keyless
        feedback_id = hk.submit("s", "up", author="a").feedback.id
        before = stored_feedback(hk)
        answer = call_operation(server, operation, feedback_id, headers=headers)
        assert "'harken --storage URL keys create --scope" in problem(answer, 401, "unauthorized")["detail"]
        assert stored_feedback(hk) == before

    def test_revoking_the_last_key_opens_nothing(self, hk: Harken) -> None:
        """After the last key is revoked, all requests are rejected, with or without that key."""
        seconds = [0.0]
        api = Api(hk, ServerSettings(**{**OPEN, "access": "keys"}), timer=lambda: seconds[0])
        with served_api(api) as server:
            made = hk.keys.create("default", ["admin"])
            server.post(PATH, UP, headers=bearing(made.text))
            hk.keys.revoke(made.key.id)
            seconds[0] = 5.001
            for headers in ({}, bearing(made.text)):
                problem(server.ask("POST", PATH, json=UP, headers=headers), 401, "unauthorized")

    def test_it_is_the_default(self, hk: Harken) -> None:
        """Keys are required by default, and only ``access="open"`` disables that."""
        assert ServerSettings().access == "keys"
        with pytest.raises(harken.ConfigurationError, match="access must be one of keys, open"):
            ServerSettings(access="auto")


class TestOpenAccess:
    @pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer of-the-host", "Digest x", ""])
    def test_the_hosts_own_credentials(self, server: Server, header: str) -> None:
        """With open access, credentials that are meant for the host application are ignored."""
        server.post(PATH, UP, headers={"Authorization": header})

    def test_a_key_still_counts(self, server: Server, hk: Harken) -> None:
        """With open access, an API key must still be valid, and restricts the request to its application."""
        made = hk.keys.create("shop", ["submit"])
        server.post(PATH, UP, headers=bearing(made.text))
        assert len(stored_feedback(hk, "shop")) == 1
        problem(server.ask("GET", "/api/feedback", headers=bearing(made.text)), 403, "forbidden")
        problem(server.ask("GET", "/api/feedback", headers=bearing(f"{made.text}x")), 401, "unauthorized")

    def test_a_token_still_counts(self, hk: Harken) -> None:
        """With open access, a session token must still be valid if tokens are configured, and sets the author."""
        with served(hk, token_secrets=(SECRET,)) as server:
            server.post(PATH, UP, headers=bearing(TOKENS.mint(session_id="s", author="kim")))
            assert [one.author for one in stored_feedback(hk)] == ["kim"]
            problem(server.ask("POST", PATH, json=UP, headers=bearing("a.b.c")), 401, "unauthorized")


class TestCors:
    def test_none_by_default(self, server: Server) -> None:
        """By default, no page of another origin may read responses."""
        answers = [
            server.ask("OPTIONS", PATH, headers=PREFLIGHT),
            server.ask("POST", PATH, json=UP, headers={"Origin": "https://shop.example"}),
            server.ask("GET", PATH, headers={"Origin": "null"}),
        ]
        assert not any(name.lower().startswith("access-control") for one in answers for name in one.headers)

    def test_allowed_origins(self, hk: Harken) -> None:
        """A page of an allowed origin may call the API and read responses and errors; never with cookies."""
        with served(hk, allowed_origins=("https://shop.example",)) as server:
            asked_first = server.ask("OPTIONS", PATH, headers=PREFLIGHT)
            assert asked_first.status_code == 200
            allowed = asked_first.headers["access-control-allow-headers"].lower()
            assert {"authorization", "content-type", "idempotency-key", "if-match"} <= set(allowed.split(", "))
            origin = {"Origin": "https://shop.example"}
            refused = server.ask("POST", PATH, json={"rating": "down"}, headers=origin)
            problem(refused, 400, "feedback-refused")
            for answer in (asked_first, refused, server.ask("POST", PATH, json=UP, headers=origin)):
                assert answer.headers["access-control-allow-origin"] == "https://shop.example"
                assert "access-control-allow-credentials" not in answer.headers
            assert "etag" in refused.headers["access-control-expose-headers"].lower()

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "http://shop.example", "https://shop.example.x"]
    )
    def test_similar_origins_are_not_allowed(self, hk: Harken, origin: str) -> None:
        """Origins that are similar to an allowed one are not allowed."""
        with served(hk, allowed_origins=("https://shop.example",)) as server:
            asked_first = server.ask("OPTIONS", PATH, headers={**PREFLIGHT, "Origin": origin})
            answer = server.ask("POST", PATH, json=UP, headers={"Origin": origin})
            for one in (asked_first, answer):
                assert "access-control-allow-origin" not in one.headers

    def test_all(self, hk: Harken) -> None:
        """With ``*``, all origins are allowed and responses do not depend on Origin."""
        with served(hk, allowed_origins=("*",)) as server:
            for origin in ("https://shop.example", "null"):
                asked_first = server.ask("OPTIONS", PATH, headers={**PREFLIGHT, "Origin": origin})
                answer = server.ask("POST", PATH, json=UP, headers={"Origin": origin})
                for one in (asked_first, answer):
                    assert one.headers["access-control-allow-origin"] == "*"
                    assert "vary" not in one.headers


class Broken(MemoryFeedbackRepository):
    """Raises an unexpected error that quotes the request."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        raise RuntimeError(f"cannot write {batch[0].feedback.comment!r}")


class TestLogs:
    def test_nothing_sensitive(self, hk: Harken, logged: io.StringIO) -> None:
        """Each request is logged in one line, without content, authors or credentials."""
        token = TOKENS.mint(session_id="private-session", author="private-author")
        secret = 'private comment\n{"level":"forged"}'
        headers = {
            **bearing(token),
            "X-Forwarded-For": "203.0.113.9",
            "User-Agent": "private-agent",
            "Idempotency-Key": "private-key",
            "Cookie": "private-cookie=1",
            "X-Request-Id": "my-request.1",
        }
        path = "/api/sessions/private-session/feedback"
        settings = {"access": "keys", "token_secrets": (SECRET,), "trusted_proxies": ("127.0.0.1",)}
        with served(hk, keep_client="plain", **settings) as server:
            made = server.post(path, {**UP, "comment": secret, "context": {"private": "private"}}, headers=headers)
            server.ask("POST", path, json={"rating": "down"}, headers=headers)
            server.ask("POST", path, json={"private-field": secret}, headers=headers)
            server.ask("GET", f"/api/feedback/{quote(secret, safe='')}?author=private-author", headers=headers)
            server.ask("GET", f"/api/feedback?tag={quote(secret)}", headers=bearing("hk_private"))
            server.ask("GET", f"/private-path/%0A{quote(secret, safe='')}", headers=headers)
            forged = 'X-Request-Id: private\tid {"level":"forged"}'
            server.send(raw_request("GET", "/api/feedback", forged, f"Authorization: Bearer {token}x"))
            server.send(b"GET /private\x01 HTTP/1.1\r\nprivate\r\n\r\n")
        text = logged.getvalue()
        lines = [json.loads(line) for line in text.splitlines()]
        for word in ("private", "forged", "203.0.113.9", "127.0.0.1", token, token.split(".")[2], made["feedback_id"]):
            assert word not in text
        requests_logged = [line for line in lines if line["logger"] == "harken.http"]
        found = [(line["operation"], line["status"], line["route"]) for line in requests_logged]
        assert found == [
            ("submit_feedback", 201, "/api/sessions/{session_id}/feedback"),
            ("submit_feedback", 400, "/api/sessions/{session_id}/feedback"),
            ("submit_feedback", 422, "/api/sessions/{session_id}/feedback"),
            ("get_feedback", 422, "/api/feedback/{feedback_id}"),
            ("list_feedback", 401, "/api/feedback"),
            ("list_feedback", 401, "/api/feedback"),
        ]
        assert {line["request_id"] for line in requests_logged[:4]} == {"my-request.1"}

    def test_an_unexpected_error(self, logged: io.StringIO) -> None:
        """An unexpected error is logged with its traceback but without the request, and the response has the request
        id.
        """
        with memory.open_storage() as storage:
            assert isinstance(storage.feedback, MemoryFeedbackRepository)
            broken = evolve(storage, feedback=Broken(storage.feedback._data))
            with harken.connect(broken) as hk, served(hk) as server:
                answer = server.ask("POST", PATH, json={**UP, "comment": "private"})
        document = problem(answer, 500, "internal")
        assert "private" not in json.dumps(document)
        assert "private" not in logged.getvalue()
        failures = [line for line in map(json.loads, logged.getvalue().splitlines()) if line["level"] == "error"]
        assert {line["request_id"] for line in failures} == {answer.headers["x-request-id"]}
        assert any("RuntimeError" in line.get("exception", "") for line in failures)


# --- Floods of credentials --------------------------------------------------------------------------------------------


def is_admitted(api: Api, credential: str) -> bool:
    """Whether a request with this credential, for the votes in a session, is admitted. May read from the storage."""
    header = {"authorization": f"Bearer {credential}"}.get
    request = Request(method="GET", path="", parts={"session_id": "s"}, header=header, peer="203.0.113.9")
    try:
        api.admit(LISTING, request)
    except Problem:
        return False
    return True


@pytest.mark.slow
def test_the_credential_cache_is_bounded(hk: Harken, clock: ManualClock) -> None:
    """The memory for cached credentials is limited, however many long ones are sent, and their text is not stored."""
    tokens = SessionTokens([SECRET], clock=clock)
    settings = ServerSettings(access="keys", token_secrets=(SECRET,), limit_by_address="")
    valid = [tokens.mint(session_id="s", author=f"{number:04}" + "\U0001f600" * 190) for number in range(3_000)]
    invalid = (f"{number:015}.x.{'A' * 16_000}" for number in range(3_000))
    with closing(Api(hk, settings, clock=clock)) as api:
        tracemalloc.start()
        try:
            assert not any(is_admitted(api, credential) for credential in invalid)
            assert all(is_admitted(api, credential) for credential in valid)
            taken = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    # They have 60 MB in total.
    assert taken < 10 * 1024 * 1024


def test_invalid_credentials_do_not_evict_valid_ones(
    hk: Harken, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of invalid credentials does not evict a cached valid key."""
    key = hk.keys.create("default", ["read"]).text
    looked_up: list[str] = []
    authenticate = hk.keys.authenticate

    def look_up(text: str) -> harken.ApiKey:
        looked_up.append(text)
        return authenticate(text)

    monkeypatch.setattr(hk.keys, "authenticate", look_up)
    with closing(Api(hk, ServerSettings(access="keys", limit_by_address=""), clock=clock, timer=lambda: 0.0)) as api:
        assert is_admitted(api, key)
        for number in range(11_000):
            assert not is_admitted(api, f"hk_{number:x}_{'A' * 43}")
        assert is_admitted(api, key)
    assert looked_up.count(key) == 1


def test_the_hint_about_the_local_key_is_conditional(locked: tuple[Harken, Server]) -> None:
    """The error about missing credentials does not claim that ``harken serve`` created a key: it may be embedded."""
    detail = problem(locked[1].ask("GET", "/api/feedback"), 401, "unauthorized")["detail"]
    assert "The operator can create a key with" in detail
    assert "A server that was started with 'harken serve' has one" in detail

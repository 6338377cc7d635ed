"""What the clients do when requests fail: safe repetitions, waits and exceptions."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from tests.nginx import nginx_before

import harken
from clients import KINDS, InThread, Sleeps, opened, proxied, without_keys
from harken import (
    Change,
    ConfigurationError,
    Feedback,
    FeedbackRejected,
    Forbidden,
    Harken,
    HarkenError,
    InvalidCredentials,
    News,
    Overloaded,
    Scope,
    StorageClosed,
    StorageError,
    StorageUnavailable,
)
from harken.clock import utc_now
from harken.testing import Faults
from harken_adapters.client import AsyncClient, Client
from harken_adapters.client.lines import Lines
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from harken_adapters.storage.memory import open_storage
from harken_adapters.tokens import SessionTokens
from hosts.serving import OPEN, served, serving, stored_feedback
from support import NOON, ManualClock, a_submission

CLIENTS = KINDS[1:]
URL = "http://harken.test"
KEY = "hk_secret_0123456789"


class Replies:
    """Answers requests with one prepared reply after another, and remembers the requests."""

    def __init__(self, *replies: Exception | Callable[[], httpx.Response]) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply()


def client_with(kind: str, replies: Replies, sleeps: Sleeps, **options: Any) -> Any:
    """A client whose requests are answered by replies."""
    sleep = sleeps if kind == "client" else sleeps.asynchronously
    return opened(kind, URL, key=KEY, transport=httpx.MockTransport(replies), sleep=sleep, **options)


def reply(status: int, kind: str = "", detail: str = "why", **headers: str) -> Callable[[], httpx.Response]:
    """An error response; without a kind, that of a proxy."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if not kind:
        return success(status, text="<html>", headers=sent)
    sent["content-type"] = "application/problem+json"
    return success(status, headers=sent, json={"type": f"urn:harken:problem:{kind}", "detail": detail})


def success(status: int = 200, **parts: Any) -> Callable[[], httpx.Response]:
    """A response. Each request needs a new one."""
    return lambda: httpx.Response(status, **parts)


def an_answer(hk: Harken) -> Callable[[], httpx.Response]:
    """The response to a submission."""
    with served(hk) as server:
        answer = httpx.post(
            f"{server.url}/api/sessions/s/feedback", json={"rating": "up"}, headers={"Prefer": "return=representation"}
        )
    return success(answer.status_code, headers={"harken-application": "default"}, json=answer.json())


# --- Repetitions ------------------------------------------------------------------------------------------------------

PASSING = {
    "connect": httpx.ConnectError("refused"),
    "connect timeout": httpx.ConnectTimeout("slow"),
    "cut": httpx.RemoteProtocolError("cut"),
    "read": httpx.ReadError("reset"),
    "read timeout": httpx.ReadTimeout("slow"),
    "502": reply(502),
    "503": reply(503),
    "504": reply(504),
    "429": reply(429),
    "limited": reply(429, "rate-limited", retry_after="1"),
    "overloaded": reply(503, "overloaded", retry_after="1"),
    "unavailable": reply(503, "unavailable", retry_after="1"),
    "in flight": reply(409, "in-flight", retry_after="1"),
}
#: Where the server asks to wait for a second.
ASKING = {"limited", "overloaded", "unavailable", "in flight"}
#: Where it is certain that nothing was done.
NOT_DONE = {"connect", "connect timeout", "limited", "overloaded", "in flight"}


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("name", PASSING)
def test_passing_failures_are_retried(kind: str, name: str, hk: Harken) -> None:
    """A submission is repeated after a passing failure, with the same idempotency key and body."""
    replies, sleeps = Replies(PASSING[name], PASSING[name], an_answer(hk)), Sleeps()
    with client_with(kind, replies, sleeps) as client:
        receipt = client.submit("s", "up")
    assert (receipt.feedback.session_id, receipt.duplicate) == ("s", False)
    assert len({request.headers["idempotency-key"] for request in replies.requests}) == 1
    assert len({request.content for request in replies.requests}) == 1
    assert len(replies.requests) == 3
    assert len(sleeps) == 2
    longest = 1 if name in ASKING else 0.5
    assert all(0.1 <= seconds <= longest for seconds in sleeps)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("name", PASSING)
def test_a_change_is_repeated_only_if_it_was_not_made(kind: str, name: str) -> None:
    """A repeated change could overwrite a later one, so it is not repeated after an unknown outcome."""
    replies, sleeps = Replies(*[PASSING[name]] * 5), Sleeps()
    with client_with(kind, replies, sleeps) as client, pytest.raises(HarkenError):
        client.change("id", Change(comment="x"))
    assert len(replies.requests) == (5 if name in NOT_DONE else 1)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (PASSING["connect"], StorageUnavailable),
        (PASSING["unavailable"], StorageUnavailable),
        (PASSING["503"], StorageUnavailable),
        (PASSING["in flight"], StorageUnavailable),
        (PASSING["limited"], Overloaded),
        (PASSING["overloaded"], Overloaded),
        (PASSING["429"], Overloaded),
    ],
)
def test_repetitions_are_bounded(kind: str, answer: Any, expected: type[HarkenError]) -> None:
    """After five attempts, the failure is raised. The waits grow to a few seconds."""
    replies, sleeps = Replies(*[answer] * 9), Sleeps()
    with client_with(kind, replies, sleeps) as client, pytest.raises(expected) as raised:
        client.summary()
    assert type(raised.value) is expected
    assert (len(replies.requests), len(sleeps)) == (5, 4)
    assert sum(sleeps) < 10


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(400, "feedback-refused", "No"), FeedbackRejected),
        (reply(401, "unauthorized"), InvalidCredentials),
        (reply(403, "forbidden"), Forbidden),
        (reply(500, "internal"), StorageError),
        (reply(413, "body-too-large"), FeedbackRejected),
        (reply(404, "not-found"), ConfigurationError),
        (reply(404), ConfigurationError),
        (reply(405), ConfigurationError),
        (reply(301, location="https://other.test/"), ConfigurationError),
        (success(200, text="<html>hello"), StorageError),
        (success(200, json=[1]), StorageError),
        (success(200, json={"feedback_id": "x", "version": 1}), StorageError),
        (success(200, json={"feedback_id": "x", "version": 1, "feedback": {"id": 1}}), StorageError),
        (success(200, text="[" * 100_000), StorageError),
        (success(200, content=b"\xff"), StorageError),
        (success(204), StorageError),
        (reply(400, "invented-later", "Read the manual"), FeedbackRejected),
    ],
)
def test_other_failures_are_raised_at_once(kind: str, answer: Any, expected: type[HarkenError]) -> None:
    """What would fail again is raised at once, and never as an exception of another library."""
    replies, sleeps = Replies(answer), Sleeps()
    with client_with(kind, replies, sleeps) as client, pytest.raises(expected) as raised:
        client.submit("s", "up")
    assert type(raised.value) is expected
    assert sleeps == []
    assert KEY not in f"{raised.value!r} {raised.value} {client!r}"


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("0", None), ("Wed, 04 Mar 2026 12:00:09 GMT", 9), ("soon", None), ("-3", None)]
)
def test_retry_after(kind: str, header: str, seconds: int | None, hk: Harken) -> None:
    """The client waits for at least as long as the server asks, in seconds or until a date."""
    replies, sleeps = Replies(reply(429, "rate-limited", retry_after=header), an_answer(hk)), Sleeps()
    with client_with(kind, replies, sleeps, clock=ManualClock(NOON)) as client:
        client.submit("s", "up")
    assert sleeps == [pytest.approx(seconds or sleeps[0])]
    assert seconds or sleeps[0] < 1


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_long_retry_after_is_left_to_the_caller(kind: str) -> None:
    """If the server asks to wait for more than half a minute, the exception says how long."""
    replies, sleeps = Replies(reply(429, "rate-limited", retry_after="3600")), Sleeps()
    with client_with(kind, replies, sleeps) as client, pytest.raises(Overloaded) as raised:
        client.submit("s", "up")
    assert raised.value.retry_after == timedelta(hours=1)
    assert sleeps == []


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_real_rate_limit(kind: str, hk: Harken) -> None:
    """The rate limit of a server raises ``Overloaded`` with the time until it ends."""
    with served(hk, limit_by_session="1/hour") as server, opened(kind, server.url) as client:
        client.submit("s", "up")
        with pytest.raises(Overloaded, match="More than 1 requests") as raised:
            client.submit("s", "up")
        assert raised.value.retry_after is not None
        assert timedelta(minutes=1) < raised.value.retry_after <= timedelta(hours=1)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("after", [False, True])
def test_a_storage_that_fails_for_a_moment(kind: str, *, after: bool) -> None:
    """Whichever call to the storage fails, before or after it takes effect, feedback is stored once."""
    faults = Faults()
    with open_storage("memory://") as storage, harken.connect(faults.around(storage)) as hk, served(hk) as server:
        with opened(kind, server.url, sleep=fast(kind)) as client:
            for at in range(1, 5):
                faults.arm(at=at, after=after)
                client.submit("s", "up", str(at))
                client.vote("s", "up", str(at), author="a")
                failed = faults.failed
                faults.disarm()
                assert failed or at > 2
        stored = stored_feedback(hk)
        assert [one.comment for one in stored if not one.vote] == ["1", "2", "3", "4"]
        assert [one.version for one in stored if one.vote] == [4]


# --- Lost responses ---------------------------------------------------------------------------------------------------


def fast(kind: str) -> Any:
    """Does not sleep."""
    sleeps = Sleeps()
    return sleeps if kind == "client" else sleeps.asynchronously


def cuts(random: Random) -> Iterator[int]:
    """After how many bytes connections are cut: two short ones, then one that is enough for some responses."""
    while True:
        yield from (random.choice([0, 1, 200, random.randrange(2_000)]) for _ in range(2))
        yield random.randrange(5_000, 9_000)


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_lost_response_is_stored_once(kind: str, hk: Harken) -> None:
    """Connections are cut at any byte: every submission and vote is stored once, and its receipt has what is stored."""
    with served(hk) as server, proxied(server.port, cuts(Random(7))) as proxy:
        with opened(kind, proxy.url, sleep=fast(kind)) as client:
            receipts = [client.submit(f"s{number}", "up", str(number)) for number in range(60)]
            receipts += [client.vote(f"s{number}", "down", "x", author="a") for number in range(20)]
        assert proxy.connections > 20
    assert not any(receipt.duplicate for receipt in receipts[:60])
    assert [receipt.feedback for receipt in receipts] == [without_keys(one) for one in stored_feedback(hk)]


# --- Exports ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(hk: Harken) -> Harken:
    """A thousand entries, which are several chunks of a response."""
    submissions = [a_submission(f"s{n}", "up", f"comment {n} \u2028\u0085", author="a") for n in range(1_000)]
    hk.collection.submit_many(submissions)
    return hk


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_truncated_export_raises(kind: str, exported: Harken) -> None:
    """A connection that is cut at any byte raises: what is given before is the beginning of the export."""
    expected = list(exported.export())
    with served(exported) as server:
        for cut in (5_000, 100_000, 333_333, 400_000):
            with proxied(server.port, [cut]) as proxy, opened(kind, proxy.url, sleep=fast(kind)) as client:
                found: list[Feedback] = []
                with pytest.raises(StorageUnavailable):
                    # Extended as far as the iterator goes.
                    found.extend(client.export())
                assert found == expected[: len(found)]
                assert len(found) < len(expected)
        # A response that has not begun is asked for again.
        with proxied(server.port, [200]) as proxy, opened(kind, proxy.url, sleep=fast(kind)) as client:
            assert list(client.export()) == expected


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("missing", range(1, 4))
def test_an_end_that_looks_regular(kind: str, missing: int, exported: Harken) -> None:
    """An export whose last lines are missing raises, even if the response is complete for HTTP."""
    with served(exported) as server:
        whole = httpx.get(f"{server.url}/api/export?count=true")
    lines = whole.content.splitlines(keepends=True)
    assert json.loads(lines[-1]) == {"count": 1_000}
    for kept in (b"".join(lines[:-missing]), b"".join([*lines[: -1 - missing], lines[-1]]), b"", whole.content[:-3]):
        answer = success(200, headers={"content-type": "application/x-ndjson"}, content=kept)
        with client_with(kind, Replies(answer), Sleeps()) as client, pytest.raises(StorageUnavailable):
            list(client.export())


@pytest.mark.parametrize("kind", CLIENTS)
def test_an_export_that_is_not_read_to_its_end(kind: str, exported: Harken) -> None:
    """It can be abandoned, and the client goes on."""
    with served(exported) as server, opened(kind, server.url) as client:
        export = client.export()
        assert next(export).session_id == "s0"
        export.close()
        assert client.summary().total == 1_000


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\r", b"\n")), st.lists(st.integers(0, 60)))
def test_lines_are_the_same_in_any_chunks(data: bytes, cuts: list[int]) -> None:
    """However a stream is divided into chunks, it has the same lines."""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    lines = Lines()
    found = [line for start, end in pairwise(places) for line in lines.feed(data[start:end])]
    assert found == data.split(b"\n")[:-1]


# --- Access -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLIENTS)
def test_keys(kind: str, hk: Harken) -> None:
    """A key gives the application; what it does not allow is ``Forbidden``, and an unknown key is not accepted."""
    created = hk.keys.create("shop", scopes=[Scope.SUBMIT])
    reader = hk.keys.create("shop", scopes=[Scope.READ, Scope.SUBMIT])
    limited = hk.keys.create("shop", scopes=[Scope.READ, Scope.SUBMIT], agents=["a"])
    with served(hk, access="keys") as server:
        with opened(kind, server.url, key=created.text) as client:
            known = client.submit("s", "up").feedback
            assert known.application == "shop"
            with pytest.raises(Forbidden, match="scope 'read'"):
                client.summary()
            with pytest.raises(Forbidden, match="another application"):
                client.submit("s", "up", application="other")
        with opened(kind, server.url, key=reader.text) as client:
            assert client.get(known.id) == known
            assert [one.application for one in client.export()] == ["shop"]
        with opened(kind, server.url, key=limited.text) as client:
            client.submit("s", "up", agent_id="a")
            with pytest.raises(Forbidden):
                client.submit("s", "up", agent_id="b")
            assert client.summary().total == 1
        for wrong in (None, "hk_wrong", "eyJ.no.token"):
            with opened(kind, server.url, key=wrong) as client, pytest.raises(InvalidCredentials):
                client.summary()


@pytest.mark.parametrize("kind", CLIENTS)
def test_session_tokens(kind: str, hk: Harken) -> None:
    """A session token is a key for the feedback of one author in one session."""
    secret = "s" * 32
    token = SessionTokens([secret], clock=utc_now).mint(session_id="s", author="ann", application="shop")
    hk.submit("s", "up", author="bob", application="shop")
    with served(hk, access="keys", token_secrets=[secret]) as server, opened(kind, server.url, key=token) as client:
        voted = client.vote("s", "up", author="ann", message_id="m").feedback
        assert (voted.application, voted.author) == ("shop", "ann")
        assert client.votes("s", author="ann") == [voted]
        assert client.change(voted.id, Change(rating="down", comment="Slow")).version == 2
        assert client.withdraw(voted.id).withdrawn
        with pytest.raises(Forbidden):
            client.vote("s", "up", author="bob")
        with pytest.raises(Forbidden):
            client.summary()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "harken.test",
        "ftp://harken.test",
        "http://",
        "http://user:hunter2@harken.test",
        "http://harken.test?x=1",
        "http://harken.test#x",
        "http://[",
        "http://harken.test:port",
        "sqlite:///feedback.db",
        None,
    ],
)
def test_invalid_urls(kind: type[Client] | type[AsyncClient], url: Any) -> None:
    """A URL that is not one of a service is refused when the client is created; a password in it is not shown."""
    with pytest.raises(ConfigurationError) as raised:
        kind(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("key", ["", "hk a", "hk_\n", "hk_ü", 5, b"hk_"])
def test_invalid_keys(key: Any) -> None:
    """A key that cannot be sent is refused without showing it."""
    with pytest.raises(ConfigurationError) as raised:
        Client(URL, key=key)
    assert "hk" not in str(raised.value)


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_service_under_a_path(kind: str, hk: Harken) -> None:
    """The URL may have a path, with or without a slash at its end."""
    app = Starlette()
    mounted = create_app(ServerSettings(**OPEN), harken=hk)
    app.mount("/some/feedback", mounted)
    with serving(app) as server:
        for end in ("", "/"):
            with opened(kind, f"{server.url}/some/feedback{end}") as client:
                client.submit("s", "up")
        with opened(kind, f"{server.url}/other") as client, pytest.raises(ConfigurationError, match="not the URL"):
            client.summary()
    assert hk.summary().total == 2


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_closed_client(kind: str) -> None:
    """After it is closed, calls raise ``StorageClosed``. A transport that was passed is not closed."""

    class Transport(httpx.MockTransport):
        closed = False

        def close(self) -> None:
            self.closed = True

        async def aclose(self) -> None:
            self.closed = True

    transport = Transport(Replies())
    client = opened(kind, URL, transport=transport)
    with client:
        pass
    assert not transport.closed
    if kind == "client":
        with pytest.raises(StorageClosed):
            client.submit("s", "up")


def test_threads_share_a_client(hk: Harken) -> None:
    """Many threads use one client at the same time."""
    with served(hk) as server, Client(server.url) as client:
        started = threading.Barrier(16)

        def submit(number: int) -> list[str]:
            started.wait()
            return [client.submit(f"s{number}", "up").feedback.session_id for _ in range(10)]

        threads = [InThread.start(lambda n=n: submit(n)) for n in range(16)]
        assert [one.wait() for one in threads] == [[f"s{n}"] * 10 for n in range(16)]
    assert hk.summary().total == 160


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLIENTS)
def test_behind_a_proxy(kind: str, exported: Harken, tmp_path: Path) -> None:
    """A service that nginx serves under a path: calls, exports and events arrive, and an odd id is not changed."""
    more = "rewrite ^/feedback/(.*)$ /$1 break; proxy_buffering off;"
    with (
        served(exported) as server,
        nginx_before(server.url, tmp_path / "nginx", more=more) as outside,
        opened(kind, f"{outside}/feedback") as client,
    ):
        events = client.events()
        odd = client.submit("a b%2F+ü?", "up").feedback
        event = next(events)
        assert isinstance(event, News)
        assert event.feedback == odd
        events.close()
        assert client.vote("..a", "up", author="é", message_id="m+ 1").feedback.message_id == "m+ 1"
        assert [one.session_id for one in client.feedback(limit=2).items] == ["..a", "a b%2F+ü?"]
        assert list(client.export()) == list(exported.export())


@pytest.mark.slow
def test_a_truncated_export_through_a_proxy(exported: Harken, tmp_path: Path) -> None:
    """Behind nginx, which speaks HTTP/1.0 to the service, the end of the connection is the end of the response."""
    with (
        served(exported) as server,
        proxied(server.port, iter([100_000] * 9)) as proxy,
        nginx_before(proxy.url, tmp_path / "nginx") as outside,
        Client(outside, sleep=Sleeps()) as client,
        pytest.raises(StorageUnavailable),
    ):
        list(client.export())


def test_a_forked_process_needs_a_client_of_its_own(hk: Harken) -> None:
    """A client refuses to work in a child, which would read the responses of the parent."""
    with served(hk) as server, Client(server.url) as client:
        client.submit("s", "up")
        child = os.fork()
        if not child:
            try:
                client.summary()
            except StorageClosed:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert client.summary().total == 1


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_withdrawal_without_a_response_is_not_repeated(kind: str) -> None:
    """A repetition could withdraw a vote that was cast meanwhile."""
    replies = Replies(httpx.ReadError("cut"))
    with client_with(kind, replies, Sleeps()) as client, pytest.raises(StorageUnavailable):
        client.withdraw_vote("s", author="ann")
    assert len(replies.requests) == 1

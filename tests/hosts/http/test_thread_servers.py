"""Threaded servers: slow clients do not block the others."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from select import select
from threading import Thread
from time import monotonic
from typing import Any

import pytest
import requests
import waitress.server
from tests.reliability.gunicorn_processes import APPS, Gunicorn, gunicorn

from harken import Harken
from harken.services.feed import MAX_LISTENERS
from harken_adapters.hosts import flask
from harken_adapters.hosts.http.serving import deadlines
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.wsgi import WsgiApp
from hosts.serving import OPEN, RawAnswer, problem, serving_wsgi
from support import PATIENCE

pytestmark = pytest.mark.slow

PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
MIB = 1024 * 1024
#: A page with a request body.
SIGN_IN = "/sign-in"


def half(path: str) -> bytes:
    """A request with an incomplete body."""
    fields = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 15"
    return f'POST {path} HTTP/1.1\r\n{fields}\r\n\r\n{{"rat'.encode()


HALF = half(PATH)
EVENTS = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: More than the threads of two processes, so that all are busy, however connections are distributed.
MANY = 16


@contextmanager
def connections(host: str, port: int, number: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """This many connections, on which the data was sent."""
    with ExitStack() as stack:
        opened = []
        for _ in range(number):
            connection = stack.enter_context(socket.create_connection((host, port), timeout=PATIENCE))
            connection.sendall(sent)
            opened.append(connection)
        yield opened


def answered(connection: socket.socket) -> RawAnswer:
    """The part of the response that arrives at once, with its whole head."""
    received = b""
    while b"\r\n\r\n" not in received or (b"text/event-stream" not in received and not received.endswith(b"}")):
        chunk = connection.recv(65_536)
        if not chunk:
            break
        received += chunk
    return RawAnswer.parse(received)


@pytest.fixture(scope="module", params=APPS)
def threaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """Two processes with four threads each, and a short body timeout."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"HARKEN_SERVER_LISTENERS": "3", "HARKEN_SERVER_BODY_TIMEOUT": "1"}
    storage = f"sqlite:///{folder}/feedback.db"
    options = ("--threads=4", "--preload", "--graceful-timeout=1")
    with gunicorn(APPS[request.param], folder, storage, *options, **settings) as server:
        yield server


def given(server: Gunicorn, session_id: str) -> None:
    """Submit feedback on a new session."""
    path = f"{server.url}/api/sessions/{session_id}/feedback"
    assert requests.post(path, json=UP, timeout=PATIENCE).status_code == 201
    assert requests.get(f"{path}/stats", timeout=PATIENCE).json()["positive"] == 1


@pytest.mark.parametrize("path", [PATH, SIGN_IN])
def test_incomplete_bodies(threaded: Gunicorn, path: str) -> None:
    """Each is answered with 408 at its deadline; then other requests are served, and disconnected clients are
    detected.
    """
    with connections(threaded.host, threaded.port, MANY, half(path)) as stopped:
        given(threaded, f"meanwhile{path}".replace("/", "-"))
        for connection in stopped:
            problem(answered(connection), 408, "body-timeout")
    assert requests.get(f"{threaded.url}{PATH}", timeout=PATIENCE).json()["total_feedbacks"] == 0


@pytest.mark.parametrize("path", [PATH, SIGN_IN])
def test_a_body_that_comes_byte_by_byte(threaded: Gunicorn, path: str) -> None:
    """Sending a byte now and then does not extend the deadline."""
    head = half(path).replace(b"Content-Length: 15", b"Content-Length: 60000")
    with connections(threaded.host, threaded.port, 1, head) as [connection]:
        give_up = monotonic() + PATIENCE
        while not select([connection], [], [], 0.05)[0]:
            connection.sendall(b" ")
            assert monotonic() < give_up, "the deadline moved"
        problem(answered(connection), 408, "body-timeout")


def test_a_body_that_ends_early(threaded: Gunicorn) -> None:
    """A truncated body is rejected, even if its beginning is valid."""
    with connections(threaded.host, threaded.port, 1, HALF.replace(b": 15", b": 16") + b'ing":"up"}') as [connection]:
        connection.shutdown(socket.SHUT_WR)
        problem(answered(connection), 400, "malformed-body")
    assert requests.get(f"{threaded.url}{PATH}", timeout=PATIENCE).json()["total_feedbacks"] == 0


def test_a_server_with_one_thread_has_no_listeners(tmp_path: Path) -> None:
    """A listener would occupy the only thread of the process."""
    storage = f"sqlite:///{tmp_path}/feedback.db"
    with gunicorn(APPS["wsgi"], tmp_path, storage, workers=1, HARKEN_SERVER_LISTENERS="3") as server:
        answer = requests.get(f"{server.url}/api/events", timeout=PATIENCE)
        assert "Event streams are disabled" in problem(answer, 503, "overloaded")["detail"]
        assert requests.post(f"{server.url}{PATH}", json=UP, timeout=PATIENCE).status_code == 201


@pytest.mark.parametrize("path", [PATH, "/nothing"])
def test_a_client_that_is_still_sending_gets_the_response(threaded: Gunicorn, path: str) -> None:
    """A body that is too large, or for an unknown path, is answered to a client that sends all of it first."""
    fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {20 * MIB}"
    head = f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n"
    with connections(threaded.host, threaded.port, 1, head.encode()) as [connection]:
        connection.sendall(b"x" * 20 * MIB)
        assert answered(connection).status == (413 if path == PATH else 404)


# Last with these processes, as they detect disconnected listeners late.
def test_listeners_leave_threads_free(threaded: Gunicorn) -> None:
    """The maximum number of listeners is served, others are rejected with Retry-After, and other requests are
    answered.
    """
    with connections(threaded.host, threaded.port, MANY, EVENTS) as listeners:
        answers = [answered(connection) for connection in listeners]
        given(threaded, "beside-listeners")
    heard, refused = ([one for one in answers if (one.status == 200) is there] for there in (True, False))
    assert 3 <= len(heard) <= 6
    for answer in refused:
        assert "All 3 event streams" in problem(answer, 503, "overloaded")["detail"]
        assert answer.headers["retry-after"] == "5"


@contextmanager
def _waitress(app: Any) -> Iterator[tuple[str, int]]:
    server = waitress.server.create_server(app, host="127.0.0.1", port=0, threads=2)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", server.effective_port
    finally:
        server.close()
        thread.join(PATIENCE)


def test_waitress_reads_bodies_before(hk: Harken) -> None:
    """Waitress reads bodies before it uses a thread, and listeners leave one thread free."""
    app = WsgiApp(ServerSettings(**{**OPEN, "listeners": 1}), harken=hk)
    with (
        _waitress(app) as (host, port),
        connections(host, port, MANY, HALF),
        connections(host, port, 4, EVENTS) as four,
    ):
        statuses = sorted(answered(connection).status for connection in four)
        assert statuses == [200, 503, 503, 503]
        assert requests.post(f"http://{host}:{port}{PATH}", json=UP, timeout=PATIENCE).status_code == 201
        app.service.close()


def test_the_server_of_flask(hk: Harken) -> None:
    """Flask's development server provides the socket too, so that bodies have a deadline there."""
    app = flask.create_app(ServerSettings(**{**OPEN, "body_timeout": 1}), harken=hk)
    with serving_wsgi(app) as server, connections(server.host, server.port, 1, HALF) as [connection]:
        problem(answered(connection), 408, "body-timeout")
        app.extensions["harken"].close()


@pytest.mark.parametrize("listeners", [0, 1])
def test_listeners_have_a_safe_default(hk: Harken, listeners: int) -> None:
    """By default, one listener is allowed; with the setting 0, none."""
    assert ServerSettings().listeners == 1
    app = WsgiApp(ServerSettings(**{**OPEN, "listeners": listeners}), harken=hk)
    with serving_wsgi(app) as server, connections(server.host, server.port, 2, EVENTS) as two:
        statuses = sorted(answered(connection).status for connection in two)
        assert statuses == [200, 503][-2:] if listeners else statuses == [503, 503]
        app.service.close()


def test_a_listener_that_comes_back_replaces_its_former_stream(hk: Harken) -> None:
    """The next page of a tab is served at once, though the server has not noticed that the former one has gone."""
    app = WsgiApp(ServerSettings(**{**OPEN, "listeners": 1}), harken=hk)
    one, two = (b"GET /api/events?listener=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number for number in (1, 2))
    with serving_wsgi(app) as server, connections(server.host, server.port, 1, one) as [former]:
        assert answered(former).status == 200
        with connections(server.host, server.port, 1, two) as [other]:
            problem(answered(other), 503, "overloaded")
        with connections(server.host, server.port, 1, one) as [following]:
            assert answered(following).status == 200
        too_long = requests.get(f"{server.url}/api/events?listener={'x' * 65}", timeout=PATIENCE)
        assert problem(too_long, 422, "invalid")["violations"][0]["field"] == "listener"
        app.service.close()


def test_a_listener_does_not_replace_those_of_other_keys(hk: Harken) -> None:
    """The id of a listener is known to its browser only, but guessing it does not help anyone else."""
    app = WsgiApp(ServerSettings(**{**OPEN, "access": "keys", "listeners": 1}), harken=hk)
    sent = b"GET /api/events?listener=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n"
    first, second = (sent % hk.keys.create("default", ["read"]).text.encode() for _ in range(2))
    with serving_wsgi(app) as server, connections(server.host, server.port, 1, first) as [mine]:
        assert answered(mine).status == 200
        with connections(server.host, server.port, 1, second) as [other]:
            problem(answered(other), 503, "overloaded")
        app.service.close()


def test_a_rejected_listener_displaces_none(hk: Harken) -> None:
    """A rejected listener does not displace another one."""
    others = [hk.feed.listen("other", lambda: None, share=("other", "", "")) for _ in range(MAX_LISTENERS)]
    app = WsgiApp(ServerSettings(**{**OPEN, "listeners": 0}), harken=hk)
    with serving_wsgi(app) as server, connections(server.host, server.port, 1, EVENTS) as [connection]:
        problem(answered(connection), 503, "overloaded")
        app.service.close()
    for listener in others:
        assert listener.take() == []
        listener.close()


def test_a_deadline_whose_thread_could_not_start(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the deadline thread cannot be started once, the next body has a deadline nevertheless."""
    app = WsgiApp(ServerSettings(**{**OPEN, "body_timeout": 1}), harken=hk)

    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    # A new object, without its thread.
    monkeypatch.setattr(deadlines, "_of_this_process", [deadlines._Reads()])
    with serving_wsgi(app) as server:
        with monkeypatch.context() as patch:
            # Only the deadline thread: the server has a thread for each connection.
            patch.setattr(deadlines, "Thread", type("Refused", (Thread,), {"start": refuse}))
            with connections(server.host, server.port, 1, HALF) as [connection]:
                problem(answered(connection), 500, "internal")
        with connections(server.host, server.port, 1, HALF) as [connection]:
            problem(answered(connection), 408, "body-timeout")
        app.service.close()

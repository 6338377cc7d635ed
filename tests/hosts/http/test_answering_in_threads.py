"""What hosts that answer in threads do with streams, with bodies, and with their end."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.test import Client

from harken import Harken
from harken.services.feed import MAX_LISTENERS
from harken_adapters.hosts import flask
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.serving.process_service import ProcessService
from harken_adapters.hosts.http.serving.threaded_host import ThreadedHost
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.messages import Request
from harken_adapters.hosts.wsgi import WsgiApp
from hosts.events import listening, room
from hosts.serving import OPEN, RawAnswer, Server, kept, raw_request, serving_wsgi
from support import PATIENCE, eventually

PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
SETTINGS = ServerSettings(**OPEN)


@pytest.fixture(params=["flask", "wsgi"])
def serve(request: pytest.FixtureRequest, hk: Harken) -> Callable[..., tuple[Any, ProcessService]]:
    """Makes an application that serves the Harken of the test, with the service behind it."""

    def make(**settings: Any) -> tuple[Any, ProcessService]:
        chosen = ServerSettings(**{**OPEN, **settings})
        if request.param == "flask":
            app = flask.create_app(chosen, harken=hk)
            service: ProcessService = app.extensions["harken"]
            return app, service
        bare = WsgiApp(chosen, harken=hk)
        return bare, bare.service

    return make


@pytest.fixture
def threaded(serve: Callable[..., tuple[Any, ProcessService]]) -> Iterator[tuple[Server, ProcessService]]:
    """Where such an application is served."""
    app, service = serve()
    with serving_wsgi(app) as server:
        yield server, service
        service.close()


def test_events_come_as_they_happen(threaded: tuple[Server, ProcessService], hk: Harken) -> None:
    """Several listeners hear of each thing at once, while others are answered; who goes on later misses nothing."""
    server, _ = threaded
    with listening(server.url) as one, listening(server.url) as two:
        given = server.post(PATH, {**UP, "comment": "ü"})["feedback_id"]
        heard = [stream.event() for stream in (one, two)]
        assert [(event.event, event.feedback["id"]) for event in heard] == [("feedback.created", given)] * 2


def test_who_went_away_is_forgotten(
    threaded: tuple[Server, ProcessService], hk: Harken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that ended is noticed when something is sent, and frees its place and its thread."""
    monkeypatch.setattr(EventStream, "heartbeat", 0.02)
    server, _ = threaded
    with listening(server.url) as stream:
        assert [stream.frame().fields for _ in range(2)] == [{"": "still here"}] * 2
        assert room(hk) == MAX_LISTENERS - 1
    eventually(lambda: room(hk) == MAX_LISTENERS)


def test_streams_end_with_the_service(threaded: tuple[Server, ProcessService], hk: Harken) -> None:
    """Who listens is sent away at the end, with a stream that is complete."""
    server, service = threaded
    with listening(server.url) as stream:
        service.host.stop_streams()
        assert stream.rest() == b""
        with listening(server.url) as late:
            assert late.rest() == b""
    eventually(lambda: room(hk) == MAX_LISTENERS)


def test_a_stream_that_nobody_read_is_closed(serve: Callable[..., tuple[Any, ProcessService]], hk: Harken) -> None:
    """A client that was gone before the first byte leaves no listener behind."""
    app, _ = serve()
    answer = Client(app).get("/api/events", multithread=True)
    assert room(hk) == MAX_LISTENERS - 1
    answer.close()
    assert room(hk) == MAX_LISTENERS


def test_bodies_are_read_to_their_limit(serve: Callable[..., tuple[Any, ProcessService]], hk: Harken) -> None:
    """As much as is allowed is taken, and more is refused, whether its length was announced or not."""
    app, _ = serve(max_body=100)
    client = Client(app)
    for size, announced, status in ((100, True, 201), (101, True, 413), (100, False, 201), (101, False, 413)):
        body = b'{"rating":"up"}'.ljust(size)
        environ: dict[str, Any] = {"CONTENT_TYPE": "application/json", "REMOTE_ADDR": "127.0.0.1"}
        if not announced:
            environ |= {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
        answer = client.post(PATH, data=body, environ_overrides=environ)
        assert answer.status_code == status, answer.text
    assert len(kept(hk)) == 2


def test_a_body_that_ends_early(threaded: tuple[Server, ProcessService], hk: Harken) -> None:
    """What is cut off is not kept, even if what came is complete by itself."""
    server, _ = threaded
    short = raw_request("POST", PATH, "Content-Type: application/json", body=b'{"rating":"up"}', length=100)
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
        connection.sendall(short)
        connection.shutdown(socket.SHUT_WR)
        answer = RawAnswer.parse(b"".join(iter(lambda: connection.recv(65_536), b"")))
    assert (answer.status, answer.json()["type"]) == (400, "urn:harken:problem:malformed-body")
    assert kept(hk) == []


def test_errors_while_a_body_is_read(hk: Harken) -> None:
    """Whatever goes wrong while a body is read, somebody waits for an answer."""
    host = ThreadedHost(Api(hk, SETTINGS))

    def broken(_: int) -> bytes:
        raise OSError("the cable was cut")

    request = Request(method="POST", path=PATH, parts={}, header={"content-type": "application/json"}.get)
    assert host.respond(request, PATH, "", broken).status == 500


def test_a_service_can_be_opened_anew(hk: Harken) -> None:
    """What was closed is opened again by whoever asks; until then it stays open."""
    service = ProcessService(SETTINGS, harken=hk)
    hosts = []
    for _ in range(2):
        hosts += [service.host, service.host]
        service.close()
    assert hosts[0] is hosts[1] is not hosts[2] is hosts[3]

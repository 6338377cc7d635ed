"""Threaded hosts: event streams, request bodies and shutdown."""

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
from harken_adapters.hosts.web.routes import PAGES
from harken_adapters.hosts.wsgi import WsgiApp
from hosts.events import listening, room
from hosts.serving import OPEN, RawAnswer, Server, raw_request, serving_wsgi, stored_feedback
from support import PATIENCE, eventually

PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
SETTINGS = ServerSettings(**OPEN)


@pytest.fixture(params=["flask", "wsgi"])
def serve(request: pytest.FixtureRequest, hk: Harken) -> Callable[..., tuple[Any, ProcessService]]:
    """Creates an application that serves the Harken of the test, and returns its service too."""

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
    """A server with such an application."""
    app, service = serve()
    with serving_wsgi(app) as server:
        yield server, service
        service.close()


def test_events_come_as_they_happen(threaded: tuple[Server, ProcessService], hk: Harken) -> None:
    """Several listeners receive each event at once while other requests are answered, and resuming loses no event."""
    server, _ = threaded
    with listening(server.url) as one, listening(server.url) as two:
        given = server.post(PATH, {**UP, "comment": "ü"})["feedback_id"]
        heard = [stream.event() for stream in (one, two)]
        assert [(event.event, event.feedback["id"]) for event in heard] == [("feedback.created", given)] * 2


def test_a_closed_connection_frees_its_slot(
    threaded: tuple[Server, ProcessService], hk: Harken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed connection is detected when something is sent, which frees its slot and its thread."""
    monkeypatch.setattr(EventStream, "heartbeat", 0.02)
    server, _ = threaded
    with listening(server.url) as stream:
        assert [stream.frame().fields for _ in range(2)] == [{"": "keep-alive"}] * 2
        assert room(hk) == MAX_LISTENERS - 1
    eventually(lambda: room(hk) == MAX_LISTENERS)


def test_streams_end_with_the_service(threaded: tuple[Server, ProcessService], hk: Harken) -> None:
    """At shutdown, event streams end and their responses are complete."""
    server, service = threaded
    with listening(server.url) as stream:
        service.host.stop_streams()
        assert stream.rest() == b""
        with listening(server.url) as late:
            assert late.rest() == b""
    eventually(lambda: room(hk) == MAX_LISTENERS)


def test_a_stream_that_nobody_read_is_closed(serve: Callable[..., tuple[Any, ProcessService]], hk: Harken) -> None:
    """If a client disconnects before the first byte, its listener is closed."""
    app, _ = serve()
    answer = Client(app).get("/api/events", multithread=True)
    assert room(hk) == MAX_LISTENERS - 1
    answer.close()
    assert room(hk) == MAX_LISTENERS


def test_bodies_are_read_to_their_limit(serve: Callable[..., tuple[Any, ProcessService]], hk: Harken) -> None:
    """A body up to the limit is accepted, and a larger one is rejected, with or without Content-Length."""
    app, _ = serve(max_body=100)
    client = Client(app)
    for size, announced, status in ((100, True, 201), (101, True, 413), (100, False, 201), (101, False, 413)):
        body = b'{"rating":"up"}'.ljust(size)
        environ: dict[str, Any] = {"CONTENT_TYPE": "application/json", "REMOTE_ADDR": "127.0.0.1"}
        if not announced:
            environ |= {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
        answer = client.post(PATH, data=body, environ_overrides=environ)
        assert answer.status_code == status, answer.text
    assert len(stored_feedback(hk)) == 2


def test_a_body_that_ends_early(threaded: tuple[Server, ProcessService], hk: Harken) -> None:
    """A truncated body is rejected, even if its beginning is valid."""
    server, _ = threaded
    short = raw_request("POST", PATH, "Content-Type: application/json", body=b'{"rating":"up"}', length=100)
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
        connection.sendall(short)
        connection.shutdown(socket.SHUT_WR)
        answer = RawAnswer.parse(b"".join(iter(lambda: connection.recv(65_536), b"")))
    assert (answer.status, answer.json()["type"]) == (400, "urn:harken:problem:malformed-body")
    assert stored_feedback(hk) == []


def test_errors_while_a_body_is_read(hk: Harken) -> None:
    """Any error while reading a body becomes an error response."""
    host = ThreadedHost(Api(hk, SETTINGS), PAGES)

    def broken(_: int) -> bytes:
        raise OSError("connection reset")

    request = Request(method="POST", path=PATH, parts={}, header={"content-type": "application/json"}.get)
    assert host.respond(request, PATH, "", broken).status == 500


def test_a_service_can_be_opened_again(hk: Harken) -> None:
    """A closed service is opened again on use, and stays open until then."""
    service = ProcessService(SETTINGS, harken=hk, pages=PAGES)
    hosts = []
    for _ in range(2):
        hosts += [service.host, service.host]
        service.close()
    assert hosts[0] is hosts[1] is not hosts[2] is hosts[3]

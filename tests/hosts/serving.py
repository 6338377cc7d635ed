"""Servers on real sockets for tests, and a minimal raw HTTP client."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from threading import Thread
from typing import Any, Literal

import requests
import uvicorn
import uvicorn.server
from attrs import frozen
from starlette.applications import Starlette
from starlette.routing import Route
from werkzeug.serving import WSGIRequestHandler, make_server

from harken import Feedback, FeedbackQuery, Harken
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.fastapi.pages import page_route
from harken_adapters.hosts.fastapi.protocol import GuardedProtocol
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.web.routes import PAGES
from support import PATIENCE, eventually


class _Impatient:
    """Replaces ``asyncio`` in uvicorn's server, to shorten its sleeps of a tenth of a second."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


uvicorn.server.asyncio = _Impatient()

#: The settings of test servers: open access without rate limits.
OPEN = {
    "access": "open",
    "limit_by_session": "",
    "limit_by_address": "",
    "limit_production": "",
    "listeners": 200,
    "sentiment": "none",
}


@frozen
class Server:
    """The address of a server."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The URL, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request as an ordinary client."""
        return requests.request(method, f"{self.url}{path}", timeout=PATIENCE, **options)

    def get(self, path: str, **options: Any) -> Any:
        """The JSON of a successful GET response."""
        answer = self.ask("GET", path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: object, *, status: int = 201, **options: Any) -> Any:
        """The JSON of a successful POST response."""
        answer = self.ask("POST", path, json=body, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    def send(self, *parts: bytes, until_closed: bool = True) -> bytes:
        """Send raw bytes and return everything until the server closes the connection."""
        with socket.create_connection((self.host, self.port), timeout=PATIENCE) as connection:
            for part in parts:
                connection.sendall(part)
            received = b""
            while chunk := connection.recv(65_536):
                received += chunk
                if not until_closed:
                    break
            return received


@frozen
class RawAnswer:
    """A raw response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def parse(cls, received: bytes) -> RawAnswer:
        """Parse the first response in the received data."""
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return cls(int(first.split()[1]), headers, body)

    def json(self) -> Any:
        """The parsed JSON body."""
        return json.loads(self.body)


def raw_request(method: str, path: str, *headers: str, body: bytes = b"", length: int | None = None) -> bytes:
    """The bytes of a request with ``Connection: close``."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    if not any(line.lower().startswith("transfer-encoding") for line in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def problem(answer: requests.Response | RawAnswer, status: int, kind: str) -> dict[str, Any]:
    """The problem in a response; fails unless it is complete and of the expected kind."""
    code = answer.status if isinstance(answer, RawAnswer) else answer.status_code
    document: dict[str, Any] = answer.json()
    assert (code, document["type"]) == (status, f"urn:harken:problem:{kind}"), document
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert document.keys() - {"violations", "current"} == {"type", "title", "status", "detail", "instance"}
    assert document["status"] == status
    assert all(isinstance(document[name], str) and document[name] for name in ("title", "detail", "instance"))
    for violation in document.get("violations", ()):
        assert violation.keys() == {"field", "code", "message"}
    return document


#: A valid request for each operation.
_BODIES: dict[str, Any] = {
    "submit_feedback": {"rating": "up"},
    "submit_feedback_in_production": {"rating": "up"},
    "set_vote": {"rating": "up"},
    "set_session_vote": {"rating": "up"},
    "change_feedback": {"comment": "else"},
    "update_metadata": {"a": 1},
    "moderate_feedback": {"status": "rejected"},
    "undo_moderation": {},
    "erase_feedback": {"author": "nobody"},
    "switch_channel_off": {"reason": "by hand"},
    "put_route": {"channel": "log"},
    "dry_run_route": {"channel": "log"},
    "create_key": {"scopes": ["read"]},
    "replay_deliveries": {},
}
#: Path parameters other than feedback ids. Unauthorized requests are rejected whether or not these exist.
NAMED = {
    "session_id": "s",
    "message_id": "m",
    "channel": "log",
    "route": "r",
    "alert_id": "a",
    "delivery_id": "d:log",
    "key_id": "0123456789abcdef",
}
_QUERIES = {
    "submit_feedback_in_production": "session_id=s",
    "set_vote": "author=a",
    "set_session_vote": "author=a",
    "withdraw_vote": "author=a",
    "withdraw_session_vote": "author=a",
    "list_votes": "author=a",
    "analytics_compare": "since=2026-03-01",
}


def call_operation(
    server: Server, operation: Operation, feedback_id: str, *, query: str = "", **options: Any
) -> requests.Response:
    """The response to a valid request for an operation, on the session ``s``; streams are not read."""
    path = operation.path.format(**NAMED, feedback_id=feedback_id)
    wanted = "&".join(filter(None, [_QUERIES.get(operation.name, ""), query]))
    entry = {"feedback_id": feedback_id, "version": 1}
    of_entries: dict[str, Any] = {
        "moderate_many": {"decisions": [entry | {"status": "rejected"}]},
        "undo_many": {"decisions": [entry]},
        "preview_decisions": {"status": "approved", "entries": [entry]},
    }
    body = of_entries.get(operation.name, _BODIES.get(operation.name))
    sent = options if body is None else {**options, "json": body}
    return server.ask(operation.method, f"{path}?{wanted}", stream=operation.name == "watch_events", **sent)


def signed_in(server: Server, key: str, root: str = "") -> dict[str, str]:
    """The Cookie header of a browser that has signed in with a key."""
    answer = server.ask("POST", f"{root}/sign-in", data={"key": key}, allow_redirects=False)
    assert answer.status_code == 303, answer.text
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def stored_feedback(hk: Harken, application: str = "default") -> list[Feedback]:
    """All feedback of an application, in any state, oldest first."""
    return list(hk.collection.stream(FeedbackQuery(application=application).in_any_state()))


@contextmanager
def serving(
    app: Any,
    *,
    lifespan: Literal["on", "off"] = "on",
    protocol: type[GuardedProtocol] = GuardedProtocol,
    **options: Any,
) -> Iterator[Server]:
    """Serve an ASGI application on its own port, in a thread; ``options`` are for uvicorn."""
    with serving_at(lambda _: app, lifespan=lifespan, protocol=protocol, **options) as server:
        yield server


@contextmanager
def serving_at(
    create: Callable[[Server], Any],
    *,
    lifespan: Literal["on", "off"] = "on",
    protocol: type[GuardedProtocol] = GuardedProtocol,
    **options: Any,
) -> Iterator[Server]:
    """Like :func:`serving`, for an application that must know its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Server(*listening.getsockname())
        config = uvicorn.Config(
            create(address),
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan=lifespan,
            http=protocol,
            ws="none",
            **options,
        )
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        eventually(lambda: server.started or not thread.is_alive())
        assert server.started, "it did not start"
        try:
            yield address
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive(), "it did not end"


class _Silent(WSGIRequestHandler):
    """Does not log requests."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        pass


@contextmanager
def serving_wsgi(app: Any) -> Iterator[Server]:
    """Serve a WSGI application on its own port, in threads."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Silent)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Server(server.host, server.port)
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()
        assert not thread.is_alive(), "it did not end"


@contextmanager
def served(hk: Harken, protocol: type[GuardedProtocol] = GuardedProtocol, **settings: Any) -> Iterator[Server]:
    """Serve a Harken, with open access by default."""
    app = create_app(ServerSettings(**{**OPEN, **settings}), harken=hk)
    with serving(app, protocol=protocol) as server:
        try:
            yield server
        finally:
            # An open stream would keep the server from ending.
            app.state.harken_host.stop_streams()


@contextmanager
def served_api(api: Api) -> Iterator[Server]:
    """Serve an API that a test has created, with its pages, but without the rest of the application."""
    host = Host(api)
    routes = [Route(one.path, host.endpoint(one), methods=[one.method]) for one in OPERATIONS]
    routes += [page_route(host, page) for page in PAGES]

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        yield
        await host.close()

    with serving(Starlette(routes=routes, lifespan=lifespan)) as server:
        yield server

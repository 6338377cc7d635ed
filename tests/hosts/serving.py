"""Applications behind real sockets, and the smallest client that can misbehave."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import requests
import uvicorn
from attrs import frozen

from harken import Harken
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from support import PATIENCE, eventually

#: What a host of tests is served like: everybody may do everything, as often as they like.
OPEN = {"access": "open", "limit_by_session": "", "limit_by_address": "", "limit_production": "", "sentiment": "none"}


@frozen
class Server:
    """Where an application is served."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask it for something, as an ordinary client does."""
        return requests.request(method, f"{self.url}{path}", timeout=PATIENCE, **options)

    def get(self, path: str, **options: Any) -> Any:
        """What it answers to a question that it can answer."""
        answer = self.ask("GET", path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, *parts: bytes, until_closed: bool = True) -> bytes:
        """Send bytes as they are, and give all that comes back until the other side closes the connection."""
        with socket.create_connection((self.host, self.port), timeout=PATIENCE) as connection:
            for part in parts:
                connection.sendall(part)
            received = b""
            while chunk := connection.recv(65_536):
                received += chunk
                if not until_closed:
                    break
            return received


@contextmanager
def serving(app: Any) -> Iterator[Server]:
    """Serve an ASGI application on a port of its own, in a thread of this process."""
    config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, lifespan="on")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        eventually(lambda: server.started or not thread.is_alive())
        assert server.started, "it did not start"
        try:
            yield Server(*listening.getsockname())
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive(), "it did not end"


@contextmanager
def served(hk: Harken, **settings: Any) -> Iterator[Server]:
    """Serve a Harken, open to all unless the settings say otherwise."""
    app = create_app(ServerSettings(**{**OPEN, **settings}), harken=hk)
    with serving(app) as server:
        try:
            yield server
        finally:
            # A stream that nobody ends keeps the server from ending.
            app.state.harken_host.stop_streams()

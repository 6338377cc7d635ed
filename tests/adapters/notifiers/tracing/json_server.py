"""HTTP servers on localhost that are functions of a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from attrs import field, frozen


@frozen
class Request:
    """A received request; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes


@frozen
class Response:
    """A response; ``content`` is sent as JSON unless it is bytes."""

    status: int
    content: Any = b""
    headers: Mapping[str, str] = field(factory=dict)


#: Returns the response, or ``None`` to close the connection without one.
Answer = Callable[[Request], Response | None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The URL of a server that responds as ``answer`` does."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            response = answer(Request(self.command, self.path, headers, content))
            if response is None:
                self.close_connection = True
                return
            body = response.content if isinstance(response.content, bytes) else json.dumps(response.content).encode()
            self.send_response(response.status)
            for name, value in {**response.headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the names that the base class expects

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class names it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()

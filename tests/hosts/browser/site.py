"""A web site of another origin, whose pages contain the widget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from attrs import field, frozen

from support import PATIENCE

#: The line of the documentation that reserves the widget's height before its module is loaded.
RESERVED_HEIGHT: Final = "harken-feedback { display: block; min-height: 38px }"


@frozen
class Site:
    """A server of pages, at an origin that differs from that of any Harken in the tests."""

    origin: str
    _pages: dict[str, tuple[bytes, Mapping[str, str]]] = field(factory=dict)

    def show(self, html: str, headers: Mapping[str, str] | None = None) -> str:
        """Serve a page, and return its URL."""
        path = f"/{len(self._pages)}"
        self._pages[path] = html.encode(), headers or {}
        return f"{self.origin}{path}"

    def page(self, path: str) -> tuple[bytes, Mapping[str, str]] | None:
        """The body and the headers of a page."""
        return self._pages.get(path)


@contextmanager
def serving_site() -> Iterator[Site]:
    """Serve a site on its own port, in threads."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = site.page(self.path)
            body, headers = found or (b"", {})
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(f"http://localhost:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()
        assert not thread.is_alive(), "it did not end"

"""A web server on loopback that receives the demo's webhooks: one path works, one is slow, and one is gone."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

#: How many seconds the slow path takes.
SLOW: Final = 3.0
_GONE: Final = "This endpoint was retired. Ask the help desk team for the new address."
_BUSY: Final = "The order system is being updated, try again in 20 minutes."


class Receiver:
    """Receives webhooks at ``/product``, ``/orders`` and ``/help-desk``, from the beginning to the end of a context.

    Attributes:
        gone: whether ``/help-desk`` refuses everything.
        busy: whether ``/orders`` asks senders to try again.
        slow: whether ``/orders`` takes a few seconds.
    """

    def __init__(self) -> None:
        self.gone = False
        self.busy = False
        self.slow = False
        self._ended = Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """Read the body, and answer."""
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, text = receiver.answer(self.path)
                content = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                if status == 503:
                    self.send_header("Retry-After", "1200")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the parameter's name
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="harken-demo-receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The URL, without a trailing slash."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str) -> tuple[int, str]:
        """The status and text for a webhook."""
        if path == "/help-desk" and self.gone:
            return 410, _GONE
        if path == "/orders" and self.busy:
            return 503, _BUSY
        if path == "/orders" and self.slow:
            self._ended.wait(SLOW)
        return 200, "Received"

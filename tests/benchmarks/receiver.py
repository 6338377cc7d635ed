"""A receiver that accepts and counts webhooks: ``python -m tests.benchmarks.receiver``.

It prints its port and runs until it is terminated. ``GET /count`` returns the number of ``requests`` and of
``deliveries`` with different ids, as JSON. It is minimal, so that the sender is measured.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from asyncio import BaseTransport, Protocol, Transport
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from attrs import frozen

_ROOT: Final = Path(__file__).parents[2]
_HEADERS_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_ID: Final = re.compile(rb"\r\nwebhook-id: *([^\r]+)", re.IGNORECASE)
_ACCEPTED: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


@frozen
class Receiver:
    """The address of a receiver."""

    port: int

    @property
    def url(self) -> str:
        """The URL for webhooks."""
        return f"http://127.0.0.1:{self.port}/hook"

    def count(self) -> dict[str, int]:
        """The counts so far."""
        with urlopen(f"http://127.0.0.1:{self.port}/count") as response:
            counts: dict[str, int] = json.load(response)
            return counts


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver in a process within the context."""
    command = (sys.executable, "-m", "tests.benchmarks.receiver")
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Receiver(int(process.stdout.readline()))
        finally:
            process.terminate()


class Counter:
    """Counts requests and delivery ids."""

    def __init__(self) -> None:
        self.requests = 0
        self.ids: set[bytes] = set()

    def respond(self, head: bytes) -> bytes:
        """Count a request, or return the counts; returns the response."""
        if head.startswith(b"GET /count"):
            content = json.dumps({"requests": self.requests, "deliveries": len(self.ids)}).encode()
            kind = b"content-type: application/json\r\ncontent-length: %d" % len(content)
            return b"HTTP/1.1 200 OK\r\n" + kind + _HEADERS_END + content
        self.requests += 1
        if found := _ID.search(head):
            self.ids.add(found[1])
        return _ACCEPTED


class Connection(Protocol):
    """Reads requests and responds to each."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._received = b""

    def connection_made(self, transport: BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Respond to every complete request."""
        self._received += data
        while (request := self._next()) is not None:
            self._transport.write(self._counter.respond(request))

    def _next(self) -> bytes | None:
        head, end, rest = self._received.partition(_HEADERS_END)
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if not end or len(rest) < size:
            return None
        self._received = rest[size:]
        return head


async def serve() -> None:
    """Receive on a free loopback port, until the process is terminated."""
    counter = Counter()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counter), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())

"""Measures the memory of ``harken serve`` when clients send floods that never become a request.

``python -m tests.reliability.hostile_heads`` sends each flood over one connection to a local server, without
credentials, and prints the status of the response and the growth of the server's memory. It exits with 1 if a status is
not the expected one, or if the growth is larger than ``MOST``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from attrs import frozen
from tests.reliability.http_processes import PATIENCE, UNLIMITED, Service, serve

MIB = 1024 * 1024
FLOOD = 30 * MIB
#: The maximum growth of the server's memory for one of these connections, in bytes.
MOST = 16 * MIB
_START = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
_POST = b"POST /api/sessions/s/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"


def _many(part: bytes) -> Iterator[bytes]:
    """Repeat the part in blocks, up to the size of a flood."""
    block = part * (MIB // len(part))
    return repeat(block, FLOOD // len(block) + 1)


#: The content of each flood, and the expected status of the first response.
FLOODS: dict[str, tuple[Callable[[], Iterator[bytes]], int]] = {
    "tiny fields": (lambda: chain([_START], _many(b"a:b\r\n")), 431),
    "one endless field": (lambda: chain([_START, b"a: "], _many(b"b")), 431),
    "one endless name": (lambda: chain([_START], _many(b"a")), 431),
    "a folded field": (lambda: chain([_START, b"a: b"], _many(b"\r\n b")), 400),
    "an endless path": (lambda: chain([b"GET /"], _many(b"a")), 431),
    "an endless query": (lambda: chain([b"GET /healthz?"], _many(b"a=b&")), 431),
    "an endless method": (lambda: _many(b"G"), 400),
    "empty lines": (lambda: _many(b"\r\n"), 431),
    "trailers": (lambda: chain([_CHUNKED, b"1\r\n{\r\n0\r\n"], _many(b"a:b\r\n")), 431),
    "one endless trailer": (lambda: chain([_CHUNKED, b"1\r\n{\r\n0\r\na: "], _many(b"b")), 431),
    "a chunk extension": (lambda: chain([_CHUNKED, b"1;"], _many(b"a=b;")), 431),
    "tiny chunks": (lambda: chain([_CHUNKED], _many(b"1\r\n{\r\n")), 413),
    "a body without end": (lambda: chain([_CHUNKED], _many(b"400\r\n" + b"{" * 1024 + b"\r\n")), 413),
    "a body that is not read": (
        lambda: chain([b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % FLOOD], _many(b"x")),
        200,
    ),
    "pipelined requests": (lambda: _many(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200),
    "requests after a stream": (
        lambda: chain([b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"], _many(_START + b"\r\n")),
        200,
    ),
}


@frozen
class Outcome:
    """The status of the first response to a flood, if there was one, and the growth of memory in bytes."""

    status: int | None
    grown: int


def flooded(service: Service, name: str) -> Outcome:
    """Send a flood until the server stops reading; returns the outcome."""
    process = service.process.pid
    before = _memory(process, "VmRSS")
    # Reset the peak.
    Path(f"/proc/{process}/clear_refs").write_text("5")
    parts, _ = FLOODS[name]
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE) as connection:
        status = _send(connection, parts())
    assert service.ask("GET", "/healthz").ok
    return Outcome(status, max(0, _memory(process, "VmHWM") - before))


def _send(connection: socket.socket, parts: Iterator[bytes]) -> int | None:
    """Send until the server stops reading; returns the status of the first response."""
    connection.settimeout(3.0)
    try:
        for part in parts:
            connection.sendall(part)
    except OSError:
        # The server stopped reading, but may have sent a response.
        pass
    try:
        head = connection.recv(65_536)
    except OSError:
        return None
    return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else None


def _memory(process: int, name: str) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main() -> int:
    """Send each flood to a new server; returns the exit code."""
    failed = 0
    for name, (_, status) in FLOODS.items():
        with TemporaryDirectory() as folder, serve("memory://", Path(folder), "--open", **UNLIMITED) as service:
            assert service.ask("POST", "/api/sessions/s/feedback", json={"rating": "up"}).ok
            outcome = flooded(service, name)
        good = outcome.status == status and outcome.grown <= MOST
        failed += not good
        print(f"{'ok  ' if good else 'MISS'} {name}: {outcome.status}, grew by {outcome.grown / MIB:.1f} MiB")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

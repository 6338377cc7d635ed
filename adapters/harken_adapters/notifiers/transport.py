"""Connections to one receiver: to addresses that were checked, and with one limit on all that an exchange takes.

What is underneath httpx is used directly: a client of httpx costs more than everything else that a delivery takes.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from time import monotonic
from typing import Final, TypeVar

import httpcore
import httpx
from attrs import frozen

from harken_adapters.notifiers.addresses import Guard

#: Many servers close a connection that was idle for five seconds; a request must not be on its way just then.
_KEPT_ALIVE: Final = 4.0
#: Of an answer's body no more is read; the connection is worth less than the time.
_MOST_READ: Final = 65_536

Headers = Sequence[tuple[bytes, bytes]]
T = TypeVar("T")


@frozen
class Answer:
    """What a receiver answered; its body is of no interest."""

    status: int
    headers: Headers

    def header(self, name: bytes) -> str:
        """The first value of a header; empty if there is none."""
        values = (value for key, value in self.headers if key.lower() == name)
        return next(values, b"").decode("latin-1").strip()


class Connections:
    """Connections to one URL's origin, kept for a while. Several threads may use them at once.

    Args:
        url: where to post to.
        guard: tells where its host leads to.
        limit: how many seconds an exchange may take, from looking the host up to the end of the answer.
    """

    def __init__(self, url: httpx.URL, guard: Guard, *, limit: float) -> None:
        self._url = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        self._host = (b"host", url.netloc)
        self._tls = _tls() if url.scheme == "https" else None
        self._network = _CheckedNetwork(guard)
        self._limit = limit
        self._idle: deque[httpcore.HTTPConnection] = deque()

    def post(self, headers: Headers, body: bytes) -> Answer:
        """Post this, follow no redirect, and give what was answered.

        Raises:
            UnsafeAddress: the host leads to an address that must not be connected to. Nothing was.
            httpcore.TimeoutException: it took longer than the limit.
            httpcore.NetworkError: there is no connection.
            httpcore.ProtocolError: what came is no HTTP.
        """
        deadline = monotonic() + self._limit
        length = (b"content-length", b"%d" % len(body))
        request = httpcore.Request(
            "POST",
            self._url,
            headers=[self._host, *headers, length],
            content=body,
            # These go through to the streams as they are, and there each is the time when all has to be over.
            extensions={"timeout": {"connect": deadline, "write": deadline, "read": deadline}},
        )
        connection = self._connection()
        response = connection.handle_request(request)
        _read_a_little(response)
        if connection.is_idle():
            self._idle.append(connection)
        return Answer(response.status, response.headers)

    def close(self) -> None:
        """Close all connections that are not in use; closing twice is harmless."""
        while (connection := self._take()) is not None:
            connection.close()

    def _connection(self) -> httpcore.HTTPConnection:
        while (connection := self._take()) is not None:
            if not connection.has_expired():
                return connection
            connection.close()
        return httpcore.HTTPConnection(
            self._url.origin, ssl_context=self._tls, keepalive_expiry=_KEPT_ALIVE, network_backend=self._network
        )

    def _take(self) -> httpcore.HTTPConnection | None:
        # The one that was idle for longest, so that after a rush none is left open for good.
        try:
            return self._idle.popleft()
        except IndexError:
            return None


class _CheckedNetwork(httpcore.NetworkBackend):
    """Connects to addresses that were checked, and to nothing else."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = within(_left(timeout), lambda: self._guard.addresses(host, port))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("looking up its name took too long") from error
        except OSError as error:
            raise httpcore.ConnectError(f"its name cannot be looked up: {error.strerror or error}") from error
        # Each gets its share of the time, so that one that does not answer leaves some to the next.
        for left, address in zip(range(len(addresses), 1, -1), addresses, strict=False):
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connect(address, port, _left(timeout) / left, local_address, socket_options)
        return self._connect(addresses[-1], port, _left(timeout), local_address, socket_options)

    def _connect(
        self,
        address: str,
        port: int,
        seconds: float,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.NetworkStream:
        # An address is not looked up once more: what is connected to is what was checked.
        return _Stream(self._sockets.connect_tcp(address, port, seconds, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    """A stream whose timeouts are the times when all has to be over, as told by ``time.monotonic``."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._unsent = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._unsent:
            self._send(timeout)
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - a read follows
        # Headers and body come one after the other and leave together, which saves a packet.
        self._unsent += buffer

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)

    def _send(self, deadline: float | None) -> None:
        unsent, self._unsent = self._unsent, b""
        connected = self._stream.get_extra_info("socket")
        try:
            connected.settimeout(_left(deadline))
            # Of all ways to send this one alone has its timeout for the whole, not for each part.
            connected.sendall(unsent)
        except TimeoutError as error:
            raise httpcore.WriteTimeout("it reads too slowly") from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error


def within(seconds: float, call: Callable[[], T]) -> T:
    """What a call gives, if it does so in time: for calls that take no timeout themselves.

    Raises:
        TimeoutError: it did not; it goes on, and nobody looks at what it gives.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - who waits gets it
            done.set_exception(error)

    Thread(target=run, name="harken-within", daemon=True).start()
    return done.result(seconds)


def _left(deadline: float | None) -> float:
    left = (deadline or 0.0) - monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("it took too long")
    return left


def _read_a_little(response: httpcore.Response) -> None:
    """Read what little a body should be, so that the connection can be used again; else it is closed."""
    taken = 0
    # The answer is known: whatever happens to its body changes nothing.
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for part in response.iter_stream():
            taken += len(part)
            if taken > _MOST_READ:
                break
    response.close()


def _tls() -> ssl.SSLContext:
    # The environment may name other authorities than the usual ones. It names no proxy here, as there is no client.
    return httpx.create_ssl_context()

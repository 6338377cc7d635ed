"""Connections to one receiver: to checked addresses, and with one time limit for the whole exchange.

Uses httpcore directly, because a client of httpx would take longer than the rest of a delivery.
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

#: Seconds that an idle connection is kept. Many servers close theirs after five, possibly during a request.
_KEEPALIVE: Final = 4.0
#: The number of bytes of a response body that are read, for callers that do not need it, to reuse the connection.
SHORT: Final = 65_536

Headers = Sequence[tuple[bytes, bytes]]
T = TypeVar("T")


@frozen
class Answer:
    """The response of a receiver, with the beginning of its body."""

    status: int
    headers: Headers
    content: bytes = b""

    def header(self, name: bytes) -> str:
        """The first value of a header; empty if it is absent."""
        values = (value for key, value in self.headers if key.lower() == name)
        return next(values, b"").decode("latin-1").strip()


class Connections:
    """A pool of connections to the origin of a URL. Thread-safe.

    Args:
        url: the URL of the receiver.
        guard: resolves and checks the host.
        limit: the seconds an exchange may take, from resolving the host to the end of the response.
    """

    def __init__(self, url: httpx.URL, guard: Guard, *, limit: float) -> None:
        self._url = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        self._host = (b"host", url.netloc)
        self._tls = _tls() if url.scheme == "https" else None
        self._network = _CheckedNetwork(guard)
        self._limit = limit
        self._idle: deque[httpcore.HTTPConnection] = deque()

    def request(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        body: bytes,
        *,
        deadline: float | None = None,
        max_content: int = SHORT,
    ) -> Answer:
        """Send a request and return the response. Redirects are not followed.

        Args:
            method: the method, such as ``POST``.
            target: the path and query.
            headers: the headers, except ``host`` and ``content-length``.
            body: the body.
            deadline: when the exchange has to end, as a time of ``time.monotonic``; the default is after ``limit``.
            max_content: the maximum number of bytes of the response body that are read. A longer one is cut off, and
                its connection is not used again.

        Raises:
            UnsafeAddress: the host has an address that is not allowed. No connection was made.
            httpcore.TimeoutException: the exchange took longer than the limit.
            httpcore.NetworkError: the connection failed.
            httpcore.ProtocolError: the response is not HTTP.
        """
        ends = monotonic() + self._limit if deadline is None else deadline
        length = (b"content-length", b"%d" % len(body))
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=self._url.scheme, host=self._url.host, port=self._url.port, target=target),
            headers=[self._host, *headers, length],
            content=body,
            # Passed to the streams unchanged, which treat each as the deadline of the exchange.
            extensions={"timeout": {"connect": ends, "write": ends, "read": ends}},
        )
        connection = self._connection()
        response = connection.handle_request(request)
        content = _read(response, max_content)
        if connection.is_idle():
            self._idle.append(connection)
        return Answer(response.status, response.headers, content)

    def close(self) -> None:
        """Close all idle connections. Can be called twice."""
        while (connection := self._take()) is not None:
            connection.close()

    def _connection(self) -> httpcore.HTTPConnection:
        while (connection := self._take()) is not None:
            if not connection.has_expired():
                return connection
            connection.close()
        return httpcore.HTTPConnection(
            self._url.origin, ssl_context=self._tls, keepalive_expiry=_KEEPALIVE, network_backend=self._network
        )

    def _take(self) -> httpcore.HTTPConnection | None:
        # The one that was idle for longest, so that all expire after a peak.
        try:
            return self._idle.popleft()
        except IndexError:
            return None


class _CheckedNetwork(httpcore.NetworkBackend):
    """Connects only to checked addresses."""

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
            raise httpcore.ConnectTimeout("resolving the host took too long") from error
        except OSError as error:
            raise httpcore.ConnectError(f"the host cannot be resolved: {error.strerror or error}") from error
        # Each address gets its share of the time, so that one that does not answer leaves time for the next.
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
        # An address is not resolved again, so the connection is made to the checked one.
        return _Stream(self._sockets.connect_tcp(address, port, seconds, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    """A stream whose timeouts are deadlines, as times of ``time.monotonic``."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._unsent = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._unsent:
            self._send(timeout)
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - a read follows
        # Headers and body are sent together, which saves a packet.
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
            # Unlike other methods, sendall applies the timeout to the whole, not to each part.
            connected.sendall(unsent)
        except TimeoutError as error:
            raise httpcore.WriteTimeout("the receiver reads too slowly") from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call, for calls without a timeout parameter.

    Raises:
        TimeoutError: the call did not return in time. It continues in its thread, and its result is ignored.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - passed to the caller
            done.set_exception(error)

    Thread(target=run, name="harken-within", daemon=True).start()
    return done.result(seconds)


def _left(deadline: float | None) -> float:
    left = (deadline or 0.0) - monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the exchange took too long")
    return left


def _read(response: httpcore.Response, most: int) -> bytes:
    """The beginning of the body. A body that is longer, or incomplete, closes the connection."""
    content = bytearray()
    # The status is known, so errors of the body are ignored.
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for part in response.iter_stream():
            content += part
            if len(content) > most:
                break
    response.close()
    return bytes(content[:most])


def _tls() -> ssl.SSLContext:
    # Respects the certificate settings of the environment. Proxies are not supported, as there is no client.
    return httpx.create_ssl_context()

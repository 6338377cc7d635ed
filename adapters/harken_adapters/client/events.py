"""Events as an iterator that reconnects."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event
from types import TracebackType
from typing import Protocol, Self

import httpx

from harken import HarkenError, StorageClosed
from harken.services.feed import Missed, News
from harken.services.forks import ForkSafeLock
from harken_adapters.client.answers import unreachable
from harken_adapters.client.calls import Call
from harken_adapters.client.event_reader import EventReader


class Open(Protocol):
    """Opens a stream."""

    def __call__(self, call: Call[None], *, retries: bool) -> tuple[httpx.Response, str]:
        """The response, which is not read yet, and the application; ``retries`` is whether failures are retried."""


class Events:
    """Iterates over events, waits for the next one, and ends when it or the client is closed.

    If the connection breaks, it reconnects for as long as it takes, and resumes after the last event. Each event is
    reported at least once; where events were lost, the iterator gives ``Missed``. :meth:`Client.events` creates it.

    Raises:
        HarkenError: the server refuses the connection for a reason that does not pass, such as a revoked key.
    """

    def __init__(
        self, call: Call[None], connect: Open, url: str, sleep: Callable[[float], object] | None = None
    ) -> None:
        self._connect = connect
        self._url = url
        self._reader = EventReader(call)
        self._items: deque[News | Missed] = deque()
        self._closed = Event()
        self._wait = self._closed.wait if sleep is None else sleep
        # Held while a thread reads, so that the response is closed after that.
        self._reading = ForkSafeLock()
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._open(retries=True)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> News | Missed:
        with self._reading:
            while not self._items:
                if self._closed.is_set():
                    self._disconnect()
                    raise StopIteration
                self._read()
            return self._items.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration, also if another thread waits for the next event."""
        self._closed.set()
        response = self._response
        if response is not None:
            _interrupt(response)
        with self._reading:
            self._items.clear()
            self._disconnect()

    def _read(self) -> None:
        """Read a chunk of the stream, or connect again."""
        error: HarkenError | None = None
        try:
            chunk = next(self._chunks, None)
        except (httpx.RequestError, httpx.StreamError) as cause:
            error, chunk = unreachable(cause, self._url), None
        if chunk is not None:
            self._items.extend(self._reader.feed(chunk))
            return
        self._disconnect()
        self._reopen(error)

    def _reopen(self, error: HarkenError | None) -> None:
        while self._response is None and not self._closed.is_set():
            self._wait(self._reader.delay_after(error))
            try:
                self._open(retries=False)
            except StorageClosed:
                # The client is being closed, which ends the iteration.
                self._closed.set()
            except HarkenError as refused:
                error = refused

    def _open(self, *, retries: bool) -> None:
        if self._closed.is_set():
            return
        self._response, application = self._connect(self._reader.call, retries=retries)
        self._reader.connected(application)
        self._chunks = self._response.iter_bytes()

    def _disconnect(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response, self._chunks = None, iter(())


def _interrupt(response: httpx.Response) -> None:
    """End a read of another thread: the read end of the socket is shut down."""
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if isinstance(connection, socket.socket):
        # It may be closed already.
        with suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

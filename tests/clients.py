"""Clients of a served Harken, for tests that also run on the facade; and proxies that fail."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

from attrs import define, evolve, field

from harken import Feedback, Page, Receipt
from harken_adapters.client import AsyncClient, AsyncEvents, Client
from support import PATIENCE

#: How the same methods are called: in process, over HTTP, and over HTTP from an event loop.
KINDS = ("facade", "client", "async client")


def without_keys(value: Any) -> Any:
    """Feedback, or a receipt or page of it, without the fields that only exports have."""
    match value:
        case Feedback():
            return evolve(value, idempotency_key=None, fingerprint="", later_keys=())
        case Receipt():
            return Receipt(without_keys(value.feedback), value.duplicate)
        case Page():
            return Page(tuple(map(without_keys, value.items)), value.next)
        case list():
            return [without_keys(one) for one in value]
    return value


class Blocking:
    """Calls the methods of an :class:`AsyncClient` in an event loop of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = AsyncClient(url, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            found = method(*arguments, **keywords)
            if isinstance(found, AsyncEvents):
                self._runner.run(found.__aenter__())
                return BlockingEvents(self._runner, found)
            if hasattr(found, "__anext__"):
                return self._iterate(found)
            return self._runner.run(_awaited(found)) if inspect.isawaitable(found) else found

        return call

    def _iterate(self, items: Any) -> Iterator[Any]:
        end = object()
        try:
            while (item := self._runner.run(_awaited(anext(items, end)))) is not end:
                yield item
        finally:
            self._runner.run(items.aclose())

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.client.close())
        self._runner.close()


@define
class BlockingEvents:
    """Iterates over :class:`AsyncEvents` in its event loop."""

    runner: asyncio.Runner
    events: AsyncEvents

    def __iter__(self) -> BlockingEvents:
        return self

    def __next__(self) -> Any:
        try:
            return self.runner.run(_awaited(anext(self.events)))
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> BlockingEvents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration."""
        self.runner.run(self.events.close())


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def opened(kind: str, url: str, **options: Any) -> Any:
    """A client of one of the two kinds."""
    return (Client if kind == "client" else Blocking)(url, **options)


@define
class Proxy:
    """Forwards connections to a port, and cuts them after some bytes of responses, or on request."""

    port: int
    upstream: int
    #: For each connection in turn, after how many bytes of responses it is cut; ``None`` for never.
    cuts: Iterator[int | None]
    connections: int = 0
    open: list[socket.socket] = field(factory=list)

    @property
    def url(self) -> str:
        """The URL of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def cut_all(self) -> None:
        """Cut all open connections."""
        for one in list(self.open):
            _shut(one)

    def serve(self, listening: socket.socket) -> None:
        """Accept connections until the listening socket is closed."""
        with suppress(OSError):
            while True:
                outside, _ = listening.accept()
                self.connections += 1
                cut = next(self.cuts, None)
                self.open.append(outside)
                try:
                    inside = socket.create_connection(("127.0.0.1", self.upstream), timeout=PATIENCE)
                except ConnectionError:
                    _shut(outside)
                    continue
                self.open.append(inside)
                Thread(target=_copy, args=(outside, inside, None), daemon=True).start()
                Thread(target=_copy, args=(inside, outside, cut), daemon=True).start()


def _copy(source: socket.socket, to: socket.socket, left: int | None) -> None:
    with suppress(OSError):
        while chunk := source.recv(65_536):
            sent = chunk if left is None else chunk[:left]
            to.sendall(sent)
            if left is not None:
                left -= len(sent)
                if left == 0:
                    break
    _shut(source)
    _shut(to)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(port: int, cuts: Iterator[int | None] | list[int | None] | None = None) -> Iterator[Proxy]:
    """A proxy before a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = Proxy(listening.getsockname()[1], port, iter(cuts or ()))
        thread = Thread(target=proxy.serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            proxy.cut_all()
            thread.join(PATIENCE)
            for one in proxy.open:
                one.close()


class Sleeps(list[float]):
    """Records the seconds instead of sleeping."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)

    async def asynchronously(self, seconds: float) -> None:
        """The same for an event loop."""
        self.append(seconds)


@define
class InThread:
    """Runs a function in a thread and gives its result, or raises its error."""

    call: Callable[[], Any]
    result: Any = None
    error: BaseException | None = None
    done: Event = field(factory=Event)

    @classmethod
    def start(cls, call: Callable[[], Any]) -> InThread:
        """Start the thread."""
        one = cls(call)
        Thread(target=one.run, daemon=True).start()
        return one

    def run(self) -> None:
        """Call the function."""
        try:
            self.result = self.call()
        except BaseException as error:  # noqa: BLE001 - raised in the test
            self.error = error
        self.done.set()

    def wait(self) -> Any:
        """The result."""
        assert self.done.wait(PATIENCE), "it did not end"
        if self.error is not None:
            raise self.error
        return self.result

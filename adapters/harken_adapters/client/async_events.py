"""Events as an asynchronous iterator that reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Protocol, Self

import httpx

from harken import HarkenError
from harken.services.feed import Missed, News
from harken_adapters.client.answers import unreachable
from harken_adapters.client.calls import Call
from harken_adapters.client.event_reader import EventReader

#: How many events may wait to be taken. When there are more, the connection is not read.
_MAX_WAITING: Final = 1_000


class AsyncOpen(Protocol):
    """Opens a stream."""

    async def __call__(self, call: Call[None], *, retries: bool) -> tuple[httpx.Response, str]:
        """The response, which is not read yet, and the application; ``retries`` is whether failures are retried."""


class _End:
    """The end of the iteration."""


class AsyncEvents:
    """Like :class:`Events`, for ``async for``. It connects on the first event, or at the start of an ``async with``.

    A task reads the connection, so waiting for an event can be cancelled, for example by a timeout, and repeated.
    """

    def __init__(
        self, call: Call[None], connect: AsyncOpen, url: str, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._connect = connect
        self._url = url
        self._sleep = sleep
        self._reader = EventReader(call)
        self._items: asyncio.Queue[News | Missed | Exception | _End] = asyncio.Queue(_MAX_WAITING)
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None
        # Held while it connects, so that several tasks share one connection.
        self._starting = asyncio.Lock()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> News | Missed:
        await self._start()
        if self._is_closed and self._items.empty():
            raise StopAsyncIteration
        match await self._items.get():
            case _End() as end:
                # Another task may wait too.
                self._items.put_nowait(end)
                raise StopAsyncIteration
            case Exception() as error:
                await self.close()
                raise error
            case item:
                return item

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the iteration, also if another task waits for the next event."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        while not self._items.empty():
            self._items.get_nowait()
        self._items.put_nowait(_End())

    async def _start(self) -> None:
        async with self._starting:
            if self._task is None and not self._is_closed:
                response = await self._open(retries=True)
                self._task = asyncio.create_task(self._read_all(response), name="harken-client-events")

    async def _open(self, *, retries: bool) -> httpx.Response:
        response, application = await self._connect(self._reader.call, retries=retries)
        self._reader.connected(application)
        return response

    async def _read_all(self, response: httpx.Response) -> None:
        """Read connection after connection."""
        try:
            while True:
                error = await self._read(response)
                response = await self._reopen(error)
        except Exception as error:  # noqa: BLE001 - raised where the next event is awaited
            await self._items.put(error)

    async def _read(self, response: httpx.Response) -> HarkenError | None:
        """Read a connection to its end; returns why it ended."""
        try:
            async for chunk in response.aiter_bytes():
                for item in self._reader.feed(chunk):
                    await self._items.put(item)
        except (httpx.RequestError, httpx.StreamError) as cause:
            return unreachable(cause, self._url)
        finally:
            await response.aclose()
        return None

    async def _reopen(self, error: HarkenError | None) -> httpx.Response:
        while True:
            await self._sleep(self._reader.delay_after(error))
            try:
                return await self._open(retries=False)
            except HarkenError as refused:
                error = refused

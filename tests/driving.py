"""Event loops for tests, and a facade that synchronous tests can use to call the asynchronous one."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from threading import Thread
from typing import Any

import uvloop

from harken import AsyncHarken
from harken.asynchronous import AsyncEvents
from support import PATIENCE

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
#: The event loops that hosts use.
LOOPS: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def run(coroutine: Coroutine[Any, Any, Any], loop: LoopFactory = asyncio.new_event_loop) -> Any:
    """Run a coroutine in a new event loop; fails if it hangs."""

    async def in_time() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await coroutine

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(in_time())


class Driver:
    """An event loop in a thread, for synchronous tests."""

    def __init__(self, loop: LoopFactory) -> None:
        self._loop = loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()

    def __call__(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of the coroutine."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        """The items of an asynchronous iterator."""
        end = object()
        while (item := self(_next(items, end))) is not end:
            yield item

    def listen(self, events: AsyncEvents) -> Iterator[Any]:
        """The events from now on; closing the iterator closes them."""
        self(events.__aenter__())

        def iterate() -> Iterator[Any]:
            try:
                yield from self.iterate(events)
            finally:
                self(events.close())

        return iterate()

    def close(self) -> None:
        """Stop the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


async def _next(items: AsyncIterator[Any], end: object) -> Any:
    return await anext(items, end)


class Driven:
    """A ``Harken`` whose methods call those of an ``AsyncHarken`` in an event loop; the others call the original."""

    def __init__(self, hk: AsyncHarken, driver: Driver) -> None:
        self._hk = hk
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        if not hasattr(AsyncHarken, name):
            return getattr(self._hk.sync, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = getattr(self._hk, name)(*args, **kwargs)
            if inspect.iscoroutine(result):
                return self._driver(result)
            return self._driver.listen(result) if isinstance(result, AsyncEvents) else self._driver.iterate(result)

        return call

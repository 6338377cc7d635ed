"""Streaming responses in an event loop, without blocking it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final

from harken_adapters.hosts.http.streaming import ALIVE, EventStream

_END: Final = object()


async def chunks_in_loop(chunks: Iterable[bytes], threads: Executor | None = None) -> AsyncIterator[bytes]:
    """Iterate over chunks, each produced in a thread: of ``threads``, or of the loop's default executor."""
    loop, iterator = asyncio.get_running_loop(), iter(chunks)
    while (chunk := await loop.run_in_executor(threads, next, iterator, _END)) is not _END:
        assert isinstance(chunk, bytes)  # noqa: S101 - for mypy
        yield chunk


async def events_in_loop(stream: EventStream, threads: Executor | None = None) -> AsyncIterator[bytes]:
    """The frames of an event stream. No thread is occupied while the stream waits for events."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def on_news() -> None:
        # The stream may be stopped after its loop is closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(news.set)

    stream.on_news = on_news
    yield stream.begin()
    while not stream.stopped:
        try:
            async with asyncio.timeout(stream.heartbeat):
                await news.wait()
        except TimeoutError:
            yield ALIVE
        news.clear()
        if frames := await loop.run_in_executor(threads, stream.take):
            yield frames

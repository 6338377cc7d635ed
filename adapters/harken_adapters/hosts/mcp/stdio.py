"""The MCP server over standard input and output, for one client that starts it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, TextIO

from anyio import AsyncFile
from attrs import evolve
from mcp.server.stdio import stdio_server

from harken import ConfigurationError, Harken
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.mcp.server import create_server


def serve_stdio(harken: Harken, settings: ServerSettings, *, write: bool) -> None:
    """Serve until the client closes standard input or output, or SIGINT or SIGTERM arrives.

    The client has started this process with access to the storage, so it needs no API key. Only the protocol is
    written to standard output.

    Args:
        harken: the Harken to serve, with the application of all calls. The caller closes it.
        settings: the settings of the server, such as rate limits.
        write: whether there are tools that change stored data.

    Raises:
        ConfigurationError: there is no standard input or output.
    """
    if sys.stdin is None or sys.stdout is None:
        raise ConfigurationError("Standard input and output are needed; an MCP client provides them")
    # A copy, which stays open: closing a file waits for a thread that reads from it.
    stdin = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8", errors="replace")
    asyncio.run(_serve(Host(Api(harken, evolve(settings, access="open"))), stdin, write=write))


async def _serve(host: Host, stdin: TextIO, *, write: bool) -> None:
    server = create_server(host, write=write)
    try:
        with suppress(asyncio.CancelledError), _cancelled_by_signals():
            async with host.running(), stdio_server(stdin=_Lines(stdin)) as (read, written):
                await server.run(read, written, server.create_initialization_options())
    except* BrokenPipeError:
        pass  # The client has ended.


@contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """Cancel the current task on SIGINT and SIGTERM."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task

    def cancel(*_: object) -> None:
        loop.call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Lines(AsyncFile[str]):
    """Lines that are read in daemon threads: one that waits for a line does not keep the process from ending."""

    async def readline(self) -> str:
        """The next line; empty at the end of the file."""
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str] = loop.create_future()

        def read() -> None:
            text = self.wrapped.readline()
            # The loop may have ended in the meantime.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_set, line, text)

        Thread(target=read, name="harken-mcp-stdin", daemon=True).start()
        return await line


def _set(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)

"""The MCP package's own client, in the process, over HTTP and over standard input and output."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import httpx2
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from harken import Harken
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.mcp.server import create_server
from hosts.serving import OPEN

T = TypeVar("T")

#: The program ``harken``, with its arguments to follow.
HARKEN: Final = (sys.executable, "-c", "import sys; from harken_adapters.hosts.cli import main; sys.exit(main())")
#: The handshake of older clients, and the protocol of newer ones.
MODES: Final = ("legacy", "auto")


@asynccontextmanager
async def in_process(
    hk: Harken, *, write: bool = True, mode: str = "auto", host: Host | None = None
) -> AsyncIterator[Client]:
    """A client of a server in this process, as over standard input and output."""
    host = host or Host(Api(hk, ServerSettings(**OPEN)))
    async with host.running(), Client(create_server(host, write=write), mode=mode) as client:
        yield client


@asynccontextmanager
async def over_http(url: str, key: str, *, mode: str = "auto") -> AsyncIterator[Client]:
    """A client of a server at a URL, with an API key."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(*arguments: str, mode: str = "auto") -> AsyncIterator[Client]:
    """A client of ``harken`` with these arguments, in another process."""
    program, *options = HARKEN
    async with Client(
        stdio_client(StdioServerParameters(command=program, args=[*options, *arguments])), mode=mode
    ) as client:
        yield client


def run(call: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function to its end."""

    async def main() -> T:
        return await call()

    return asyncio.run(main())


def ask(hk: Harken, tool: str, *, write: bool = True, **arguments: Any) -> CallToolResult:
    """Call a tool in this process."""

    async def call() -> CallToolResult:
        async with in_process(hk, write=write) as client:
            return await client.call_tool(tool, arguments)

    return run(call)


def text_of(answer: CallToolResult) -> str:
    """The text that a model reads."""
    (content,) = answer.content
    assert content.type == "text"
    return content.text


def answer_of(answer: CallToolResult) -> Any:
    """The document of a successful call: ``notes`` and ``result``. Its text is the same document."""
    assert not answer.is_error, text_of(answer)
    assert json.loads(text_of(answer)) == answer.structured_content
    return answer.structured_content


def failure_of(answer: CallToolResult) -> str:
    """The message of a failed call."""
    assert answer.is_error
    assert answer.structured_content is None
    return text_of(answer)

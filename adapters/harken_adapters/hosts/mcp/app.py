"""The MCP server over streamable HTTP, as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from attrs import evolve, frozen
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from harken import Harken, HarkenError
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.fastapi.messages import Answer, path_of, request_of
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.problems import Problem, internal, method_not_allowed, problem_of
from harken_adapters.hosts.mcp.calls import FORWARDED
from harken_adapters.hosts.mcp.server import PRINCIPAL, create_server

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
#: The maximum size of a message in bytes: a request body of the largest default size, with every character escaped.
_MAX_MESSAGE: Final = 6 * 64 * 1024
PATH: Final = "/mcp"


def create_app(
    harken: Harken,
    settings: ServerSettings | None = None,
    *,
    write: bool = False,
    allowed_hosts: Iterable[str] = (),
) -> Starlette:
    """An ASGI application that serves MCP at ``/mcp``.

    Every request needs an API key or a session token in its ``Authorization`` header, even if ``settings`` has
    ``access="open"``. The key decides about the application, the agents and the tools.

    Args:
        harken: the Harken to serve. The caller closes it and starts its relay.
        settings: the settings of the server, such as rate limits; by default from ``harken.toml`` and
            ``HARKEN_SERVER_*``.
        write: whether there are tools that change stored data.
        allowed_hosts: the names under which clients reach the server, besides those of the local machine, such as
            ``mcp.example.com``. Requests with another ``Host`` are refused, as a web page could have sent them.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    chosen = ServerSettings.load() if settings is None else settings
    host = Host(Api(harken, evolve(chosen, access="keys")))
    server = create_server(host, write=write)
    names = (*_LOOPBACK, *allowed_hosts)
    transport = server.streamable_http_app(
        streamable_http_path=PATH,
        # Requests are independent: the server keeps nothing for a client between them.
        stateless_http=True,
        json_response=True,
        max_request_body_size=_MAX_MESSAGE,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[*names, *(f"{name}:*" for name in names)],
            allowed_origins=[f"http://{name}:*" for name in _LOOPBACK],
        ),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with host.running(), server.session_manager.run():
            yield

    return Starlette(routes=transport.routes, lifespan=lifespan, middleware=[Middleware(_KeyRequired, host=host)])


@frozen
class _KeyRequired:
    """Refuses requests without valid credentials, and all methods but POST.

    The server sends nothing unasked, so there is no event stream to GET, and it has no sessions to DELETE.
    """

    app: ASGIApp
    host: Host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            scope[PRINCIPAL] = await self._principal(scope)
            if scope["method"] != "POST":
                raise method_not_allowed(["POST"])
        except (Problem, HarkenError) as error:
            problem = problem_of(error) or internal()
            await Answer(problem.response(path_of(scope)), [])(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal:
        """The caller, by the Authorization header: cookies are sent by browsers without the user's intent."""
        headers = [pair for pair in scope["headers"] if pair[0] in FORWARDED]
        incoming = request_of(Request({**scope, "path_params": {}, "headers": headers}))
        self.host.api.assign_share(incoming)
        return await asyncio.wrap_future(self.host.threads.submit(incoming.tenant, self.host.api.recognise, incoming))

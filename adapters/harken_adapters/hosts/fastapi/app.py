"""An application of its own: the API, its documentation, and what whoever runs it looks at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from threading import Thread
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harken import Harken
from harken_adapters.hosts.fastapi.cors import Cors
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.fastapi.messages import Answer, path_of, read_body, request_of
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.rate_limits import MEMORY
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.host import WITH_PAGES
from harken_adapters.hosts.http.serving.pages import PAGES, Page
from harken_adapters.hosts.http.serving.process_service import connected
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.bodies import WITH_BODY
from harken_adapters.hosts.http.wire.problems import Problem, kind_of_status, nothing_here, other_methods

#: How long closing may take where some call still reads in the storage.
_CLOSING_SECONDS: Final = 3.0


def create_app(
    settings: ServerSettings | None = None,
    *,
    harken: Harken | None = None,
    limit_storage: str = MEMORY,
) -> Starlette:
    """An application that serves Harken, complete with documentation, health and metrics; to be served or mounted.

    Args:
        settings: how it is served; without, they come from ``[server]`` of ``harken.toml`` and ``HARKEN_SERVER_*``.
        harken: what it serves, which stays its owner's to close, and whose relay is its owner's to start. Without, one
            is connected as the settings of Harken say, with the text adapters; its relay runs, unless ``settings`` says
            otherwise, and it is closed with the application.
        limit_storage: where calls are counted, if the settings do not say; several processes need a common place.

    Raises:
        ConfigurationError: a setting makes no sense.
        StorageError: the storage cannot be opened.
    """
    settings = ServerSettings.load() if settings is None else settings
    served = connected(settings) if harken is None else harken
    api = Api(served, settings, limit_storage=limit_storage)
    host = Host(api)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if harken is None and settings.relay:
            await asyncio.to_thread(served.start_relay, concurrency=settings.relay_concurrency)
        async with host.running():
            yield
        if harken is None:
            await asyncio.to_thread(served.close if host.threads.ended else partial(_close_soon, served))

    # FastAPI's own layers would only take time here: nobody adds routes to this, and it describes itself.
    app = Starlette(
        lifespan=lifespan,
        # What is asked for most comes first, as one path is looked at after the other.
        routes=[*_operations(host), *(_page(host, one) for one in PAGES)],
    )
    app.state.harken = served
    app.state.harken_host = host
    app.add_exception_handler(HTTPException, _framework_problem)
    if host.origins:
        app.add_middleware(Cors, origins=host.origins)
    return app


def _close_soon(served: Harken) -> None:
    """Close it where some call still reads in the storage, for which the storage itself would wait.

    What was accepted is written and the relay is stopped before that; a storage that is left open loses nothing.
    """
    closing = Thread(target=served.close, name="harken-closing", daemon=True)
    closing.start()
    closing.join(_CLOSING_SECONDS)


def _operations(host: Host) -> list[Route]:
    routes = [Route(one.path, host.asgi(one), methods=[one.method], name=one.name) for one in OPERATIONS]
    for route in routes:
        # Whoever asks for the head only of a stream that never ends would wait for ever.
        (route.methods or set()).discard("HEAD")
    return routes


def _page(host: Host, page: Page) -> Route:
    async def endpoint(request: Request) -> Response:
        prefix, incoming = request.scope.get("root_path", ""), request_of(request)
        try:
            if incoming.method in WITH_BODY:
                incoming.body = await read_body(request, incoming.header("content-length"), host.api.settings)
        except Problem as problem:
            return Answer(problem.response(incoming.path), [])
        return Answer(await host.shown(page, prefix, incoming), [])

    return Route(page.path, endpoint, methods=list(page.methods), name=page.name)


async def _framework_problem(request: Request, error: Any) -> Response:
    """What the framework refuses by itself, such as a path that does not exist, told as everything else is."""
    return Answer(_refused(request, error).response(path_of(request.scope)), [])


def _refused(request: Request, error: HTTPException) -> Problem:
    if error.status_code == 404:
        return nothing_here()
    if error.status_code == 405:
        # The framework names the methods of one route, and each operation has its own.
        return other_methods(WITH_PAGES.methods(request.scope["path"].removeprefix(request.scope.get("root_path", ""))))
    return Problem(kind_of_status(error.status_code), error.detail)

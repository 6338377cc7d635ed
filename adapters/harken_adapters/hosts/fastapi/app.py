"""The standalone ASGI application: the API, the dashboard, documentation, health and metrics."""

from __future__ import annotations

import asyncio
import os
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
from harken_adapters.hosts.fastapi.messages import Answer, path_is_utf8, path_of
from harken_adapters.hosts.fastapi.pages import page_route
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.rate_limits import MEMORY
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import Page
from harken_adapters.hosts.http.serving.process_service import connect_harken, resolve_storage
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.paths import Paths
from harken_adapters.hosts.http.wire.problems import (
    Problem,
    kind_of_status,
    malformed_path,
    method_not_allowed,
    path_not_found,
)
from harken_adapters.hosts.web.routes import PAGES

#: How many seconds closing may take while a call still uses the storage.
_CLOSING_SECONDS: Final = 3.0
#: The number of no process.
_CLOSED: Final = 0
_PATHS: Final = Paths[Operation | Page]((*OPERATIONS, *PAGES))


def create_app(
    settings: ServerSettings | None = None,
    *,
    harken: Harken | None = None,
    limit_storage: str = MEMORY,
    demo_secret: str | None = None,
) -> Starlette:
    """An ASGI application with the API, its documentation, health and metrics.

    Args:
        settings: the settings of the server; by default from ``harken.toml`` and ``HARKEN_SERVER_*``.
        harken: the Harken to serve. The caller closes it and starts its relay. By default, one is connected with the
            text adapters; its relay runs unless ``settings`` disables it, and it is closed with the application. If the
            application is started again, or in a forked process, another one is connected.
        limit_storage: the URL of the storage of rate limits, unless the settings name one. Several processes need a
            shared storage.
        demo_secret: signs the session tokens of the demo page, if the settings have no ``token_secrets``. Several
            processes need the same.

    Raises:
        ConfigurationError: a setting is invalid.
        StorageError: the storage cannot be opened.
    """
    settings = ServerSettings.load() if settings is None else settings
    storage = resolve_storage(None) if harken is None else None

    def open_api() -> Api:
        served = connect_harken(settings, storage) if harken is None else harken
        return Api(served, settings, limit_storage=limit_storage, demo_secret=demo_secret)

    host = Host(open_api())
    #: The process in which the Harken is open.
    process = os.getpid()
    # Objects of the parent process are never closed here, as that could interfere with the parent.
    inherited: list[Api] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        nonlocal process
        if harken is None and process != os.getpid():
            if process != _CLOSED:
                inherited.append(host.api)
            host.serve(await asyncio.to_thread(open_api))
            app.state.harken, process = host.api.harken, os.getpid()
        served = host.api.harken
        if harken is None and settings.relay:
            await asyncio.to_thread(served.start_relay, concurrency=settings.relay_concurrency)
        async with host.running():
            yield
        if harken is None:
            process = _CLOSED
            await asyncio.to_thread(served.close if host.threads.ended else partial(_close_soon, served))

    # Starlette suffices: FastAPI's validation and documentation are not used here.
    app = Starlette(
        lifespan=lifespan,
        # Frequently used routes come first, as routes are matched in order.
        routes=[*_operations(host), *(page_route(host, one) for one in PAGES)],
    )
    # The Location would have the Host of the request, and lack the prefix of a proxy.
    app.router.redirect_slashes = False
    app.state.harken = host.api.harken
    app.state.harken_host = host
    app.add_exception_handler(HTTPException, _framework_problem)
    if host.origins:
        app.add_middleware(Cors, origins=host.origins)
    return app


def _close_soon(served: Harken) -> None:
    """Close a Harken, but wait only a limited time for calls that still use the storage.

    Accepted submissions are written and the relay is stopped first, so no data is lost if the storage stays open.
    """
    closing = Thread(target=served.close, name="harken-closing", daemon=True)
    closing.start()
    closing.join(_CLOSING_SECONDS)


def _operations(host: Host) -> list[Route]:
    routes = [Route(one.path, host.asgi(one), methods=[one.method], name=one.name) for one in OPERATIONS]
    for route in routes:
        # A HEAD request to an endless stream would never complete.
        (route.methods or set()).discard("HEAD")
    return routes


async def _framework_problem(request: Request, error: Any) -> Response:
    """Convert an error of the framework, such as an unknown path, to problem details."""
    return Answer(_problem_of(request, error).response(path_of(request.scope)), [])


def _problem_of(request: Request, error: HTTPException) -> Problem:
    if not path_is_utf8(request.scope):
        return malformed_path()
    if error.status_code == 404:
        return path_not_found()
    if error.status_code == 405:
        # The framework reports the methods of one route only, and each operation has its own route.
        return method_not_allowed(
            _PATHS.methods(request.scope["path"].removeprefix(request.scope.get("root_path", "")))
        )
    return Problem(kind_of_status(error.status_code), error.detail)

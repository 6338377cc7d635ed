"""An application of its own: the API, its documentation, and what whoever runs it looks at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

import harken
from harken import Harken, HarkenError
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.fastapi.messages import Answer, raw_headers
from harken_adapters.hosts.http import docs_page
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.limiting import MEMORY
from harken_adapters.hosts.http.messages import SECURITY_HEADERS, Headers, answer
from harken_adapters.hosts.http.messages import Response as OurResponse
from harken_adapters.hosts.http.openapi import document
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.problems import Problem, kind_of_status
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.telemetry import evaluation_events
from harken_adapters.text import text_adapters

#: How many seconds the storage may take to prove that it is there.
_PATIENCE: Final = 2.0
_READINESS_SESSION: Final = "readiness"
#: What a page of another origin may send and see, beside what is always allowed.
_CORS_HEADERS: Final = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID", "X-Request-Id")
_CORS_EXPOSED: Final = (
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
)
#: The page loads its own scripts, and styles and pictures that these make.
_PAGE_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
)
_PAGE_SECURITY: Final = raw_headers(tuple({**dict(SECURITY_HEADERS), "content-security-policy": _PAGE_POLICY}.items()))


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
            await asyncio.to_thread(served.close)

    # FastAPI's own layers would only take time here: nobody adds routes to this, and it describes itself.
    app = Starlette(
        lifespan=lifespan,
        # What is asked for most comes first, as one path is looked at after the other.
        routes=[*_operations(host), *_operating(api), *_documenting()],
    )
    app.state.harken = served
    app.state.harken_host = host
    app.add_exception_handler(HTTPException, _framework_problem)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=_CORS_HEADERS,
            expose_headers=_CORS_EXPOSED,
            max_age=600,
        )
    return app


def connected(settings: ServerSettings) -> Harken:
    """A Harken as the settings say, with the text adapters and what else a service has around submissions.

    Raises:
        ConfigurationError: a setting makes no sense, or needs an extra that is not installed.
        StorageError: the storage cannot be opened.
    """
    adapters = text_adapters(sanitize=settings.sanitize, sentiment=settings.sentiment)
    return harken.connect(**adapters, middleware=_middleware(settings))


def _middleware(settings: ServerSettings) -> tuple[harken.Middleware, ...]:
    return (evaluation_events(),) if settings.evaluation_events else ()


def _operations(host: Host) -> list[Route]:
    routes = [Route(one.path, host.asgi(one), methods=[one.method], name=one.name) for one in OPERATIONS]
    for route in routes:
        # Whoever asks for the head only of a stream that never ends would wait for ever.
        (route.methods or set()).discard("HEAD")
    return routes


# --- For whoever runs it ----------------------------------------------------------------------------------------------


def _operating(api: Api) -> list[Route]:
    """``/healthz``, ``/readyz`` and ``/metrics``. Whether everybody may ask is for the proxy in front to say."""

    async def healthz(_: Request) -> Response:
        return Answer(answer({"status": "ok"}), [])

    async def readyz(_: Request) -> Response:
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.to_thread(api.harken.sessions.get, api.harken.application, _READINESS_SESSION)
        except (HarkenError, TimeoutError):
            return _problem(Problem("unavailable", "The storage does not answer"), "/readyz")
        return Answer(answer({"status": "ready"}), [])

    async def metrics(_: Request) -> Response:
        body, media_type = await asyncio.to_thread(api.metrics.render)
        return Answer(OurResponse(200, body, media_type), [])

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


def _documenting() -> list[Route]:
    """``/docs`` and ``/openapi.json``, which load nothing from anywhere else."""

    async def openapi(request: Request) -> Response:
        prefix = request.scope.get("root_path", "")
        return Answer(answer(document(version=version("harken"), prefix=prefix)), [])

    async def page(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        body = docs_page.page(f"{root}/openapi.json", f"{root}/docs/assets", f"{root}/docs/start.js")
        return Answer(OurResponse(200, body, "text/html; charset=utf-8"), [], _PAGE_SECURITY)

    async def script(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        body = docs_page.script(f"{root}/openapi.json")
        return Answer(OurResponse(200, body, "text/javascript; charset=utf-8"), [])

    async def asset(request: Request) -> Response:
        found = docs_page.asset(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return Answer(OurResponse(200, *found), [])

    return [
        Route("/openapi.json", openapi),
        Route("/docs", page),
        Route("/docs/start.js", script),
        Route("/docs/assets/{name}", asset),
    ]


# --- Errors -----------------------------------------------------------------------------------------------------------


async def _framework_problem(request: Request, error: Any) -> Response:
    """What the framework refuses by itself, such as a path that does not exist, told as everything else is."""
    headers: Headers = (("allow", _methods(request)),) if error.status_code == 405 else ()
    detail = _DETAILS.get(error.status_code, str(error.detail))
    return _problem(Problem(kind_of_status(error.status_code), detail, headers=headers), request.url.path)


def _methods(request: Request) -> str:
    """The methods that the path has. Each is a route of its own, and the framework names those of the first one."""
    there = [
        one for one in request.app.routes if isinstance(one, Route) and one.matches(request.scope)[0] != Match.NONE
    ]
    # What is named by a path of its own is no id in another one.
    named = [one for one in there if not one.param_convertors] or there
    return ", ".join(sorted({method for route in named for method in route.methods or ()}))


_DETAILS: Final = {404: "Nothing is found here; /docs tells what there is", 405: "This path has other methods"}


def _problem(problem: Problem, path: str) -> Response:
    return Answer(problem.response(path), [])

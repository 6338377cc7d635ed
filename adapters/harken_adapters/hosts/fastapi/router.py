"""The API as a router, for any FastAPI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final, TypeVar
from weakref import WeakSet

from fastapi import APIRouter, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse

from harken import Harken
from harken_adapters.hosts.fastapi.messages import Answer, RawHeaders, read_body, request_of, streamed
from harken_adapters.hosts.http.api import Api, Undecided
from harken_adapters.hosts.http.logs import log_request, request_id
from harken_adapters.hosts.http.messages import Pending, Request, Response
from harken_adapters.hosts.http.openapi import operation_document
from harken_adapters.hosts.http.operation import Admission, Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.telemetry.tracing import request_span

T = TypeVar("T")
Endpoint = Callable[[StarletteRequest], Awaitable[StarletteResponse]]

#: How many calls that block are answered at once. More would only wait for the storage, or for each other.
_THREADS: Final = 16
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="harken", description="An API key, or a session token.")
#: Tells the OpenAPI document of whatever application that credentials are taken. They are looked at elsewhere.
_DOCUMENTED: Final = Security(_BEARER)


class _Route(APIRoute):
    """A route whose endpoint takes the request as it is and gives a response.

    FastAPI would look for parameters and dependencies with each request; there are none, unless whoever includes the
    router adds some, such as a guard.
    """

    def get_route_handler(self) -> Callable[[StarletteRequest], Any]:
        """What answers a request."""
        if any(dependency is not _DOCUMENTED for dependency in self.dependencies):
            return super().get_route_handler()
        return self.endpoint


def feedback_router(harken: Harken, settings: ServerSettings | None = None) -> APIRouter:
    """Harken's API as a router; ``app.include_router(feedback_router(hk))`` is all that an application needs.

    Without settings of its own, it takes ``[server]`` of ``harken.toml`` and ``HARKEN_SERVER_*``. Until there is an API
    key or a secret for session tokens, only this machine is served; where the application itself knows who may do
    what, say so with ``ServerSettings(access="open")``, and guard the router:
    ``app.include_router(router, dependencies=[Depends(...)])``.

    Args:
        harken: stays the application's, which closes it.
        settings: how it is served.

    Raises:
        ConfigurationError: a setting makes no sense.
    """
    return router_of(Host(Api(harken, ServerSettings.load() if settings is None else settings)))


class Host:
    """What the endpoints share: the API, threads for what blocks, and the streams that are open."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="harken-http")
        self._streams: WeakSet[EventStream] = WeakSet()

    def stop_streams(self) -> None:
        """Let all event streams end; whoever listens will come back."""
        for stream in tuple(self._streams):
            stream.stop()

    def close(self) -> None:
        """Finish what was begun."""
        self.stop_streams()
        self.threads.shutdown()
        self.api.close()

    def endpoint(self, operation: Operation) -> Endpoint:
        """The endpoint that answers an operation."""

        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            began = perf_counter()
            called = request_id(request.headers.get("x-request-id"))
            incoming = request_of(request, called)
            with request_span(operation.name, operation.method, operation.path) as span:
                response = await self._answer(operation, request, incoming)
                span.answered(response.status)
            self._note(operation, incoming, response, perf_counter() - began)
            more: RawHeaders = [(b"x-request-id", called.encode())]
            if response.chunks is None:
                return Answer(response, more)
            return streamed(response, more, self.threads)

        return endpoint

    async def _answer(self, operation: Operation, request: StarletteRequest, incoming: Request) -> Response:
        try:
            admission = self.api.admit_soon(operation, incoming)
            if isinstance(admission, Undecided):
                admission = await self._in_thread(self.api.admit, operation, incoming, admission)
            if operation.method in _WITH_BODY:
                incoming.body = await read_body(request, self.api.settings)
            response = await self._performed(operation, admission)
            if isinstance(response.chunks, EventStream):
                self._streams.add(response.chunks)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            return self.api.refuse(operation, incoming, error)
        return response

    async def _performed(self, operation: Operation, admission: Admission) -> Response:
        if not operation.soon:
            return await self._in_thread(self._perform, operation, admission)
        done = self.api.perform(operation, admission)
        if isinstance(done, Pending):
            done = done.present(await asyncio.wrap_future(done.receipt))
        return self.api.finish(operation, admission, done)

    def _perform(self, operation: Operation, admission: Admission) -> Response:
        done = self.api.perform(operation, admission)
        return self.api.finish(operation, admission, done.wait() if isinstance(done, Pending) else done)

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *arguments)

    def _note(self, operation: Operation, incoming: Request, response: Response, seconds: float) -> None:
        self.api.metrics.request(operation.name, operation.method, response.status, seconds)
        log_request(
            request_id=incoming.id,
            operation=operation.name,
            method=operation.method,
            route=operation.path,
            status=response.status,
            seconds=seconds,
            application=incoming.application,
            size=len(response.body),
        )


def router_of(host: Host) -> APIRouter:
    """The router whose endpoints a host answers."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        yield
        # Not in this thread, which has to answer what was begun.
        await asyncio.to_thread(host.close)

    router = APIRouter(route_class=_Route, dependencies=[_DOCUMENTED], lifespan=lifespan)
    for operation in OPERATIONS:
        router.add_api_route(
            operation.path,
            host.endpoint(operation),
            methods=[operation.method],
            name=operation.name,
            operation_id=operation.name,
            summary=operation.summary,
            description=operation.description,
            tags=[operation.tag],
            response_model=None,
            status_code=min(operation.answers),
            openapi_extra=operation_document(operation),
        )
    return router

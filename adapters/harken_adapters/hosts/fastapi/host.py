"""The asynchronous host: handles requests in an event loop, with threads for blocking calls."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from threading import current_thread, main_thread
from time import perf_counter
from types import FrameType
from typing import Any, ClassVar, Final, TypeVar

from attrs import frozen
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from harken.services.fair_threads import FairThreads
from harken_adapters.hosts.fastapi.messages import (
    Answer,
    RawHeaders,
    read_body,
    request_of,
    streaming_response,
    wait_for_disconnect,
)
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.operation import Admission, Operation
from harken_adapters.hosts.http.serving.host import ApiHost
from harken_adapters.hosts.http.serving.pages import Page
from harken_adapters.hosts.http.wire.bodies import WITH_BODY
from harken_adapters.hosts.http.wire.messages import SMALL, Pending, Request, Response
from harken_adapters.hosts.http.wire.paths import check_path
from harken_adapters.telemetry import request_span

T = TypeVar("T")
Endpoint = Callable[[StarletteRequest], Awaitable[StarletteResponse]]

#: The number of threads for blocking calls. More threads would only wait for the storage or for each other.
_THREADS: Final = 8
#: How many threads one tenant may occupy, so that its slow calls do not block all others.
_SHARE: Final = 6
#: The status that nginx logs if the client has disconnected. It is never sent.
_CLIENT_CLOSED: Final = 499


class _Results:
    """Transfers results of threads into the event loop.

    Like ``asyncio.wrap_future``, but futures that complete at about the same time, such as a batch of submissions, wake
    the loop only once.
    """

    def __init__(self) -> None:
        self._completed: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._waking = False

    def of(self, future: Future[T]) -> asyncio.Future[T]:
        """An awaitable for a future, in the running loop."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def complete(done: Future[T]) -> None:
            self._completed.append((waiting, done))
            # If it is already set, the loop has not yet started to process results, so it will process this one too.
            if not self._waking:
                self._waking = True
                loop.call_soon_threadsafe(self._set_results)

        future.add_done_callback(complete)
        return waiting

    def _set_results(self) -> None:
        self._waking = False
        while self._completed:
            waiting, done = self._completed.popleft()
            if waiting.done():
                # The request was cancelled.
                continue
            if done.cancelled():
                waiting.cancel()
            elif error := done.exception():
                waiting.set_exception(error)
            else:
                waiting.set_result(done.result())


@frozen
class _Direct:
    """An endpoint as an ASGI application."""

    endpoint: Endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.endpoint(StarletteRequest(scope, receive, send))
        await response(scope, receive, send)


class Host(ApiHost):
    """The state that endpoints share: the API, threads for blocking calls, and the open event streams."""

    #: How many seconds running calls may take at shutdown, when no client waits for their results any more.
    ending_seconds: ClassVar = 1.0

    def serve(self, api: Api) -> None:
        """Serve this API, with new threads."""
        super().serve(api)
        self.threads = FairThreads(_THREADS, _SHARE, name="harken-http")
        self._results = _Results()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lifespan of the host: end event streams on signals, and close the host on exit. It can be repeated."""
        if self.threads.closed:
            self.api.reopen()
            self.serve(self.api)
        with _before_signals(self.stop_streams):
            yield
        await self.close()

    async def close(self) -> None:
        """Cancel waiting calls and give running ones a short time to end, without blocking the event loop."""
        self.stop_streams()
        await asyncio.to_thread(self.threads.shutdown, self.ending_seconds)
        self.api.close()

    def endpoint(self, operation: Operation) -> Endpoint:
        """The endpoint of an operation."""

        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            start = perf_counter()
            incoming = request_of(request)
            with request_span(operation.name, operation.method, operation.path, headers=request.headers) as span:
                response = await self._answer(operation, request, incoming)
                span.answered(response.status)
            self.record(operation, incoming, response, perf_counter() - start)
            more: RawHeaders = [(b"x-request-id", incoming.id.encode())]
            if response.chunks is None:
                return Answer(response, more)
            return streaming_response(response, more, self.threads.of(incoming.tenant))

        return endpoint

    def asgi(self, operation: Operation) -> ASGIApp:
        """The endpoint as an ASGI application, without Starlette's error handling, as it never raises."""
        return _Direct(self.endpoint(operation))

    async def show_page(self, page: Page, root: str, incoming: Request) -> Response:
        """The response to a request for a page, see :meth:`show`. Blocking pages use a thread."""
        if page.name == "readyz":
            # It must work even if all threads are busy.
            return await self.pages.readyz_in_loop()
        if not page.blocks:
            return self.show(page, root, incoming)
        self.api.assign_share(incoming)
        return await self._in_thread(incoming, self.show, page, root, incoming)

    async def _answer(self, operation: Operation, request: StarletteRequest, incoming: Request) -> Response:
        try:
            check_path(incoming)
            admission = self.api.admit_soon(operation, incoming)
            if admission is None:
                admission = await self._in_thread(incoming, self.api.admit, operation, incoming)
            if operation.method in WITH_BODY:
                incoming.body = await read_body(request, incoming.header("content-length"), self.api.settings)
            return self.track_stream(await self._perform(operation, admission, request, incoming))
        except ClientDisconnect:
            return Response(_CLIENT_CLOSED, b"", None)
        except Exception as error:  # noqa: BLE001 - every request needs a response
            return self.api.refuse(operation, incoming, error)

    async def _perform(
        self, operation: Operation, admission: Admission, request: StarletteRequest, incoming: Request
    ) -> Response:
        if not operation.soon or len(incoming.body) > SMALL:
            return await self._in_thread(incoming, self.api.complete, operation, admission, client=request)
        result = self.api.perform(operation, admission)
        if isinstance(result, Pending):
            result = result.present(await self._results.of(result.receipt))
        return self.api.finish(operation, admission, result)

    async def _in_thread(
        self, incoming: Request, call: Callable[..., T], *arguments: object, client: StarletteRequest | None = None
    ) -> T:
        """Run a blocking call in a thread of the tenant's share, and return its result.

        Args:
            incoming: the request, with its tenant.
            call: the function to call.
            *arguments: its arguments.
            client: the request, if the call is to be cancelled when the client disconnects before it starts. Its body
                must have been read.

        Raises:
            ClientDisconnect: the call was cancelled.
        """
        # Runs in the context of the request, for its trace span.
        context = copy_context()
        future = self.threads.submit(incoming.tenant, context.run, call, *arguments)
        result = self._results.of(future)
        disconnect = None if client is None else asyncio.ensure_future(wait_for_disconnect(client))
        try:
            if disconnect is not None:
                await asyncio.wait((result, disconnect), return_when=asyncio.FIRST_COMPLETED)
                if not result.done() and disconnect.result() and future.cancel():
                    raise ClientDisconnect
            found: T = await result
            return found
        finally:
            # At shutdown, waiting calls are cancelled too. Running calls continue.
            future.cancel()
            result.cancel()
            if disconnect is not None:
                disconnect.cancel()


@contextmanager
def _before_signals(call: Callable[[], object]) -> Iterator[None]:
    """Call a function before the server handles SIGINT or SIGTERM, as it waits for all responses, including streams."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: FrameType | None) -> None:
        call()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    # Signals without a Python handler keep their default action.
    ours = [number for number, handler in before.items() if callable(handler)]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is end:
                signal.signal(number, before[number])

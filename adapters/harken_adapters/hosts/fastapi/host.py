"""What answers requests in an event loop: the API, threads for what blocks, and the streams that are open."""

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

from harken_adapters.hosts.fastapi.messages import Answer, RawHeaders, disconnected, read_body, request_of, streamed
from harken_adapters.hosts.fastapi.threads import FairThreads
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.operation import Admission, Operation
from harken_adapters.hosts.http.serving.host import ApiHost
from harken_adapters.hosts.http.serving.pages import Page
from harken_adapters.hosts.http.wire.bodies import WITH_BODY
from harken_adapters.hosts.http.wire.messages import SMALL, Pending, Request, Response
from harken_adapters.telemetry import request_span

T = TypeVar("T")
Endpoint = Callable[[StarletteRequest], Awaitable[StarletteResponse]]

#: How many calls that block are answered at once. More would only wait for the storage, or for each other.
_THREADS: Final = 8
#: How many of them one tenant may occupy, so that its slow calls never stop all others.
_SHARE: Final = 6
#: What nginx writes into its log for a client that went away; there is nobody to read an answer.
_CLIENT_CLOSED: Final = 499


class _Results:
    """Brings what threads have to say into the event loop.

    Like ``asyncio.wrap_future``, but what is done at about the same time, such as a batch of submissions, wakes the
    loop once, and not once for each.
    """

    def __init__(self) -> None:
        self._told: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._waking = False

    def of(self, future: Future[T]) -> asyncio.Future[T]:
        """The same to be awaited in the running loop."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def tell(done: Future[T]) -> None:
            self._told.append((waiting, done))
            # Whoever finds this set knows that the loop has not yet begun to look, and so will see what was added.
            if not self._waking:
                self._waking = True
                loop.call_soon_threadsafe(self._pass_on)

        future.add_done_callback(tell)
        return waiting

    def _pass_on(self) -> None:
        self._waking = False
        while self._told:
            waiting, done = self._told.popleft()
            if waiting.done():
                # Whoever asked went away.
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
    """What the endpoints share: the API, threads for what blocks, and the streams that are open."""

    #: For how many seconds calls that run may go on at the end. By then nobody waits for what they find out.
    ending_seconds: ClassVar = 1.0

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.threads = FairThreads(_THREADS, _SHARE)
        self._results = _Results()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Around the time in which it answers: what to do at the start and at the end of an application."""
        with _before_signals(self.stop_streams):
            yield
        await self.close()

    async def close(self) -> None:
        """Drop what has not begun, and wait a little for the rest. Not in this thread, which has to answer it."""
        self.stop_streams()
        await asyncio.to_thread(self.threads.shutdown, self.ending_seconds)
        self.api.close()

    def endpoint(self, operation: Operation) -> Endpoint:
        """The endpoint that answers an operation."""

        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            began = perf_counter()
            incoming = request_of(request)
            with request_span(operation.name, operation.method, operation.path, headers=request.headers) as span:
                response = await self._answer(operation, request, incoming)
                span.answered(response.status)
            self.note(operation, incoming, response, perf_counter() - began)
            more: RawHeaders = [(b"x-request-id", incoming.id.encode())]
            if response.chunks is None:
                return Answer(response, more)
            return streamed(response, more, self.threads.of(incoming.tenant))

        return endpoint

    def asgi(self, operation: Operation) -> ASGIApp:
        """The same without the layer that turns errors into answers: none come out of it."""
        return _Direct(self.endpoint(operation))

    async def shown(self, page: Page, root: str, incoming: Request) -> Response:
        """The answer to a request for a page, see :meth:`show`; what blocks is done in a thread."""
        if page.name == "readyz":
            # Answered also while all threads are busy.
            return await self.pages.readyz_in_loop()
        if not page.blocks:
            return self.show(page, root, incoming)
        self.api.assign_share(incoming)
        return await self._in_thread(incoming, self.show, page, root, incoming)

    async def _answer(self, operation: Operation, request: StarletteRequest, incoming: Request) -> Response:
        try:
            admission = self.api.admit_soon(operation, incoming)
            if admission is None:
                admission = await self._in_thread(incoming, self.api.admit, operation, incoming)
            if operation.method in WITH_BODY:
                incoming.body = await read_body(request, incoming.header("content-length"), self.api.settings)
            return self.opened(await self._performed(operation, admission, request, incoming))
        except ClientDisconnect:
            return Response(_CLIENT_CLOSED, b"", None)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            return self.api.refuse(operation, incoming, error)

    async def _performed(
        self, operation: Operation, admission: Admission, request: StarletteRequest, incoming: Request
    ) -> Response:
        if not operation.soon or len(incoming.body) > SMALL:
            return await self._in_thread(incoming, self.api.complete, operation, admission, client=request)
        done = self.api.perform(operation, admission)
        if isinstance(done, Pending):
            done = done.present(await self._results.of(done.receipt))
        return self.api.finish(operation, admission, done)

    async def _in_thread(
        self, incoming: Request, call: Callable[..., T], *arguments: object, client: StarletteRequest | None = None
    ) -> T:
        """What a call returns that takes its turn among the tenant's.

        Args:
            incoming: whose call it is.
            call: is called in a thread.
            *arguments: what it is called with.
            client: where the request comes from, to drop the call if the client disconnects before it has begun. The
                body must have been read, if there is one.

        Raises:
            ClientDisconnect: the call was dropped.
        """
        # With the request's context, or its span would not be found there.
        context = copy_context()
        future = self.threads.submit(incoming.tenant, context.run, call, *arguments)
        result = self._results.of(future)
        gone = None if client is None else asyncio.ensure_future(disconnected(client))
        try:
            if gone is not None:
                await asyncio.wait((result, gone), return_when=asyncio.FIRST_COMPLETED)
                if not result.done() and gone.result() and future.cancel():
                    raise ClientDisconnect
            found: T = await result
            return found
        finally:
            # At the end of a server also those that still wait are cancelled. What has begun goes on.
            future.cancel()
            result.cancel()
            if gone is not None:
                gone.cancel()


@contextmanager
def _before_signals(call: Callable[[], object]) -> Iterator[None]:
    """Call that before a server hears that it is to end: it waits for all answers, and some would never end."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: FrameType | None) -> None:
        call()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    # Where nobody handles a signal, it must go on doing what it does then.
    ours = [number for number, handler in before.items() if callable(handler)]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is end:
                signal.signal(number, before[number])

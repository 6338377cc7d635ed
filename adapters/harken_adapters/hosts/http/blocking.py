"""What answers requests in threads, one for each request, as WSGI has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Lock
from time import perf_counter
from typing import Final

from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.bodies import WITH_BODY, Read, read_body
from harken_adapters.hosts.http.deadlines import reading
from harken_adapters.hosts.http.hosting import WITH_PAGES, WITHOUT_PAGES, ApiHost
from harken_adapters.hosts.http.messages import Headers, Request, Response
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.problems import Problem
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.telemetry import request_span

#: How many seconds a client may take to read a part of an answer, where the server gives its connection.
_WRITE_SECONDS: Final = 30
#: A listener that is sent away may find a place when another one leaves.
_RETRY: Final[Headers] = (("retry-after", "5"),)


class BlockingHost(ApiHost):
    """Answers requests in the thread that asks. A stream keeps that thread until it ends.

    Args:
        api: what is asked; closed with this.
        pages: whether health, figures and documentation are shown too.
    """

    def __init__(self, api: Api, *, pages: bool = True) -> None:
        super().__init__(api)
        self._paths = WITH_PAGES if pages else WITHOUT_PAGES
        self._admitting = Lock()

    def close(self) -> None:
        """Let event streams end, and close what the API opened."""
        self.stop_streams()
        self.api.close()

    def respond(self, request: Request, path: str, root: str, read: Read) -> Response:
        """The answer to whatever is asked.

        Args:
            request: its ``parts`` are found here.
            path: what is asked for, without what the API stands behind, and not percent-encoded any more.
            root: what the API stands behind, percent-encoded and without a slash at the end.
            read: reads the body; may raise a :class:`Problem`.
        """
        response = self.origins.preflight(request.method, request.path, request.header)
        if response is None:
            response = self._found(request, path, root, read)
        response.headers += self.origins.headers(request.header("origin"))
        return response

    def answer(self, operation: Operation, request: Request, read: Read) -> Response:
        """The answer to a request for an operation, counted and logged. ``read`` reads its body."""
        began = perf_counter()
        with request_span(operation.name, operation.method, operation.path, headers=request.headers) as span:
            response = self._answer(operation, request, read)
            span.answered(response.status)
        self.note(operation, request, response, perf_counter() - began)
        response.headers += (("x-request-id", request.id),)
        if request.socket is not None:
            request.socket.settimeout(_WRITE_SECONDS)
        if response.chunks is not None:
            response.chunks = Chunks(response.chunks)
        return response

    def _found(self, request: Request, path: str, root: str, read: Read) -> Response:
        try:
            target, request.parts = self._paths.find(request.method, path)
            if isinstance(target, Operation):
                return self.answer(target, request, read)
            if request.method in WITH_BODY:
                request.body = read_body(read, request.header("content-length"), self.api.settings.max_body)
            return self.show(target, root, request)
        except Problem as problem:
            return problem.response(request.path)

    def _answer(self, operation: Operation, request: Request, read: Read) -> Response:
        try:
            admission = self.api.admit(operation, request)
            if operation.method in WITH_BODY:
                settings = self.api.settings
                with reading(request.socket, settings.body_timeout):
                    request.body = read_body(read, request.header("content-length"), settings.max_body)
            return self._admitted(request, self.api.complete(operation, admission))
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            return self.api.refuse(operation, request, error)

    def _admitted(self, request: Request, response: Response) -> Response:
        """The same answer, unless it is a stream for which no thread can be spared.

        Raises:
            Problem: it is one.
        """
        stream = response.chunks
        if not isinstance(stream, EventStream) or request.multithread is None:
            return self.opened(response)
        most = self.api.settings.listeners if request.multithread else 0
        with self._admitting:
            if self.listening() < most:
                return self.opened(response)
        stream.close()
        raise _too_many(most)


def _too_many(listeners: int) -> Problem:
    many = f"{listeners} may listen to each process of this server, and do" if listeners else "Nobody may listen here"
    return Problem("overloaded", f"{many}: each keeps a thread from answering others", headers=_RETRY)


class Chunks:
    """The chunks of an answer, to be closed even if nobody asked for the first one."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self.source = source
        self._iterator = iter(source)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._iterator)

    def close(self) -> None:
        """Give up what is held for the rest. Servers call this, also when a client went away."""
        for one in (self._iterator, self.source):
            if (close := getattr(one, "close", None)) is not None:
                close()

"""What answers requests in threads, one for each request, as WSGI has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Lock
from time import perf_counter
from typing import Final

from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.operation import Admission, Operation
from harken_adapters.hosts.http.serving.deadlines import reading
from harken_adapters.hosts.http.serving.host import WITH_PAGES, WITHOUT_PAGES, ApiHost
from harken_adapters.hosts.http.wire.bodies import WITH_BODY, Read, read_body
from harken_adapters.hosts.http.wire.messages import Headers, Request, Response
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.telemetry import request_span

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
        #: How many listeners were admitted and have no stream yet.
        self._joining = 0

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
        if response.chunks is not None:
            response.chunks = Chunks(response.chunks)
        return response

    def _found(self, request: Request, path: str, root: str, read: Read) -> Response:
        try:
            target, request.parts = self._paths.find(request.method, path)
            if isinstance(target, Operation):
                return self.answer(target, request, read)
            self._read_body(request, read)
            return self.show(target, root, request)
        except Problem as problem:
            return problem.response(request.path)

    def _answer(self, operation: Operation, request: Request, read: Read) -> Response:
        try:
            admission = self.api.admit(operation, request)
            self._read_body(request, read)
            if operation.listens and request.multithread is not None:
                return self._listen(operation, request, admission)
            return self.opened(self.api.complete(operation, admission))
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            return self.api.refuse(operation, request, error)

    def _read_body(self, request: Request, read: Read) -> None:
        """Read the body, if the method has one.

        Raises:
            Problem: it is too large, or did not arrive in time.
        """
        if request.method in WITH_BODY:
            settings = self.api.settings
            with reading(request.socket, settings.body_timeout):
                request.body = read_body(read, request.header("content-length"), settings.max_body)

    def _listen(self, operation: Operation, request: Request, admission: Admission) -> Response:
        """The answer that is a stream, if a thread can be spared for it.

        This is found out before anything listens: in the feed, a new listener may take the place of another one.

        Raises:
            Problem: none can.
        """
        most = self.api.settings.listeners if request.multithread else 0
        with self._admitting:
            if self.listening() + self._joining >= most:
                raise _too_many(most)
            self._joining += 1
        response = None
        try:
            response = self.api.complete(operation, admission)
        finally:
            with self._admitting:
                self._joining -= 1
                if response is not None:
                    self.opened(response)
        return response


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

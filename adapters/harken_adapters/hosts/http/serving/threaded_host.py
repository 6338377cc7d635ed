"""The threaded host, for WSGI servers: each request occupies a thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from typing import Final

from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.operation import Admission, Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.operations.watching import listener_of
from harken_adapters.hosts.http.serving.deadlines import read_deadline
from harken_adapters.hosts.http.serving.host import ApiHost
from harken_adapters.hosts.http.serving.pages import Page
from harken_adapters.hosts.http.wire.bodies import WITH_BODY, Read, read_body
from harken_adapters.hosts.http.wire.messages import Headers, Request, Response
from harken_adapters.hosts.http.wire.paths import Paths, check_path
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.telemetry import request_span

#: A rejected listener may retry, as another one may have left.
_RETRY: Final[Headers] = (("retry-after", "5"),)


class ThreadedHost(ApiHost):
    """Handles each request in the calling thread. An event stream occupies its thread until it ends.

    Args:
        api: the API, which is closed with the host.
        pages: the pages to serve besides the API.
    """

    def __init__(self, api: Api, pages: Sequence[Page]) -> None:
        super().__init__(api)
        self._paths = Paths[Operation | Page]((*OPERATIONS, *pages))
        self._admitting = ForkSafeLock()
        #: The number of listeners that were admitted and have no stream yet.
        self._joining = 0

    def close(self) -> None:
        """End all event streams and close the API."""
        self.stop_streams()
        self.api.close()

    def respond(self, request: Request, path: str, root: str, read: Read) -> Response:
        """Handle a request to any path, including unknown ones.

        Args:
            request: the request; its ``parts`` are set here.
            path: the percent-decoded path, without the prefix of the API.
            root: the prefix of the API, percent-encoded and without a trailing slash.
            read: reads the body; may raise a :class:`Problem`.
        """
        response = self.origins.preflight(request.method, request.path, request.header)
        if response is None:
            response = self._dispatch(request, path, root, read)
        sent = dict(response.security)
        response.headers += self.origins.headers(request.header("origin"), sent=sent)
        return response

    def answer(self, operation: Operation, request: Request, read: Read) -> Response:
        """The response of an operation, with metrics and logging. ``read`` reads the request body."""
        start = perf_counter()
        with request_span(operation.name, operation.method, operation.path, headers=request.headers) as span:
            response = self._answer(operation, request, read)
            span.answered(response.status)
        self.record(operation, request, response, perf_counter() - start)
        response.headers += (("x-request-id", request.id),)
        if response.chunks is not None:
            response.chunks = Chunks(response.chunks)
        return response

    def _dispatch(self, request: Request, path: str, root: str, read: Read) -> Response:
        try:
            check_path(request)
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
            return self.track_stream(self.api.complete(operation, admission))
        except Exception as error:  # noqa: BLE001 - every request needs a response
            return self.api.refuse(operation, request, error)

    def _read_body(self, request: Request, read: Read) -> None:
        """Read the body, if the method has one.

        Raises:
            Problem: the body is too large, or did not arrive in time.
        """
        if request.method in WITH_BODY:
            settings = self.api.settings
            with read_deadline(request.socket, settings.body_timeout):
                request.body = read_body(read, request.header("content-length"), settings.max_body)

    def _listen(self, operation: Operation, request: Request, admission: Admission) -> Response:
        """The response with an event stream, if fewer streams than allowed are open.

        This is checked before the feed is used, where a new listener may displace another one. A listener that comes
        back, such as the next page in the same tab, replaces its former stream: its end is noticed only when something
        is sent.

        Raises:
            Problem: too many streams are open.
        """
        most = self.api.settings.listeners if request.multithread else 0
        listener = listener_of(admission.call)
        with self._admitting:
            # A client that does not read keeps the thread of its former stream, and must not occupy more and more.
            is_stuck = listener is not None and self.stop_listener(listener)
            if is_stuck or self.listening() + self._joining >= most:
                raise _too_many(most)
            self._joining += 1
        response = None
        try:
            response = self.api.complete(operation, admission)
        finally:
            with self._admitting:
                self._joining -= 1
                if response is not None:
                    self.track_stream(response)
        return response


def _too_many(listeners: int) -> Problem:
    limit = f"All {listeners} event streams of this process are in use" if listeners else "Event streams are disabled"
    return Problem("overloaded", f"{limit}, as each one occupies a thread", headers=_RETRY)


class Chunks:
    """The chunks of a response. They can be closed even before the first one is read."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self.source = source
        self._iterator = iter(source)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._iterator)

    def close(self) -> None:
        """Release the resources. Servers call this, also if the client has disconnected."""
        for one in (self._iterator, self.source):
            if (close := getattr(one, "close", None)) is not None:
                close()

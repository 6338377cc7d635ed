"""The view for all URLs. The threaded host does the routing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.client import NO_CONTENT
from queue import Empty, SimpleQueue
from typing import Final
from weakref import finalize

from django.core.handlers.asgi import ASGIRequest
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from harken_adapters.hosts.django.configuration import current_service
from harken_adapters.hosts.http.serving.async_chunks import chunks_in_loop, events_in_loop
from harken_adapters.hosts.http.serving.threaded_host import Chunks
from harken_adapters.hosts.http.serving.wsgi import Input, headers_of, raw_path, request_of
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.bodies import Read, ended_early
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.http.wire.paths import encode_path, encode_root, is_encoded_utf8

#: Chunks of abandoned responses. The next request closes them: a finalizer may run in any thread at any time, and
#: closing takes locks that the thread may already hold.
_abandoned: Final[SimpleQueue[Chunks]] = SimpleQueue()


# Harken has its own protection against CSRF. The project's database is not used, so no transaction is needed.
@csrf_exempt
@non_atomic_requests
def answer(request: HttpRequest, *, segments: int, **_: str) -> HttpResponseBase:
    """Handle a request to a known path. ``segments`` is the number of segments of its path template."""
    return _answer(request, "/" + "/".join(request.path_info.split("/")[-segments:]))


@csrf_exempt
@non_atomic_requests
def answer_rest(request: HttpRequest, *, rest: str) -> HttpResponseBase:
    """Handle a request to an unknown path."""
    return _answer(request, f"/{rest}")


def _answer(request: HttpRequest, path: str) -> HttpResponseBase:
    _close_abandoned()
    root = encode_root(request.path.removesuffix(path))
    full = root + encode_path(path)
    asked = request_of(request.META, request.method or "GET", full, utf8=_path_is_utf8(request))
    body = _body(request)
    response = current_service().respond(asked, path, root, body)
    answer = _http_response(request, response, body)
    # Django sets a content type even if there is no content.
    del answer.headers["content-type"]
    for name, value in headers_of(response):
        answer.headers[name] = f"{answer.headers[name]}, {value}" if name in answer.headers else value
    return answer


def _path_is_utf8(request: HttpRequest) -> bool:
    if isinstance(request, ASGIRequest):
        return is_encoded_utf8(request.scope.get("raw_path") or b"")
    # Django percent-encodes bytes that are not UTF-8.
    return is_encoded_utf8(raw_path(request.META) or request.path.encode())


def _close_abandoned() -> None:
    try:
        while True:
            _abandoned.get_nowait().close()
    except Empty:
        return


def _body(request: HttpRequest) -> Read:
    """Read the body without Django's size limit, as Harken has its own."""
    if not isinstance(request, ASGIRequest) and not hasattr(request, "_body"):
        # Django treats a body without Content-Length as empty, and a truncated body as complete.
        return Input(request.META)

    def read(most: int) -> bytes:
        try:
            return request.read(most)
        except UnreadablePostError:
            raise ended_early() from None

    return read


class DrainingResponse(HttpResponse):
    """A response after which the rest of the request body is discarded."""

    request_body: Input

    def close(self) -> None:
        """Discard the rest of the request body. Servers call this after they have sent the response."""
        super().close()
        self.request_body.discard()


def _http_response(request: HttpRequest, response: Response, body: Read) -> HttpResponseBase:
    # A 204 response has no length, but Django's middleware adds one unless it is a stream.
    chunks = Chunks(()) if response.status == NO_CONTENT else response.chunks
    if chunks is None:
        if not isinstance(body, Input) or not body.unread:
            return HttpResponse(response.body, status=response.status)
        draining = DrainingResponse(response.body, status=response.status)
        draining.request_body = body
        return draining
    assert isinstance(chunks, Chunks)  # noqa: S101 - the threaded host wraps them
    in_loop = isinstance(request, ASGIRequest)
    return StreamingHttpResponse(_InLoop(chunks) if in_loop else chunks, status=response.status)


class _InLoop:
    """Chunks for an event loop. Given a synchronous iterator, Django would wait for the last chunk."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        # If a client disconnects before Django starts to send the response, Django does not close it.
        self._finalizer = finalize(self, _abandoned.put, chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        source = self._chunks.source
        return events_in_loop(source) if isinstance(source, EventStream) else chunks_in_loop(self._chunks)

    def close(self) -> None:
        """Release the resources. Django calls this, also if the client has disconnected."""
        self._finalizer.detach()
        self._chunks.close()

"""One view for all URLs: the host of threads knows what they lead to."""

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
from harken_adapters.hosts.http.serving.wsgi import Input, encoded, headers_of, request_of
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.bodies import Read, ended_early
from harken_adapters.hosts.http.wire.messages import Response

#: Chunks of answers that nobody holds any more. Whoever asks next closes them: what is forgotten may be found so by any
#: thread, at any time, and closing takes locks, which that thread may just hold.
_forgotten: Final[SimpleQueue[Chunks]] = SimpleQueue()


# Harken itself refuses what comes from a form or a page of another origin. Nothing is done in the project's database,
# so it need not even be there.
@csrf_exempt
@non_atomic_requests
def answer(request: HttpRequest, *, steps: int, **_: str) -> HttpResponseBase:
    """Answer a request for something that is there. ``steps`` are how many slashes its own path has."""
    return _answer(request, "/" + "/".join(request.path_info.split("/")[-steps:]))


@csrf_exempt
@non_atomic_requests
def answer_rest(request: HttpRequest, *, rest: str) -> HttpResponseBase:
    """Answer a request for whatever is not."""
    return _answer(request, f"/{rest}")


def _answer(request: HttpRequest, path: str) -> HttpResponseBase:
    _close_forgotten()
    root = encoded(request.path.removesuffix(path))
    asked = request_of(request.META, request.method or "GET", encoded(request.path))
    body = _body(request)
    response = current_service().respond(asked, path, root, body)
    answer = _http_response(request, response, body)
    # Django names one where there is nothing.
    del answer.headers["content-type"]
    for name, value in headers_of(response):
        answer.headers[name] = f"{answer.headers[name]}, {value}" if name in answer.headers else value
    return answer


def _close_forgotten() -> None:
    try:
        while True:
            _forgotten.get_nowait().close()
    except Empty:
        return


def _body(request: HttpRequest) -> Read:
    """Reads the body, however large it is, as there is a limit for that already."""
    if not isinstance(request, ASGIRequest) and not hasattr(request, "_body"):
        # Django would take one that says nothing of its length for an empty one, and one that ends early for whole.
        return Input(request.META)

    def read(most: int) -> bytes:
        try:
            return request.read(most)
        except UnreadablePostError:
            raise ended_early() from None

    return read


class DrainingResponse(HttpResponse):
    """An answer, after which the rest of the request's body is discarded."""

    request_body: Input

    def close(self) -> None:
        """Discard it; servers call this after they have sent the answer."""
        super().close()
        self.request_body.discard()


def _http_response(request: HttpRequest, response: Response, body: Read) -> HttpResponseBase:
    # No content has no length either, but Django's middleware gives one to whatever is no stream.
    chunks = Chunks(()) if response.status == NO_CONTENT else response.chunks
    if chunks is None:
        if not isinstance(body, Input) or not body.unread:
            return HttpResponse(response.body, status=response.status)
        draining = DrainingResponse(response.body, status=response.status)
        draining.request_body = body
        return draining
    assert isinstance(chunks, Chunks)  # noqa: S101 - so the host of threads gives them
    in_loop = isinstance(request, ASGIRequest)
    return StreamingHttpResponse(_InLoop(chunks) if in_loop else chunks, status=response.status)


class _InLoop:
    """Chunks for an event loop: Django would wait there for the last one before it sends the first."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        # Of a client that goes away while Django still has the answer in hand, Django closes nothing.
        self._forget = finalize(self, _forgotten.put, chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        source = self._chunks.source
        return events_in_loop(source) if isinstance(source, EventStream) else chunks_in_loop(self._chunks)

    def close(self) -> None:
        """Give up what is held for the rest; Django calls this, also when a client went away."""
        self._forget.detach()
        self._chunks.close()

"""From Starlette's requests to ours, and from our answers to Starlette's."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from functools import cache
from typing import Final

import starlette.requests
import starlette.responses
from starlette.datastructures import URL
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from harken_adapters.hosts.http.logs import request_id
from harken_adapters.hosts.http.serving.async_chunks import chunks_in_loop, events_in_loop
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.bodies import WITH_BODY, check_length, check_size, ended_early, too_slow
from harken_adapters.hosts.http.wire.messages import Headers, Request, Response

RawHeaders = list[tuple[bytes, bytes]]

_NOT_TWICE: Final = (b"host", b"origin", b"sec-fetch-site")


def raw_headers(headers: Headers) -> RawHeaders:
    """Headers as ASGI has them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


@cache
def _security(headers: Headers) -> RawHeaders:
    """Those that all answers carry, or all pages: worked out once, as there is one for each request."""
    return raw_headers(headers)


def request_of(request: starlette.requests.Request) -> Request:
    """The request, with its body yet to be read."""
    scope = request.scope
    raw: RawHeaders = scope["headers"]
    # Of headers that come twice the first counts, but for those by which a request is trusted: two are neither.
    headers = dict(reversed(raw))
    for name in _NOT_TWICE:
        if name in headers:
            headers[name] = b", ".join(value for one, value in raw if one == name)

    def header(name: str) -> str | None:
        value = headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    forwarded_for = [value.decode("latin-1") for name, value in raw if name == b"x-forwarded-for"]
    return Request(
        method=scope["method"],
        path=path_of(scope),
        parts=scope["path_params"],
        query=scope["query_string"].decode("latin-1"),
        header=header,
        forwarded_for=tuple(forwarded_for),
        peer=scope["client"][0] if scope.get("client") else None,
        id=request_id(header("x-request-id")),
    )


def path_of(scope: AsgiScope) -> str:
    """The path as it was asked for. Servers that do not tell it get it encoded again."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        return URL(scope=scope).path
    root: str = scope.get("root_path", "")
    path = raw.partition(b"?")[0].decode("latin-1")
    # By the standard the root is a part of the path, but not all servers know that.
    return path if path.startswith(root) else root + path


async def read_body(request: starlette.requests.Request, length: str | None, settings: ServerSettings) -> bytes:
    """The body, if it is not too large and does not take too long; ``length`` is what was announced.

    Raises:
        Problem: it is, or does, or the client went away.
    """
    most = settings.max_body
    check_length(length, most)
    # A guard of the host may have read it before; then nothing more arrives.
    read = hasattr(request, "_body")
    body, more = await request.body() if read else b"", not read
    check_size(len(body), most)
    try:
        async with asyncio.timeout(settings.body_timeout):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ended_early()
                body += message.get("body", b"")
                more = message.get("more_body", False)
                check_size(len(body), most)
    except TimeoutError:
        raise too_slow(settings.body_timeout) from None
    return body


async def disconnected(request: starlette.requests.Request) -> bool:
    """Wait until the client goes away; the body must have been read, if the request has one.

    Returns:
        ``False`` if that cannot be found out, as what is around the application gives the body again and again.
    """
    message = await request.receive()
    if message["type"] == "http.request" and request.method not in WITH_BODY:
        message = await request.receive()
    return bool(message["type"] == "http.disconnect")


class Answer(starlette.responses.Response):
    """An answer that is complete. Its headers are put together once, as there is one for each request."""

    def __init__(self, response: Response, more: RawHeaders) -> None:
        self.status_code = response.status
        self.body = response.body
        self.background = None
        self.raw_headers = _headers(response, more)
        if response.status != 204:
            self.raw_headers.append((b"content-length", b"%d" % len(response.body)))


def _headers(response: Response, more: RawHeaders) -> RawHeaders:
    headers = raw_headers(response.headers) + more + _security(response.security)
    if response.media_type is not None:
        headers.append((b"content-type", response.media_type.encode("latin-1")))
    return headers


def streamed(response: Response, more: RawHeaders, threads: Executor) -> starlette.responses.Response:
    """An answer that comes in chunks, each made in a thread."""
    chunks = response.chunks
    assert chunks is not None  # noqa: S101 - whoever calls has looked
    answer = (
        _EventAnswer(chunks, response.status, threads)
        if isinstance(chunks, EventStream)
        else starlette.responses.StreamingResponse(chunks_in_loop(chunks, threads), response.status)
    )
    answer.raw_headers = _headers(response, more)
    return answer


class _EventAnswer(starlette.responses.StreamingResponse):
    """Events, until nobody listens any more."""

    def __init__(self, stream: EventStream, status: int, threads: Executor) -> None:
        super().__init__(events_in_loop(stream, threads), status)
        self._stream = stream

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Not where the events come from: whoever went away at once never asked for the first one.
            self._stream.close()

"""Conversion of Starlette requests, and of responses to Starlette responses."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from functools import cache
from typing import Final

import starlette.requests
import starlette.responses
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from harken_adapters.hosts.http.logs import request_id
from harken_adapters.hosts.http.serving.async_chunks import chunks_in_loop, events_in_loop
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.bodies import WITH_BODY, check_length, check_size, ended_early, too_slow
from harken_adapters.hosts.http.wire.messages import WITHOUT_BODY, Headers, Request, Response
from harken_adapters.hosts.http.wire.paths import encode_path, encode_root, is_encoded_utf8

RawHeaders = list[tuple[bytes, bytes]]

_SECURITY_RELEVANT: Final = (b"host", b"origin", b"sec-fetch-site")


def raw_headers(headers: Headers) -> RawHeaders:
    """Encode headers for ASGI."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


@cache
def _security(headers: Headers) -> RawHeaders:
    """The encoded security headers, cached, as every response has them."""
    return raw_headers(headers)


def request_of(request: starlette.requests.Request) -> Request:
    """The request, without its body."""
    scope = request.scope
    raw: RawHeaders = scope["headers"]
    # The first of repeated headers counts, except for security headers, which are joined, so that they never match.
    headers = dict(reversed(raw))
    for name in _SECURITY_RELEVANT:
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
        utf8=path_is_utf8(scope),
        query=scope["query_string"].decode("latin-1"),
        header=header,
        forwarded_for=tuple(forwarded_for),
        peer=scope["client"][0] if scope.get("client") else None,
        id=request_id(header("x-request-id")),
    )


def path_of(scope: AsgiScope) -> str:
    """The full path, percent-encoded. It is encoded again if the server does not provide it."""
    raw: bytes | None = scope.get("raw_path")
    path = encode_path(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")
    return encode_path(_missing_root(scope)) + path


def root_of(scope: AsgiScope, template: str) -> str:
    """The prefix of the API's paths, percent-encoded and without a trailing slash, in a request to a known path.

    A router does not know the prefix with which the application includes it.

    Args:
        scope: the request.
        template: the template that its path matches.
    """
    path: str = _missing_root(scope) + scope["path"]
    return encode_root(path.rsplit("/", template.count("/"))[0])


def _missing_root(scope: AsgiScope) -> str:
    """The root path, if the path does not include it."""
    # According to the ASGI specification, the path includes it, but not all servers do that.
    root: str = scope.get("root_path", "")
    return "" if f"{scope['path']}/".startswith(f"{root}/") else root


def path_is_utf8(scope: AsgiScope) -> bool:
    """Whether the path that the client sent is UTF-8, as far as the server provides it."""
    raw: bytes = scope.get("raw_path") or b""
    return (b"%" not in raw and raw.isascii()) or is_encoded_utf8(raw.partition(b"?")[0])


async def read_body(request: starlette.requests.Request, length: str | None, settings: ServerSettings) -> bytes:
    """Read the whole body. ``length`` is the value of Content-Length, if any.

    Raises:
        Problem: the body is too large or too slow, or the client has disconnected.
    """
    most = settings.max_body
    check_length(length, most)
    # The host application may already have read the body; then nothing more arrives.
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


async def wait_for_disconnect(request: starlette.requests.Request) -> bool:
    """Wait until the client disconnects. The body of the request must have been read, if it has one.

    Returns:
        ``False`` if this cannot be determined, as middleware returns the body repeatedly.
    """
    message = await request.receive()
    if message["type"] == "http.request" and request.method not in WITH_BODY:
        message = await request.receive()
    return bool(message["type"] == "http.disconnect")


class Answer(starlette.responses.Response):
    """A complete response. Its headers are assembled here, which is faster than Starlette's own way."""

    def __init__(self, response: Response, more: RawHeaders) -> None:
        self.status_code = response.status
        self.body = response.body
        self.background = None
        self.raw_headers = _headers(response, more)
        if response.status not in WITHOUT_BODY:
            self.raw_headers.append((b"content-length", b"%d" % len(response.body)))


def _headers(response: Response, more: RawHeaders) -> RawHeaders:
    headers = raw_headers(response.headers) + more + _security(response.security)
    if response.media_type is not None:
        headers.append((b"content-type", response.media_type.encode("latin-1")))
    return headers


def streaming_response(response: Response, more: RawHeaders, threads: Executor) -> starlette.responses.Response:
    """A streaming response, whose chunks are produced in threads."""
    chunks = response.chunks
    assert chunks is not None  # noqa: S101 - the caller has checked
    answer = (
        _EventAnswer(chunks, response.status, threads)
        if isinstance(chunks, EventStream)
        else starlette.responses.StreamingResponse(chunks_in_loop(chunks, threads), response.status)
    )
    answer.raw_headers = _headers(response, more)
    return answer


class _EventAnswer(starlette.responses.StreamingResponse):
    """A response with an event stream, which is closed with it."""

    def __init__(self, stream: EventStream, status: int, threads: Executor) -> None:
        super().__init__(events_in_loop(stream, threads), status)
        self._stream = stream

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Not in the generator: if the client disconnects at once, it is never started.
            self._stream.close()

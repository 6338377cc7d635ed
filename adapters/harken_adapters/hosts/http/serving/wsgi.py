"""Conversion of WSGI requests, and of responses for WSGI servers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from socket import socket
from typing import Any, Final

from harken_adapters.hosts.http.logs import request_id
from harken_adapters.hosts.http.serving.deadlines import read_deadline
from harken_adapters.hosts.http.wire.bodies import DRAIN_BYTES, DRAIN_SECONDS_IN_THREAD, Read, ended_early
from harken_adapters.hosts.http.wire.messages import WITHOUT_BODY, Request, Response
from harken_adapters.hosts.http.wire.paths import is_encoded_utf8, is_utf8
from harken_adapters.hosts.http.wire.problems import Problem

_CHUNK: Final = 64 * 1024
#: Headers that only the server may send.
_OF_THE_SERVER: Final = frozenset({"connection"})


def request_of(environ: Mapping[str, Any], method: str, path: str, *, utf8: bool | None = None) -> Request:
    """The request, without its body.

    Args:
        environ: the WSGI environment; ``META`` in Django.
        method: the method, in upper case.
        path: the full path, percent-encoded.
        utf8: whether the path that the client sent is UTF-8; by default, determined from the environment.
    """
    headers = _headers_in(environ)
    forwarded_for = headers.get("x-forwarded-for")
    return Request(
        method=method,
        path=path,
        parts={},
        utf8=_path_is_utf8(environ) if utf8 is None else utf8,
        query=environ.get("QUERY_STRING", ""),
        header=headers.get,
        forwarded_for=() if forwarded_for is None else (forwarded_for,),
        peer=environ.get("REMOTE_ADDR") or None,
        id=request_id(headers.get("x-request-id")),
        headers=headers,
        multithread=environ.get("wsgi.multithread"),
        socket=connection_of(environ),
    )


def raw_path(environ: Mapping[str, Any]) -> bytes:
    """The path as the client sent it, percent-encoded; empty if the server does not provide it, as wsgiref does not."""
    uri: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    return uri.partition("?")[0].encode("latin-1", "replace")


def _path_is_utf8(environ: Mapping[str, Any]) -> bool:
    # WSGI passes each byte as a character, but some servers replace bytes that are not UTF-8.
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return is_utf8(path.encode("latin-1")) and is_encoded_utf8(raw_path(environ))


def _headers_in(environ: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a request, by lower-case name."""
    found = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if value := environ.get(name):
            found[name.replace("_", "-").lower()] = value
    return found


def headers_of(response: Response) -> list[tuple[str, str]]:
    """All headers of a response, including Content-Type and Content-Length."""
    headers = [(name, value) for name, value in response.headers if name not in _OF_THE_SERVER]
    headers += response.security
    if response.media_type is not None:
        headers.append(("content-type", response.media_type))
    if response.chunks is None and response.status not in WITHOUT_BODY:
        headers.append(("content-length", str(len(response.body))))
    return headers


class Input:
    """Reads the body of a request, and never beyond it. Call it for the next bytes.

    Args:
        environ: the WSGI environment.
        take: reads from the input; by default, that of the server.
    """

    def __init__(self, environ: Mapping[str, Any], take: Read | None = None) -> None:
        self._environ = environ
        self._take: Read = take or environ["wsgi.input"].read
        length = environ.get("CONTENT_LENGTH") or ""
        #: The number of bytes that are left, by Content-Length.
        self._left = int(length) if length.isascii() and length.isdigit() else 0
        self._endless = not length and bool(environ.get("wsgi.input_terminated"))
        self._ended = not self._endless and not self._left

    def __call__(self, most: int) -> bytes:
        """Read up to ``most`` bytes; empty at the end.

        Raises:
            Problem: the input ended before Content-Length was reached.
        """
        if self._ended:
            return b""
        chunk = self._take(most if self._endless else min(most, self._left))
        self._ended = not chunk
        if self._endless:
            return chunk
        self._left -= len(chunk)
        if self._left and not chunk:
            raise ended_early()
        self._ended = not self._left
        return chunk

    @property
    def unread(self) -> bool:
        """Whether a part of the body may be unread, and it can be discarded with a deadline."""
        return not self._ended and connection_of(self._environ) is not None

    def discard(self) -> None:
        """Discard the rest of the body, within limits, as closing the connection earlier may lose the response."""
        self._take = self._environ["wsgi.input"].read
        left = DRAIN_BYTES
        with suppress(Problem, OSError), read_deadline(connection_of(self._environ), DRAIN_SECONDS_IN_THREAD):
            while left > 0 and (chunk := self(_CHUNK)):
                left -= len(chunk)


def connection_of(environ: Mapping[str, Any]) -> socket | None:
    """The socket of the connection, if the server provides it, as gunicorn and Werkzeug do."""
    connection: socket | None = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return connection


def body_of(response: Response, method: str, body: Input) -> Iterable[bytes]:
    """The body of a response for a WSGI server. It must be closed if it has a ``close`` method."""
    if response.chunks is not None:
        return response.chunks
    chunks = [] if method == "HEAD" or not response.body else [response.body]
    return DrainingBody(chunks, body) if body.unread else chunks


class DrainingBody:
    """A response body after which the rest of the request body is discarded."""

    def __init__(self, chunks: Iterable[bytes], request_body: Input) -> None:
        self._chunks = iter(chunks)
        self._request_body = request_body

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Discard the rest of the request body. Servers call this after they have sent the response."""
        self._request_body.discard()

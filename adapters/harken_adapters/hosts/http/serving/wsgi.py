"""From WSGI's requests to ours, and from our answers to what WSGI servers take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from socket import socket
from typing import Any, Final
from urllib.parse import quote

from harken_adapters.hosts.http.logs import request_id
from harken_adapters.hosts.http.serving.deadlines import reading
from harken_adapters.hosts.http.wire.bodies import DRAIN_BYTES, DRAIN_SECONDS_IN_THREAD, Read, ended_early
from harken_adapters.hosts.http.wire.messages import Request, Response
from harken_adapters.hosts.http.wire.problems import Problem

#: What stands in a path as it is (RFC 3986).
_PLAIN: Final = "/:@!$&'()*+,;="
_CHUNK: Final = 64 * 1024
#: Headers of a connection, which is the server's.
_OF_THE_SERVER: Final = frozenset({"connection"})


def request_of(environ: Mapping[str, Any], method: str, path: str) -> Request:
    """The request, with its body yet to be read.

    Args:
        environ: as WSGI has it; ``META`` in Django.
        method: in upper case.
        path: all of it, percent-encoded; see :func:`encoded`.
    """
    headers = _headers_in(environ)
    forwarded_for = headers.get("x-forwarded-for")
    return Request(
        method=method,
        path=path,
        parts={},
        query=environ.get("QUERY_STRING", ""),
        header=headers.get,
        forwarded_for=() if forwarded_for is None else (forwarded_for,),
        peer=environ.get("REMOTE_ADDR") or None,
        id=request_id(headers.get("x-request-id")),
        headers=headers,
        multithread=environ.get("wsgi.multithread"),
        socket=connection_of(environ),
    )


def encoded(path: str) -> str:
    """A path that was decoded, percent-encoded again."""
    return quote(path, safe=_PLAIN, errors="replace")


def _headers_in(environ: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a request, by their names in lower case."""
    found = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if value := environ.get(name):
            found[name.replace("_", "-").lower()] = value
    return found


def headers_of(response: Response) -> list[tuple[str, str]]:
    """All headers of an answer, its type and length too."""
    headers = [(name, value) for name, value in response.headers if name not in _OF_THE_SERVER]
    headers += response.security
    if response.media_type is not None:
        headers.append(("content-type", response.media_type))
    if response.chunks is None and response.status != 204:
        headers.append(("content-length", str(len(response.body))))
    return headers


class Input:
    """The body of a request, to be called for the bytes that come next, and never bytes of the next request.

    Args:
        environ: as WSGI has it.
        take: what it is read with, if not with the server's own input.
    """

    def __init__(self, environ: Mapping[str, Any], take: Read | None = None) -> None:
        self._environ = environ
        self._take: Read = take or environ["wsgi.input"].read
        length = environ.get("CONTENT_LENGTH") or ""
        #: How many bytes are still to come; ``None`` if the server finds out where the end is.
        self._left = int(length) if length.isascii() and length.isdigit() else 0
        self._endless = not length and bool(environ.get("wsgi.input_terminated"))
        self._ended = not self._endless and not self._left

    def __call__(self, most: int) -> bytes:
        """What comes next.

        Raises:
            Problem: less has come than was announced; servers that end the input do not say why it ended.
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
        """Whether the client may be sending what nobody has read, and can be kept from doing so for ever."""
        return not self._ended and connection_of(self._environ) is not None

    def discard(self) -> None:
        """Read what is still to come, for a while: a connection that is closed before takes the answer back."""
        self._take = self._environ["wsgi.input"].read
        left = DRAIN_BYTES
        with suppress(Problem, OSError), reading(connection_of(self._environ), DRAIN_SECONDS_IN_THREAD):
            while left > 0 and (chunk := self(_CHUNK)):
                left -= len(chunk)


def connection_of(environ: Mapping[str, Any]) -> socket | None:
    """The socket of the connection, from those servers that give it: gunicorn, and the one that comes with Flask."""
    connection: socket | None = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return connection


def body_of(response: Response, method: str, body: Input) -> Iterable[bytes]:
    """What is sent behind the headers, if anything; to be closed, if it can be."""
    if response.chunks is not None:
        return response.chunks
    chunks = [] if method == "HEAD" or not response.body else [response.body]
    return DrainingBody(chunks, body) if body.unread else chunks


class DrainingBody:
    """The body of an answer, after which the rest of the request's body is discarded."""

    def __init__(self, chunks: Iterable[bytes], request_body: Input) -> None:
        self._chunks = iter(chunks)
        self._request_body = request_body

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Discard it; servers call this after they have sent the answer."""
        self._request_body.discard()

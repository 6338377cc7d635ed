"""From WSGI's requests to ours, and from our answers to what WSGI servers take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from harken_adapters.hosts.http.bodies import Read, ended_early
from harken_adapters.hosts.http.logs import request_id
from harken_adapters.hosts.http.messages import Request, Response

#: What stands in a path as it is (RFC 3986).
_PLAIN: Final = "/:@!$&'()*+,;="
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


def body_of(response: Response, method: str) -> Iterable[bytes]:
    """What is sent behind the headers, if anything; to be closed, if it can be."""
    if response.chunks is not None:
        return response.chunks
    return [] if method == "HEAD" or not response.body else [response.body]


def body_reader(environ: Mapping[str, Any]) -> Read:
    """Reads the body, and nothing of what may come behind it."""
    take: Read = environ["wsgi.input"].read
    if environ.get("wsgi.input_terminated"):
        return take
    length = environ.get("CONTENT_LENGTH") or "0"
    left = int(length) if length.isascii() and length.isdigit() else 0

    def read(most: int) -> bytes:
        nonlocal left
        chunk = take(min(most, left))
        left -= len(chunk)
        if left and not chunk:
            raise ended_early()
        return chunk

    return read

"""Requests and responses, independent of the web framework."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from socket import socket
from typing import Final

from attrs import define, field, frozen

from harken import Receipt

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"

#: The longest query string or body, in bytes, that is processed in the event loop. Parsing it and processing its text
#: takes 5 ms at most.
SMALL: Final = 2_048

#: The status codes of responses that never have a body, so that its length is not sent.
WITHOUT_BODY: Final = (204, 304)

_dump = json.JSONEncoder(separators=(",", ":")).encode
Headers = tuple[tuple[str, str], ...]

#: Security headers of every response that contains data.
SECURITY_HEADERS: Final[Headers] = (
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
)


def security_headers(policy: str, *, referrer_policy: str = "no-referrer") -> Headers:
    """The security headers of an HTML page.

    With ``no-referrer``, browsers send ``Origin: null`` with its forms. If these are checked for their origin, use
    ``same-origin``.
    """
    changes = {"content-security-policy": policy, "referrer-policy": referrer_policy}
    return tuple({**dict(SECURITY_HEADERS), **changes}.items())


@define(kw_only=True)
class Request:
    """An HTTP request. The body may be read after the request has been admitted.

    Attributes:
        method: the method, in upper case.
        path: the full path, percent-encoded, including the prefix under which the application is mounted.
        utf8: whether the path that the client sent is UTF-8.
        parts: the values of the path parameters, by name.
        query: the query string, percent-encoded, without the question mark.
        header: returns the value of a header by its lower-case name, or ``None``.
        forwarded_for: the values of the ``X-Forwarded-For`` headers, in order.
        body: the complete body, once it has been read.
        peer: the address of the other end of the connection.
        id: the request id, used in logs and in ``X-Request-Id``.
        headers: all headers by lower-case name, for trace propagation.
        application: the application that the request is about, once known.
        tenant: the tenant to whose share of the threads the request counts: the application of its credentials, or
            else the client address.
        multithread: whether the server handles other requests in this process concurrently; ``None`` if an event
            stream does not occupy a thread.
        socket: the socket of the connection, if a threaded server provides it.
    """

    method: str
    path: str
    parts: Mapping[str, str]
    utf8: bool = True
    query: str = ""
    header: Callable[[str], str | None]
    forwarded_for: tuple[str, ...] = ()
    body: bytes = b""
    peer: str | None = None
    id: str = ""
    headers: Mapping[str, str] = field(factory=dict)
    application: str | None = None
    tenant: str = ""
    multithread: bool | None = None
    socket: socket | None = None

    @property
    def target(self) -> str:
        """The path with the query string, if there is one."""
        return f"{self.path}?{self.query}" if self.query else self.path


@define
class Response:
    """An HTTP response: a body, or a stream of chunks. Headers may be appended before it is sent.

    ``security`` are the security headers: :data:`SECURITY_HEADERS`, or those of an HTML page.
    """

    status: int
    body: bytes = b""
    media_type: str | None = JSON
    headers: Headers = ()
    chunks: Iterable[bytes] | None = field(default=None, kw_only=True)
    security: Headers = field(default=SECURITY_HEADERS, kw_only=True)


@frozen
class Pending:
    """A response that is available once a submission is durable."""

    receipt: Future[Receipt]
    present: Callable[[Receipt], Response]

    def wait(self) -> Response:
        """Block until the submission is durable and return the response. Raises what the submission raises."""
        return self.present(self.receipt.result())


def to_json(document: object) -> bytes:
    """Encode a document as ASCII JSON. Error messages may contain lone surrogates, which UTF-8 cannot encode."""
    return _dump(document).encode()


def answer(document: Mapping[str, object], status: int = 200, headers: Headers = ()) -> Response:
    """A JSON response."""
    return Response(status, to_json(document), JSON, headers)


def redirect(target: str, *headers: tuple[str, str], security: Headers = SECURITY_HEADERS) -> Response:
    """A redirect after a form, or to another page."""
    return Response(303, b"", None, (("location", target), *headers), security=security)


def no_content() -> Response:
    """A 204 response."""
    return Response(204, b"", None)

"""What comes in and what goes out, whatever the web framework."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from socket import socket
from typing import Final

from attrs import define, field, frozen

from harken import Receipt

JSON: Final = "application/json"

#: The longest query string or body, in bytes, that an event loop handles itself: parsing it, and all that is done with
#: the text in it, takes 5 ms at most.
SMALL: Final = 2_048

_dump = json.JSONEncoder(separators=(",", ":")).encode
Headers = tuple[tuple[str, str], ...]

#: What every answer carries: it is data, for whoever asked and nobody else.
SECURITY_HEADERS: Final[Headers] = (
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
)


@define(kw_only=True)
class Request:
    """A request. Its body may be read after it was let in.

    Attributes:
        method: in upper case.
        path: as it was asked for, with whatever the application is mounted under, percent-encoded.
        parts: what the path's parameters are.
        query: what stands behind the question mark, percent-encoded.
        header: the value of a header by its name in lower case, or ``None``.
        forwarded_for: the values of ``X-Forwarded-For``, in order.
        body: all of it, once it is read.
        peer: the address that the connection comes from.
        id: what the logs call it.
        headers: all headers, by their names in lower case, for whoever carries traces on.
        application: whose feedback it is about, once that is known.
        tenant: whose share of the threads it takes: the application that its credentials are for, or else its address.
        multithread: whether the server answers others in this process meanwhile; ``None`` if no thread waits for a
            stream.
        socket: that of the connection, where a server of threads gives it.
    """

    method: str
    path: str
    parts: Mapping[str, str]
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


@define
class Response:
    """An answer: a body, or a stream of chunks. Headers may be added to it on its way.

    ``security`` are the headers that keep it from being misused: those of data, unless it is a page.
    """

    status: int
    body: bytes = b""
    media_type: str | None = JSON
    headers: Headers = ()
    chunks: Iterable[bytes] | None = field(default=None, kw_only=True)
    security: Headers = field(default=SECURITY_HEADERS, kw_only=True)


@frozen
class Pending:
    """An answer that is known as soon as a submission is durable."""

    receipt: Future[Receipt]
    present: Callable[[Receipt], Response]

    def wait(self) -> Response:
        """The answer; raises what the submission raises."""
        return self.present(self.receipt.result())


def to_json(document: object) -> bytes:
    """A document as JSON. Plain ASCII: a lone surrogate, which UTF-8 does not have, may stand in an error's message."""
    return _dump(document).encode()


def answer(document: Mapping[str, object], status: int = 200, headers: Headers = ()) -> Response:
    """An answer in JSON."""
    return Response(status, to_json(document), JSON, headers)


def no_content() -> Response:
    """It is done, and there is no more to say."""
    return Response(204, b"", None)

"""Limits on request bodies: size, duration, and what happens when one is exceeded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harken_adapters.hosts.http.wire.messages import Headers
from harken_adapters.hosts.http.wire.problems import Problem

#: Reads up to the given number of bytes; returns an empty value at the end.
Read = Callable[[int], bytes]

#: The methods of requests that have a body.
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
#: How many bytes of a rejected body are discarded before the connection is closed, and for how many seconds: in an
#: event loop, and in a thread.
DRAIN_BYTES: Final = 64 * 1024 * 1024
DRAIN_SECONDS: Final = 10
DRAIN_SECONDS_IN_THREAD: Final = 5
#: The rest of a rejected body cannot be used, so the connection is closed.
_CLOSE: Final[Headers] = (("connection", "close"),)


def read_body(read: Read, length: str | None, most: int) -> bytes:
    """Read the whole body. ``length`` is the value of Content-Length, if any; ``most`` is the limit in bytes.

    Raises:
        Problem: the body is too large.
    """
    check_length(length, most)
    body = b""
    while chunk := read(most + 1 - len(body)):
        body += chunk
        check_size(len(body), most)
    return body


def check_length(text: str | None, most: int) -> None:
    """Check the value of Content-Length against the limit. A malformed value is ignored.

    Raises:
        Problem: the announced body is too large.
    """
    if text is not None and text.isascii() and text.isdigit() and (len(text) > len(str(most)) or int(text) > most):
        raise _too_large(most)


def check_size(size: int, most: int) -> None:
    """Check the size of a body against the limit.

    Raises:
        Problem: the body is too large.
    """
    if size > most:
        raise _too_large(most)


def ended_early() -> Problem:
    """The problem for a client that disconnected before it had sent the whole body."""
    return Problem("malformed-body", "The connection ended before the whole body was received", headers=_CLOSE)


def too_slow(seconds: int) -> Problem:
    """The problem for a body that did not arrive in time."""
    return Problem("body-timeout", f"The body did not arrive within {seconds} seconds", headers=_CLOSE)


def _too_large(most: int) -> Problem:
    return Problem("body-too-large", f"The body is larger than {most:,} bytes", headers=_CLOSE)

"""How much may be sent, and what is told to whoever sends more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harken_adapters.hosts.http.wire.messages import Headers
from harken_adapters.hosts.http.wire.problems import Problem

#: Gives so many of the bytes that come next, or fewer; none at the end.
Read = Callable[[int], bytes]

#: The methods of requests that carry something.
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
#: How many bytes of a body that was refused are discarded before the connection is closed, and for how many seconds:
#: in an event loop, and where a thread waits for it.
DRAIN_BYTES: Final = 64 * 1024 * 1024
DRAIN_SECONDS: Final = 10
DRAIN_SECONDS_IN_THREAD: Final = 5
#: The rest of a body that was refused is of no use to anybody.
_CLOSE: Final[Headers] = (("connection", "close"),)


def read_body(read: Read, length: str | None, most: int) -> bytes:
    """The body, if it is not too large; ``length`` is what was announced.

    Raises:
        Problem: it is.
    """
    check_length(length, most)
    body = b""
    while chunk := read(most + 1 - len(body)):
        body += chunk
        check_size(len(body), most)
    return body


def check_length(text: str | None, most: int) -> None:
    """Whether a body may be as long as was announced, if that makes any sense.

    Raises:
        Problem: it may not.
    """
    if text is not None and text.isascii() and text.isdigit() and (len(text) > len(str(most)) or int(text) > most):
        raise _too_large(most)


def check_size(size: int, most: int) -> None:
    """Whether a body may be as long as it is.

    Raises:
        Problem: it may not.
    """
    if size > most:
        raise _too_large(most)


def ended_early() -> Problem:
    """The problem that the client went away before it had sent all."""
    return Problem("malformed-body", "The body ended too early", headers=_CLOSE)


def too_slow(seconds: int) -> Problem:
    """The problem that the body takes too long."""
    return Problem("body-timeout", f"The body did not arrive within {seconds} seconds", headers=_CLOSE)


def _too_large(most: int) -> Problem:
    return Problem("body-too-large", f"The body may have {most:,} bytes", headers=_CLOSE)

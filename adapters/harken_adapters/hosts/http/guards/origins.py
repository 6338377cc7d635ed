"""CORS: which origins may call the API, and the headers for browsers."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Final

from harken.domain.texts import as_texts
from harken_adapters.hosts.http.wire.messages import Headers, Response
from harken_adapters.hosts.http.wire.problems import Problem

#: The headers that pages of other origins may send and read, besides those that CORS always allows.
_SENT: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "Last-Event-ID",
    "Prefer",
    "X-Request-Id",
)
_SEEN: Final = (
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
)
_ALLOW: Final = "access-control-allow-origin"
_EXPOSED: Final = ("access-control-expose-headers", ", ".join(_SEEN))
_PREFLIGHT: Final[Headers] = (
    ("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE"),
    ("access-control-allow-headers", ", ".join(_SENT)),
    ("access-control-max-age", "600"),
)
_VARY: Final[Headers] = (("vary", "Origin"),)


class Origins:
    """The origins whose pages may call the API (CORS), without cookies.

    Args:
        allowed: origins such as ``https://example.com``, or ``*`` for any. If empty, no CORS headers are sent.
    """

    def __init__(self, allowed: str | Sequence[str]) -> None:
        self._allowed = frozenset(as_texts(allowed))

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def preflight(self, method: str, path: str, header: Callable[[str], str | None]) -> Response | None:
        """The response to a CORS preflight request; ``None`` for any other request.

        The host adds :meth:`headers`, as to every response.
        """
        if method != "OPTIONS" or not self._allowed or header("access-control-request-method") is None:
            return None
        if (origin := header("origin")) is None:
            return None
        if not self.allows(origin):
            return Problem("forbidden", "Pages of this origin may not call the API").response(path)
        return Response(200, b"", None, _PREFLIGHT)

    def headers(self, origin: str | None, *, sent: Container[str] = ()) -> Headers:
        """The CORS headers of a response to a page of that origin, which already has the headers named in ``sent``."""
        if not self._allowed or _ALLOW in sent:
            return ()
        if "*" in self._allowed:
            return ((_ALLOW, "*"), _EXPOSED) if origin else ()
        if origin is None or not self.allows(origin):
            return _VARY
        return ((_ALLOW, origin), _EXPOSED, *_VARY)

    def allows(self, origin: str) -> bool:
        """Whether pages of that origin may call the API."""
        return "*" in self._allowed or origin in self._allowed

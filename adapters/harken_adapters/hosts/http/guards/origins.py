"""CORS: which origins may call the API, and the headers for browsers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from harken.domain.text_lists import as_texts
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
_EXPOSED: Final = ("access-control-expose-headers", ", ".join(_SEEN))
_PREFLIGHT: Final[Headers] = (
    ("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE"),
    ("access-control-allow-headers", ", ".join(_SENT)),
    ("access-control-max-age", "600"),
)
_VARY: Final[Headers] = (("vary", "Origin"),)


#: The valid values of an ``Origin`` header, except ``null``.
_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_LEFT_OUT: Final = {"http": ":80", "https": ":443"}


def origin_problem(origin: str) -> str | None:
    """Why a text is not a valid ``Origin``, so that it would never match; ``None`` if it is valid."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return "expected an origin such as 'https://shop.example', in lower case and without a path"
    if found[2] is not None and _LEFT_OUT.get(found[1]) == found[2]:
        return f"leave out {found[2]}, the default port of {found[1]}, as browsers do"
    return None


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

    def headers(self, origin: str | None) -> Headers:
        """The CORS headers of a response to a page of that origin."""
        if not self._allowed:
            return ()
        if "*" in self._allowed:
            return (("access-control-allow-origin", "*"), _EXPOSED) if origin else ()
        if origin is None or not self.allows(origin):
            return _VARY
        return (("access-control-allow-origin", origin), _EXPOSED, *_VARY)

    def allows(self, origin: str) -> bool:
        """Whether pages of that origin may call the API."""
        return "*" in self._allowed or origin in self._allowed

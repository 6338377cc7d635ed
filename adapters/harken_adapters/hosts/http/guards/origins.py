"""Pages of other origins: which may call, and what browsers are told of that (CORS)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from harken.domain.text_lists import as_texts
from harken_adapters.hosts.http.wire.messages import Headers, Response
from harken_adapters.hosts.http.wire.problems import Problem

#: What such a page may send and see, beside what is always allowed.
_SENT: Final = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID", "X-Request-Id")
_SEEN: Final = (
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
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


#: What browsers send as ``Origin``, but for ``null``.
_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_LEFT_OUT: Final = {"http": ":80", "https": ":443"}


def origin_problem(origin: str) -> str | None:
    """Why no browser sends that as ``Origin``, so that comparing with it always fails; ``None`` if one may."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return "expected an origin such as 'https://shop.example', in lower case and without a path"
    if found[2] is not None and _LEFT_OUT.get(found[1]) == found[2]:
        return f"browsers leave out {found[2]}, which is the default port of {found[1]}"
    return None


class Origins:
    """Whose pages may call; never with the credentials that a browser keeps.

    Args:
        allowed: origins such as ``https://example.com``, or ``*`` for any; none, if there is nothing to say.
    """

    def __init__(self, allowed: str | Sequence[str]) -> None:
        self._allowed = frozenset(as_texts(allowed))

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def preflight(self, method: str, path: str, header: Callable[[str], str | None]) -> Response | None:
        """The answer to a browser that asks whether a page may call; ``None`` if that is not what is asked.

        Whoever sends it adds :meth:`headers`, as to every answer.
        """
        if method != "OPTIONS" or not self._allowed or header("access-control-request-method") is None:
            return None
        if (origin := header("origin")) is None:
            return None
        if not self.allows(origin):
            return Problem("forbidden", "Pages of that origin may not call").response(path)
        return Response(200, b"", None, _PREFLIGHT)

    def headers(self, origin: str | None) -> Headers:
        """What an answer tells a browser: whether pages of that origin may read it."""
        if not self._allowed:
            return ()
        if "*" in self._allowed:
            return (("access-control-allow-origin", "*"), _EXPOSED) if origin else ()
        if origin is None or not self.allows(origin):
            return _VARY
        return (("access-control-allow-origin", origin), _EXPOSED, *_VARY)

    def allows(self, origin: str) -> bool:
        """Whether pages of that origin may call."""
        return "*" in self._allowed or origin in self._allowed

"""Cookies: finding one in a request, and the header that sets one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

from harken_adapters.hosts.http.wire.messages import Request

#: Browsers store up to 4,096 bytes, including the name and the attributes.
MAX_COOKIE: Final = 3_800
#: The cookie of the theme that people have chosen on the dashboard.
THEME: Final = "harken_theme"


def find_cookie(request: Request, name: str) -> str | None:
    """The value of a cookie; ``None`` if there is none, or it is too long."""
    found = _pattern(name).search(request.header("cookie") or "")
    return found and found[1].rstrip()


def theme_of(request: Request) -> str | None:
    """``light`` or ``dark``, if the visitor has chosen one."""
    theme = find_cookie(request, THEME)
    return theme if theme in ("light", "dark") else None


def set_cookie(
    name: str, value: str, *, path: str, max_age: int, secure: bool, same_site: Literal["Strict", "Lax"] = "Strict"
) -> tuple[str, str]:
    """The header that sets a cookie, which scripts cannot read; with ``max_age=0`` it removes the cookie.

    The browser sends it only to paths below ``path``, and with ``secure`` only over TLS. Cookies do not distinguish
    ports, so every server on the same host receives it.
    """
    text = f"{name}={value}; Path={path or '/'}; Max-Age={max_age}; HttpOnly; SameSite={same_site}"
    return "set-cookie", f"{text}; Secure" if secure else text


@lru_cache(maxsize=16)
def _pattern(name: str) -> re.Pattern[str]:
    # Searched, not parsed, as a header may contain tens of thousands of cookies.
    return re.compile(rf"(?:\A|;)[ \t]*{re.escape(name)}=([^;]{{1,{MAX_COOKIE}}})(?:;|\Z)")

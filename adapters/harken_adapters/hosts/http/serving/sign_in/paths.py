"""Paths of this service, to which the browser returns after signing in."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlencode

from harken_adapters.hosts.http.guards.access import CredentialsRefused
from harken_adapters.hosts.http.wire.messages import Request
from harken_adapters.hosts.http.wire.problems import Problem

SIGN_IN: Final = "/sign-in"
#: The page to show after signing in, unless another one was asked for.
LANDING: Final = "/dashboard"
#: The query string of the sign-in page for each notice.
SIGNED_OUT: Final = "signed-out"
EVERYWHERE: Final = "everywhere"
ENDED_BEFORE: Final = "ended-before"
UNSAVED: Final = "unsaved"
ENDED: Final = "ended"
#: A longer path is not returned to, as a cookie keeps it meanwhile.
_LONGEST: Final = 2_000
#: Browsers treat a backslash like a slash, and ignore tabs and line ends.
_PATH: Final = re.compile(r"/(?:(?!/)[!-\[\]-~]*)?")


def own_path(root: str, text: str | None) -> str | None:
    """A path of this service with its query string; ``None`` for anything else, such as a URL of another site.

    Args:
        root: the prefix of the API's paths.
        text: the path, as sent by the browser.
    """
    if not text or not _PATH.fullmatch(text) or not text.startswith(f"{root}/"):
        return None
    path = re.split(r"[?#]", text, maxsplit=1)[0]
    if any(unquote(part) in (".", "..") for part in path.split("/")):
        return None
    # These would lead back to here, or out.
    return None if f"{path}/".startswith((f"{root}{SIGN_IN}/", f"{root}/sign-out/")) else text


def landing(root: str, text: str | None = None) -> str:
    """The page to show after signing in: the one that was asked for, if it is one of this service."""
    if text and len(text) > _LONGEST:
        text = None
    return own_path(root, text) or f"{root}{LANDING}"


def sign_in_path(root: str, request: Request, problem: Problem, *, form_page: str | None = None) -> str:
    """The path of the sign-in page for a page that needs credentials, to which it returns afterwards.

    Args:
        root: the prefix of the API's paths.
        request: the request.
        problem: why there are no valid credentials.
        form_page: for a form that was not saved, the page that it is on, as sent by the browser; empty if unknown.
    """
    query = {}
    page = request.target if request.method in ("GET", "HEAD") else form_page or ""
    if landing(root, page) != f"{root}{LANDING}":
        query["next"] = page
    if form_page is not None:
        query[UNSAVED] = ""
    if isinstance(problem, CredentialsRefused):
        query[ENDED] = ""
    return f"{root}{SIGN_IN}?{urlencode(query)}" if query else f"{root}{SIGN_IN}"

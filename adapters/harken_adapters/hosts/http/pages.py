"""What a host shows besides the API: to whoever runs it, and to whoever reads about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache
from importlib.metadata import version
from threading import Lock, Thread
from typing import Final, Literal
from urllib.parse import parse_qs

from attrs import evolve, frozen

from harken import HarkenError, Scope
from harken_adapters.hosts.http import docs_page, sign_in
from harken_adapters.hosts.http.access import (
    KEY_PREFIX,
    check_agent_keys,
    check_operator,
    check_scope,
    cookie_of,
    unauthorized,
)
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.messages import SECURITY_HEADERS, Headers, Request, Response, answer, to_json
from harken_adapters.hosts.http.openapi import document
from harken_adapters.hosts.http.problems import Problem, internal, nothing_here, problem_of
from harken_adapters.hosts.http.sources import is_foreign

#: How many seconds the storage may take to prove that it is there.
_PATIENCE: Final = 2.0
_READINESS_SESSION: Final = "readiness"
#: The page loads its own scripts, and styles and pictures that these make.
_PAGE_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
)
#: For the referrer see :data:`sign_in.SECURITY`: the page has a form to sign out.
_PAGE_SECURITY: Final[Headers] = tuple(
    {**dict(SECURITY_HEADERS), "content-security-policy": _PAGE_POLICY, "referrer-policy": "same-origin"}.items()
)
_HTML: Final = "text/html; charset=utf-8"


class Pages:
    """Health, figures, documentation, and signing in to see them.

    A ``prefix`` is what the API's paths stand behind, percent-encoded and without a slash at the end.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = Lock()
        self._probe: Future[None] | None = None

    def healthz(self) -> Response:
        """The process answers."""
        return answer({"status": "ok"})

    def readyz(self) -> Response:
        """Whether the storage answers; waits for that, but not for long."""
        try:
            self._asked().result(_PATIENCE)
        except (HarkenError, TimeoutError):
            return _not_ready()
        return answer({"status": "ready"})

    async def readyz_in_loop(self) -> Response:
        """The same for an event loop, where no thread waits."""
        try:
            # Shielded, as others wait for the same answer.
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._asked())), _PATIENCE)
        except (HarkenError, TimeoutError):
            return _not_ready()
        return answer({"status": "ready"})

    def metrics(self) -> Response:
        """Figures for Prometheus. May read a storage."""
        return Response(200, *self._api.metrics.render())

    def openapi(self, prefix: str = "") -> Response:
        """The OpenAPI document."""
        return Response(200, _document(prefix))

    def docs(self, prefix: str = "", *, signed_in: bool = False) -> Response:
        """The page that shows it, which loads nothing from anywhere else; with a way to sign out, if need be."""
        body = docs_page.page(
            f"{prefix}/openapi.json",
            f"{prefix}/docs/assets",
            f"{prefix}/docs/start.js",
            f"{prefix}/sign-out" if signed_in else None,
        )
        return Response(200, body, _HTML, security=_PAGE_SECURITY)

    def docs_script(self, prefix: str = "") -> Response:
        """What starts the page."""
        return Response(200, docs_page.script(f"{prefix}/openapi.json"), "text/javascript; charset=utf-8")

    def docs_asset(self, name: str) -> Response:
        """A file that the page loads.

        Raises:
            Problem: there is no such file.
        """
        if (found := docs_page.asset(name)) is None:
            raise nothing_here()
        return Response(200, *found)

    def sign_in_page(self, prefix: str = "") -> Response:
        """The page to sign in on; where nobody has to, what comes after it."""
        if self._api.settings.access == "open":
            return _see(f"{prefix}/docs")
        return _sign_in_page(prefix)

    def sign_in(self, prefix: str, request: Request) -> Response:
        """Exchange the key that the page sent for a cookie.

        Raises:
            Problem: a page of another origin sent it.
            StorageError: the storage could not be asked.
        """
        _check_own_page(request)
        sent = parse_qs(request.body.decode("latin-1")).get("key", [""])
        key = sent[0].strip()
        if not key.startswith(KEY_PREFIX):
            return _sign_in_page(prefix, unauthorized(f"An API key begins with {KEY_PREFIX}"))
        bearer = f"Bearer {key}"
        try:
            self._api.recognise(
                evolve(request, header=lambda name: bearer if name == "authorization" else request.header(name))
            )
        except Problem as problem:
            return _sign_in_page(prefix, problem)
        return _see(f"{prefix}/docs", sign_in.cookie(key, prefix, secure=_is_secure(request)))

    def sign_out(self, prefix: str, request: Request) -> Response:
        """Take the cookie away.

        Raises:
            Problem: a page of another origin sent it.
        """
        _check_own_page(request)
        return _see(f"{prefix}/sign-in", sign_in.cookie("", prefix, secure=_is_secure(request)))

    def _asked(self) -> Future[None]:
        """A question to the storage. One that hangs must not make others hang, so there is one at a time."""
        with self._lock:
            if self._probe is None or self._probe.done():
                self._probe = Future()
                Thread(target=self._ask, args=(self._probe,), name="harken-readiness", daemon=True).start()
            return self._probe

    def _ask(self, probe: Future[None]) -> None:
        try:
            self._api.harken.sessions.get(self._api.harken.application, _READINESS_SESSION)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            probe.set_exception(error)
        else:
            probe.set_result(None)


@lru_cache(maxsize=8)
def _document(prefix: str) -> bytes:
    """The OpenAPI document; made once, as anybody may ask for it as often as they like, and it takes milliseconds."""
    return to_json(document(version=version("harken"), prefix=prefix))


def _not_ready() -> Response:
    return Problem("unavailable", "The storage does not answer").response("/readyz")


def _see(path: str, *headers: tuple[str, str]) -> Response:
    return Response(303, b"", None, (("location", path), *headers))


def _sign_in_page(prefix: str, problem: Problem | None = None) -> Response:
    body = sign_in.page(prefix, problem.detail if problem else None)
    return Response(problem.status if problem else 200, body, _HTML, security=sign_in.SECURITY)


def _check_own_page(request: Request) -> None:
    if is_foreign(request.header):
        raise Problem("forbidden", "Only Harken's own pages may sign a browser in or out")


def _is_secure(request: Request) -> bool:
    """Whether the browser reached the page over TLS, also where that ends at a proxy: it says so itself."""
    return (request.header("origin") or "").startswith("https://")


@frozen
class Page:
    """One of them.

    Attributes:
        name: what a framework may call it.
        path: with its parameters in braces.
        show: gives it, from the prefix and the request.
        methods: how it can be asked for.
        needs: what it takes to see it where access is not open: nothing, any ``credentials``, or those of an
            ``operator``, with the scope ``read``.
        blocks: whether it may take a while, so that no event loop should wait for it.
    """

    name: str
    path: str
    show: Callable[[Pages, str, Request], Response]
    methods: tuple[str, ...] = ("GET", "HEAD")
    needs: Literal["nothing", "credentials", "operator"] = "credentials"
    blocks: bool = True

    def answer(self, pages: Pages, api: Api, prefix: str, request: Request) -> Response:
        """What is answered to who asks for it, also if they may not see it. May ask a storage."""
        try:
            if self.needs != "nothing":
                principal = api.recognise(request)
                if self.needs == "operator":
                    check_scope(principal, Scope.READ, tokens=False, session_id=None)
                    check_operator(principal, api.harken.application)
                    check_agent_keys(principal, allowed=False)
            return self.show(pages, prefix, request)
        except Problem as problem:
            if problem.kind == "unauthorized" and self.name == "docs":
                return _see(f"{prefix}/sign-in")
            return problem.response(request.path)
        except HarkenError as error:
            return (problem_of(error) or internal()).response(request.path)


def _asset(body: bytes, media_type: str) -> Response:
    return Response(200, body, f"{media_type}; charset=utf-8")


_SIGN_IN: Final = "/sign-in"
PAGES: Final = (
    Page("healthz", "/healthz", lambda pages, _, __: pages.healthz(), needs="nothing", blocks=False),
    Page("readyz", "/readyz", lambda pages, _, __: pages.readyz(), needs="nothing"),
    Page("metrics", "/metrics", lambda pages, _, __: pages.metrics(), needs="operator"),
    Page("openapi", "/openapi.json", lambda pages, prefix, _: pages.openapi(prefix)),
    Page("docs", "/docs", lambda pages, prefix, sent: pages.docs(prefix, signed_in=cookie_of(sent) is not None)),
    Page("docs_script", "/docs/start.js", lambda pages, prefix, _: pages.docs_script(prefix)),
    Page("docs_asset", "/docs/assets/{name}", lambda pages, _, sent: pages.docs_asset(sent.parts["name"])),
    Page("sign_in", _SIGN_IN, lambda pages, prefix, _: pages.sign_in_page(prefix), needs="nothing", blocks=False),
    Page("sign_in_form", _SIGN_IN, Pages.sign_in, methods=("POST",), needs="nothing"),
    Page("sign_out", "/sign-out", Pages.sign_out, methods=("POST",), needs="nothing"),
    Page(
        "sign_in_style",
        "/sign-in/style.css",
        lambda *_: _asset(sign_in.STYLE, "text/css"),
        needs="nothing",
        blocks=False,
    ),
    Page(
        "sign_in_script",
        "/sign-in/start.js",
        lambda *_: _asset(sign_in.SCRIPT, "text/javascript"),
        needs="nothing",
        blocks=False,
    ),
)

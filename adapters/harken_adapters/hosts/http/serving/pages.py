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
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.documentation import docs_page
from harken_adapters.hosts.http.documentation.openapi import document
from harken_adapters.hosts.http.guards import sign_in
from harken_adapters.hosts.http.guards.access import (
    KEY_PREFIX,
    cookie_of,
    unauthorized,
)
from harken_adapters.hosts.http.guards.permissions import check_agent_keys, check_operator, check_scope
from harken_adapters.hosts.http.guards.sources import is_foreign
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.wire.messages import SECURITY_HEADERS, Headers, Request, Response, answer, to_json
from harken_adapters.hosts.http.wire.problems import Problem, internal, nothing_here, problem_of

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
#: The query of the page to sign in on, where a browser that has signed out is sent.
_SIGNED_OUT: Final = "signed-out"
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
            [(f"{one.method} {prefix}{one.path}", one.summary) for one in OPERATIONS],
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

    def sign_in_page(self, prefix: str, request: Request) -> Response:
        """The page to sign in on; where nobody has to, what comes after it."""
        if self._api.settings.access == "open":
            return _see(f"{prefix}/docs")
        notice = "You are signed out." if request.query == _SIGNED_OUT else None
        return Response(200, sign_in.page(prefix, notice=notice), _HTML, security=sign_in.SECURITY)

    def sign_in(self, prefix: str, request: Request) -> Response:
        """Exchange the key that the page sent for a cookie; the page again, with the reason, where that fails."""
        sent = parse_qs(request.body.decode("latin-1")).get("key", [""])
        key = sent[0].strip()
        bearer = f"Bearer {key}"
        try:
            _check_own_page(request)
            if not key.startswith(KEY_PREFIX):
                raise unauthorized(f"An API key begins with {KEY_PREFIX}")
            principal = self._api.recognise(
                evolve(request, header=lambda name: bearer if name == "authorization" else request.header(name))
            )
        except Problem as problem:
            return _not(prefix, "signed in", problem)
        except HarkenError as error:
            return _not(prefix, "signed in", problem_of(error) or internal())
        request.application = principal.application
        return _see(f"{prefix}/docs", sign_in.cookie(key, prefix, secure=_is_secure(request)))

    def sign_out(self, prefix: str, request: Request) -> Response:
        """Take the cookie away; for pages of other origins the page to sign in on, with the reason why not."""
        try:
            _check_own_page(request)
        except Problem as problem:
            return _not(prefix, "signed out", problem)
        return _see(f"{prefix}/sign-in?{_SIGNED_OUT}", sign_in.cookie("", prefix, secure=_is_secure(request)))

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


def _not(prefix: str, done: str, problem: Problem) -> Response:
    """The page to sign in on, which says why something was not done."""
    body = sign_in.page(prefix, error=problem.detail, title=f"Not {done}.")
    return Response(problem.status, body, _HTML, problem.headers, security=sign_in.SECURITY)


def _check_own_page(request: Request) -> None:
    """Whether one of Harken's own pages sent the form.

    Raises:
        Problem: it was another one, or a proxy makes it look so.
    """
    if not is_foreign(request.header):
        return
    if request.header("sec-fetch-site") is not None:
        raise Problem("forbidden", "A page of another site sent this form; open this page yourself, and use its form.")
    raise Problem(
        "forbidden",
        f"The browser sent this form from {request.header('origin')}, but it arrived with the Host "
        f"{request.header('host')}. If you opened this page yourself, your proxy changes the Host header; in nginx, "
        "set 'proxy_set_header Host $http_host;'.",
    )


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
    Page("sign_in", _SIGN_IN, Pages.sign_in_page, needs="nothing", blocks=False),
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

"""The pages besides the API: health, metrics, documentation, sign-in, the demo, feedback links and the widget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache, partial
from importlib.metadata import version
from threading import Thread
from typing import Final, Literal
from urllib.parse import parse_qs

from attrs import evolve, frozen

from harken import HarkenError, Scope
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.documentation import docs_page
from harken_adapters.hosts.http.documentation.openapi import document
from harken_adapters.hosts.http.guards.access import (
    KEY_PREFIX,
    Principal,
    cookie_of,
    unauthorized,
)
from harken_adapters.hosts.http.guards.permissions import check_agent_keys, check_operator, check_scope
from harken_adapters.hosts.http.guards.sources import is_foreign
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving import demo, sign_in
from harken_adapters.hosts.http.serving.browser_files import MODULES, module_response
from harken_adapters.hosts.http.serving.feedback_links.handler import answer_link
from harken_adapters.hosts.http.serving.feedback_links.page import style
from harken_adapters.hosts.http.wire.messages import Request, Response, answer, security_headers, to_json
from harken_adapters.hosts.http.wire.problems import Problem, internal, path_not_found, problem_of

#: The timeout of the readiness check, in seconds.
_TIMEOUT: Final = 2.0
_READINESS_SESSION: Final = "readiness"
#: The documentation page loads its own scripts, and styles and images that these create.
_PAGE_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
)
#: The page has a sign-out form.
_PAGE_SECURITY: Final = security_headers(_PAGE_POLICY, referrer_policy="same-origin")
#: The query string of the sign-in page after signing out.
_SIGNED_OUT: Final = "signed-out"
_HTML: Final = "text/html; charset=utf-8"


class Pages:
    """Health, metrics, documentation and sign-in.

    The argument ``root`` of its methods is the prefix of the API's paths, percent-encoded and without a trailing slash.
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        self._lock = ForkSafeLock()
        self._probe: Future[None] | None = None

    def healthz(self) -> Response:
        """Liveness: the process responds."""
        return answer({"status": "ok"})

    def readyz(self) -> Response:
        """Readiness: the storage responds. Blocks for at most two seconds."""
        try:
            self._start_probe().result(_TIMEOUT)
        except (HarkenError, TimeoutError):
            return _not_ready()
        return answer({"status": "ready"})

    async def readyz_in_loop(self) -> Response:
        """Like :meth:`readyz`, for an event loop, without occupying a thread."""
        try:
            # Shielded, as other requests wait for the same probe.
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._start_probe())), _TIMEOUT)
        except (HarkenError, TimeoutError):
            return _not_ready()
        return answer({"status": "ready"})

    def metrics(self) -> Response:
        """Metrics for Prometheus. May block on the storage."""
        return Response(200, *self.api.metrics.render())

    def openapi(self, root: str = "") -> Response:
        """The OpenAPI document."""
        return Response(200, _document(root))

    def docs(self, root: str = "", *, signed_in: bool = False) -> Response:
        """The documentation page, which loads nothing from other hosts."""
        body = docs_page.page(
            f"{root}/openapi.json",
            f"{root}/docs/assets",
            f"{root}/docs/start.js",
            f"{root}/sign-out" if signed_in else None,
            [(f"{one.method} {root}{one.path}", one.summary) for one in OPERATIONS],
        )
        return Response(200, body, _HTML, security=_PAGE_SECURITY)

    def docs_script(self, root: str = "") -> Response:
        """The script of the documentation page."""
        return Response(200, docs_page.script(f"{root}/openapi.json"), "text/javascript; charset=utf-8")

    def docs_asset(self, name: str) -> Response:
        """A file that the documentation page loads.

        Raises:
            Problem: the file does not exist.
        """
        if (found := docs_page.asset(name)) is None:
            raise path_not_found()
        return Response(200, *found)

    def sign_in_page(self, root: str, request: Request) -> Response:
        """The sign-in page; if access is open, a redirect to the documentation."""
        if self.api.settings.access == "open":
            return _redirect(f"{root}/docs")
        notice = "You are signed out." if request.query == _SIGNED_OUT else None
        return Response(200, sign_in.page(root, notice=notice), _HTML, security=sign_in.SECURITY)

    def sign_in(self, root: str, request: Request) -> Response:
        """Exchange the submitted API key for a cookie. On failure, show the sign-in page with the reason."""
        values = parse_qs(request.body.decode("latin-1")).get("key", [""])
        key = values[0].strip()
        bearer = f"Bearer {key}"
        try:
            check_own_page(request)
            if not key.startswith(KEY_PREFIX):
                raise unauthorized(f"An API key must start with {KEY_PREFIX}")
            principal = self.api.recognise(
                evolve(request, header=lambda name: bearer if name == "authorization" else request.header(name))
            )
        except Problem as problem:
            return _failure(root, "signed in", problem)
        except HarkenError as error:
            return _failure(root, "signed in", problem_of(error) or internal())
        request.application = principal.application
        return _redirect(f"{root}/docs", sign_in.cookie(key, root, secure=_is_secure(request)))

    def sign_out(self, root: str, request: Request) -> Response:
        """Remove the cookie. For a form of another origin, show the sign-in page with the reason for the refusal."""
        try:
            check_own_page(request)
        except Problem as problem:
            return _failure(root, "signed out", problem)
        return _redirect(f"{root}/sign-in?{_SIGNED_OUT}", sign_in.cookie("", root, secure=_is_secure(request)))

    def demo(self, root: str, request: Request) -> Response:
        """The demo of the widget, with a session token if the server can create one and the caller may submit."""
        api = self.api
        principal = api.recognise(request)
        if api.tokens is None:
            return _demo(demo.page(root, demo.NO_SECRETS))
        if not _may_submit(principal):
            return _demo(demo.page(root, demo.NOT_ALLOWED))
        application = principal.application or api.harken.application
        token = api.tokens.mint(session_id=demo.SESSION, author=demo.AUTHOR, application=application)
        return _demo(demo.page(root, demo.stored_in(application), token=token))

    def feedback_link(self, _: str, request: Request) -> Response:
        """The page of a feedback link, or the result of its form. May block on the storage."""
        return answer_link(self.api, request)

    def _start_probe(self) -> Future[None]:
        """Start a readiness probe of the storage, or return the one in progress, so that at most one thread hangs."""
        with self._lock:
            if self._probe is None or self._probe.done():
                self._probe = Future()
                Thread(target=self._run_probe, args=(self._probe,), name="harken-readiness", daemon=True).start()
            return self._probe

    def _run_probe(self, probe: Future[None]) -> None:
        try:
            self.api.harken.sessions.get(self.api.harken.application, _READINESS_SESSION)
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            probe.set_exception(error)
        else:
            probe.set_result(None)


@lru_cache(maxsize=8)
def _document(root: str) -> bytes:
    """The OpenAPI document, cached, as building it takes milliseconds."""
    return to_json(document(version=version("harken"), root=root))


def _not_ready() -> Response:
    return Problem("unavailable", "The storage is not available").response("/readyz")


def _redirect(path: str, *headers: tuple[str, str]) -> Response:
    return Response(303, b"", None, (("location", path), *headers))


def _demo(body: bytes) -> Response:
    return Response(200, body, _HTML, security=demo.SECURITY)


def _may_submit(principal: Principal) -> bool:
    """Whether a session token for the demo permits nothing that the caller may not do anyway.

    The session token of a visitor is excluded: it is limited to its session, and with the token of the demo, the
    next one could be fetched before it expires.
    """
    if principal.key is None:
        return principal.token is None
    return principal.key.allows(Scope.SUBMIT) and principal.agents is None


def _failure(root: str, action: str, problem: Problem) -> Response:
    """The sign-in page with an error. ``action`` is ``"signed in"`` or ``"signed out"``."""
    body = sign_in.page(root, error=problem.detail, title=f"Not {action}.")
    return Response(problem.status, body, _HTML, problem.headers, security=sign_in.SECURITY)


def check_own_page(request: Request) -> None:
    """Check that a page of the same origin sent the form.

    Raises:
        Problem: a page of another origin sent it, or a proxy makes it appear so.
    """
    if not is_foreign(request.header):
        return
    if request.header("sec-fetch-site") is not None:
        raise Problem("forbidden", "A page of another site sent this form. Open this page directly and use its form.")
    raise Problem(
        "forbidden",
        f"The browser sent this form from {request.header('origin')}, but it arrived with the Host "
        f"{request.header('host')}. If you opened this page directly, your proxy changes the Host header; in nginx, "
        "set 'proxy_set_header Host $http_host;'.",
    )


def _is_secure(request: Request) -> bool:
    """Whether the browser uses TLS, according to Origin. This also works if a proxy terminates TLS."""
    return (request.header("origin") or "").startswith("https://")


@frozen
class Page:
    """A page.

    Attributes:
        name: its name, for web frameworks and logs.
        path: the path template, with parameters in braces.
        show: returns the response for the root of the API and a request.
        methods: the allowed HTTP methods.
        needs: who may see it if access is not open: anyone (``nothing``), anyone with ``credentials``, or an
            ``operator`` with the scope ``read``.
        blocks: whether it may block, so that an event loop must use a thread.
    """

    name: str
    path: str
    show: Callable[[Pages, str, Request], Response]
    methods: tuple[str, ...] = ("GET", "HEAD")
    needs: Literal["nothing", "credentials", "operator"] = "credentials"
    blocks: bool = True

    def answer(self, pages: Pages, api: Api, root: str, request: Request) -> Response:
        """The response to a request for this page, or an error response. May block on a storage."""
        try:
            if self.needs != "nothing":
                principal = api.recognise(request)
                if self.needs == "operator":
                    check_scope(principal, Scope.READ, tokens=False, session_id=None)
                    check_operator(principal, api.harken.application)
                    check_agent_keys(principal, allowed=False)
            return self.show(pages, root, request)
        except Problem as problem:
            if problem.kind == "unauthorized" and self.name in ("docs", "demo"):
                return _redirect(f"{root}/sign-in")
            return problem.response(request.path)
        except HarkenError as error:
            return (problem_of(error) or internal()).response(request.path)


def _asset(body: bytes, media_type: str) -> Response:
    return Response(200, body, f"{media_type}; charset=utf-8")


def _show_module(name: str, _: Pages, __: str, request: Request) -> Response:
    return module_response(name, request)


_LINK: Final = "/vote/{link}"
#: Served even where the pages for operators are not. Modules need no credentials; a signed link is its own.
PUBLIC_PAGES: Final = (
    *(
        Page(f"{name}_module", f"/{name}.js", partial(_show_module, f"{name}.js"), needs="nothing", blocks=False)
        for name in MODULES
    ),
    Page("feedback_link", _LINK, Pages.feedback_link, needs="nothing"),
    Page("feedback_link_form", _LINK, Pages.feedback_link, methods=("POST",), needs="nothing"),
    Page("feedback_link_style", "/vote/assets/style.css", lambda *_: _asset(style(), "text/css"), needs="nothing"),
)
_SIGN_IN: Final = "/sign-in"
SERVICE_PAGES: Final = (
    *PUBLIC_PAGES,
    Page("healthz", "/healthz", lambda pages, _, __: pages.healthz(), needs="nothing", blocks=False),
    Page("readyz", "/readyz", lambda pages, _, __: pages.readyz(), needs="nothing"),
    Page("metrics", "/metrics", lambda pages, _, __: pages.metrics(), needs="operator"),
    Page("openapi", "/openapi.json", lambda pages, root, _: pages.openapi(root)),
    Page("docs", "/docs", lambda pages, root, sent: pages.docs(root, signed_in=cookie_of(sent) is not None)),
    Page("docs_script", "/docs/start.js", lambda pages, root, _: pages.docs_script(root)),
    Page("docs_asset", "/docs/assets/{name}", lambda pages, _, sent: pages.docs_asset(sent.parts["name"])),
    Page("demo", "/demo", Pages.demo),
    Page("demo_style", "/demo/style.css", lambda *_: _asset(demo.STYLE, "text/css"), needs="nothing", blocks=False),
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

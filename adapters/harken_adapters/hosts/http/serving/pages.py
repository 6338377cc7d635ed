"""The pages besides the API: health, metrics, documentation, sign-in, the demo, feedback links and the widget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache, partial
from importlib.metadata import version
from threading import Thread
from typing import Final, Literal

from attrs import frozen

from harken import HarkenError, Scope
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.documentation import docs_page
from harken_adapters.hosts.http.documentation.openapi import document
from harken_adapters.hosts.http.guards.access import Principal, check_own_page
from harken_adapters.hosts.http.guards.permissions import check_agent_keys, check_operator, check_scope
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving import demo
from harken_adapters.hosts.http.serving.browser_files import MODULES, module_response
from harken_adapters.hosts.http.serving.feedback_links.handler import answer_link
from harken_adapters.hosts.http.serving.feedback_links.page import style
from harken_adapters.hosts.http.serving.sign_in import page as sign_in_files
from harken_adapters.hosts.http.serving.sign_in import paths
from harken_adapters.hosts.http.serving.sign_in.handler import SignIn
from harken_adapters.hosts.http.wire.bodies import WITH_BODY
from harken_adapters.hosts.http.wire.messages import (
    HTML,
    Request,
    Response,
    answer,
    redirect,
    security_headers,
    to_json,
)
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


class Pages:
    """Health, metrics, documentation, sign-in, the demo of the widget and feedback links.

    The argument ``root`` of its methods is the prefix of the API's paths, percent-encoded and without a trailing slash.
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        self.sign_in = SignIn(api)
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

    def docs(self, root: str, request: Request) -> Response:
        """The documentation page, which loads nothing from other hosts. It has a button to sign out."""
        signed_in = self.api.recognise(request).browser is not None
        body = docs_page.page(
            f"{root}/openapi.json",
            f"{root}/docs/assets",
            f"{root}/docs/start.js",
            f"{root}/sign-out" if signed_in else None,
            [(f"{one.method} {root}{one.path}", one.summary) for one in OPERATIONS],
        )
        return Response(200, body, HTML, security=_PAGE_SECURITY)

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


def _demo(body: bytes) -> Response:
    return Response(200, body, HTML, security=demo.SECURITY)


def _may_submit(principal: Principal) -> bool:
    """Whether a session token for the demo permits nothing that the caller may not do anyway.

    The session token of a visitor is excluded: it is limited to its session, and with the token of the demo, the
    next one could be fetched before it expires.
    """
    if principal.key is None:
        return principal.token is None
    return principal.key.allows(Scope.SUBMIT) and principal.agents is None


@frozen
class Page:
    """A page.

    Attributes:
        name: its name, for web frameworks and logs.
        path: the path template, with parameters in braces.
        show: returns the response for the root of the API and a request.
        methods: the allowed HTTP methods.
        signs_in: whether a browser without credentials is redirected to the sign-in page, which leads back.
        is_logged: whether GET requests are logged and counted like those of operations, as all others are.
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
    signs_in: bool = False
    is_logged: bool = False

    def answer(self, pages: Pages, root: str, request: Request) -> Response:
        """The response to a request for this page, or an error response. May block on a storage."""
        try:
            if self.needs != "nothing":
                principal = pages.api.recognise(request)
                if request.method in WITH_BODY:
                    check_own_page(request, needs_proof=principal.browser is not None)
                if self.needs == "operator":
                    check_scope(principal, Scope.READ, tokens=False, session_id=None)
                    check_operator(principal, pages.api.harken.application)
                    check_agent_keys(principal, allowed=False)
            return self.show(pages, root, request)
        except Problem as problem:
            if problem.kind == "unauthorized" and self.signs_in:
                return redirect(paths.sign_in_path(root, request, problem))
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
SIGN_IN_PAGES: Final = (
    Page(
        "sign_in",
        paths.SIGN_IN,
        lambda pages, root, sent: pages.sign_in.show(root, sent),
        needs="nothing",
        blocks=False,
    ),
    Page(
        "sign_in_form",
        paths.SIGN_IN,
        lambda pages, root, sent: pages.sign_in.submit(root, sent),
        methods=("POST",),
        needs="nothing",
    ),
    Page(
        "sign_in_current",
        f"{paths.SIGN_IN}/current",
        lambda pages, root, sent: pages.sign_in.current(root, sent),
        needs="nothing",
    ),
    Page(
        "sign_in_stay",
        f"{paths.SIGN_IN}/stay",
        lambda pages, root, sent: pages.sign_in.stay(root, sent),
        methods=("POST",),
        signs_in=True,
    ),
    Page(
        "openid",
        f"{paths.SIGN_IN}/openid",
        lambda pages, root, sent: pages.sign_in.start(root, sent),
        methods=("GET",),
        needs="nothing",
        is_logged=True,
    ),
    Page(
        "openid_callback",
        f"{paths.SIGN_IN}/openid/callback",
        lambda pages, root, sent: pages.sign_in.finish(root, sent),
        methods=("GET",),
        needs="nothing",
        is_logged=True,
    ),
    Page(
        "sign_out",
        "/sign-out",
        lambda pages, root, sent: pages.sign_in.sign_out(root, sent),
        methods=("POST",),
        needs="nothing",
    ),
)
#: The files that the pages for signing in load.
SIGN_IN_FILES: Final = (
    Page(
        "sign_in_style",
        f"{paths.SIGN_IN}/style.css",
        lambda *_: _asset(sign_in_files.style(), "text/css"),
        needs="nothing",
        blocks=False,
    ),
    Page(
        "sign_in_script",
        f"{paths.SIGN_IN}/start.js",
        lambda *_: _asset(sign_in_files.script(), "text/javascript"),
        needs="nothing",
        blocks=False,
    ),
)
SERVICE_PAGES: Final = (
    *PUBLIC_PAGES,
    *SIGN_IN_PAGES,
    *SIGN_IN_FILES,
    Page("healthz", "/healthz", lambda pages, _, __: pages.healthz(), needs="nothing", blocks=False),
    Page("readyz", "/readyz", lambda pages, _, __: pages.readyz(), needs="nothing"),
    Page("metrics", "/metrics", lambda pages, _, __: pages.metrics(), needs="operator"),
    Page("openapi", "/openapi.json", lambda pages, root, _: pages.openapi(root)),
    Page("docs", "/docs", Pages.docs, signs_in=True),
    Page("docs_script", "/docs/start.js", lambda pages, root, _: pages.docs_script(root)),
    Page("docs_asset", "/docs/assets/{name}", lambda pages, _, sent: pages.docs_asset(sent.parts["name"])),
    Page("demo", "/demo", Pages.demo, signs_in=True),
    Page("demo_style", "/demo/style.css", lambda *_: _asset(demo.STYLE, "text/css"), needs="nothing", blocks=False),
)

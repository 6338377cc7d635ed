"""What a host shows besides the API: to whoever runs it, and to whoever reads about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import lru_cache
from importlib.metadata import version
from threading import Lock, Thread
from typing import Final

from attrs import frozen

from harken import HarkenError
from harken_adapters.hosts.http import docs_page
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.messages import SECURITY_HEADERS, Headers, Response, answer, to_json
from harken_adapters.hosts.http.openapi import document
from harken_adapters.hosts.http.problems import Problem, nothing_here

#: How many seconds the storage may take to prove that it is there.
_PATIENCE: Final = 2.0
_READINESS_SESSION: Final = "readiness"
#: The page loads its own scripts, and styles and pictures that these make.
_PAGE_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
)
_PAGE_SECURITY: Final[Headers] = tuple({**dict(SECURITY_HEADERS), "content-security-policy": _PAGE_POLICY}.items())


class Pages:
    """Health, figures and documentation. Whether everybody may ask for them is for the proxy in front to say.

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
            return Problem("unavailable", "The storage does not answer").response("/readyz")
        return answer({"status": "ready"})

    def metrics(self) -> Response:
        """Figures for Prometheus. May read a storage."""
        return Response(200, *self._api.metrics.render())

    def openapi(self, prefix: str = "") -> Response:
        """The OpenAPI document."""
        return Response(200, _document(prefix))

    def docs(self, prefix: str = "") -> Response:
        """The page that shows it, which loads nothing from anywhere else."""
        body = docs_page.page(f"{prefix}/openapi.json", f"{prefix}/docs/assets", f"{prefix}/docs/start.js")
        return Response(200, body, "text/html; charset=utf-8", security=_PAGE_SECURITY)

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


@frozen
class Page:
    """One of them.

    Attributes:
        name: what a framework may call it.
        path: with its parameters in braces.
        show: gives it, from the prefix and what the path's parameters are.
        blocks: whether that may take a while, so that no event loop should wait for it.
    """

    name: str
    path: str
    show: Callable[[Pages, str, Mapping[str, str]], Response]
    blocks: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """How it can be asked for."""
        return ("GET", "HEAD")


PAGES: Final = (
    Page("healthz", "/healthz", lambda pages, _, __: pages.healthz()),
    Page("readyz", "/readyz", lambda pages, _, __: pages.readyz(), blocks=True),
    Page("metrics", "/metrics", lambda pages, _, __: pages.metrics(), blocks=True),
    Page("openapi", "/openapi.json", lambda pages, prefix, _: pages.openapi(prefix)),
    Page("docs", "/docs", lambda pages, prefix, _: pages.docs(prefix)),
    Page("docs_script", "/docs/start.js", lambda pages, prefix, _: pages.docs_script(prefix)),
    Page("docs_asset", "/docs/assets/{name}", lambda pages, _, parts: pages.docs_asset(parts["name"])),
)

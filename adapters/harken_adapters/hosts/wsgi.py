"""Harken as a WSGI application, without a web framework."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from harken import Harken
from harken.configuration.extras import requires

with requires("The WSGI host", "http"):
    from harken_adapters.hosts.http.serving.process_service import ProcessService
    from harken_adapters.hosts.http.serving.wsgi import Input, body_of, headers_of, request_of
    from harken_adapters.hosts.http.settings import ServerSettings
    from harken_adapters.hosts.http.wire.paths import encode_path, encode_root
    from harken_adapters.hosts.web.routes import PAGES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class WsgiApp:
    """A WSGI application with the API, the dashboard, documentation, health and metrics.

    Args:
        settings: the settings of the server; by default from ``harken.toml`` and ``HARKEN_SERVER_*``.
        harken: the Harken to serve. The caller closes it and starts its relay. By default, one is connected on the
            first request in each process, and closed at exit.

    Raises:
        ConfigurationError: a setting is invalid.
    """

    def __init__(self, settings: ServerSettings | None = None, *, harken: Harken | None = None) -> None:
        self.service = ProcessService(settings, harken=harken, pages=PAGES)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle a request."""
        root, path = (_decode(environ.get(name, "")) for name in ("SCRIPT_NAME", "PATH_INFO"))
        request = request_of(environ, environ["REQUEST_METHOD"], encode_path(root + path))
        body = Input(environ)
        response = self.service.respond(request, path, encode_root(root), body)
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", headers_of(response))
        return body_of(response, request.method, body)


def _decode(text: str) -> str:
    """Decode a part of a path. WSGI passes each byte as a character."""
    return text.encode("latin-1").decode("utf-8", errors="replace")

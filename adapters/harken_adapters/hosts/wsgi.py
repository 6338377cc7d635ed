"""Harken as a WSGI application that needs no framework, to be served or mounted."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from harken import Harken
from harken_adapters.hosts.http.serving.process_service import Service
from harken_adapters.hosts.http.serving.wsgi import Input, body_of, encoded, headers_of, request_of
from harken_adapters.hosts.http.settings import ServerSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class WsgiApp:
    """All of the service: the API, its documentation, health and figures.

    Args:
        settings: how it is served; without, they come from ``[server]`` of ``harken.toml`` and ``HARKEN_SERVER_*``.
        harken: what it serves, which stays its owner's to close, and whose relay is its owner's to start. Without, one
            is connected at the first request, in the process that answers it, and closed at exit.

    Raises:
        ConfigurationError: a setting makes no sense.
    """

    def __init__(self, settings: ServerSettings | None = None, *, harken: Harken | None = None) -> None:
        self.service = Service(settings, harken=harken)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        root, path = (_decoded(environ.get(name, "")) for name in ("SCRIPT_NAME", "PATH_INFO"))
        request = request_of(environ, environ["REQUEST_METHOD"], encoded(root + path))
        body = Input(environ)
        response = self.service.respond(request, path, encoded(root), body)
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", headers_of(response))
        return body_of(response, request.method, body)


def _decoded(text: str) -> str:
    """A part of a path, which WSGI hands over with each byte as a character."""
    return text.encode("latin-1").decode("utf-8", errors="replace")

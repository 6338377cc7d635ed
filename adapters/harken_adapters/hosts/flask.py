"""Harken in Flask: an extension for an application, and an application of its own. Needs the extra ``flask``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import IO, Final

import harken
from harken import ConfigurationError, MissingExtra
from harken_adapters.hosts.http.guards.tokens import SessionTokens
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import PAGES
from harken_adapters.hosts.http.serving.process_service import Service
from harken_adapters.hosts.http.serving.wsgi import Input, body_of, encoded, headers_of, request_of
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.bodies import ended_early
from harken_adapters.hosts.http.wire.problems import Problem, kind_of_status

try:
    from flask import Blueprint, Flask, Response, current_app, request
    from werkzeug.exceptions import ClientDisconnected, HTTPException
except ModuleNotFoundError as error:
    raise MissingExtra("The Flask host needs the package 'flask'; try pip install \"harken[flask]\"") from error

__all__ = ["Harken", "ServerSettings", "SessionTokens", "create_app", "current_harken"]

_NAME: Final = "harken"
#: Whoever asks with a method that a path does not have is told so as every host tells it.
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


class Harken:
    """Gives a Flask application the API, its documentation, health and figures: ``Harken(app)``.

    Without ``harken``, one is connected for each application: at the first request or the first
    :func:`current_harken`, in the process that needs it, so that a server may load the application before it forks.
    It has the text adapters, its relay runs unless the settings say otherwise, and it is closed at exit.

    The application's configuration may have ``HARKEN_STORAGE`` (the URL of the storage), ``HARKEN_URL_PREFIX``, and
    ``HARKEN_SERVER``, a table of what ``[server]`` of ``harken.toml`` may have.

    Args:
        app: the application; without, call :meth:`init_app` later.
        harken: what is served, which stays its owner's to close, and whose relay is its owner's to start.
        settings: how it is served; without, ``HARKEN_SERVER`` of the configuration, ``HARKEN_SERVER_*`` of the
            environment and ``[server]`` say.
        url_prefix: what all paths begin with, such as ``/feedback``.
        pages: whether documentation, health and figures are there too.

    Raises:
        ConfigurationError: a setting makes no sense.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        harken: harken.Harken | None = None,
        settings: ServerSettings | None = None,
        url_prefix: str | None = None,
        pages: bool = True,
    ) -> None:
        self._harken = harken
        self._settings = settings
        self._url_prefix = url_prefix
        self._pages = pages
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give it to this application.

        Raises:
            ConfigurationError: a setting makes no sense.
        """
        prefix = _prefix(app.config.get("HARKEN_URL_PREFIX", "") if self._url_prefix is None else self._url_prefix)
        service = Service(
            self._settings or ServerSettings.of_table(app.config.get("HARKEN_SERVER", {}), "HARKEN_SERVER"),
            harken=self._harken,
            storage=app.config.get("HARKEN_STORAGE"),
            pages=self._pages,
        )
        _install(app, service, prefix)


def current_harken() -> harken.Harken:
    """The Harken of the application that is asked, for its views.

    Raises:
        RuntimeError: no application is asked just now, or it has none.
        ConfigurationError: a setting makes no sense.
        StorageError: the storage cannot be opened.
    """
    service = current_app.extensions.get(_NAME)
    if not isinstance(service, Service):
        raise RuntimeError("This application has no Harken; give it one with Harken(app)")  # noqa: TRY004
    return service.harken


def create_app(settings: ServerSettings | None = None, *, harken: harken.Harken | None = None) -> Flask:
    """An application that serves Harken and nothing else; to be served by a WSGI server, or mounted.

    Args:
        settings: how it is served; without, they come from ``[server]`` of ``harken.toml`` and ``HARKEN_SERVER_*``.
        harken: what it serves, which stays its owner's. Without, one is connected as the class :class:`Harken` says.

    Raises:
        ConfigurationError: a setting makes no sense.
    """
    app = Flask("harken", static_folder=None)
    service = Service(settings, harken=harken)
    _install(app, service, "")
    for status in (404, 405):
        app.register_error_handler(status, lambda _: _respond(service, ""))
    return app


def _prefix(text: object) -> str:
    if not isinstance(text, str) or "<" in text:
        raise ConfigurationError(f"The URL prefix must be a path such as '/feedback', got {text!r}")
    stripped = text.strip("/")
    return f"/{stripped}" if stripped else ""


def _install(app: Flask, service: Service, prefix: str) -> None:
    """Let an application answer for a service."""
    blueprint = Blueprint(_NAME, __name__)

    def respond(**_: str) -> Response:
        return _respond(service, prefix)

    known: dict[str, set[str]] = {}
    for target in (*OPERATIONS, *(PAGES if service.pages else ())):
        _add(blueprint, target.path, target.name, target.methods, respond)
        known.setdefault(target.path, set()).update(target.methods)
    for path, methods in known.items():
        _add(blueprint, path, "other_method", set(_METHODS) - methods, respond)
    if prefix:
        # Without one, what is not found is the application's to tell.
        _add(blueprint, "/", "nothing", _METHODS, respond)
        _add(blueprint, "/<path:_>", "nothing", _METHODS, respond)
    app.register_blueprint(blueprint, url_prefix=prefix or None)
    app.extensions[_NAME] = service


def _add(blueprint: Blueprint, path: str, name: str, methods: Iterable[str], respond: Callable[..., Response]) -> None:
    blueprint.add_url_rule(
        path.replace("{", "<").replace("}", ">"),
        endpoint=name,
        view_func=respond,
        methods=list(methods),
        provide_automatic_options=False,
        merge_slashes=False,
    )


def _respond(service: Service, prefix: str) -> Response:
    root = encoded(request.script_root + prefix)
    asked = request_of(request.environ, request.method, encoded(request.script_root + request.path))
    body = Input(request.environ, _Body().read)
    response = service.respond(asked, request.path.removeprefix(prefix), root, body)
    answer = Response(body_of(response, request.method, body), response.status, headers_of(response))
    if response.media_type is None:
        # Flask names one where there is nothing.
        del answer.headers["content-type"]
    return answer


class _Body:
    """The body of the request that is answered."""

    def __init__(self) -> None:
        self._source: IO[bytes] | None = None

    def read(self, most: int) -> bytes:
        """What comes next.

        Raises:
            Problem: it does not come, or is more than the application takes.
        """
        try:
            if self._source is not None:
                return self._source.read(most)
            chunk = request.stream.read(most)
            # What a guard of the application has read is gone from there, but Flask remembers it.
            self._source = request.stream if chunk else BytesIO(request.get_data())
            return chunk or self._source.read(most)
        except ClientDisconnected:
            raise ended_early() from None
        except HTTPException as error:
            raise Problem(kind_of_status(error.code or 400), str(error.description)) from error

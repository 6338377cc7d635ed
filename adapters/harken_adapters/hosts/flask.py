"""Harken for Flask: an extension, and a standalone application. Requires the extra ``flask``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import IO, Final

import harken
from harken import ConfigurationError
from harken.configuration.extras import requires

with requires("The Flask host", "flask"):
    import click
    from flask import Blueprint, Flask, Response, current_app, request
    from werkzeug.exceptions import ClientDisconnected, HTTPException

    from harken_adapters.hosts.cli import main
    from harken_adapters.hosts.http.operation import Operation
    from harken_adapters.hosts.http.operations import OPERATIONS
    from harken_adapters.hosts.http.serving.pages import PUBLIC_PAGES, Page
    from harken_adapters.hosts.http.serving.process_service import ProcessService
    from harken_adapters.hosts.http.serving.wsgi import Input, body_of, headers_of, request_of
    from harken_adapters.hosts.http.settings import ServerSettings
    from harken_adapters.hosts.http.wire.bodies import ended_early
    from harken_adapters.hosts.http.wire.paths import encode_path, encode_root
    from harken_adapters.hosts.http.wire.problems import Problem, kind_of_status
    from harken_adapters.hosts.web.routes import PAGES
    from harken_adapters.tokens import FeedbackLinks, SessionTokens

__all__ = ["FeedbackLinks", "Harken", "ServerSettings", "SessionTokens", "create_app", "current_harken"]

_NAME: Final = "harken"
#: All methods are routed, so that unsupported ones are answered with problem details as in every host.
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


class Harken:
    """A Flask extension that adds the API, the dashboard, documentation, health and metrics: ``Harken(app)``.

    Without ``harken``, one is connected for each application, on the first request or the first call of
    :func:`current_harken` in each process, so that a server may load the application before it forks. It has the text
    adapters, its relay runs unless the settings disable it, and it is closed at exit.

    It also adds the command ``flask harken``, which needs the extra ``cli``.

    The configuration of the application may have ``HARKEN_STORAGE`` (the storage URL), ``HARKEN_URL_PREFIX``, and
    ``HARKEN_SERVER`` (a dictionary of the settings in ``[server]`` of ``harken.toml``).

    Args:
        app: the application; if omitted, call :meth:`init_app` later.
        harken: the Harken to serve. The caller closes it and starts its relay.
        settings: the settings of the server; by default from ``HARKEN_SERVER`` of the configuration,
            ``HARKEN_SERVER_*`` of the environment and ``[server]`` of ``harken.toml``.
        url_prefix: the prefix of all paths, such as ``/feedback``.
        pages: whether to serve the dashboard, documentation, health and metrics too.

    Raises:
        ConfigurationError: a setting is invalid.
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
        """Add Harken to an application.

        Raises:
            ConfigurationError: a setting is invalid.
        """
        prefix = _prefix(app.config.get("HARKEN_URL_PREFIX", "") if self._url_prefix is None else self._url_prefix)
        storage = app.config.get("HARKEN_STORAGE")
        service = ProcessService(
            self._settings or ServerSettings.of_table(app.config.get("HARKEN_SERVER", {}), "HARKEN_SERVER"),
            harken=self._harken,
            storage=storage,
            pages=PAGES if self._pages else PUBLIC_PAGES,
        )
        _install(app, service, prefix)
        app.cli.add_command(_command(storage, can_connect=self._harken is None))


def current_harken() -> harken.Harken:
    """The Harken of the current application.

    Raises:
        RuntimeError: there is no current application, or it has no Harken.
        ConfigurationError: a setting is invalid.
        StorageError: the storage cannot be opened.
    """
    service = current_app.extensions.get(_NAME)
    if not isinstance(service, ProcessService):
        raise RuntimeError("This application has no Harken; add one with Harken(app)")  # noqa: TRY004
    return service.harken


def create_app(settings: ServerSettings | None = None, *, harken: harken.Harken | None = None) -> Flask:
    """A Flask application that serves only Harken, for a WSGI server or to be mounted.

    Args:
        settings: the settings of the server; by default from ``harken.toml`` and ``HARKEN_SERVER_*``.
        harken: the Harken to serve. The caller closes it and starts its relay. By default, one is connected, see
            :class:`Harken`.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    app = Flask("harken", static_folder=None)
    service = ProcessService(settings, harken=harken, pages=PAGES)
    _install(app, service, "")
    app.cli.add_command(_command(None, can_connect=harken is None))
    for status in (404, 405):
        app.register_error_handler(status, lambda _: _respond(service, ""))
    return app


def _command(storage: str | None, *, can_connect: bool) -> click.Command:
    """The command line of Harken as ``flask harken``, for the storage of the application.

    Args:
        storage: the storage URL; by default that of the settings of Harken.
        can_connect: whether the application has no Harken of its own, which a command cannot use.
    """

    @click.command(
        _NAME,
        # All arguments are Harken's, also --help and what follows --.
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        add_help_option=False,
        help="Run the command harken with the storage of this application, such as: flask harken stats",
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def command(context: click.Context, arguments: tuple[str, ...]) -> None:
        if not can_connect and storage is None:
            raise click.ClickException(
                "Commands cannot use the Harken of another process; set HARKEN_STORAGE in the configuration"
            )
        context.exit(main(arguments, storage=storage))

    return command


def _prefix(text: object) -> str:
    if not isinstance(text, str) or "<" in text:
        raise ConfigurationError(f"The URL prefix must be a path such as '/feedback', got {text!r}")
    stripped = text.strip("/")
    return f"/{stripped}" if stripped else ""


def _install(app: Flask, service: ProcessService, prefix: str) -> None:
    """Add the routes of Harken to an application."""
    blueprint = Blueprint(_NAME, __name__)

    def respond(**_: str) -> Response:
        return _respond(service, prefix)

    known: dict[str, set[str]] = {}
    targets: tuple[Operation | Page, ...] = (*OPERATIONS, *service.pages)
    for target in targets:
        _add(blueprint, target.path, target.name, target.methods, respond)
        known.setdefault(target.path, set()).update(target.methods)
    for path, methods in known.items():
        _add(blueprint, path, "other_method", set(_METHODS) - methods, respond)
    if prefix:
        # Without a prefix, the application handles unknown paths.
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


def _respond(service: ProcessService, prefix: str) -> Response:
    root = encode_root(request.script_root + prefix)
    asked = request_of(request.environ, request.method, encode_path(request.script_root + request.path))
    body = Input(request.environ, _Body().read)
    response = service.respond(asked, request.path.removeprefix(prefix), root, body)
    answer = Response(body_of(response, request.method, body), response.status, headers_of(response))
    if response.media_type is None:
        # Flask sets a content type even if there is no content.
        del answer.headers["content-type"]
    return answer


class _Body:
    """Reads the body of the current request."""

    def __init__(self) -> None:
        self._source: IO[bytes] | None = None

    def read(self, most: int) -> bytes:
        """Read up to ``most`` bytes; empty at the end.

        Raises:
            Problem: the client has disconnected, or the body exceeds a limit of the application.
        """
        try:
            if self._source is not None:
                return self._source.read(most)
            chunk = request.stream.read(most)
            # If the application has already read the body, Flask has cached it.
            self._source = request.stream if chunk else BytesIO(request.get_data())
            return chunk or self._source.read(most)
        except ClientDisconnected:
            raise ended_early() from None
        except HTTPException as error:
            raise Problem(kind_of_status(error.code or 400), str(error.description)) from error

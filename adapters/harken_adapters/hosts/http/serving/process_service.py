"""A Harken and its threaded host, opened on first use in each process."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

import harken
from harken import Harken, HarkenError
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import with_absolute_path
from harken.ports.storage import Storage
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.logs import log_unopened
from harken_adapters.hosts.http.serving.pages import Page
from harken_adapters.hosts.http.serving.threaded_host import ThreadedHost
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.bodies import Read
from harken_adapters.hosts.http.wire.messages import Request, Response
from harken_adapters.hosts.http.wire.problems import internal, problem_of
from harken_adapters.telemetry import evaluation_events
from harken_adapters.text import text_adapters

#: The timeout for sending a part of a response, in seconds, if the server provides the socket.
_WRITE_SECONDS: Final = 30
#: The maximum time in seconds that a fork waits for a thread that is connecting.
_FORK_PATIENCE: Final = 5.0


def connect_harken(
    settings: ServerSettings, storage: str | Storage | None = None, *, application: str | None = None
) -> Harken:
    """Connect a Harken with the text adapters and middleware that the settings of the server select.

    Args:
        settings: the settings of the server.
        storage: the storage URL, or an open storage; by default the URL in the settings of Harken.
        application: the application of calls that do not name one; by default that of the settings of Harken.

    Raises:
        ConfigurationError: a setting is invalid, or needs an extra that is not installed.
        StorageError: the storage cannot be opened.
    """
    adapters = text_adapters(sanitize=settings.sanitize, sentiment=settings.sentiment)
    return harken.connect(
        storage,
        application=application,
        **adapters,
        middleware=_middleware(settings),
        public_url=settings.public_url or None,
    )


def _middleware(settings: ServerSettings) -> tuple[harken.Middleware, ...]:
    return (evaluation_events(),) if settings.evaluation_events else ()


def resolve_storage(storage: str | None) -> str:
    """The storage URL with an absolute path, as a server may change its working directory before connecting."""
    return with_absolute_path(Settings.load(os.environ, Path.cwd(), storage=storage).storage)


@frozen
class _Opened:
    """The objects that a process has opened."""

    pid: int
    harken: Harken
    host: ThreadedHost


class ProcessService:
    """A Harken and its threaded host.

    Both are opened on first use, and again in a forked process: servers load an application before they fork, and
    connections and threads do not survive a fork. They are closed at exit.

    Args:
        settings: the settings of the server; by default from ``harken.toml`` and ``HARKEN_SERVER_*``.
        harken: the Harken to serve. The caller closes it and starts its relay. By default, one is connected, and its
            relay runs unless the settings disable it.
        storage: the storage URL to connect to; by default that of the settings of Harken.
        pages: the pages to serve besides the API.

    Raises:
        ConfigurationError: a setting is invalid.
    """

    def __init__(
        self,
        settings: ServerSettings | None = None,
        *,
        harken: Harken | None = None,
        storage: str | None = None,
        pages: Sequence[Page],
    ) -> None:
        self.settings = ServerSettings.load() if settings is None else settings
        self.pages = pages
        self._given = harken
        self._storage = resolve_storage(storage) if harken is None else None
        # A fork waits while a thread connects, as that imports modules.
        self._lock = ForkSafeLock(patience=_FORK_PATIENCE)
        self._opened: _Opened | None = None
        # Objects of the parent process are never closed here, as that could interfere with the parent.
        self._inherited: list[_Opened] = []

    @property
    def harken(self) -> Harken:
        """The Harken of this process.

        Raises:
            ConfigurationError: a setting is invalid.
            StorageError: the storage cannot be opened.
        """
        return self._open().harken

    @property
    def host(self) -> ThreadedHost:
        """The host of this process.

        Raises:
            ConfigurationError: a setting is invalid.
            StorageError: the storage cannot be opened.
        """
        return self._open().host

    def respond(self, request: Request, path: str, root: str, read: Read) -> Response:
        """Handle a request, see :meth:`ThreadedHost.respond`. An error when opening becomes an error response."""
        try:
            host = self.host
        except HarkenError as error:
            log_unopened(request.id, error)
            response = (problem_of(error) or internal()).response(request.path)
        else:
            response = host.respond(request, path, root, read)
        if request.socket is not None:
            request.socket.settimeout(_WRITE_SECONDS)
        return response

    def close(self) -> None:
        """Close everything that this process has opened. It may be called repeatedly; later use opens it again."""
        with self._lock:
            opened, self._opened = self._opened, None
        atexit.unregister(self.close)
        if opened is None or opened.pid != os.getpid():
            return
        opened.host.close()
        if self._given is None:
            opened.harken.close()

    def _open(self) -> _Opened:
        opened = self._opened
        if opened is not None and opened.pid == os.getpid():
            return opened
        with self._lock:
            if self._opened is not None and self._opened.pid != os.getpid():
                self._inherited.append(self._opened)
                self._opened = None
            if self._opened is None:
                self._opened = self._connect()
                atexit.unregister(self.close)
                atexit.register(self.close)
            return self._opened

    def _connect(self) -> _Opened:
        if self._given is not None:
            return _Opened(os.getpid(), self._given, self._create_host(self._given))
        hk = connect_harken(self.settings, self._storage)
        try:
            if self.settings.relay:
                hk.start_relay(concurrency=self.settings.relay_concurrency)
            return _Opened(os.getpid(), hk, self._create_host(hk))
        except BaseException:
            hk.close()
            raise

    def _create_host(self, hk: Harken) -> ThreadedHost:
        return ThreadedHost(Api(hk, self.settings), self.pages)

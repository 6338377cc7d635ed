"""A Harken as the settings say, and one that is opened by the process that needs it."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from threading import Lock
from typing import Final

from attrs import frozen

import harken
from harken import Harken, HarkenError
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import anchored
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.logs import log_failure
from harken_adapters.hosts.http.serving.threaded_host import BlockingHost
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.bodies import Read
from harken_adapters.hosts.http.wire.messages import Request, Response
from harken_adapters.hosts.http.wire.problems import internal, problem_of
from harken_adapters.telemetry import evaluation_events
from harken_adapters.text import text_adapters

#: How many seconds a client may take to read a part of an answer, where the server hands over its connection.
_WRITE_SECONDS: Final = 30


def connected(settings: ServerSettings, storage: str | None = None) -> Harken:
    """A Harken as the settings say, with the text adapters and what else a service has around submissions.

    Args:
        settings: how it is served.
        storage: its URL; without one, the settings of Harken say.

    Raises:
        ConfigurationError: a setting makes no sense, or needs an extra that is not installed.
        StorageError: the storage cannot be opened.
    """
    adapters = text_adapters(sanitize=settings.sanitize, sentiment=settings.sentiment)
    return harken.connect(storage, **adapters, middleware=_middleware(settings))


def _middleware(settings: ServerSettings) -> tuple[harken.Middleware, ...]:
    return (evaluation_events(),) if settings.evaluation_events else ()


def _anchored(storage: str | None) -> str:
    """The storage to connect to later, perhaps from another working directory, as servers have that fork."""
    return anchored(Settings.load(os.environ, Path.cwd(), storage=storage).storage)


@frozen
class _Opened:
    """What a process opened."""

    pid: int
    harken: Harken
    host: BlockingHost


class Service:
    """A Harken and the host that answers for it in threads.

    Both are opened when they are first needed, and anew in a process that was forked since: connections and threads do
    not outlive a fork, and servers load an application before they fork. What was opened is closed at exit.

    Args:
        settings: how it is served; without, they come from ``[server]`` of ``harken.toml`` and ``HARKEN_SERVER_*``.
        harken: what is served, which stays its owner's to close, and whose relay is its owner's to start. Without, one
            is connected, and its relay runs unless the settings say otherwise.
        storage: the URL of the storage to connect to; without, the settings of Harken say.
        pages: whether health, figures and documentation are shown too.

    Raises:
        ConfigurationError: a setting makes no sense.
    """

    def __init__(
        self,
        settings: ServerSettings | None = None,
        *,
        harken: Harken | None = None,
        storage: str | None = None,
        pages: bool = True,
    ) -> None:
        self.settings = ServerSettings.load() if settings is None else settings
        self.pages = pages
        self._given = harken
        self._storage = _anchored(storage) if harken is None else None
        self._lock = Lock()
        self._opened: _Opened | None = None
        # What a parent opened is never closed here: that could damage what the parent does with it.
        self._inherited: list[_Opened] = []

    @property
    def harken(self) -> Harken:
        """What is served.

        Raises:
            ConfigurationError: a setting makes no sense.
            StorageError: the storage cannot be opened.
        """
        return self._open().harken

    @property
    def host(self) -> BlockingHost:
        """What answers.

        Raises:
            ConfigurationError: a setting makes no sense.
            StorageError: the storage cannot be opened.
        """
        return self._open().host

    def respond(self, request: Request, path: str, root: str, read: Read) -> Response:
        """What the host answers, see :meth:`BlockingHost.respond`; also if nothing can be opened."""
        try:
            host = self.host
        except HarkenError as error:
            log_failure(request.id, "open", error)
            response = (problem_of(error) or internal()).response(request.path)
        else:
            response = host.respond(request, path, root, read)
        if request.socket is not None:
            request.socket.settimeout(_WRITE_SECONDS)
        return response

    def close(self) -> None:
        """Close what this process opened. Closing twice is harmless, and whoever asks again opens it anew."""
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
                self._opened = self._anew()
                atexit.unregister(self.close)
                atexit.register(self.close)
            return self._opened

    def _anew(self) -> _Opened:
        if self._given is not None:
            return _Opened(os.getpid(), self._given, self._host(self._given))
        hk = connected(self.settings, self._storage)
        try:
            if self.settings.relay:
                hk.start_relay(concurrency=self.settings.relay_concurrency)
            return _Opened(os.getpid(), hk, self._host(hk))
        except BaseException:
            hk.close()
            raise

    def _host(self, hk: Harken) -> BlockingHost:
        return BlockingHost(Api(hk, self.settings), pages=self.pages)

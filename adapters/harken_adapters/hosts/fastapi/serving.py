"""``harken serve``: one or more processes that serve the application with uvicorn."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Final

import uvicorn
from attrs import frozen
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route

from harken import ConfigurationError, Harken
from harken.configuration.notifications import NotificationSettings
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import scheme_of
from harken_adapters.hosts.fastapi.app import create_app
from harken_adapters.hosts.fastapi.loopback import LoopbackOnly
from harken_adapters.hosts.fastapi.protocol import GuardedProtocol
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.addresses import is_loopback
from harken_adapters.hosts.http.guards.local_key import LocalKey, has_local_key, key_file, local_key
from harken_adapters.hosts.http.guards.rate_limits import MEMORY
from harken_adapters.hosts.http.logs import configure_logs
from harken_adapters.hosts.http.serving.process_service import connected
from harken_adapters.hosts.http.settings import ServerSettings

#: Storages that several processes can count in together.
_COUNTING: Final = ("mongodb", "mongodb+srv")
_METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_APP: Final = "harken_adapters.hosts.fastapi.serving:app"
#: After so many seconds a thread that waits may go on. The one that writes needs little time, but needs it soon: while
#: it waits for its turn, everybody waits for their answer.
_SWITCH_INTERVAL: Final = 0.001
#: Connections that wait to be accepted.
_BACKLOG: Final = 2048
#: For so many seconds answers may go on after a signal.
_GRACE: Final = 5


@frozen
class Started:
    """What the person who starts the service has to know.

    Attributes:
        address: where it is, without a slash at the end.
        access: ``open`` if no key is needed.
        key: the local key, where keys are needed and there is such a key.
        lost: the file in which a local key should be that is still valid, and is not.
    """

    address: str
    access: str
    key: LocalKey | None
    lost: Path | None = None


def serve(settings: ServerSettings, tell: Callable[[Started], object], *, command: str = "harken") -> None:
    """Serve until a signal ends it; what was accepted is answered before.

    What is not in these settings, each process reads for itself, from ``HARKEN_*`` and ``harken.toml``.

    Args:
        settings: how it is served.
        tell: is told how to reach it, when it can be reached.
        command: what commands on the same storage begin with, for errors that say which one to run.

    Raises:
        ConfigurationError: it must not, or cannot, be served like this.
        StorageError: the storage cannot be opened.
    """
    configure_logs(json=settings.log_json or None, level=settings.log_level)
    storage = Settings.load(os.environ, Path.cwd()).storage
    _check(settings, storage, command)
    with _ended_by_signal(), _bound(settings) as listening, _shared_metrics(settings.workers):
        # What was said on the command line, each process that serves has to find.
        os.environ["HARKEN_SERVER_WORKERS"] = str(settings.workers)
        os.environ["HARKEN_SERVER_ACCESS"] = settings.access
        # One process serves what it has opened here: a storage in memory is nowhere else. Several open it themselves.
        served = app() if settings.workers == 1 else None
        with connected(settings, storage) if served is None else nullcontext(served.state.harken) as hk:
            key, lost = _local_key(hk, settings, storage, command)
        tell(Started(_address(listening), settings.access, key, lost))
        uvicorn.run(
            served or _APP,
            factory=served is None,
            fd=listening.fileno(),
            workers=settings.workers,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="on",
            http=GuardedProtocol,
            ws="none",
            timeout_graceful_shutdown=_GRACE,
        )


def app() -> Starlette:
    """The application as each process makes it."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    settings = ServerSettings.load()
    configure_logs(json=settings.log_json or None, level=settings.log_level)
    storage = Settings.load(os.environ, Path.cwd()).storage
    made = create_app(settings, limit_storage=limit_storage(storage, settings.workers))
    # Nobody else serves the root here.
    made.router.routes.append(Route("/", lambda _: RedirectResponse("docs", 303)))
    if settings.access == "open":
        # No application is around this one that could guard it.
        made.add_middleware(LoopbackOnly)
    return made


def limit_storage(storage: str, workers: int) -> str:
    """Where calls are counted: by each process for itself, or where all can see it."""
    return storage if workers > 1 and scheme_of(storage) in _COUNTING else MEMORY


def _check(settings: ServerSettings, storage: str, command: str) -> None:
    _check_host(settings)
    if settings.workers > 1 and scheme_of(storage) == "memory":
        raise ConfigurationError("Several workers need a storage that they share; memory:// is one for each process")
    with connected(settings) as hk:
        # What a process that serves would find wrong is told now, once, and not by each of them.
        if settings.relay:
            _check_channels()
        Api(hk, settings, limit_storage=limit_storage(storage, settings.workers)).close()
        if _is_local(settings.host) or (settings.access != "open" and (settings.token_secrets or hk.keys.in_use())):
            return
    raise ConfigurationError(
        f"On {settings.host} anybody may call, so this needs an API key first; listen on 127.0.0.1, or create a key: "
        f"{command} keys create --scope admin"
        if settings.access != "open"
        else f"On {settings.host} anybody may call, so access must not be 'open', as with --open"
    )


def _local_key(hk: Harken, settings: ServerSettings, storage: str, command: str) -> tuple[LocalKey | None, Path | None]:
    """The local key, where nobody has set up any other way in, or else the file in which one should be."""
    if settings.access == "open" or settings.token_secrets:
        return None, None
    path = key_file(storage)
    key = local_key(hk, path, command=command)
    return key, path if key is None and has_local_key(hk) else None


def _check_channels() -> None:
    """Whether all channels can be used as they are configured; nothing is sent there."""
    with NotificationSettings.load(os.environ, Path.cwd()).channels.open():
        pass


def _check_host(settings: ServerSettings) -> None:
    """Whether there is such a host; whether it is this one turns out later."""
    try:
        socket.getaddrinfo(settings.host or None, settings.port, _family(settings.host), socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigurationError(
            f"Cannot listen on {settings.host!r}: no such host; choose an address of this machine, such as "
            "--host 127.0.0.1"
        ) from error


def _is_local(host: str) -> bool:
    return host == "localhost" or is_loopback(host)


@contextmanager
def _bound(settings: ServerSettings) -> Iterator[socket.socket]:
    """The socket that connections come to. Asked for before anything is started, so that it is free is known early."""
    try:
        listening = socket.create_server(
            (settings.host, settings.port), family=_family(settings.host), backlog=_BACKLOG, reuse_port=False
        )
    except OSError as error:
        option = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port"
        # Its own text has the address, too.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(
            f"Cannot listen on {settings.host} port {settings.port}: {reason}; choose another {option}"
        ) from error
    with listening:
        # Connections inherit it. The server hands the socket over as a file descriptor, of which asyncio does not know
        # that it is TCP; without this, each answer on a connection that is kept open waits for an acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.set_inheritable(True)
        yield listening


def _family(host: str) -> socket.AddressFamily:
    try:
        return socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return socket.AF_INET


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """A folder in which several processes add up their figures, unless there is one already."""
    if workers == 1 or _METRICS_FOLDER in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="harken-metrics-") as folder:
        os.environ[_METRICS_FOLDER] = folder
        yield


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Whoever is told to end, and does, has done nothing wrong: no signal is left to be told to the shell."""

    def end(_: int, __: FrameType | None) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

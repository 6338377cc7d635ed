"""``harken serve``: serves the application with uvicorn, in one or more processes."""

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
from secrets import token_urlsafe
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
from harken.configuration.storage_urls import is_missing, scheme_of
from harken_adapters.hosts.fastapi.app import create_app
from harken_adapters.hosts.fastapi.loopback import LoopbackOnly
from harken_adapters.hosts.fastapi.protocol import GuardedProtocol
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.addresses import is_loopback
from harken_adapters.hosts.http.guards.local_key import LocalKey, has_local_key, key_file, local_key
from harken_adapters.hosts.http.guards.rate_limits import MEMORY
from harken_adapters.hosts.http.logs import configure_logs
from harken_adapters.hosts.http.serving.process_service import connect_harken
from harken_adapters.hosts.http.settings import ServerSettings

#: The URL schemes of storages that can also store rate limits.
_COUNTING: Final = ("mongodb", "mongodb+srv")
_METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_APP: Final = "harken_adapters.hosts.fastapi.serving:app"
#: The switch interval of threads, in seconds. The writing thread needs little time, but all requests wait for it, so it
#: must run soon.
_SWITCH_INTERVAL: Final = 0.001
#: The number of connections that may wait to be accepted.
_BACKLOG: Final = 2048
#: The variable in which the process of the command passes a random secret to the serving processes.
_DEMO: Final = "HARKEN_DEMO_SECRET"
_SECRET_BYTES: Final = 32
#: A worker that does not answer its parent for this long is replaced. On a busy machine, one needs more than the five
#: seconds of uvicorn's default until it can answer; all would be replaced for ever.
_STARTING_SECONDS: Final = 30
#: For how many seconds requests may continue after a signal.
GRACE: Final = 5


@frozen
class Started:
    """Information for the user who starts the server.

    Attributes:
        address: the URL of the server, without a trailing slash.
        access: ``open`` if no API key is needed.
        key: the local key, if keys are needed and it exists.
        lost: the path of the key file, if the local key is still valid but is not in its file.
    """

    address: str
    access: str
    key: LocalKey | None
    lost: Path | None = None


def serve(settings: ServerSettings, on_start: Callable[[Started], object], *, command: str = "harken") -> None:
    """Serve until a signal arrives. Requests in progress are completed.

    Each process reads all other settings from ``HARKEN_*`` and ``harken.toml``.

    Args:
        settings: the settings of the server.
        on_start: called when the server can be reached.
        command: the start of a command line for the same storage, for error messages.

    Raises:
        ConfigurationError: the settings are invalid or not safe, or the address is not available.
        StorageError: the storage cannot be opened.
    """
    configure_logs(json=settings.log_json or None, level=settings.log_level)
    storage = Settings.load(os.environ, Path.cwd()).storage
    check(settings, storage, command)
    with exit_on_signal(), listen(settings) as listening, _shared_metrics(settings.workers):
        # Pass the options of the command line to the worker processes.
        os.environ["HARKEN_SERVER_WORKERS"] = str(settings.workers)
        os.environ["HARKEN_SERVER_ACCESS"] = settings.access
        if not settings.token_secrets:
            # Not one of the token_secrets, which would allow more, such as listening on other addresses without a key,
            # and are also the key of the rate limits that several servers share.
            os.environ[_DEMO] = token_urlsafe(_SECRET_BYTES)
        # A single process serves the Harken that is opened here, as a storage in memory exists only in one process.
        # Workers open their own.
        served = app() if settings.workers == 1 else None
        with connect_harken(settings, storage) if served is None else nullcontext(served.state.harken) as hk:
            key, lost = _local_key(hk, settings, storage, command)
        on_start(Started(address(listening), settings.access, key, lost))
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
            timeout_graceful_shutdown=GRACE,
            timeout_worker_healthcheck=_STARTING_SECONDS,
        )


def app() -> Starlette:
    """Create the application, in each process."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    settings = ServerSettings.load()
    configure_logs(json=settings.log_json or None, level=settings.log_level)
    storage = Settings.load(os.environ, Path.cwd()).storage
    created = create_app(
        settings,
        limit_storage=limit_storage(storage, settings.workers),
        # Removed, so that programs that this process starts do not inherit it.
        demo_secret=os.environ.pop(_DEMO, None),
    )
    # There is no host application that serves the root path.
    created.router.routes.append(Route("/", lambda _: RedirectResponse("dashboard", 303)))
    if settings.access == "open":
        # There is no host application that controls access.
        created.add_middleware(LoopbackOnly)
    return created


def limit_storage(storage: str, workers: int) -> str:
    """The URL of the storage of rate limits: in memory, or that of the feedback if several workers can share it."""
    return storage if workers > 1 and scheme_of(storage) in _COUNTING else MEMORY


def check(settings: ServerSettings, storage: str, command: str = "harken") -> None:
    """Check everything that can be checked without serving.

    Args:
        settings: the settings of the server.
        storage: the URL of the storage.
        command: the start of a command line for the same storage, for error messages.

    Raises:
        ConfigurationError: the settings are invalid or not safe.
        StorageError: the storage cannot be opened.
    """
    _check_host(settings)
    if settings.workers > 1 and scheme_of(storage) == "memory":
        raise ConfigurationError("Several workers need a shared storage; memory:// is separate in each process")
    is_exposed = not _is_local(settings.host)
    # A server that does not start must not create a file, and a missing one has no keys.
    if is_exposed and (settings.access == "open" or (is_missing(storage) and not settings.token_secrets)):
        raise _exposure(settings, command)
    # Errors are reported once here, not by each worker process.
    if settings.relay:
        _check_channels()
    with connect_harken(settings) as hk:
        Api(hk, settings, limit_storage=limit_storage(storage, settings.workers)).close()
        if is_exposed and not (settings.token_secrets or hk.keys.in_use()):
            raise _exposure(settings, command)


def _exposure(settings: ServerSettings, command: str) -> ConfigurationError:
    return ConfigurationError(
        f"{settings.host} can be reached from other machines, so an API key is required; listen on 127.0.0.1, or "
        f"create a key: {command} keys create --scope admin"
        if settings.access != "open"
        else f"{settings.host} can be reached from other machines, so access must not be 'open' (--open)"
    )


def _local_key(hk: Harken, settings: ServerSettings, storage: str, command: str) -> tuple[LocalKey | None, Path | None]:
    """The local key, if no other access is configured; or the path of its file, if the key is lost."""
    if settings.access == "open" or settings.token_secrets:
        return None, None
    path = key_file(storage)
    key = local_key(hk, path, command=command)
    return key, path if key is None and has_local_key(hk) else None


def _check_channels() -> None:
    """Check the configuration of all channels, without sending anything."""
    with NotificationSettings.load(os.environ, Path.cwd()).channels.open():
        pass


def _check_host(settings: ServerSettings) -> None:
    """Check that the host can be resolved."""
    try:
        socket.getaddrinfo(settings.host or None, settings.port, _family(settings.host), socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigurationError(
            f"Cannot listen on {settings.host!r}: unknown host; choose an address of this machine, such as "
            "--host 127.0.0.1"
        ) from error


def _is_local(host: str) -> bool:
    return host == "localhost" or is_loopback(host)


@contextmanager
def listen(settings: ServerSettings) -> Iterator[socket.socket]:
    """The listening socket. Open it before everything else, so that an address in use is reported early.

    Raises:
        ConfigurationError: the address is not available.
    """
    try:
        listening = socket.create_server(
            (settings.host, settings.port), family=_family(settings.host), backlog=_BACKLOG, reuse_port=False
        )
    except OSError as error:
        option = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port"
        # The text of the error itself repeats the address.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(
            f"Cannot listen on {settings.host} port {settings.port}: {reason}; choose another {option}"
        ) from error
    with listening:
        # Connections inherit this option. asyncio gets the socket as a file descriptor and does not set it; without it,
        # each response on a persistent connection waits for an acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.set_inheritable(True)
        yield listening


def _family(host: str) -> socket.AddressFamily:
    try:
        return socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return socket.AF_INET


def address(listening: socket.socket) -> str:
    """The URL of a listening socket, without a path."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """A temporary directory in which workers share their metrics, unless one is configured."""
    if workers == 1 or _METRICS_FOLDER in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="harken-metrics-") as folder:
        os.environ[_METRICS_FOLDER] = folder
        yield


@contextmanager
def exit_on_signal() -> Iterator[None]:
    """Exit with status 0 on SIGTERM, and if the terminal is closed, instead of being killed by the signal."""

    def exit_(_: int, __: FrameType | None) -> None:
        raise SystemExit(0)

    def terminate(_: int, __: FrameType | None) -> None:
        # Not an exit, as a running server handles this signal, and ends its requests.
        signal.raise_signal(signal.SIGTERM)

    hang_up = getattr(signal, "SIGHUP", None)
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, exit_)}
    # ``nohup`` ignores it.
    if hang_up is not None and signal.getsignal(hang_up) is signal.SIG_DFL:
        before[hang_up] = signal.signal(hang_up, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""One MongoDB client for the process, and what factories and the pool have in common."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import parse_qsl

import harken
from harken import Harken, StorageError
from harken.services.forks import ForkSafeLock
from harken.services.weak_collection import WeakCollection
from harken_adapters.hosts.session_manager.opening import close_client, open_client, server_version
from harken_adapters.hosts.strands.errors import session_errors

if TYPE_CHECKING:
    from pymongo import MongoClient

_MIN_POOL_SIZE: Final = 10
#: By names in lower case, as the driver accepts any spelling.
_DEFAULTS: Final[Mapping[str, object]] = MappingProxyType(
    {
        "maxpoolsize": 100,
        "minpoolsize": _MIN_POOL_SIZE,
        "maxidletimems": 30_000,
        "waitqueuetimeoutms": 5_000,
        "serverselectiontimeoutms": 5_000,
        "connecttimeoutms": 10_000,
        "sockettimeoutms": 30_000,
        "retrywrites": True,
        "retryreads": True,
    }
)
#: The clients of factories, the latest last. In mongodb_session_manager, factories use that of the pool.
_of_factories: Final[WeakCollection[MongoClient[Any] | Harken]] = WeakCollection()


class MongoDBConnectionPool:
    """The client of the process, for ``MongoDBSessionManager(client=...)``. Thread-safe.

    For the URL of another storage, such as ``memory://`` in tests, the client is an open Harken.
    """

    _instance: ClassVar[MongoDBConnectionPool | None] = None
    _lock: ClassVar[ForkSafeLock] = ForkSafeLock()
    #: The client, and the arguments that it was opened with.
    _current: ClassVar[tuple[MongoClient[Any] | Harken, str, dict[str, object]] | None] = None

    def __new__(cls) -> Self:
        """The one instance, with the class methods."""
        with cls._lock:
            if not isinstance(cls._instance, cls):
                cls._instance = super().__new__(cls)
            return cls._instance

    @classmethod
    def initialize(cls, connection_string: str | None, **options: object) -> MongoClient[Any] | Harken:
        """Open the client, or return the one that was opened with the same arguments. Others replace and close it.

        Args:
            connection_string: the URL of the server.
            options: options of the driver, such as ``maxPoolSize`` (100), ``minPoolSize`` (10, or ``maxPoolSize`` if
                that is less), ``maxIdleTimeMS`` (30,000), ``waitQueueTimeoutMS`` (5,000),
                ``serverSelectionTimeoutMS`` (5,000), ``connectTimeoutMS`` (10,000), ``socketTimeoutMS`` (30,000),
                ``retryWrites`` and ``retryReads`` (``True``).

        Raises:
            ConfigurationError: the URL or an option is invalid; a previous client stays.
            StorageUnavailable: the server does not respond; a previous client stays.
        """
        if not connection_string:
            raise harken.ConfigurationError("connection_string must be given, such as 'mongodb://localhost:27017/'")
        if found := cls._opened_with(connection_string, options):
            # Without waiting for a thread that tries another server.
            return found
        with cls._lock:
            if found := cls._opened_with(connection_string, options):
                return found
            opened = _open(connection_string, with_defaults(connection_string, options))
            previous, cls._current = cls._current, (opened, connection_string, options)
        if previous is not None:
            close_client(previous[0])
        return opened

    @classmethod
    def _opened_with(cls, connection_string: str, options: dict[str, object]) -> MongoClient[Any] | Harken | None:
        current = cls._current
        return current[0] if current is not None and current[1:] == (connection_string, options) else None

    @classmethod
    def get_client(cls) -> MongoClient[Any] | Harken | None:
        """The client; ``None`` before :meth:`initialize` and after :meth:`close`.

        It is then the client of the latest factory that has a connection string and is open, if there is one.
        """
        current = cls._current
        return next(reversed(list(_of_factories)), None) if current is None else current[0]

    @classmethod
    def get_pool_stats(cls) -> dict[str, Any]:
        """The state of the client, see :func:`connection_stats`; without one, ``{"status": "not_initialized"}``."""
        client = cls.get_client()
        return {"status": "not_initialized"} if client is None else connection_stats(client)

    @classmethod
    def close(cls) -> None:
        """Close the client, unless it is that of a factory; may be called repeatedly."""
        with cls._lock:
            previous, cls._current = cls._current, None
        if previous is not None:
            close_client(previous[0])


def connection_stats(client: MongoClient[Any] | Harken) -> dict[str, Any]:
    """``{"status": "connected", "server_version": ..., "pool_config": {"maxPoolSize": ..., "minPoolSize": ...}}``.

    A storage that does not respond has ``{"status": "error", "error": ...}``; a Harken has the status only.
    """
    try:
        if isinstance(client, Harken):
            client.state.get("connection", "probe")
            return {"status": "connected"}
        version = server_version(client)
    except StorageError as error:
        return {"status": "error", "error": str(error)}
    pool = client.options.pool_options
    sizes = {"maxPoolSize": pool.max_pool_size, "minPoolSize": pool.min_pool_size}
    return {"status": "connected", "server_version": version, "pool_config": sizes}


def add_factory_client(client: MongoClient[Any] | Harken) -> None:
    """Let the pool return the client of a factory, until it is removed."""
    _of_factories.add(client)


def remove_factory_client(client: MongoClient[Any] | Harken) -> None:
    """Let the pool no longer return this client."""
    _of_factories.discard(client)


def with_defaults(connection_string: str, options: Mapping[str, object]) -> dict[str, object]:
    """Options of the driver, with the defaults of the pool for those that are in neither of the arguments.

    They are named in :meth:`MongoDBConnectionPool.initialize`.
    """
    given = {name.lower(): value for name, value in options.items()}
    in_url = {name.lower(): value for name, value in parse_qsl(connection_string.partition("?")[2])}
    defaults = {name: value for name, value in _DEFAULTS.items() if name not in in_url.keys() | given.keys()}
    most = str(given.get("maxpoolsize", in_url.get("maxpoolsize")))
    if "minpoolsize" in defaults and most.isdecimal() and most != "0":
        defaults["minpoolsize"] = min(int(most), _MIN_POOL_SIZE)
    # With the original names for messages of errors.
    return {**defaults, **options}


def _open(connection_string: str, options: Mapping[str, object]) -> MongoClient[Any] | Harken:
    client = open_client(connection_string, options)
    if client is None:
        with session_errors():
            return harken.connect(connection_string)
    try:
        server_version(client)
    except StorageError:
        client.close()
        raise
    return client

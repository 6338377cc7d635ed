"""One MongoDB client for the process."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

import harken
from harken import Harken, StorageError
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.session_manager.opening import close_client, open_client, server_version
from harken_adapters.hosts.strands.errors import session_errors

if TYPE_CHECKING:
    from pymongo import MongoClient

_MIN_POOL_SIZE: Final = 10
_DEFAULTS: Final[Mapping[str, object]] = MappingProxyType(
    {
        "maxPoolSize": 100,
        "minPoolSize": _MIN_POOL_SIZE,
        "maxIdleTimeMS": 30_000,
        "waitQueueTimeoutMS": 5_000,
        "serverSelectionTimeoutMS": 5_000,
        "connectTimeoutMS": 10_000,
        "socketTimeoutMS": 30_000,
        "retryWrites": True,
        "retryReads": True,
    }
)


class MongoDBConnectionPool:
    """The client of the process, for ``MongoDBSessionManager(client=...)``. Thread-safe.

    For the URL of another storage, such as ``memory://`` in tests, the client is an open Harken.
    """

    _lock: ClassVar[ForkSafeLock] = ForkSafeLock()
    #: The client, and the arguments that it was opened with.
    _current: ClassVar[tuple[MongoClient[Any] | Harken, str, dict[str, object]] | None] = None

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
            opened = _open(connection_string, _with_defaults(options))
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
        """The client; ``None`` before :meth:`initialize` and after :meth:`close`."""
        current = cls._current
        return None if current is None else current[0]

    @classmethod
    def get_pool_stats(cls) -> dict[str, Any]:
        """The state of the client, see :func:`connection_stats`; without one, ``{"status": "not_initialized"}``."""
        client = cls.get_client()
        return {"status": "not_initialized"} if client is None else connection_stats(client)

    @classmethod
    def close(cls) -> None:
        """Close the client, if there is one."""
        with cls._lock:
            previous, cls._current = cls._current, None
        if previous is not None:
            close_client(previous[0])


def connection_stats(client: MongoClient[Any] | Harken) -> dict[str, Any]:
    """``{"status": "connected", "server_version": ..., "pool_config": {"maxPoolSize": ..., "minPoolSize": ...}}``.

    A server that does not respond has ``{"status": "error", "error": ...}``; a Harken has the status only.
    """
    if isinstance(client, Harken):
        return {"status": "connected"}
    try:
        version = server_version(client)
    except StorageError as error:
        return {"status": "error", "error": str(error)}
    pool = client.options.pool_options
    sizes = {"maxPoolSize": pool.max_pool_size, "minPoolSize": pool.min_pool_size}
    return {"status": "connected", "server_version": version, "pool_config": sizes}


def _with_defaults(options: Mapping[str, object]) -> dict[str, object]:
    most = options.get("maxPoolSize")
    if isinstance(most, int) and "minPoolSize" not in options:
        return {**_DEFAULTS, **options, "minPoolSize": min(most, _MIN_POOL_SIZE)}
    return {**_DEFAULTS, **options}


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

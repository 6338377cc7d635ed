"""The connections of session managers: a connection string, or a MongoDB client of the program."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakSet

import harken
from harken import Harken
from harken.configuration.storage_urls import scheme_of
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.strands.errors import session_errors

if TYPE_CHECKING:
    from pymongo import MongoClient

_DATABASE: Final = "harken"
#: Options of pymongo's ``MongoClient``. Storages other than MongoDB ignore them.
_DRIVER_OPTIONS: Final = frozenset(
    """
    appname authMechanism authMechanismProperties authSource compressors connect connectTimeoutMS directConnection
    document_class event_listeners fsync heartbeatFrequencyMS journal loadBalanced localThresholdMS maxConnecting
    maxIdleTimeMS maxPoolSize maxStalenessSeconds minPoolSize password readConcernLevel readPreference
    readPreferenceTags replicaSet retryReads retryWrites server_api serverMonitoringMode serverSelectionTimeoutMS
    socketTimeoutMS srvMaxHosts srvServiceName ssl timeoutMS tls tlsAllowInvalidCertificates tlsAllowInvalidHostnames
    tlsCAFile tlsCertificateKeyFile tlsCertificateKeyFilePassword tlsCRLFile tlsDisableOCSPEndpointCheck tlsInsecure
    type_registry tz_aware tzinfo username uuidRepresentation w waitQueueMultiple waitQueueTimeoutMS wtimeoutMS
    zlibCompressionLevel
    """.lower().split()
)
#: Seconds.
_PATIENCE: Final = 20.0
#: The attribute of a program's client that has what is open on it.
_OPENED: Final = "_harken_opened"
#: What is open on clients of the program.
_shared: WeakSet[Harken] = WeakSet()


class _Opened:
    """What is open on a server, by database and application. A Harken that is closed is opened again when needed."""

    def __init__(self) -> None:
        # One for each server: others must not wait until a server responds.
        self._lock = ForkSafeLock()
        self._by_place: dict[tuple[str | None, str | None], Harken] = {}

    def get(self, database: str | None, application: str | None, open_: Callable[[], Harken]) -> Harken:
        place = (database, application)
        with self._lock:
            if place not in self._by_place:
                opened = self._by_place[place] = open_()
                opened.on_close(lambda: self._by_place.pop(place, None))
            return self._by_place[place]

    def close(self) -> None:
        with self._lock:
            closing = list(self._by_place.values())
        for one in closing:
            one.close()

    def __bool__(self) -> bool:
        return bool(self._by_place)


class Connection:
    """The Harkens that session managers share: one for each database and application. Thread-safe."""

    def __init__(
        self,
        connection_string: str | None,
        client: MongoClient[Any] | Harken | None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        """Connect. Nothing is read or written before the first :meth:`harken`.

        Args:
            connection_string: the URL of a storage.
            client: a MongoDB client or a Harken, which wins over the connection string, and stays open.
            options: options of the MongoDB driver.

        Raises:
            ConfigurationError: neither connection string nor client is given, or the URL or an option is invalid.
        """
        if client is None and not connection_string:
            # A default would create a file that the program did not name.
            raise harken.ConfigurationError(
                "Either connection_string or client must be given, "
                "such as connection_string='mongodb://localhost:27017/'; "
                "for the storage in the settings, pass harken=harken.connect()"
            )
        self.borrowed = client is not None
        self._url = connection_string or ""
        self._client = open_client(self._url, options or {}) if client is None else client
        self._opened = _Opened()
        if client is not None and not isinstance(client, Harken):
            # Kept on the program's client, for the next session manager; it ends with the client.
            self._opened = vars(client).setdefault(_OPENED, self._opened)

    @property
    def client(self) -> MongoClient[Any] | Harken | None:
        """The MongoDB client, or the Harken that was given; ``None`` for other storages."""
        return self._client

    def harken(self, database: str | None, application: str | None) -> Harken:
        """The Harken on a database, opened if necessary. Storages other than MongoDB have one database.

        Raises:
            ConfigurationError: the URL is invalid.
            StorageError: the storage cannot be opened.
        """
        if isinstance(self._client, Harken):
            return self._client
        named = database if self._client is not None else None
        try:
            return self._opened.get(named, application, partial(self._open, named, application))
        except BaseException:
            if not self._opened:
                # The caller gets nothing to close.
                self._close_own_client()
            raise

    def close(self) -> None:
        """Close what was opened, unless it is on a client of the program; may be called repeatedly."""
        if self.borrowed:
            return
        self._opened.close()
        self._close_own_client()

    def _close_own_client(self) -> None:
        if self._client is not None and not self.borrowed:
            self._client.close()

    def _open(self, database: str | None, application: str | None) -> Harken:
        client = self._client
        with session_errors():
            if client is None or isinstance(client, Harken):
                return harken.connect(self._url, application=application)
            # The only host that accepts a MongoDB client, for compatibility with mongodb_session_manager.
            from harken_adapters.storage.mongodb import mongo_storage  # noqa: PLC0415 - pymongo is an extra

            if not self.borrowed:
                name = database or client.get_default_database(_DATABASE).name
                # open_client sets it.
                storage = mongo_storage(client, name, timeout=cast("float", client.options.timeout))
                return harken.connect(storage, application=application)
            opened = harken.connect(mongo_storage(client, database or _DATABASE), application=application)
            _shared.add(opened)
            return opened


def open_client(connection_string: str, options: Mapping[str, object]) -> MongoClient[Any] | None:
    """A MongoDB client with these options, which win over those in the URL; ``None`` for other storages.

    Raises:
        ConfigurationError: the URL or an option is invalid.
    """
    if scheme_of(connection_string) in ("mongodb", "mongodb+srv"):
        from harken_adapters.storage import mongodb  # noqa: PLC0415 - pymongo is an extra

        return mongodb.open_client(connection_string, options)
    if unknown := sorted(name for name in options if name.lower() not in _DRIVER_OPTIONS):
        raise harken.ConfigurationError(f"{unknown[0]!r} is neither an argument nor an option of the MongoDB driver")
    return None


def close_client(client: MongoClient[Any] | Harken) -> None:
    """Close a client, after what session managers opened on it."""
    if opened := vars(client).pop(_OPENED, None):
        opened.close()
    client.close()


@atexit.register
def _close_shared() -> None:
    for one in list(_shared):
        one.close()


def server_version(client: MongoClient[Any]) -> str:
    """The version of the server; waits for it as long as the options of the client say.

    Raises:
        StorageUnavailable: the server does not respond.
    """
    from harken_adapters.storage import mongodb  # noqa: PLC0415 - pymongo is an extra

    with session_errors():
        return mongodb.server_version(client, timeout=min(client.options.server_selection_timeout, _PATIENCE))

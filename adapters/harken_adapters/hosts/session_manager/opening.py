"""The connections of session managers: a connection string, or a MongoDB client of the program."""

from __future__ import annotations

import atexit
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import harken
from harken import Harken
from harken.configuration.storage_urls import scheme_of
from harken.services.forks import ForkSafeLock
from harken.services.weak_collection import WeakCollection
from harken_adapters.formats.migrated_collections import is_migrated
from harken_adapters.hosts.strands.errors import SessionClosed, session_errors

if TYPE_CHECKING:
    from pymongo import MongoClient

_DATABASE: Final = "harken"
#: Where mongodb_session_manager stores sessions of programs that name no database or collection.
_LIBRARY_DATABASE: Final = "database_name"
LIBRARY_COLLECTION: Final = "collection_name"
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
_shared: Final[WeakCollection[Harken]] = WeakCollection()


class SessionsNotMigrated(harken.ConfigurationError):
    """A collection has sessions of mongodb_session_manager, which would appear to be empty; how to migrate them."""


class _Opened:
    """What is open on a server, by database. A Harken that is closed is opened again when needed."""

    def __init__(self) -> None:
        # One for each server: others must not wait until a server responds.
        self._lock = ForkSafeLock()
        self._closed = False
        self._by_database: dict[str | None, Harken] = {}
        #: The collections that were checked: the database that is open, and the one with the collection.
        self.checked: set[tuple[str, str, str]] = set()

    def get(self, database: str | None, open_: Callable[[], Harken]) -> Harken:
        # Before waiting for a thread that opens another database.
        if (opened := self._by_database.get(database)) is not None:
            return opened
        with self._lock:
            if self._closed:
                raise SessionClosed("The storage of these session managers was closed; open it again")
            if database not in self._by_database:
                opened = self._by_database[database] = open_()
                opened.on_close(lambda: self._by_database.pop(database, None))
            return self._by_database[database]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            closing = list(self._by_database.values())
        for one in closing:
            one.close()


class Connection:
    """The Harkens that session managers share, of any application: one for each database. Thread-safe."""

    def __init__(
        self,
        connection_string: str | None,
        client: MongoClient[Any] | Harken | None,
        options: Mapping[str, object] | None = None,
        *,
        application: str | None = None,
        allow_unmigrated: bool = False,
    ) -> None:
        """Connect. Nothing is read or written before the first :meth:`harken`.

        Args:
            connection_string: the URL of a storage.
            client: a MongoDB client or a Harken, which wins over the connection string, and stays open.
            options: options of the MongoDB driver; a given client has its own.
            application: the default application of what is opened. What is opened on a client of the program, which
                others share, has that of the settings.
            allow_unmigrated: whether to open databases with sessions of mongodb_session_manager.

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
        options = options or {}
        if client is not None:
            _check_names(options)
        self.borrowed = client is not None
        self._url = connection_string or ""
        self._client = open_client(self._url, options) if client is None else client
        self._application = application
        self._allow_unmigrated = allow_unmigrated
        self._opened = _Opened()
        if client is not None and not isinstance(client, Harken):
            # Kept on the program's client, for the next session manager; it ends with the client.
            self._opened = vars(client).setdefault(_OPENED, self._opened)

    @property
    def client(self) -> MongoClient[Any] | Harken | None:
        """The MongoDB client, or the Harken that was given; ``None`` for other storages."""
        return self._client

    def harken(self, database: str | None, collection: str | None = None) -> Harken:
        """The Harken on a database, opened if necessary. Storages other than MongoDB have one database.

        Args:
            database: the database; by default that of the URL or client, otherwise ``harken``.
            collection: where mongodb_session_manager would store sessions; by default where it does without a name.

        Raises:
            ConfigurationError: the URL or a name is invalid.
            SessionsNotMigrated: the collection has sessions that were not migrated.
            StorageError: the storage cannot be opened, or was closed.
        """
        client = self._client
        if isinstance(client, Harken):
            return client
        if client is None:
            return self._opened.get(None, self._open_url)
        name = database or client.get_default_database(_DATABASE).name
        opened = self._opened.get(name, partial(self._open_on, client, name))
        if not self._allow_unmigrated:
            # Without a name, mongodb_session_manager does not use the database of the URL.
            for source in (name,) if database else (name, _LIBRARY_DATABASE):
                self._check_migrated(client, opened, name, source, collection or LIBRARY_COLLECTION)
        return opened

    def close(self) -> None:
        """Close what was opened, unless it is on a client of the program; may be called repeatedly."""
        if self.borrowed:
            return
        self._opened.close()
        if self._client is not None:
            close_client(self._client)

    def _open_url(self) -> Harken:
        with session_errors():
            return harken.connect(self._url, application=self._application)

    def _open_on(self, client: MongoClient[Any], database: str) -> Harken:
        # The only host that accepts a MongoDB client, for compatibility with mongodb_session_manager.
        from harken_adapters.storage.mongodb import mongo_storage, time_limit  # noqa: PLC0415 - pymongo is an extra

        with session_errors():
            storage = mongo_storage(client, database, timeout=time_limit(client))
            if not self.borrowed:
                return harken.connect(storage, application=self._application)
            opened = harken.connect(storage)
            _shared.add(opened)
            return opened

    def _check_migrated(
        self, client: MongoClient[Any], opened: Harken, target: str, source: str, collection: str
    ) -> None:
        """Raise if a collection has sessions that were not migrated into the target, the database that is open.

        This is checked once for each client.
        """
        place = (target, source, collection)
        if place in self._opened.checked:
            return
        from harken_adapters.formats.mongodb import id_of  # noqa: PLC0415 - pymongo is an extra
        from harken_adapters.storage import mongodb  # noqa: PLC0415

        with session_errors():
            seconds = mongodb.time_limit(client)
            found = mongodb.holds_library_sessions(client, source, collection, timeout=seconds)
            if found and not is_migrated(
                opened.state, source, collection, id_of(client[source][collection], timeout=seconds)
            ):
                raise SessionsNotMigrated(
                    f"The collection {collection!r} of the database {source!r} has sessions of mongodb_session_manager "
                    "that were not migrated; they would appear to be empty. To migrate them, run: "
                    f"{self._migration(client, target, source, collection)}\n"
                    "To begin without them, pass allow_unmigrated=True"
                )
        self._opened.checked.add(place)

    def _migration(self, client: MongoClient[Any], target: str, source: str, collection: str) -> str:
        """Return the command that migrates a collection, quoted for a shell, without user and password."""
        from harken_adapters.storage import mongodb  # noqa: PLC0415 - pymongo is an extra

        into, from_ = (
            mongodb.url_of(client, name) if self.borrowed else mongodb.url_to_show(self._url, name)
            for name in (target, source)
        )
        options = ("--from", from_, "--collection", collection, "--storage", into)
        return shlex.join(("harken", "migrate", "mongodb-sessions", *options))


def open_client(connection_string: str, options: Mapping[str, object]) -> MongoClient[Any] | None:
    """A MongoDB client with these options, which win over those in the URL; ``None`` for other storages.

    Raises:
        ConfigurationError: the URL or an option is invalid.
    """
    if scheme_of(connection_string) in ("mongodb", "mongodb+srv"):
        from harken_adapters.storage import mongodb  # noqa: PLC0415 - pymongo is an extra

        return mongodb.open_client(connection_string, options)
    _check_names(options)
    return None


def _check_names(options: Mapping[str, object]) -> None:
    """Raise if an option that has no effect is probably a misspelt argument."""
    if unknown := sorted(name for name in options if name.lower() not in _DRIVER_OPTIONS):
        raise harken.ConfigurationError(f"{unknown[0]!r} is neither an argument nor an option of the MongoDB driver")


def close_client(client: MongoClient[Any] | Harken) -> None:
    """Close a client, after what session managers opened on it."""
    if opened := vars(client).pop(_OPENED, None):
        opened.close()
    client.close()


@atexit.register
def _close_shared() -> None:
    for one in _shared:
        one.close()


def server_version(client: MongoClient[Any]) -> str:
    """The version of the server; waits for it as long as the options of the client say.

    Raises:
        StorageUnavailable: the server does not respond.
    """
    from harken_adapters.storage import mongodb  # noqa: PLC0415 - pymongo is an extra

    with session_errors():
        return mongodb.server_version(client, timeout=min(client.options.server_selection_timeout, _PATIENCE))

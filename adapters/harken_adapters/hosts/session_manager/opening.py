"""The connections of session managers: a connection string, or a MongoDB client of the program."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from weakref import ref

import harken
from harken import Harken
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.strands.errors import session_errors

if TYPE_CHECKING:
    from pymongo import MongoClient

_DATABASE: Final = "harken"
#: Left out, as Harken sets them: it writes to a majority, journaled, and reads that.
_OURS: Final = frozenset({"w", "journal", "fsync", "wtimeoutMS", "readConcernLevel", "readPreference"})
#: Options of pymongo's ``MongoClient`` that are accepted as arguments. Storages other than MongoDB ignore them.
DRIVER_OPTIONS: Final = _OURS | {
    "authMechanism",
    "authSource",
    "compressors",
    "connectTimeoutMS",
    "maxIdleTimeMS",
    "maxPoolSize",
    "minPoolSize",
    "retryReads",
    "retryWrites",
    "serverSelectionTimeoutMS",
    "socketTimeoutMS",
    "tls",
    "tlsAllowInvalidCertificates",
    "tlsCAFile",
    "waitQueueTimeoutMS",
}

_lock = ForkSafeLock()


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
            options: options of the driver, by the names in :data:`DRIVER_OPTIONS`.

        Raises:
            ConfigurationError: neither connection string nor client is given, or the URL is invalid.
            TypeError: an option is unknown.
        """
        given = options or {}
        if unknown := sorted(set(given) - DRIVER_OPTIONS):
            raise TypeError(f"{unknown[0]!r} is neither an argument nor an option of the MongoDB driver")
        if client is None and not connection_string:
            # A default would create a file that the program did not name.
            raise harken.ConfigurationError(
                "Either connection_string or client must be given, "
                "such as connection_string='mongodb://localhost:27017/'; "
                "for the storage in the settings, pass harken=harken.connect()"
            )
        self.borrowed = client is not None
        self._url = connection_string or ""
        self._client = open_client(self._url, given) if client is None and is_mongodb(self._url) else client
        self._opened: dict[tuple[str | None, str | None], Harken] = {}
        if client is not None and not isinstance(client, Harken):
            # Kept on the program's client, for the next session manager; it ends with the client.
            self._opened = vars(client).setdefault("_harken_opened", self._opened)

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
        key = (database if self._client is not None else None, application)
        with _lock:
            if key not in self._opened:
                self._opened[key] = self._open(*key)
            return self._opened[key]

    def close(self) -> None:
        """Close what was opened, unless it is on a client of the program; may be called repeatedly."""
        if self.borrowed:
            return
        with _lock:
            closing = list(self._opened.values())
            self._opened.clear()
        for one in closing:
            one.close()
        if self._client is not None:
            self._client.close()

    def _open(self, database: str | None, application: str | None) -> Harken:
        client = self._client
        with session_errors():
            if client is None or isinstance(client, Harken):
                return harken.connect(self._url, application=application)
            # The only host that accepts a MongoDB client, for compatibility with mongodb_session_manager.
            from harken_adapters.storage.mongodb import DEFAULT_TIMEOUT, mongo_storage  # noqa: PLC0415 - an extra

            if self.borrowed:
                opened = harken.connect(mongo_storage(client, database or _DATABASE), application=application)
                atexit.register(_close, ref(opened))
                return opened
            name = database or client.get_default_database(_DATABASE).name
            timeout = client.options.timeout or DEFAULT_TIMEOUT
            return harken.connect(mongo_storage(client, name, timeout=timeout), application=application)


def _close(reference: ref[Harken]) -> None:
    if opened := reference():
        opened.close()


def open_client(connection_string: str, options: Mapping[str, object]) -> MongoClient[Any]:
    """A MongoDB client with these options, which win over those in the URL. Harken's own are left out of both.

    Raises:
        ConfigurationError: the URL or an option is invalid.
    """
    from harken_adapters.storage.mongodb import open_client as opened  # noqa: PLC0415 - pymongo is an extra

    scheme, separator, rest = connection_string.partition("://")
    place, _, query = rest.partition("?")
    hosts, _, database = place.partition("/")
    replaced = {name.lower() for name in _OURS | set(options)}
    kept = [option for option in query.split("&") if option and option.partition("=")[0].lower() not in replaced]
    added = [
        f"{name}={quote(_text(value), safe='')}"
        for name, value in options.items()
        if name not in _OURS and value is not None
    ]
    return opened(f"{scheme}{separator}{hosts}/{database}?{'&'.join([*kept, *added])}")


def server_version(client: MongoClient[Any]) -> str:
    """The version of the server.

    Raises:
        StorageUnavailable: the server does not respond.
    """
    from harken_adapters.storage import mongodb  # noqa: PLC0415 - pymongo is an extra

    with session_errors():
        return mongodb.server_version(client)


def is_mongodb(url: str) -> bool:
    """Whether the URL names a MongoDB server."""
    return url.partition("://")[0].lower() in ("mongodb", "mongodb+srv")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list | tuple) else str(value)

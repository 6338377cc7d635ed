"""A factory of session managers that share one open storage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from harken import ConfigurationError, Harken
from harken.services.conversations import MAX_SIZE
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.session_manager.hooks import Hooks, hooks_of
from harken_adapters.hosts.session_manager.manager import MongoDBSessionManager
from harken_adapters.hosts.session_manager.opening import LIBRARY_COLLECTION, Connection
from harken_adapters.hosts.session_manager.pool import (
    add_factory_client,
    connection_stats,
    remove_factory_client,
    with_defaults,
)
from harken_adapters.hosts.session_manager.repository import CreatedAtType

if TYPE_CHECKING:
    from pymongo import MongoClient

#: Where the global factory of mongodb_session_manager stores sessions if no collection is named.
_GLOBAL_COLLECTION: Final = "virtualagent_sessions"


class MongoDBSessionManagerFactory:
    """Creates session managers that share a storage, at almost no cost. Thread-safe."""

    def __init__(  # noqa: PLR0917 - the order of mongodb_session_manager
        self,
        connection_string: str | None = None,
        database_name: str | None = None,
        collection_name: str | None = None,
        client: MongoClient[Any] | Harken | None = None,
        metadata_fields: Iterable[str] | None = None,
        application_name: str | None = None,
        *,
        harken: Harken | None = None,
        created_at_type: CreatedAtType = "iso",
        allow_unmigrated: bool = False,
        **driver_options: object,
    ) -> None:
        """Open the storage; the arguments are those of :class:`MongoDBSessionManager`.

        A MongoDB client has the defaults of :meth:`~.pool.MongoDBConnectionPool.initialize`.

        Raises:
            ConfigurationError: the URL or an argument is invalid, or neither connection string nor client is given.
            SessionsNotMigrated: the collection has sessions of mongodb_session_manager.
            StorageError: the storage cannot be opened.
        """
        given = harken or client
        options = driver_options if given else with_defaults(connection_string or "", driver_options)
        self._connection = Connection(
            connection_string, given, options, application=application_name, allow_unmigrated=allow_unmigrated
        )
        self.database_name = database_name
        self.collection_name = collection_name or LIBRARY_COLLECTION
        self.application_name = application_name
        self.metadata_fields = tuple(metadata_fields or ())
        self.created_at_type = created_at_type
        try:
            #: The Harken on the database of the factory, shared by the session managers of all applications.
            self.harken = self._connection.harken(database_name, self.collection_name)
        except BaseException:
            # The caller gets nothing to close.
            self._connection.close()
            raise
        if not self._connection.borrowed:
            add_factory_client(self._connection.client or self.harken)

    def create_session_manager(
        self,
        session_id: str,
        database_name: str | None = None,
        collection_name: str | None = None,
        metadata_fields: Iterable[str] | None = None,
        application_name: str | None = None,
        *,
        feedback_hook: Hooks = None,
        metadata_hook: Hooks = None,
        feedbackHook: Hooks = None,  # noqa: N803 - the name in mongodb_session_manager
        metadataHook: Hooks = None,  # noqa: N803
        created_at_type: CreatedAtType | None = None,
        max_record_bytes: int = MAX_SIZE,
        **driver_options: Any,
    ) -> MongoDBSessionManager:
        """Create the session manager of a session. Closing it leaves the storage open.

        The names, ``metadata_fields`` and ``created_at_type`` replace those of the factory. Options of the driver have
        no effect.

        Raises:
            ConfigurationError: another database is named, but the storage is not MongoDB, or is a given Harken; or an
                option is probably a misspelt argument.
            InvalidMetadata: a name in ``metadata_fields`` is invalid.
            SessionsNotMigrated: another collection has sessions of mongodb_session_manager.
            StorageError: another database cannot be opened.
        """
        self._check_database(database_name)
        database, collection = database_name or self.database_name, collection_name or self.collection_name
        return MongoDBSessionManager(
            session_id,
            metadata_fields=self.metadata_fields if metadata_fields is None else metadata_fields,
            application_name=application_name or self.application_name,
            feedback_hook=hooks_of(feedback_hook, feedbackHook, "feedback"),
            metadata_hook=hooks_of(metadata_hook, metadataHook, "metadata"),
            harken=self._connection.harken(database, collection),
            created_at_type=created_at_type or self.created_at_type,
            max_record_bytes=max_record_bytes,
            **driver_options,
        )

    def _check_database(self, name: str | None) -> None:
        """Raise if sessions of this database would share their data with those of the factory's own."""
        client = self._connection.client
        if name in (None, "", self.database_name) or not (client is None or isinstance(client, Harken)):
            return
        raise ConfigurationError(
            f"The storage of this factory has only one database, so database_name={name!r} would not separate "
            "sessions; pass application_name= for each tenant, or use MongoDB with a connection string or client"
        )

    def get_connection_stats(self) -> dict[str, Any]:
        """The state of the connection: see :func:`~harken_adapters.hosts.session_manager.pool.connection_stats`.

        With a client of the program, ``{"status": "external_client", "message": ...}``.
        """
        if self._connection.borrowed:
            return {"status": "external_client", "message": "The program that passed the client has its statistics"}
        return connection_stats(self._connection.client or self.harken)

    def close(self) -> None:
        """Close the storage, unless it was passed as ``harken`` or ``client``; may be called repeatedly."""
        remove_factory_client(self._connection.client or self.harken)
        self._connection.close()


_lock = ForkSafeLock()
_factories: list[MongoDBSessionManagerFactory] = []


def initialize_global_factory(
    connection_string: str | None = None,
    database_name: str | None = None,
    collection_name: str | None = None,
    metadata_fields: Iterable[str] | None = None,
    application_name: str | None = None,
    *,
    client: MongoClient[Any] | Harken | None = None,
    harken: Harken | None = None,
    created_at_type: CreatedAtType = "iso",
    allow_unmigrated: bool = False,
    **driver_options: object,
) -> MongoDBSessionManagerFactory:
    """Create the global factory of the process. A previous one is closed.

    Raises:
        ConfigurationError: the URL scheme is unknown, or neither connection string nor client is given.
        SessionsNotMigrated: the collection has sessions of mongodb_session_manager; the previous factory stays.
        StorageError: the storage cannot be opened; the previous factory stays.
    """
    factory = MongoDBSessionManagerFactory(
        connection_string,
        database_name,
        collection_name or _GLOBAL_COLLECTION,
        client,
        metadata_fields,
        application_name,
        harken=harken,
        created_at_type=created_at_type,
        allow_unmigrated=allow_unmigrated,
        **driver_options,
    )
    with _lock:
        previous = _factories[:]
        _factories[:] = [factory]
    for one in previous:
        one.close()
    return factory


def get_global_factory() -> MongoDBSessionManagerFactory:
    """The global factory of the process.

    Raises:
        RuntimeError: it was not initialized, or was closed.
    """
    with _lock:
        if not _factories:
            raise RuntimeError("The global factory is not initialized; call initialize_global_factory first")
        return _factories[0]


def close_global_factory() -> None:
    """Close the global factory, if there is one."""
    with _lock:
        closing = _factories[:]
        _factories.clear()
    for one in closing:
        one.close()

"""Session managers over one open storage: one factory for a process, and as many sessions as there are users."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from harken import Harken
from harken.services.conversations import MAX_SIZE
from harken_adapters.hosts.session_manager.hooks import Hooks, chain
from harken_adapters.hosts.session_manager.manager import MongoDBSessionManager
from harken_adapters.hosts.session_manager.opening import open_harken

if TYPE_CHECKING:
    from pymongo import MongoClient


class MongoDBSessionManagerFactory:
    """Makes session managers that share a storage; making one costs nothing. Thread-safe."""

    def __init__(
        self,
        connection_string: str | None = None,
        database_name: str | None = None,
        collection_name: str | None = None,
        client: MongoClient[Any] | None = None,
        *,
        application_name: str | None = None,
        harken: Harken | None = None,
    ) -> None:
        """Open the storage; the arguments are those of :class:`MongoDBSessionManager`.

        Raises:
            ConfigurationError: nothing serves that connection string, none is given, or both it and a client are.
            StorageError: the storage cannot be opened.
        """
        self.harken = harken or open_harken(connection_string, database_name, client, application_name)
        self._own = harken is None
        self._application = application_name
        del collection_name  # Harken names its own collections.

    def create_session_manager(
        self,
        session_id: str,
        *,
        application_name: str | None = None,
        feedback_hook: Hooks = None,
        metadata_hook: Hooks = None,
        feedbackHook: Hooks = None,  # noqa: N803 - as those write it who come from the other library
        metadataHook: Hooks = None,  # noqa: N803
        max_record_bytes: int = MAX_SIZE,
    ) -> MongoDBSessionManager:
        """The session manager of a session; closing it leaves the storage open."""
        return MongoDBSessionManager(
            session_id,
            application_name=application_name or self._application,
            feedback_hook=chain(feedback_hook, feedbackHook),
            metadata_hook=chain(metadata_hook, metadataHook),
            harken=self.harken,
            max_record_bytes=max_record_bytes,
        )

    def close(self) -> None:
        """Close the storage, if it was opened here."""
        if self._own:
            self.harken.close()


_lock = Lock()
_factories: list[MongoDBSessionManagerFactory] = []


def initialize_global_factory(
    connection_string: str | None = None,
    database_name: str | None = None,
    collection_name: str | None = None,
    client: MongoClient[Any] | None = None,
    *,
    application_name: str | None = None,
    harken: Harken | None = None,
) -> MongoDBSessionManagerFactory:
    """Open the process's factory, in the place of the one before, which is closed.

    Raises:
        ConfigurationError: nothing serves that connection string, none is given, or both it and a client are.
        StorageError: the storage cannot be opened; the one before stays.
    """
    factory = MongoDBSessionManagerFactory(
        connection_string, database_name, collection_name, client, application_name=application_name, harken=harken
    )
    with _lock:
        before = _factories[:]
        _factories[:] = [factory]
    for one in before:
        one.close()
    return factory


def get_global_factory() -> MongoDBSessionManagerFactory:
    """The process's factory.

    Raises:
        RuntimeError: there is none.
    """
    with _lock:
        if not _factories:
            raise RuntimeError("There is no global factory yet; call initialize_global_factory first")
        return _factories[0]


def close_global_factory() -> None:
    """Close the process's factory, if there is one."""
    with _lock:
        closing = _factories[:]
        _factories.clear()
    for one in closing:
        one.close()

"""The sessions of a storage: conversations, feedback as dictionaries, and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harken import Harken, Receipt, Target
from harken.domain.texts import as_texts
from harken.ports.sessions import JsonValue
from harken.services.conversations import MAX_SIZE
from harken_adapters.hosts.session_manager.dictionaries import copy_feedback, to_dictionary, to_submission
from harken_adapters.hosts.session_manager.opening import Connection
from harken_adapters.hosts.strands.errors import session_errors
from harken_adapters.hosts.strands.repository import HarkenSessionRepository

if TYPE_CHECKING:
    from pymongo import MongoClient


class MongoDBSessionRepository(HarkenSessionRepository):
    """The sessions of an application on any storage, for programs that manage sessions without an agent.

    Attributes:
        harken: the open Harken.
        client: the MongoDB client, or the Harken that was passed; ``None`` for other storages.
        application_name: the application that was given, or ``None``.
        metadata_fields: the names of metadata that are indexed.
    """

    def __init__(  # noqa: PLR0917 - the order of mongodb_session_manager
        self,
        connection_string: str | None = None,
        database_name: str | None = None,
        collection_name: str | None = None,
        client: MongoClient[Any] | Harken | None = None,
        metadata_fields: Iterable[str] | None = None,
        application_name: str | None = None,
        *,
        max_record_bytes: int = MAX_SIZE,
        allow_unmigrated: bool = False,
        **driver_options: object,
    ) -> None:
        """Open the storage.

        Args:
            connection_string: the URL of a storage, such as ``mongodb://localhost:27017/`` or ``memory://``.
            database_name: the MongoDB database; replaces the one in the URL.
            collection_name: where mongodb_session_manager stored sessions, which must be migrated. The names of
                Harken's own collections begin with ``harken_``.
            client: a MongoDB client or a Harken, which wins over a connection string; it stays open.
            metadata_fields: names of metadata that MongoDB indexes, for queries of the program.
            application_name: the application of the sessions.
            max_record_bytes: see :class:`~harken_adapters.hosts.strands.HarkenSessionRepository`.
            allow_unmigrated: whether to open a database with sessions that were not migrated; they appear to be empty.
            driver_options: options of the MongoDB driver, such as ``maxPoolSize``; other storages ignore them. Harken
                sets ``w``, ``journal`` and ``fsync`` itself.

        Raises:
            ConfigurationError: no storage is given, or the URL or an argument is invalid. A ``ValueError``.
            SessionsNotMigrated: the collection has sessions of mongodb_session_manager; the message says how to migrate
                them. A ``ConfigurationError``.
            InvalidMetadata: a name in ``metadata_fields`` is invalid.
            StorageError: the storage cannot be opened. Also a ``SessionException`` of Strands.
        """
        self._connection = Connection(connection_string, client, driver_options, allow_unmigrated=allow_unmigrated)
        self.client = self._connection.client
        self.application_name = application_name
        self.metadata_fields = tuple(metadata_fields or ())
        try:
            self.harken = self._connection.harken(database_name, application_name, collection_name)
            with session_errors():
                self.harken.sessions.index(self.metadata_fields)
        except BaseException:
            # The caller gets nothing to close.
            self.close()
            raise
        self.application = self.harken.application if application_name is None else application_name
        super().__init__(self.harken.conversations, self.application, max_record_bytes=max_record_bytes)

    def close(self) -> None:
        """Close the connections that it opened; may be called repeatedly. Stored data is durable without it."""
        self._connection.close()

    def get_application_name(self, session_id: str | None = None) -> str | None:  # noqa: ARG002 - one for all sessions
        """The application that was given; ``None`` without one."""
        return self.application_name

    def get_session_viewer_password(self, session_id: str) -> None:
        """``None``: there is no separate viewer of sessions, so sessions have no password."""

    # --- feedback --------------------------------------------------------------------------------------------------

    def add_feedback(self, session_id: str, feedback: Mapping[str, Any]) -> Receipt:
        """Store feedback on a session, or on a message if it has a ``message_id``; on return it is durable.

        Raises:
            FeedbackRejected: the feedback violates rules. A ``ValueError``.
        """
        given = copy_feedback(feedback)
        about = Target(session_id, given.get("message_id"), given.get("agent_id"))
        with session_errors():
            return self.harken.collection.submit(to_submission(given, about, self.application))

    def get_feedbacks(self, session_id: str) -> list[dict[str, Any]]:
        """The counted feedback of a session, oldest first. ``created_at`` is an ISO time in UTC, without a zone."""
        with session_errors():
            found = self.harken.export(application=self.application, session_id=session_id)
            return [to_dictionary(feedback) for feedback in found]

    # --- metadata --------------------------------------------------------------------------------------------------

    def update_metadata(self, session_id: str, metadata: Mapping[str, JsonValue]) -> None:
        """Set these names; other names stay unchanged.

        Raises:
            InvalidMetadata: a name or value is invalid, or the metadata is too large; nothing was changed.
        """
        with session_errors():
            self.harken.sessions.update(self.application, session_id, metadata)

    def get_metadata(self, session_id: str) -> dict[str, Any]:
        """The metadata of a session by name, as ``{"_id": session_id, "metadata": {...}}``."""
        with session_errors():
            metadata = self.harken.sessions.get(self.application, session_id)
        return {"_id": session_id, "metadata": metadata}

    def delete_metadata(self, session_id: str, metadata_keys: str | Iterable[str]) -> int:
        """Remove one name or several; returns how many existed."""
        with session_errors():
            return self.harken.sessions.delete(self.application, session_id, as_texts(metadata_keys))

"""The sessions of a storage: conversations, feedback as dictionaries, and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from harken import ConfigurationError, Harken, InvalidMetadata, Receipt, Target
from harken.domain.rules import label_problem
from harken.domain.texts import as_texts
from harken.services.conversations import MAX_SIZE
from harken_adapters.formats.messages import Message
from harken_adapters.formats.session_feedback.dictionaries import to_dictionary
from harken_adapters.formats.session_feedback.submissions import copy_of, to_submission
from harken_adapters.formats.statistics import session_statistics
from harken_adapters.formats.value_encoding import decode, encode_exactly
from harken_adapters.hosts.session_manager.opening import Connection
from harken_adapters.hosts.strands.errors import session_errors
from harken_adapters.hosts.strands.repository import HarkenSessionRepository

if TYPE_CHECKING:
    from pymongo import MongoClient

#: The type of ``created_at`` in feedback: text in ISO 8601, or a ``datetime``.
CreatedAtType = Literal["iso", "datetime"]
_LAST_NUMBER: Final = 2**63 - 1


class MongoDBSessionRepository(HarkenSessionRepository):
    """The sessions of an application on any storage, for programs that manage sessions without an agent.

    Attributes:
        harken: the open Harken. Session managers of other applications may share it, so pass ``application=`` to it.
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
        created_at_type: CreatedAtType = "iso",
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
            metadata_fields: names of metadata, or paths such as ``user.plan``, that MongoDB indexes, for queries of the
                program.
            application_name: the application of the sessions.
            created_at_type: what ``created_at`` is in :meth:`get_feedbacks`.
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
        if created_at_type not in ("iso", "datetime"):
            raise ConfigurationError(f"created_at_type must be 'iso' or 'datetime', got {created_at_type!r}")
        self._as_datetime = created_at_type == "datetime"
        self._connection = Connection(
            connection_string, client, driver_options, application=application_name, allow_unmigrated=allow_unmigrated
        )
        self.client = self._connection.client
        self.application_name = application_name
        self.metadata_fields = tuple(metadata_fields or ())
        try:
            self.harken = self._connection.harken(database_name, collection_name)
            with session_errors():
                self.harken.sessions.index(self.metadata_fields, paths=True)
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
            FeedbackRejected: the feedback violates rules, or a value cannot be stored. A ``ValueError``.
        """
        submission = to_submission(copy_of(feedback), session_id, partial(self.target_of, session_id), self.application)
        with session_errors():
            return self.harken.collection.submit(submission)

    def get_feedbacks(self, session_id: str) -> list[dict[str, Any]]:
        """The counted feedback of a session, oldest first, with the values as they were added.

        ``created_at`` is UTC, without a zone: an ISO text, or a ``datetime`` if the repository was opened so.
        """
        with session_errors():
            entries = self.harken.collection.session_entries(self.application, session_id)
            return [to_dictionary(entry, as_datetime=self._as_datetime) for entry in entries]

    def get_feedback_stats(self, session_id: str) -> dict[str, Any]:
        """The number of ratings of a session, and ``satisfaction_score`` (0 to 100), without reading the feedback."""
        with session_errors():
            summary = self.harken.summary(application=self.application, session_id=session_id)
        return session_statistics(session_id, summary)

    def target_of(self, session_id: str, message_id: str | int | None, agent_id: str | None) -> Target:
        """The target with this message and agent. A number is that of a message of the agent.

        Without an agent, it is a message of the only agent that has one with this number. If it does not exist,
        the number as text is the id.
        """
        if isinstance(message_id, int):
            found = self._ids_of(session_id, message_id, agent_id)
            message_id = found[0] if len(found) == 1 else str(message_id)
        return Target(session_id, message_id, agent_id)

    def _ids_of(self, session_id: str, number: int, agent_id: str | None) -> list[str]:
        """The ids of the messages with this number, of one agent or of all."""
        if not 0 <= number <= _LAST_NUMBER or label_problem("session_id", session_id):
            return []
        conversations = self.harken.conversations
        with session_errors():
            agents = conversations.speakers(self.application, session_id) if agent_id is None else [agent_id]
            found = [conversations.message(self.application, session_id, agent, number) for agent in agents]
        ids = [Message.of(message).id for message in found if message is not None]
        return [one for one in ids if isinstance(one, str) and label_problem("message_id", one) is None]

    # --- metadata --------------------------------------------------------------------------------------------------

    def update_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> None:
        """Set these names; other names stay unchanged. A dot leads into a dictionary: ``user.plan``.

        Args:
            session_id: the session.
            metadata: text, numbers, true, false, ``None``, bytes, dates, times, UUIDs and BSON types, and lists and
                dictionaries of these.

        Raises:
            InvalidMetadata: a name or value is invalid, a name leads through a value that is not a dictionary, or the
                metadata is too large; nothing was changed.
        """
        try:
            encoded = {name: encode_exactly(value, f"metadata.{name}") for name, value in metadata.items()}
        except (TypeError, ValueError) as error:
            raise InvalidMetadata(str(error)) from error
        with session_errors():
            self.harken.sessions.update(self.application, session_id, encoded, paths=True)

    def get_metadata(self, session_id: str) -> dict[str, Any]:
        """The metadata of a session by name, as ``{"_id": session_id, "metadata": {...}}``."""
        with session_errors():
            metadata = self.harken.sessions.get(self.application, session_id)
        return {"_id": session_id, "metadata": {name: decode(value) for name, value in metadata.items()}}

    def delete_metadata(self, session_id: str, metadata_keys: str | Iterable[str]) -> int:
        """Remove one name or several; returns how many existed. A dot leads into a dictionary: ``user.plan``."""
        with session_errors():
            return self.harken.sessions.delete(self.application, session_id, as_texts(metadata_keys), paths=True)

"""The session manager: a Strands session with feedback and metadata as dictionaries, and hooks around both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve
from strands.types.tools import AgentTool

from harken import Harken, Receipt, Submission, Target
from harken.domain.texts import as_texts
from harken.ports.sessions import JsonValue
from harken.services.conversations import MAX_SIZE
from harken_adapters.hosts.session_manager.dictionaries import copy_feedback, to_dictionary, to_submission
from harken_adapters.hosts.session_manager.hooks import Hooks, call_through, hooks_of
from harken_adapters.hosts.session_manager.opening import Connection
from harken_adapters.hosts.strands import Answer, FeedbackCall, HarkenSessionManager, feedback_tool, metadata_tool
from harken_adapters.hosts.strands.errors import session_errors

if TYPE_CHECKING:
    from pymongo import MongoClient


class MongoDBSessionManager(HarkenSessionManager):
    """A session of an agent and its user, for ``Agent(session_manager=...)`` or without an agent.

    Despite its name it works with every storage. Feedback is passed and returned as dictionaries with ``rating``,
    ``comment`` and ``created_at``; other names are stored too. Its target is the agent's latest answer, unless it has
    a ``message_id``.
    """

    def __init__(
        self,
        session_id: str,
        connection_string: str | None = None,
        database_name: str | None = None,
        collection_name: str | None = None,  # noqa: ARG002 - Harken names its own collections
        client: MongoClient[Any] | Harken | None = None,
        *,
        metadata_hook: Hooks = None,
        feedback_hook: Hooks = None,
        application_name: str | None = None,
        feedbackHook: Hooks = None,  # noqa: N803 - the name in mongodb_session_manager
        metadataHook: Hooks = None,  # noqa: N803
        harken: Harken | None = None,
        max_record_bytes: int = MAX_SIZE,
        **driver_options: object,
    ) -> None:
        """Open a session. Nothing is stored until feedback, metadata or a message is added.

        Args:
            session_id: the id of the session.
            connection_string: the URL of a storage, such as ``mongodb://localhost:27017/`` or ``memory://``. Required
                unless ``client`` or ``harken`` is given.
            database_name: the MongoDB database; replaces the one in the URL.
            collection_name: ignored; the names of Harken's collections begin with ``harken_``.
            client: a MongoDB client (or a Harken), which wins over a connection string; it stays open.
            application_name: the application of the session.
            feedback_hook: one or several hooks around :meth:`add_feedback`, the outermost first.
            metadata_hook: one or several hooks around the operations on metadata.
            feedbackHook: deprecated; ignored if ``feedback_hook`` is given.
            metadataHook: deprecated; ignored if ``metadata_hook`` is given.
            harken: an open Harken, such as ``harken.connect()``, instead of the storage arguments; it stays open.
            max_record_bytes: see :class:`~harken_adapters.hosts.strands.HarkenSessionRepository`.
            driver_options: options of the MongoDB driver, such as ``maxPoolSize``; other storages ignore them. Harken
                sets ``w``, ``journal`` and ``fsync`` itself.

        Raises:
            TypeError: an argument is unknown.
            ConfigurationError: no storage is given, or the URL scheme is unknown. A ``ValueError``.
            StorageError: the storage cannot be opened. Also a ``SessionException`` of Strands.
        """
        self._feedback_hooks = hooks_of(feedback_hook, feedbackHook, "feedback")
        self._metadata_hooks = hooks_of(metadata_hook, metadataHook, "metadata")
        self._application_name = application_name
        self._connection = Connection(connection_string, harken or client, driver_options)
        opened = self._connection.harken(database_name, application_name)
        super().__init__(opened, session_id, application=application_name, max_record_bytes=max_record_bytes)

    def close(self) -> None:
        """Close the connections that it opened; may be called repeatedly. Stored data is durable without it."""
        self._connection.close()

    # --- feedback --------------------------------------------------------------------------------------------------

    def add_feedback(self, feedback: Mapping[str, Any]) -> Receipt | None:
        """Store feedback on the latest answer; on return it is durable.

        Args:
            feedback: ``rating`` (``"up"``, ``"down"`` or ``None``) and ``comment``. It may have ``message_id``,
                ``agent_id``, ``author``, ``tags``, ``created_at`` and ``idempotency_key``. Other names are stored in
                the context.

        Returns:
            The receipt, or the return value of a hook; ``None`` if a hook skipped the feedback.

        Raises:
            FeedbackRejected: the feedback violates rules. A ``ValueError``.
            IdempotencyConflict: the key was used before in this session, with other feedback.
            StorageError: the feedback could not be stored. Also a ``SessionException`` of Strands.
        """
        return self._through_hooks(self._add, copy_feedback(feedback))

    def get_feedbacks(self) -> list[dict[str, Any]]:
        """The counted feedback of this session, oldest first. ``created_at`` is an ISO time in UTC, without a zone."""
        with session_errors():
            found = self.harken.export(application=self.application, session_id=self.session_id)
            return [to_dictionary(feedback) for feedback in found]

    def get_feedback_tool(self) -> AgentTool:
        """A tool with which an agent records its user's feedback on an answer, through the hooks.

        It stores one entry for each answer: further calls revise it.
        """

        def vote(call: FeedbackCall) -> object:
            return self._through_hooks(partial(self._vote, call), {"rating": call.vote, "comment": call.comment})

        return feedback_tool(vote)

    @property
    def latest_answer(self) -> Answer | None:
        """The latest answer, the target of :meth:`add_feedback`; ``None`` before the first one."""
        return self.feedback.latest

    def _through_hooks(self, store: Callable[[Mapping[str, Any]], Receipt], given: dict[str, Any]) -> Receipt | None:
        receipt: Receipt | None = call_through(
            self._feedback_hooks, store, "add", self.session_id, session_manager=self, feedback=given
        )
        return receipt

    def _add(self, feedback: Mapping[str, Any]) -> Receipt:
        submission = self._submission(feedback, self.feedback.target)
        with session_errors():
            return self.harken.collection.submit(submission)

    def _vote(self, call: FeedbackCall, feedback: Mapping[str, Any]) -> Receipt:
        submission = self._submission(feedback, partial(self.feedback.target_of, call))
        author = self.feedback.voter if submission.author is None else submission.author
        with session_errors():
            return self.harken.collection.submit(evolve(submission, author=author, vote=True))

    def _submission(self, feedback: Mapping[str, Any], target: Callable[..., Target]) -> Submission:
        given = copy_feedback(feedback)
        about = target(given.get("message_id"), given.get("agent_id"))
        return to_submission(given, about, self.application)

    # --- metadata --------------------------------------------------------------------------------------------------

    def update_metadata(self, metadata: Mapping[str, JsonValue]) -> None:
        """Set these names; other names stay unchanged.

        Raises:
            InvalidMetadata: a name or value is invalid, or the metadata is too large; nothing was changed.
        """
        self._with_metadata_hooks("update", self._update, metadata=dict(metadata))

    def get_metadata(self) -> dict[str, Any]:
        """The metadata of the session by name, as ``{"_id": session_id, "metadata": {...}}``."""
        found: dict[str, Any] = self._with_metadata_hooks("get", self._metadata)
        return found

    def delete_metadata(self, metadata_keys: str | Iterable[str]) -> int:
        """Remove one name or several; returns how many existed."""
        names = list(as_texts(metadata_keys))
        deleted: int = self._with_metadata_hooks("delete", self._delete, keys=names)
        return deleted

    def get_metadata_tool(self) -> AgentTool:
        """The tool ``manage_metadata``, with which an agent reads and changes the metadata, through the hooks."""
        return metadata_tool(
            get=lambda: self.get_metadata()["metadata"], update=self.update_metadata, delete=self.delete_metadata
        )

    def _with_metadata_hooks(self, action: str, operation: Callable[..., Any], **arguments: Any) -> Any:
        return call_through(self._metadata_hooks, operation, action, self.session_id, session_manager=self, **arguments)

    def _update(self, metadata: Mapping[str, JsonValue]) -> None:
        with session_errors():
            self.harken.sessions.update(self.application, self.session_id, metadata)

    def _metadata(self) -> dict[str, Any]:
        with session_errors():
            metadata = self.harken.sessions.get(self.application, self.session_id)
        return {"_id": self.session_id, "metadata": metadata}

    def _delete(self, keys: str | Iterable[str]) -> int:
        with session_errors():
            return self.harken.sessions.delete(self.application, self.session_id, keys)

    # --- the application and its agents ----------------------------------------------------------------------------

    def get_application_name(self) -> str | None:
        """The ``application_name`` that was given; ``None`` without one. See also :attr:`application`."""
        return self._application_name

    def list_agents(self) -> list[dict[str, Any]]:
        """The agents of the session, by id: ``agent_id``, ``model`` and ``system_prompt``."""
        return [_config(agent_id, record) for agent_id, record in self._repository.records(self.session_id).items()]

    def get_agent_config(self, agent_id: str) -> dict[str, Any] | None:
        """The last configuration of an agent: ``agent_id``, ``model``, ``system_prompt``; ``None`` if it is unknown."""
        record = self._repository.record(self.session_id, agent_id)
        return None if record is None else _config(agent_id, record)

    def update_agent_config(self, agent_id: str, model: str | None = None, system_prompt: str | None = None) -> None:
        """Store another model or system prompt for an agent; :meth:`get_agent_config` returns it.

        ``None`` leaves a value unchanged. The next turn of the agent stores its own configuration again.

        Raises:
            LookupError: the agent is unknown in this session.
        """
        changes = {"model": model, "system_prompt": system_prompt}
        self._repository.configure(
            self.session_id, agent_id, {name: value for name, value in changes.items() if value is not None}
        )

    def get_message_count(self, agent_id: str | None = None) -> int:
        """The number of messages of an agent and its user in this session, or of all agents."""
        with session_errors():
            return self.harken.conversations.count(self.application, self.session_id, agent_id)


#: Creates a session manager.
create_mongodb_session_manager = MongoDBSessionManager


def _config(agent_id: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"agent_id": agent_id, "model": record.get("model"), "system_prompt": record.get("system_prompt")}

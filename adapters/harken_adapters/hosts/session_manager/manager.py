"""The session manager: a Strands session with feedback and metadata as dictionaries, and hooks around both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve
from strands.types.agent import LocalAgent
from strands.types.content import Message
from strands.types.tools import AgentTool

from harken import Harken, Rating, Receipt, Submission, Target
from harken.clock import utc_now
from harken.domain.texts import as_texts
from harken.services.conversations import MAX_SIZE
from harken_adapters.formats.session_feedback.submissions import copy_of, to_submission
from harken_adapters.hosts.session_manager.hooks import Hooks, call_through, hooks_of
from harken_adapters.hosts.session_manager.message_details import (
    GUARDRAIL_ACTION_BLOCKED,
    guardrail_event,
    metrics_of,
)
from harken_adapters.hosts.session_manager.repository import CreatedAtType, MongoDBSessionRepository
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

    def __init__(  # noqa: PLR0917 - the order of mongodb_session_manager
        self,
        session_id: str,
        connection_string: str | None = None,
        database_name: str | None = None,
        collection_name: str | None = None,
        client: MongoClient[Any] | Harken | None = None,
        metadata_fields: Iterable[str] | None = None,
        metadata_hook: Hooks = None,
        feedback_hook: Hooks = None,
        application_name: str | None = None,
        *,
        feedbackHook: Hooks = None,  # noqa: N803 - the name in mongodb_session_manager
        metadataHook: Hooks = None,  # noqa: N803
        harken: Harken | None = None,
        created_at_type: CreatedAtType = "iso",
        max_record_bytes: int = MAX_SIZE,
        allow_unmigrated: bool = False,
        **driver_options: object,
    ) -> None:
        """Open a session. Nothing is stored until feedback, metadata or a message is added.

        Args:
            session_id: the id of the session.
            connection_string: the URL of a storage, such as ``mongodb://localhost:27017/`` or ``memory://``. Required
                unless ``client`` or ``harken`` is given.
            database_name: the MongoDB database; replaces the one in the URL.
            collection_name: where mongodb_session_manager stored sessions, which must be migrated. The names of
                Harken's own collections begin with ``harken_``.
            client: a MongoDB client (or a Harken), which wins over a connection string; it stays open.
            metadata_fields: names of metadata, or paths such as ``user.plan``, that MongoDB indexes, for queries of the
                program.
            application_name: the application of the session.
            feedback_hook: one or several hooks around :meth:`add_feedback`, the outermost first.
            metadata_hook: one or several hooks around the operations on metadata.
            feedbackHook: deprecated; ignored if ``feedback_hook`` is given.
            metadataHook: deprecated; ignored if ``metadata_hook`` is given.
            harken: an open Harken, such as ``harken.connect()``, instead of the storage arguments; it stays open.
            created_at_type: what ``created_at`` is in :meth:`get_feedbacks`: ISO text, or a ``datetime`` in UTC without
                a zone.
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
        self._feedback_hooks = hooks_of(feedback_hook, feedbackHook, "feedback")
        self._metadata_hooks = hooks_of(metadata_hook, metadataHook, "metadata")
        #: The metrics that were stored last, by agent.
        self._metrics: dict[str, dict[str, Any]] = {}
        self._sessions = MongoDBSessionRepository(
            connection_string,
            database_name,
            collection_name,
            harken or client,
            metadata_fields,
            application_name,
            created_at_type=created_at_type,
            max_record_bytes=max_record_bytes,
            allow_unmigrated=allow_unmigrated,
            **driver_options,
        )
        super().__init__(self._sessions.harken, session_id, application=application_name, repository=self._sessions)

    def close(self) -> None:
        """Close the connections that it opened; may be called repeatedly. Stored data is durable without it."""
        self._sessions.close()

    # --- feedback --------------------------------------------------------------------------------------------------

    def add_feedback(self, feedback: Mapping[str, Any]) -> Receipt | None:
        """Store feedback on the latest answer; on return it is durable.

        Args:
            feedback: ``rating`` (``"up"``, ``"down"`` or ``None``) and ``comment``. It may have ``message_id``,
                ``agent_id``, ``author``, ``tags``, ``sentiment``, ``created_at`` and ``idempotency_key``, and any other
                names. Values of any JSON type, dates and bytes come back equal from :meth:`get_feedbacks`.

        Returns:
            The receipt, or the return value of a hook; ``None`` if a hook skipped the feedback.

        Raises:
            FeedbackRejected: the feedback violates rules, or a value cannot be stored. A ``ValueError``.
            IdempotencyConflict: the key was used before in this session, with other feedback.
            StorageError: the feedback could not be stored. Also a ``SessionException`` of Strands.
        """
        return self._through_hooks(self._add, copy_of(feedback))

    def get_feedbacks(self) -> list[dict[str, Any]]:
        """The counted feedback of this session, oldest first, with the values as they were added.

        ``created_at`` is UTC, without a zone: an ISO text, or a ``datetime`` if the session was opened so.
        """
        return self._sessions.get_feedbacks(self.session_id)

    def get_feedback_stats(self) -> dict[str, Any]:
        """The number of ratings, and ``satisfaction_score`` (0 to 100), without reading the feedback.

        Returns:
            ``session_id``, ``total_feedbacks``, ``positive``, ``negative``, ``neutral`` and ``satisfaction_score``.
        """
        return self._sessions.get_feedback_stats(self.session_id)

    def get_feedback_tool(self) -> AgentTool:
        """A tool with which an agent records its user's feedback on an answer, through the hooks.

        It stores one entry for each answer: further calls revise it.
        """

        def vote(call: FeedbackCall) -> object:
            rating = call.vote.value if isinstance(call.vote, Rating) else call.vote
            return self._through_hooks(partial(self._vote, call), {"rating": rating, "comment": call.comment})

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
        def target_of(message_id: str | int | None, agent_id: str | None) -> Target:
            about = self._sessions.target_of(self.session_id, message_id, agent_id)
            return target(about.message_id, about.agent_id)

        return to_submission(copy_of(feedback), self.session_id, target_of, self.application)

    # --- metadata --------------------------------------------------------------------------------------------------

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Set these names; other names stay unchanged. A dot leads into a dictionary: ``user.plan``.

        Args:
            metadata: values of any type of JSON, bytes, dates, times, UUIDs and BSON types.

        Raises:
            InvalidMetadata: a name or value is invalid, a name leads through a value that is not a dictionary, or the
                metadata is too large; nothing was changed.
        """
        self._with_metadata_hooks("update", self._sessions.update_metadata, metadata=dict(metadata))

    def get_metadata(self) -> dict[str, Any]:
        """The metadata of the session by name, as ``{"_id": session_id, "metadata": {...}}``."""
        found: dict[str, Any] = self._with_metadata_hooks("get", self._sessions.get_metadata)
        return found

    def delete_metadata(self, metadata_keys: str | Iterable[str]) -> int:
        """Remove one name or several; returns how many existed. A dot leads into a dictionary: ``user.plan``."""
        names = list(as_texts(metadata_keys))
        deleted: int = self._with_metadata_hooks("delete", self._sessions.delete_metadata, keys=names)
        return deleted

    def get_metadata_tool(self) -> AgentTool:
        """The tool ``manage_metadata``, with which an agent reads and changes the metadata, through the hooks."""
        return metadata_tool(
            get=lambda: self.get_metadata()["metadata"], update=self.update_metadata, delete=self.delete_metadata
        )

    def _with_metadata_hooks(self, action: str, operation: Callable[..., Any], **arguments: Any) -> Any:
        original = partial(operation, self.session_id)
        return call_through(self._metadata_hooks, original, action, self.session_id, session_manager=self, **arguments)

    # --- messages --------------------------------------------------------------------------------------------------

    def sync_agent(self, agent: LocalAgent, **kwargs: Any) -> None:
        """Store the state of an agent, and its metrics with its latest answer, if they changed."""
        super().sync_agent(agent, **kwargs)
        latest = self._latest_agent_message.get(agent.agent_id)
        metrics = metrics_of(agent)
        if not metrics or not latest or not _is_answer(latest.message) or self._metrics.get(agent.agent_id) == metrics:
            return
        self._metrics[agent.agent_id] = metrics
        self._repository.set_message_details(self.session_id, agent.agent_id, latest, {"event_loop_metrics": metrics})

    def redact_latest_message(self, redact_message: Message, agent: LocalAgent, **kwargs: Any) -> None:
        """Replace the content of the latest message in what agents restore, and record the intervention.

        Args:
            redact_message: the message without the content.
            agent: the agent of the message.
            kwargs: ``action`` (``"BLOCKED"`` by default), ``stop_reason`` and ``guardrail_trace``, which
                :meth:`get_guardrail_events` returns.
        """
        super().redact_latest_message(redact_message, agent, **kwargs)
        latest = self._latest_agent_message[agent.agent_id]
        if latest is None:
            return
        event = guardrail_event(
            kwargs.get("action", GUARDRAIL_ACTION_BLOCKED),
            utc_now(),
            kwargs.get("stop_reason"),
            kwargs.get("guardrail_trace"),
        )
        self._repository.set_message_details(self.session_id, agent.agent_id, latest, {"guardrail_events": [event]})

    def get_guardrail_events(self) -> list[dict[str, Any]]:
        """The interventions of guardrails in this session, oldest first.

        Returns:
            ``agent_id``, the number of the message as ``message_id``, ``action``, ``timestamp``, and if known
            ``stop_reason``, ``policies_triggered`` and ``trace``.
        """
        found = [
            {"agent_id": agent_id, "message_id": number, **event}
            for agent_id in self._repository.speakers(self.session_id)
            for number, details in self._repository.message_details(self.session_id, agent_id)
            for event in details.get("guardrail_events", ())
        ]
        return sorted(found, key=lambda event: event["timestamp"])

    def get_message_metrics(self, agent_id: str) -> dict[int, dict[str, Any]]:
        """The metrics that were stored with the answers of an agent, by the number of the message."""
        return {
            number: details["event_loop_metrics"]
            for number, details in self._repository.message_details(self.session_id, agent_id)
            if "event_loop_metrics" in details
        }

    # --- the application and its agents ----------------------------------------------------------------------------

    def get_application_name(self) -> str | None:
        """The ``application_name`` that was given; ``None`` without one. See also :attr:`application`."""
        return self._sessions.application_name

    def get_session_viewer_password(self) -> None:
        """``None``: there is no separate viewer of sessions, so sessions have no password."""

    def list_agents(self) -> list[dict[str, Any]]:
        """The agents of the session, each as :meth:`get_agent_config` returns it, sorted by id."""
        return [_config(agent_id, record) for agent_id, record in self._repository.records(self.session_id).items()]

    def get_agent_config(self, agent_id: str) -> dict[str, Any] | None:
        """The last configuration of an agent; ``None`` if it is unknown.

        Returns:
            ``agent_id``, ``model``, ``system_prompt`` and ``prompt_metadata``; values that were not set are ``None``.
        """
        record = self._repository.record(self.session_id, agent_id)
        return None if record is None else _config(agent_id, record)

    def update_agent_config(
        self,
        agent_id: str,
        model: str | None = None,
        system_prompt: str | None = None,
        prompt_metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Store another model, system prompt or prompt metadata for an agent; :meth:`get_agent_config` returns it.

        ``None`` leaves a value unchanged. The next turn of the agent stores its own model and system prompt again, if
        it has them.

        Raises:
            UnknownAgent: the agent is unknown in this session. A ``LookupError`` and a ``ValueError``.
        """
        changes = {"model": model, "system_prompt": system_prompt}
        self._repository.configure(
            self.session_id, agent_id, {name: value for name, value in changes.items() if value is not None}
        )
        if prompt_metadata is not None:
            self.set_prompt_metadata(agent_id, prompt_metadata)

    def set_prompt_metadata(self, agent_id: str, prompt_metadata: Mapping[str, Any]) -> None:
        """Store which prompt an agent uses, such as ``prompt_id`` and ``prompt_version``, also before its first turn.

        :meth:`get_agent_config` returns it until it is set again.
        """
        self._repository.set_prompt(self.session_id, agent_id, prompt_metadata)

    def get_message_count(self, agent_id: str | None = None) -> int:
        """The number of messages of an agent and its user in this session, or of all agents."""
        with session_errors():
            return self.harken.conversations.count(self.application, self.session_id, agent_id)


#: Creates a session manager.
create_mongodb_session_manager = MongoDBSessionManager


def _is_answer(message: Message) -> bool:
    """Whether an agent ended its turn with this message."""
    return message["role"] == "assistant" and not any("toolUse" in block for block in message["content"])


def _config(agent_id: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"agent_id": agent_id, **{name: record.get(name) for name in ("model", "system_prompt", "prompt_metadata")}}

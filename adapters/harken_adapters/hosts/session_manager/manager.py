"""The session manager: a Strands session with feedback and metadata in dictionaries, and hooks around both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve
from strands.types.tools import AgentTool

from harken import Harken, Receipt, Submission, Target
from harken.domain.text_lists import as_texts
from harken.ports.sessions import JsonValue
from harken.services.conversations import MAX_SIZE
from harken_adapters.hosts.session_manager.dictionaries import copied, to_dictionary, to_submission
from harken_adapters.hosts.session_manager.hooks import Hooks, called, chain
from harken_adapters.hosts.session_manager.opening import open_harken
from harken_adapters.hosts.strands import Answer, FeedbackCall, HarkenSessionManager, feedback_tool, metadata_tool
from harken_adapters.hosts.strands.errors import session_errors

if TYPE_CHECKING:
    from pymongo import MongoClient


class MongoDBSessionManager(HarkenSessionManager):
    """A session of an agent and of its user, for ``Agent(session_manager=...)`` or without an agent.

    In spite of its name it takes any storage that Harken has. Feedback goes in and comes out as dictionaries with
    ``rating``, ``comment`` and ``created_at``; other names in them are kept. Feedback is tied to the agent's latest
    answer, unless it says ``message_id`` itself.
    """

    def __init__(
        self,
        session_id: str,
        connection_string: str | None = None,
        database_name: str | None = None,
        collection_name: str | None = None,  # noqa: ARG002 - Harken names its own collections
        client: MongoClient[Any] | None = None,
        *,
        application_name: str | None = None,
        feedback_hook: Hooks = None,
        metadata_hook: Hooks = None,
        feedbackHook: Hooks = None,  # noqa: N803 - as those write it who come from the other library
        metadataHook: Hooks = None,  # noqa: N803
        harken: Harken | None = None,
        max_record_bytes: int = MAX_SIZE,
    ) -> None:
        """A session; it is there as soon as something is kept in it.

        Args:
            session_id: the session.
            connection_string: the URL of a storage, such as ``mongodb://localhost:27017/`` or ``memory://``. It is
                required, unless there is a ``client`` or a ``harken``.
            database_name: the database in MongoDB; in the place of the one in the URL.
            collection_name: ignored; Harken's own collections begin with ``harken_``.
            client: a client of MongoDB in the place of a connection string; it stays open.
            application_name: whose session it is; sessions of applications are apart.
            feedback_hook: a hook around :meth:`add_feedback`, or several, the outermost first.
            metadata_hook: the same around what is done with metadata.
            feedbackHook: the same as ``feedback_hook``, inside of it.
            metadataHook: the same as ``metadata_hook``, inside of it.
            harken: a Harken to work on in the place of all these, such as ``harken.connect()``; it stays open.
            max_record_bytes: see :class:`~harken_adapters.hosts.strands.HarkenSessionRepository`.

        Raises:
            ConfigurationError: no storage is given, or two are, or nothing serves that URL. It is a ``ValueError``.
            StorageError: the storage cannot be opened. It is a ``SessionException`` of Strands as well.
        """
        self._feedback_hooks = chain(feedback_hook, feedbackHook)
        self._metadata_hooks = chain(metadata_hook, metadataHook)
        opened = harken or open_harken(connection_string, database_name, client, application_name)
        self._own = None if harken else opened
        super().__init__(opened, session_id, application=application_name, max_record_bytes=max_record_bytes)

    def close(self) -> None:
        """Close what was opened for it. Closing twice is harmless; what was kept is durable without."""
        if self._own:
            self._own.close()

    # --- feedback --------------------------------------------------------------------------------------------------

    def add_feedback(self, feedback: Mapping[str, Any]) -> Receipt | None:
        """Keep what somebody thinks of the latest answer; on return it is durable.

        Args:
            feedback: ``rating`` (``"up"``, ``"down"`` or ``None``) and ``comment``. It may have ``message_id``,
                ``agent_id``, ``author``, ``tags``, ``created_at`` and ``idempotency_key``; all else is kept with it.

        Returns:
            The receipt, or what a hook gives in its place; ``None`` if a hook skipped it.

        Raises:
            FeedbackRejected: it breaks rules. It is a ``ValueError``, as are most of what hooks raise.
            IdempotencyConflict: the key was used before in this session, with other feedback.
            StorageError: it could not be stored.
        """
        given = copied(feedback)
        return self._through_hooks(self._add, given)

    def get_feedbacks(self) -> list[dict[str, Any]]:
        """The feedback of this session that counts, oldest first. ``created_at`` is an ISO time in UTC without zone."""
        with session_errors():
            found = self.harken.stream(application=self.application, session_id=self.session_id)
            return [to_dictionary(feedback) for feedback in found]

    def get_feedback_tool(self) -> AgentTool:
        """A tool with which an agent keeps what its user says of an answer, through the hooks.

        About one answer it keeps one entry: called again, it changes what it kept.
        """

        def vote(call: FeedbackCall) -> object:
            return self._through_hooks(partial(self._vote, call), {"rating": call.vote, "comment": call.comment})

        return feedback_tool(vote)

    @property
    def latest_answer(self) -> Answer | None:
        """The latest answer, which :meth:`add_feedback` is about; ``None`` before there is one."""
        return self.feedback.latest

    def _through_hooks(self, keep: Callable[[Mapping[str, Any]], Receipt], given: dict[str, Any]) -> Receipt | None:
        receipt: Receipt | None = called(
            self._feedback_hooks, keep, "add", self.session_id, session_manager=self, feedback=given
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
        given = copied(feedback)
        about = target(given.get("message_id"), given.get("agent_id"))
        return to_submission(given, about, self.application)

    # --- metadata --------------------------------------------------------------------------------------------------

    def update_metadata(self, metadata: Mapping[str, JsonValue]) -> None:
        """Set these names and leave the others as they are.

        Raises:
            InvalidMetadata: a name or a value that not every storage could keep; nothing was changed.
        """
        called(self._metadata_hooks, self._update, "update", self.session_id, metadata=dict(metadata))

    def get_metadata(self) -> dict[str, Any]:
        """What is known of the session by name, as ``{"metadata": {...}}``."""
        found: dict[str, Any] = called(self._metadata_hooks, self._metadata, "get", self.session_id)
        return found

    def delete_metadata(self, keys: str | Iterable[str]) -> int:
        """Remove these names, or a single one, and say how many there were."""
        names = list(as_texts(keys))
        deleted: int = called(self._metadata_hooks, self._delete, "delete", self.session_id, keys=names)
        return deleted

    def get_metadata_tool(self) -> AgentTool:
        """A tool with which an agent reads and changes the metadata, through the hooks."""
        return metadata_tool(
            get=lambda: self.get_metadata()["metadata"], update=self.update_metadata, delete=self.delete_metadata
        )

    def _update(self, metadata: Mapping[str, JsonValue]) -> None:
        with session_errors():
            self.harken.sessions.update(self.application, self.session_id, metadata)

    def _metadata(self) -> dict[str, Any]:
        with session_errors():
            return {"metadata": self.harken.sessions.get(self.application, self.session_id)}

    def _delete(self, keys: str | Iterable[str]) -> int:
        with session_errors():
            return self.harken.sessions.delete(self.application, self.session_id, keys)

    # --- the application and its agents ----------------------------------------------------------------------------

    def get_application_name(self) -> str:
        """Whose session it is."""
        return self.application

    def list_agents(self) -> list[dict[str, Any]]:
        """The agents of the session, by id: ``agent_id``, ``model`` and ``system_prompt``."""
        return [_config(agent_id, record) for agent_id, record in self._repository.records(self.session_id).items()]

    def get_agent_config(self, agent_id: str) -> dict[str, Any] | None:
        """How an agent was last set up: ``agent_id``, ``model`` and ``system_prompt``; ``None`` if it never talked."""
        record = self._repository.record(self.session_id, agent_id)
        return None if record is None else _config(agent_id, record)

    def update_agent_config(self, agent_id: str, model: str | None = None, system_prompt: str | None = None) -> None:
        """Keep another model or system prompt for an agent, for whoever makes it from :meth:`get_agent_config`.

        What is not given stays. An agent that talks writes its own again.

        Raises:
            LookupError: the agent was never in this session.
        """
        changes = {"model": model, "system_prompt": system_prompt}
        self._repository.configure(
            self.session_id, agent_id, {name: value for name, value in changes.items() if value is not None}
        )

    def get_message_count(self, agent_id: str | None = None) -> int:
        """How many messages an agent has in this session, its user's included; all agents, if none is named."""
        with session_errors():
            return self.harken.conversations.count(self.application, self.session_id, agent_id)


def create_mongodb_session_manager(session_id: str, **arguments: Any) -> MongoDBSessionManager:
    """A session manager; takes what :class:`MongoDBSessionManager` takes."""
    return MongoDBSessionManager(session_id, **arguments)


def _config(agent_id: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"agent_id": agent_id, "model": record.get("model"), "system_prompt": record.get("system_prompt")}

"""Links feedback to the answers of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from strands.hooks import AgentInitializedEvent, HookProvider, HookRegistry, MessageAddedEvent
from strands.types.tools import AgentTool

from harken import Harken, Receipt, Target
from harken.domain.feedback import RatingValue, Scalar
from harken.domain.rules import MAX_ID_LENGTH
from harken_adapters.hosts.strands.errors import session_errors
from harken_adapters.hosts.strands.tools import FeedbackCall, feedback_tool
from harken_adapters.hosts.strands.turns import Answer, Turns


class AgentFeedback(HookProvider):
    """Links feedback to the answers of agents: ``Agent(hooks=[AgentFeedback(hk, "session-1")], ...)``.

    It works with any session manager, or without one. Several agents may share an instance; the latest answer is then
    the latest of any of them.
    """

    def __init__(self, harken: Harken, session_id: str, *, application: str | None = None) -> None:
        self.harken = harken
        self.session_id = session_id
        self.application = harken.application if application is None else application
        self._turns = Turns()

    @property
    def latest(self) -> Answer | None:
        """The latest answer, the default target of :meth:`submit`; ``None`` before the first one."""
        return self._turns.latest

    @property
    def voter(self) -> str:
        """The author of the feedback that the tool records: the user of the session, whose own id is unknown."""
        author = f"session:{self.session_id}"
        if len(author) <= MAX_ID_LENGTH:
            return author
        return f"session:{blake2b(self.session_id.encode(), digest_size=16).hexdigest()}"

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:  # noqa: ARG002 - of the framework
        """Observe each message of an agent, and its restored messages."""
        registry.add_callback(AgentInitializedEvent, self._on_initialized)
        registry.add_callback(MessageAddedEvent, self._on_message)

    def submit(
        self,
        rating: RatingValue | None,
        comment: str = "",
        *,
        message_id: str | None = None,
        agent_id: str | None = None,
        author: str | None = None,
        tags: Sequence[str] = (),
        context: Mapping[str, Scalar] | None = None,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Submit feedback on the latest answer, or on the message ``message_id``.

        Takes the keywords of :meth:`harken.Harken.submit`, and raises the same errors. A ``StorageError`` is also a
        ``SessionException`` of Strands.
        """
        about = self.target(message_id, agent_id)
        with session_errors():
            return self.harken.submit(
                self.session_id,
                rating,
                comment,
                agent_id=about.agent_id,
                message_id=about.message_id,
                author=author,
                tags=tags,
                context=context,
                idempotency_key=idempotency_key,
                application=self.application,
            )

    def target(self, message_id: str | None = None, agent_id: str | None = None) -> Target:
        """The target of feedback: the given message or agent, by default the latest answer."""
        return self._target(self.latest, message_id, agent_id)

    def target_of(self, call: FeedbackCall, message_id: str | None = None, agent_id: str | None = None) -> Target:
        """The target of a tool call: the given message or agent, by default the answer that the user refers to."""
        return self._target(self._turns.answer(call), message_id, agent_id)

    def tool(self) -> AgentTool:
        """A tool with which an agent records its user's feedback on an answer.

        It stores one vote of :attr:`voter` for each answer: further calls revise it.
        """
        return feedback_tool(self._vote)

    def _target(self, answer: Answer | None, message_id: str | None, agent_id: str | None) -> Target:
        if answer is None or message_id is not None or agent_id not in (None, answer.agent_id):
            return Target(self.session_id, message_id, agent_id)
        return Target(self.session_id, answer.message_id, answer.agent_id)

    def _vote(self, call: FeedbackCall) -> Receipt:
        with session_errors():
            return self.harken.collection.set_vote(
                self.target_of(call), self.voter, call.vote, call.comment, application=self.application
            )

    def _on_initialized(self, event: AgentInitializedEvent) -> None:
        for message in event.agent.messages:
            self._turns.observe(message, event.agent.agent_id)

    def _on_message(self, event: MessageAddedEvent) -> None:
        self._turns.observe(event.message, event.agent.agent_id)

"""Ties feedback to the answers of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from strands.hooks import AgentInitializedEvent, HookProvider, HookRegistry, MessageAddedEvent
from strands.types.tools import AgentTool

from harken import Harken, Rating, Receipt, Target
from harken.domain.feedback import Scalar
from harken.domain.rules import MAX_ID_LENGTH
from harken_adapters.hosts.strands.errors import session_errors
from harken_adapters.hosts.strands.tools import FeedbackCall, feedback_tool
from harken_adapters.hosts.strands.turns import Answer, Turns


class AgentFeedback(HookProvider):
    """Ties feedback to the answers of agents: ``Agent(hooks=[AgentFeedback(hk, "session-1")], ...)``.

    It works beside whatever session manager the agents have, or none. Several agents may share one; the latest answer
    is that of whoever answered last.
    """

    def __init__(self, harken: Harken, session_id: str, *, application: str | None = None) -> None:
        self.harken = harken
        self.session_id = session_id
        self.application = harken.application if application is None else application
        self._turns = Turns()

    @property
    def latest(self) -> Answer | None:
        """The latest answer, which :meth:`submit` is about; ``None`` before there is one."""
        return self._turns.latest

    @property
    def voter(self) -> str:
        """The author of what the tool keeps, which stands for the user of the session, whose own id is not known."""
        author = f"session:{self.session_id}"
        if len(author) <= MAX_ID_LENGTH:
            return author
        return f"session:{blake2b(self.session_id.encode(), digest_size=16).hexdigest()}"

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:  # noqa: ARG002 - of the framework
        """Hear of each message of an agent, and of those that it is restored with."""
        registry.add_callback(AgentInitializedEvent, self._began)
        registry.add_callback(MessageAddedEvent, self._said)

    def submit(
        self,
        rating: Rating | str | None,
        comment: str = "",
        *,
        message_id: str | None = None,
        agent_id: str | None = None,
        author: str | None = None,
        tags: Sequence[str] = (),
        context: Mapping[str, Scalar] | None = None,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Keep what somebody thinks of the latest answer, or of the message that is named.

        Takes the keywords of :meth:`harken.Harken.submit`, and raises what it raises; a ``StorageError`` is a
        ``SessionException`` of Strands as well.
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
        """What feedback is about: what is named, or else the latest answer."""
        return self._target(self.latest, message_id, agent_id)

    def target_of(self, call: FeedbackCall, message_id: str | None = None, agent_id: str | None = None) -> Target:
        """What a call of the tool is about: what is named, or else the answer that the user speaks of."""
        return self._target(self._turns.answer(call), message_id, agent_id)

    def tool(self) -> AgentTool:
        """A tool with which an agent keeps what its user says of an answer.

        About one answer it keeps one entry: called again, it changes what it kept, see :attr:`voter`.
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

    def _began(self, event: AgentInitializedEvent) -> None:
        for message in event.agent.messages:
            self._turns.hear(message, event.agent.agent_id)

    def _said(self, event: MessageAddedEvent) -> None:
        self._turns.hear(event.message, event.agent.agent_id)

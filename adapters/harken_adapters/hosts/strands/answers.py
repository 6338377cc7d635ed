"""Which answer feedback is about: the last thing that an agent said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from attrs import frozen
from strands.hooks import AgentInitializedEvent, HookProvider, HookRegistry, MessageAddedEvent
from strands.types.content import Message, Messages
from strands.types.tools import AgentTool

from harken import Harken, Rating, Receipt, Target
from harken.domain.feedback import Scalar
from harken.domain.rules import MAX_ID_LENGTH
from harken_adapters.hosts.strands.errors import session_errors
from harken_adapters.hosts.strands.tools import feedback_tool


@frozen
class Answer:
    """An answer of an agent. ``message_id`` is the message's ``tracking_id``, which outlives the process."""

    agent_id: str
    message_id: str


class AgentFeedback(HookProvider):
    """Ties feedback to the answers of agents: ``Agent(hooks=[AgentFeedback(hk, "session-1")], ...)``.

    It works beside whatever session manager the agents have, or none. Several agents may share one; the latest answer
    is that of whoever answered last.
    """

    def __init__(self, harken: Harken, session_id: str, *, application: str | None = None) -> None:
        self.harken = harken
        self.session_id = session_id
        self.application = harken.application if application is None else application
        #: The answer that feedback is about now; ``None`` before there is one.
        self.latest: Answer | None = None

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
        latest = self.latest
        if latest is None or message_id is not None or agent_id not in (None, latest.agent_id):
            return Target(self.session_id, message_id, agent_id)
        return Target(self.session_id, latest.message_id, latest.agent_id)

    def tool(self) -> AgentTool:
        """A tool with which an agent keeps what its user says of an answer.

        About one answer it keeps one entry: called again, it changes what it kept, see :attr:`voter`.
        """
        return feedback_tool(self._vote)

    @property
    def voter(self) -> str:
        """The author of what the tool keeps: the user of this session, whose own id is not known here."""
        return voter(self.session_id)

    def _vote(self, rating: str | None, comment: str) -> Receipt:
        with session_errors():
            return self.harken.collection.set_vote(
                self.target(), self.voter, rating, comment, application=self.application
            )

    def _began(self, event: AgentInitializedEvent) -> None:
        self._look_at(event.agent.messages, event.agent.agent_id)

    def _said(self, event: MessageAddedEvent) -> None:
        self._look_at([event.message], event.agent.agent_id)

    def _look_at(self, messages: Messages, agent_id: str) -> None:
        found = next((said for message in reversed(messages) if (said := _answer_id(message))), None)
        if found is not None:
            self.latest = Answer(agent_id, found)


def voter(session_id: str) -> str:
    """The author that stands for the user of a session."""
    author = f"session:{session_id}"
    if len(author) <= MAX_ID_LENGTH:
        return author
    return f"session:{blake2b(session_id.encode(), digest_size=16).hexdigest()}"


def _answer_id(message: Message) -> str | None:
    """The id of a message that is an answer. One in which an agent calls tools is only on the way to an answer."""
    if message["role"] != "assistant" or any("toolUse" in block for block in message["content"]):
        return None
    return message.get("tracking_id")

"""Stores the records of sessions, agents and messages of session documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from harken import InvalidConversation
from harken.domain.metadata import is_same_json
from harken.domain.rules import label_problem
from harken.ports.conversations import SESSION_RECORD, JsonObject
from harken.services.conversations import OTHER_VALUE, ConversationService
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.migrating.conversations import Agent, Conversation, session_record_of
from harken_adapters.formats.migrating.counts import Migrated
from harken_adapters.formats.migrating.documents import Document, Recorder, Session
from harken_adapters.formats.migrating.messages import Message
from harken_adapters.formats.values import plain

_NO_MESSAGE: Final = "the message was rejected"
_NO_AGENT: Final = "the agent was rejected"


@frozen
class SessionMigration:
    """Adds what the target does not have. Different values of the target are kept, and those of the document rejected.

    Args:
        conversations: the conversations of the target.
        recorder: passes on what is rejected.
        tally: counts what became of them.
        dry_run: whether everything is removed again.
    """

    conversations: ConversationService
    recorder: Recorder
    tally: Migrated
    dry_run: bool

    def add(self, document: Document, session: Session, conversation: Conversation) -> None:
        """Migrate a session with its agents and messages."""
        record = session_record_of(document)
        problem = _session_problem(session)
        if record:
            self._add_record(session, record, problem)
        for agent in conversation.agents:
            self._add_agent(session, agent, problem)
        for event, reason in conversation.other_events:
            self.tally.guardrail_events.read += 1
            self._reject(self.tally.guardrail_events, session, problem or reason, {"guardrail_event": plain(event)})
        if self.dry_run and not problem:
            # It would only take memory: hardly any two documents have the same session.
            self.conversations.erase(session.application, session.id)

    def _add_record(self, session: Session, record: Mapping[str, Any], problem: str) -> None:
        self.tally.sessions.read += 1
        encoded = plain(record)
        reason = problem or self._put(session, SESSION_RECORD, encoded, self.tally.sessions)
        if reason:
            self._reject(self.tally.sessions, session, reason, {"session": encoded})

    def _add_agent(self, session: Session, agent: Agent, problem: str) -> None:
        self.tally.agents.read += 1
        self.tally.messages.read += len(agent.messages)
        self.tally.guardrail_events.read += sum(len(message.events) for message in agent.messages)
        reason = problem or agent.problem or self._put(session, agent.id, agent.record, self.tally.agents)
        if reason:
            self._reject(self.tally.agents, session, reason, {"agent": agent.id, "value": plain(agent.raw)})
        if not reason or reason == OTHER_VALUE:
            self._add_messages(session, agent)
            return
        for message in agent.messages:
            self._reject_message(session, agent, message, problem or message.problem or _NO_AGENT)

    def _put(self, session: Session, agent_id: str, record: JsonObject, tally: Tally) -> str:
        """Store the state of an agent that has none. Returns why it was not stored; empty if it is in the target."""
        place = (session.application, session.id, agent_id)
        while (existing := self.conversations.agent(*place)) is None:
            try:
                added = self.conversations.put_agent(*place, record, replace=False)
            except InvalidConversation as error:
                return str(error)
            if added:
                tally.added += 1
                return ""
        if not is_same_json(existing, record):
            return OTHER_VALUE
        tally.duplicates += 1
        return ""

    def _add_messages(self, session: Session, agent: Agent) -> None:
        place = (session.application, session.id, agent.id)
        valid: dict[int, Message] = {}
        for message in agent.messages:
            if message.problem:
                self._reject_message(session, agent, message, message.problem)
            else:
                valid[message.number] = message
        records = ((number, message.record) for number, message in valid.items())
        for one in self.conversations.merge(*place, records):
            message = valid[one.number]
            if one.refused:
                self._reject_message(session, agent, message, one.refused)
            else:
                self._keep_message(message, added=one.added)

    def _keep_message(self, message: Message, *, added: bool) -> None:
        """Count a message that the target has."""
        self.tally.renumbered += message.is_renumbered
        for tally, count in ((self.tally.messages, 1), (self.tally.guardrail_events, len(message.events))):
            if added:
                tally.added += count
            else:
                tally.duplicates += count

    def _reject_message(self, session: Session, agent: Agent, message: Message, reason: str) -> None:
        self._reject(self.tally.messages, session, reason, {"agent": agent.id, "message": plain(message.raw)})
        place = {"agent": agent.id, "message_id": message.original_number}
        for event in message.events:
            self._reject(self.tally.guardrail_events, session, _NO_MESSAGE, {**place, "guardrail_event": plain(event)})

    def _reject(self, tally: Tally, session: Session, reason: str, value: object) -> None:
        self.recorder.reject([tally], session, reason, value)


def _session_problem(session: Session) -> str:
    problems = [label_problem("application", session.application), label_problem("session_id", session.id)]
    return "; ".join(problem.message for problem in problems if problem)

"""Counts what became of the values of session documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from attrs import Factory, define, field

from harken_adapters.formats.importing.tally import Tally


@define
class Migrated:
    """The number of documents, and what became of their values.

    Attributes:
        documents: the number of documents.
        feedback: the entries of feedback.
        metadata: the values of metadata.
        feedback_by_application: the entries of feedback by application.
        documents_by_application: the number of documents by application.
        sessions: the records of sessions: their types and times.
        agents: the states and configurations of agents.
        messages: the messages of agents.
        guardrail_events: the interventions of guardrails.
        renumbered: how many messages that were added or are duplicates have another number than in the document.
    """

    documents: int = 0
    feedback: Tally = Factory(Tally)
    metadata: Tally = Factory(Tally)
    feedback_by_application: dict[str, Tally] = field(default=Factory(dict), eq=False)
    documents_by_application: Counter[str] = field(default=Factory(Counter), eq=False)
    sessions: Tally = Factory(Tally)
    agents: Tally = Factory(Tally)
    messages: Tally = Factory(Tally)
    guardrail_events: Tally = Factory(Tally)
    renumbered: int = 0

    @property
    def kinds(self) -> Mapping[str, Tally]:
        """The counts of each kind of value, by its name."""
        return {
            "sessions": self.sessions,
            "agents": self.agents,
            "messages": self.messages,
            "guardrail_events": self.guardrail_events,
            "feedback": self.feedback,
            "metadata": self.metadata,
        }

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to migrate."""
        return not any(tally.read for tally in self.kinds.values())

    @property
    def rejected(self) -> int:
        """The number of rejected values."""
        return sum(tally.rejected for tally in self.kinds.values())

    @property
    def nothing_accepted(self) -> bool:
        """Whether there was something to migrate, and all of it was rejected."""
        return not self.is_empty and all(tally.nothing_accepted for tally in self.kinds.values())

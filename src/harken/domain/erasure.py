"""The result of an erasure."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Erased:
    """The numbers of objects that were permanently removed.

    Attributes:
        feedback: feedback entries, with their revisions.
        messages: messages of conversations.
        agents: agent states, one for each agent and session.
        metadata: keys of session metadata.
        alerts: alerts that were resolved and emptied because they list erased feedback.
        deliveries: deliveries about the feedback, in any state, without the notifications of the erasure.
        kept_sessions: sessions of the erased author that were kept because other authors gave feedback in them.
    """

    feedback: int = 0
    messages: int = 0
    agents: int = 0
    metadata: int = 0
    alerts: int = 0
    deliveries: int = 0
    kept_sessions: tuple[str, ...] = ()

    def __add__(self, other: Erased) -> Erased:
        return Erased(
            feedback=self.feedback + other.feedback,
            messages=self.messages + other.messages,
            agents=self.agents + other.agents,
            metadata=self.metadata + other.metadata,
            alerts=self.alerts + other.alerts,
            deliveries=self.deliveries + other.deliveries,
            kept_sessions=self.kept_sessions + other.kept_sessions,
        )

"""What an erasure removed."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Erased:
    """How much was removed for good, by kind.

    Attributes:
        feedback: feedback, with its revisions.
        messages: messages of conversations.
        agents: what agents knew, one for each agent and session.
        metadata: keys of sessions' metadata.
        alerts: alerts that were closed and emptied, because feedback that they list was erased.
        deliveries: deliveries about the feedback, in any state; the notifications of the erasure do not count.
        kept_sessions: sessions of the erased author of which the rest was kept, as others gave feedback in them, too.
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

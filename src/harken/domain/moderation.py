"""Moderation: a small state machine of who may be seen and counted."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from attrs import frozen

from harken.domain.errors import InvalidTransition


class ModerationStatus(Enum):
    """Whether feedback counts: only ``APPROVED`` is in lists, figures and alerts."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


#: From each status, where a moderator may take it.
TRANSITIONS: dict[ModerationStatus, frozenset[ModerationStatus]] = {
    ModerationStatus.PENDING: frozenset({ModerationStatus.APPROVED, ModerationStatus.REJECTED}),
    ModerationStatus.APPROVED: frozenset({ModerationStatus.PENDING, ModerationStatus.REJECTED}),
    ModerationStatus.REJECTED: frozenset({ModerationStatus.PENDING, ModerationStatus.APPROVED}),
}


@frozen(kw_only=True)
class Moderation:
    """Where moderation stands: the status, why, and the last decision (with what ``undo`` returns to).

    ``moderator`` and ``decided_at`` are ``None`` until a person decides.
    """

    status: ModerationStatus = ModerationStatus.APPROVED
    reason: str = ""
    moderator: str | None = None
    decided_at: datetime | None = None
    previous: ModerationStatus | None = None

    def decide(
        self, status: ModerationStatus, *, at: datetime, moderator: str | None = None, reason: str = ""
    ) -> Moderation:
        """The moderation after a person's decision; without a reason of its own it keeps the one that was there.

        Raises:
            InvalidTransition: it has that status already.
        """
        if status not in TRANSITIONS[self.status]:
            raise InvalidTransition(
                f"This feedback is {self} already; "
                f"it can become {' or '.join(sorted(to.value for to in TRANSITIONS[self.status]))}"
            )
        kept = reason or self.reason
        return Moderation(status=status, reason=kept, moderator=moderator, decided_at=at, previous=self.status)

    def undo(self, *, at: datetime, moderator: str | None = None) -> Moderation:
        """Back to the status before the last decision; undoing twice brings the decision back.

        Raises:
            InvalidTransition: nobody has decided anything yet.
        """
        if self.previous is None:
            raise InvalidTransition("No decision has been taken on this feedback, so there is none to undo")
        return self.decide(self.previous, at=at, moderator=moderator)

    def decided_by_another(self, moderator: str | None) -> bool:
        """Whether the last decision is another moderator's; only names tell moderators apart."""
        return self.moderator is not None and moderator is not None and self.moderator != moderator

    def overridden_by(self, moderator: str | None) -> bool:
        """Whether a decision of this moderator would override another one's; what is pending waits for anybody's."""
        return self.status is not ModerationStatus.PENDING and self.decided_by_another(moderator)

    def __str__(self) -> str:
        """The status, and who decided that and when, as people say it."""
        if self.decided_at is None:
            return self.status.value
        moderator = repr(self.moderator) if self.moderator else "an unnamed moderator"
        return f"{self.status.value} (decided by {moderator} at {self.decided_at:%Y-%m-%d %H:%M:%S} UTC)"

    @classmethod
    def held(cls, reason: str) -> Moderation:
        """The moderation after the policy, not a person, found a reason to wait for a decision."""
        return cls(status=ModerationStatus.PENDING, reason=reason)


#: What feedback has that nobody and nothing found a reason to hold.
APPROVED: Final = Moderation()


@frozen
class Backlog:
    """What awaits moderation: how many entries, and since when the one waits that has waited the longest."""

    waiting: int = 0
    since: datetime | None = None

    def age(self, now: datetime) -> timedelta:
        """For how long the oldest entry has been waiting; zero if none waits, or only since later than ``now``."""
        return timedelta(0) if self.since is None else max(now - self.since, timedelta(0))

"""Moderation: the status of feedback and its transitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from attrs import evolve, field, frozen

from harken.domain.errors import InvalidTransition, StaleFeedback
from harken.domain.instants import stamp_or_none
from harken.domain.violation import Span


class ModerationStatus(Enum):
    """Whether feedback is counted: only ``APPROVED`` feedback is in lists, statistics and alerts."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


#: The statuses that a moderator may set from each status.
TRANSITIONS: dict[ModerationStatus, frozenset[ModerationStatus]] = {
    ModerationStatus.PENDING: frozenset({ModerationStatus.APPROVED, ModerationStatus.REJECTED}),
    ModerationStatus.APPROVED: frozenset({ModerationStatus.PENDING, ModerationStatus.REJECTED}),
    ModerationStatus.REJECTED: frozenset({ModerationStatus.PENDING, ModerationStatus.APPROVED}),
}


@frozen
class RuleMatch:
    """A rule that held feedback, and the parts of the comment that it matched, in order; none if it matched the whole.

    ``spans`` are starts and ends in Unicode code points: ``feedback.comment[start:end]``.
    """

    rule: str
    spans: tuple[Span, ...] = ()


@frozen(kw_only=True)
class Moderation:
    """The moderation of feedback: status, reason and last decision.

    ``moderator`` and ``decided_at`` are ``None`` until a moderator decides. ``undo`` restores the status
    ``previous`` with the reason ``previous_reason``. ``held_by`` are the rules that held the feedback; decisions keep
    them. It is empty if no rule did, and for feedback that was held before Harken stored them. ``is_undo`` is whether
    the last decision undid the one before.
    """

    status: ModerationStatus = ModerationStatus.APPROVED
    reason: str = ""
    moderator: str | None = None
    decided_at: datetime | None = None
    previous: ModerationStatus | None = None
    previous_reason: str = ""
    held_by: tuple[RuleMatch, ...] = ()
    is_undo: bool = False

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules that held the feedback; if there are none, the reason, or nothing without one."""
        if self.held_by:
            return tuple(match.rule for match in self.held_by)
        return (self.reason,) if self.reason else ()

    def to_dict(self) -> dict[str, Any] | None:
        """Return the decision besides the status, as JSON values; ``None`` if there was none."""
        if self == Moderation(status=self.status):
            return None
        record: dict[str, Any] = {
            "reason": self.reason,
            "moderator": self.moderator,
            "decided_at": stamp_or_none(self.decided_at),
            "previous": self.previous.value if self.previous else None,
            "previous_reason": self.previous_reason,
        }
        if self.is_undo:
            record["undo"] = True
        if self.held_by:
            record["held_by"] = [
                {"rule": match.rule, "spans": [list(span) for span in match.spans]} for match in self.held_by
            ]
        return record

    def without_spans(self) -> Moderation:
        """Return the moderation for another comment, of which the rules matched no part."""
        return evolve(self, held_by=tuple(RuleMatch(match.rule) for match in self.held_by)) if self.held_by else self

    def decide(
        self, status: ModerationStatus, *, at: datetime, moderator: str | None = None, reason: str = ""
    ) -> Moderation:
        """Return the moderation after a moderator's decision.

        Raises:
            InvalidTransition: the feedback already has this status.
        """
        if status not in TRANSITIONS[self.status]:
            raise InvalidTransition(
                f"This feedback is already {self}; "
                f"it can become {' or '.join(sorted(to.value for to in TRANSITIONS[self.status]))}"
            )
        return Moderation(
            status=status,
            reason=reason,
            moderator=moderator,
            decided_at=at,
            previous=self.status,
            previous_reason=self.reason,
            held_by=self.held_by,
        )

    def undo(self, *, at: datetime, moderator: str | None = None) -> Moderation:
        """Return the moderation with the status and the reason before the last decision.

        A second ``undo`` restores the decision.

        Raises:
            InvalidTransition: there is no decision to undo.
        """
        if self.previous is None:
            raise InvalidTransition("There is no decision on this feedback to undo")
        return evolve(self.decide(self.previous, at=at, moderator=moderator, reason=self.previous_reason), is_undo=True)

    def decided_by_another(self, moderator: str | None) -> bool:
        """Whether the last decision is another moderator's. Anonymous moderators are not distinguished."""
        return self.moderator is not None and moderator is not None and self.moderator != moderator

    def overridden_by(self, moderator: str | None) -> bool:
        """Whether a decision of this moderator would override another moderator's; pending feedback is open to all."""
        return self.status is not ModerationStatus.PENDING and self.decided_by_another(moderator)

    def __str__(self) -> str:
        """Return the status, the moderator and the time of the decision, for messages."""
        if self.decided_at is None:
            return self.status.value
        moderator = repr(self.moderator) if self.moderator else "an unnamed moderator"
        return f"{self.status.value} (decided by {moderator} at {self.decided_at:%Y-%m-%d %H:%M:%S} UTC)"

    @classmethod
    def held(cls, reason: str, held_by: tuple[RuleMatch, ...] = ()) -> Moderation:
        """Return the moderation of feedback that the policy, not a moderator, holds for a decision."""
        return cls(status=ModerationStatus.PENDING, reason=reason, held_by=held_by)


#: The moderation of feedback that nothing holds.
APPROVED: Final = Moderation()


@frozen
class ResponseTime:
    """How long feedback waited for a moderator's decision.

    Attributes:
        decisions: the number of entries that a moderator approved or rejected while they were pending.
        median: half of them waited at most that long, in seconds.
        percentile_90: nine tenths of them waited at most that long, in seconds.
    """

    decisions: int
    median: float
    percentile_90: float

    @classmethod
    def of(cls, waits: Iterable[timedelta]) -> ResponseTime | None:
        """The response time of these waits; ``None`` if there are none."""
        seconds = sorted(wait.total_seconds() for wait in waits)
        if not seconds:
            return None
        # The smallest wait that is at least as long as this share of all.
        middle, high = (seconds[-(-len(seconds) * tenths // 10) - 1] for tenths in (5, 9))
        return cls(len(seconds), middle, high)


@frozen(kw_only=True)
class Decision:
    """A decision on one of several entries: its id, the version that the moderator saw, and the status to set."""

    feedback_id: str
    version: int
    status: ModerationStatus
    reason: str = ""


@frozen
class Waiting:
    """Feedback that waits for a decision.

    Attributes:
        count: the number of entries.
        since: when the oldest one was submitted or last changed, or when a moderator held it; ``None`` without any.
        by_rule: the number of entries that each rule held, the most frequent first, 50 at most. An entry that several
            rules held counts for each; one without a stored rule counts for its reason.
        is_complete: whether all entries were read. If not, ``by_rule`` is about the oldest 10,000; with a filter on
            the rule, so is ``count``.
    """

    count: int = 0
    since: datetime | None = None
    by_rule: Mapping[str, int] = field(factory=dict)
    is_complete: bool = True


@frozen
class Backlog:
    """The moderation queue: the number of waiting entries, and the time since which the oldest one has been waiting."""

    waiting: int = 0
    since: datetime | None = None

    def age(self, now: datetime) -> timedelta:
        """Return how long the oldest entry has been waiting; zero if the queue is empty."""
        return timedelta(0) if self.since is None else max(now - self.since, timedelta(0))


class DecisionConflict(StaleFeedback, InvalidTransition):
    """Another moderator decided first, or the feedback was changed after it was read. Nothing was changed.

    ``version`` and ``status`` are the current ones. ``moderator`` and ``decided_at`` (in UTC) are from the last
    decision. Both are ``None`` if there was no decision; ``moderator`` is also ``None`` if it was anonymous.
    """

    def __init__(self, feedback_id: str, version: int, moderation: Moderation) -> None:
        self.feedback_id = feedback_id
        self.version = version
        self.status = moderation.status
        self.moderator = moderation.moderator
        self.decided_at = moderation.decided_at
        self._moderation = moderation
        super().__init__(
            f"Feedback {feedback_id!r} now has version {version} and is {moderation}; "
            "read it again and decide on that version"
        )

    def __reduce__(self) -> tuple[type[DecisionConflict], tuple[str, int, Moderation]]:
        return type(self), (self.feedback_id, self.version, self._moderation)

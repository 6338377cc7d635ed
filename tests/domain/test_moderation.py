"""The state machine of moderation."""

from itertools import product

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import sampled_from

from harken import InvalidTransition, Moderation, ModerationStatus
from support import NOON

STATUSES = list(ModerationStatus)


@pytest.mark.parametrize(("before", "after"), list(product(STATUSES, STATUSES)))
def test_every_pair(before: ModerationStatus, after: ModerationStatus) -> None:
    """A moderator may set any other status; setting the current status again is refused."""
    moderation = Moderation(status=before, reason="long", moderator="mo")
    if before is after:
        with pytest.raises(InvalidTransition, match=f"is already {before.value}"):
            moderation.decide(after, at=NOON)
        return
    decided = moderation.decide(after, at=NOON, moderator="mia", reason="rude")
    assert decided == Moderation(
        status=after, reason="rude", moderator="mia", decided_at=NOON, previous=before, previous_reason="long"
    )


@pytest.mark.parametrize("status", STATUSES)
def test_nothing_to_undo(status: ModerationStatus) -> None:
    """Without a moderator's decision there is nothing to undo."""
    with pytest.raises(InvalidTransition, match="no decision on this feedback to undo"):
        Moderation(status=status).undo(at=NOON)


@pytest.mark.parametrize("status", STATUSES)
def test_held_by_the_policy(status: ModerationStatus) -> None:
    """The policy sets feedback to pending with a reason, without a moderator."""
    held = Moderation(status=status).held("Spam detected")
    assert held == Moderation(status=ModerationStatus.PENDING, reason="Spam detected")


class ModerationMachine(RuleBasedStateMachine):
    """Decisions and undos in any order, compared with a model that stores the last two statuses and their reasons."""

    def __init__(self) -> None:
        super().__init__()
        self.moderation = Moderation()
        self.now: ModerationStatus = ModerationStatus.APPROVED
        self.before: ModerationStatus | None = None
        self.reasons = ("", "")

    @rule(status=sampled_from(STATUSES), reason=sampled_from(["", "rude", "fine"]))
    def decide(self, status: ModerationStatus, reason: str) -> None:
        if status is self.now:
            with pytest.raises(InvalidTransition):
                self.moderation.decide(status, at=NOON)
            return
        self.moderation = self.moderation.decide(status, at=NOON, reason=reason)
        self.now, self.before = status, self.now
        self.reasons = (reason, self.reasons[0])

    @rule()
    def undo(self) -> None:
        if self.before is None:
            with pytest.raises(InvalidTransition):
                self.moderation.undo(at=NOON)
            return
        self.moderation = self.moderation.undo(at=NOON, moderator="mia")
        self.now, self.before = self.before, self.now
        self.reasons = self.reasons[::-1]

    @rule()
    def undo_twice(self) -> None:
        if self.before is not None:
            twice = self.moderation.undo(at=NOON).undo(at=NOON)
            assert (twice.status, twice.previous) == (self.now, self.before)

    @invariant()
    def agrees(self) -> None:
        assert (self.moderation.status, self.moderation.previous) == (self.now, self.before)
        assert (self.moderation.reason, self.moderation.previous_reason) == self.reasons


TestModerationMachine = ModerationMachine.TestCase
TestModerationMachine.settings = settings(stateful_step_count=12)

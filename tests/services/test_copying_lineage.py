"""A repeated copy takes over the changes of the source, and never overwrites changes of the target."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import harken
from harken import Feedback, FeedbackQuery, FeedbackWithdrawn, Harken, InvalidTransition, Target
from harken.configuration.storage_urls import open_storage
from harken.ports.storage import Storage
from harken.services.copying import Copyable, Copying
from support import ManualClock, counting_ids

DECISIONS = {"approve": "approved", "reject": "rejected", "pend": "pending"}
#: Edits have few different contents, so that both sides sometimes make the same one.
ACTIONS = ("vote 1", "vote 2", "withdraw", "reply 1", "reply 2", *DECISIONS)
#: The longest comment that can be allowed.
LONGEST = 250_000
BOTH_CHANGED = "Both were changed: the target's version {} is not an earlier version of this one"


class Side:
    """A storage with one entry, and the changes since the last copy."""

    def __init__(self, hk: Harken, storage: Storage, clock: ManualClock) -> None:
        self.hk = hk
        self.storage = storage
        self.clock = clock
        self.done: list[str] = []
        self.last: dict[str, datetime] = {}

    def entry(self) -> Feedback:
        """The only entry, in any state."""
        (feedback,) = self.storage.feedback.stream(FeedbackQuery().in_any_state())
        return feedback

    def act(self, action: str) -> None:
        """Apply that, a second later, if it is possible for the current entry."""
        self.clock.turn(seconds=1)
        before = self.entry()
        what, _, words = action.partition(" ")
        with suppress(FeedbackWithdrawn, InvalidTransition):
            match what:
                case "vote":
                    self.hk.collection.set_vote(Target("s"), "ann", "up", words)
                case "withdraw":
                    self.hk.collection.withdraw("default", before.id)
                case "reply":
                    self.hk.collection.reply("default", before.id, words)
                case _:
                    self.hk.moderation.decide("default", before.id, DECISIONS[what])
        if self.entry() != before:
            self.done.append(action)
            self.last[what] = self.clock.now


@contextmanager
def sides() -> Iterator[tuple[Side, Side]]:
    """A source with one vote, and a target, with one clock."""
    clock, new_id = ManualClock(), counting_ids()
    with ExitStack() as stack:

        def opened() -> Side:
            storage = stack.enter_context(open_storage("memory://"))
            hk = stack.enter_context(harken.connect(storage, clock=clock, new_id=new_id, max_comment_length=LONGEST))
            return Side(hk, storage, clock)

        source, target = opened(), opened()
        source.hk.collection.set_vote(Target("s"), "ann", "up", "0")
        yield source, target


def copied(source: Side, target: Side) -> tuple[Copying, list[str]]:
    """Copy the source into the target; also returns the reasons of differences."""
    reasons: list[str] = []

    def report(_: Copyable, reason: str) -> None:
        reasons.append(reason)

    copying = Copying(source.storage, target.storage, report)
    list(copying.batches())
    return copying, reasons


def after(common: list[str], target_actions: list[str], source_actions: list[str]) -> tuple[Feedback, Feedback]:
    """The entry in the target before and after the second of two copies, between which both sides change it."""
    with sides() as (source, target):
        for action in common:
            source.act(action)
        copied(source, target)
        for action in target_actions:
            target.act(action)
        for action in source_actions:
            source.act(action)
        before = target.entry()
        copying, reasons = copied(source, target)
        result = target.entry()
        assert result in (before, source.entry())
        differs = result != source.entry()
        assert (copying.feedback.conflicts, len(reasons)) == (differs, differs)
        return before, result


actions = st.lists(st.sampled_from(ACTIONS), max_size=3)


@pytest.mark.slow
@given(common=actions, turns=st.lists(st.tuples(st.booleans(), st.sampled_from(ACTIONS)), max_size=7))
@example(common=[], turns=[(True, "reject"), (False, "vote 1"), (False, "vote 2")])
@example(common=[], turns=[(True, "withdraw"), (False, "vote 1"), (False, "vote 2")])
@example(common=[], turns=[(True, "reject"), (False, "pend"), (False, "approve")])
@example(common=[], turns=[(True, "withdraw"), (False, "pend"), (False, "vote 0"), (False, "vote 1")])
@example(common=["vote 1"], turns=[(True, "reply 1"), (False, "pend"), (False, "reject")])
@example(common=["reject"], turns=[(False, "vote 1"), (False, "approve")])
@example(common=["withdraw"], turns=[(False, "vote 1"), (False, "reject"), (False, "vote 2")])
def test_changes_in_the_target_are_never_overwritten(common: list[str], turns: list[tuple[bool, str]]) -> None:
    """After any changes on both sides, only versions that the source knows are replaced, and all of these are."""
    with sides() as (source, target):
        for action in common:
            source.act(action)
        copied(source, target)
        common_status = source.entry().moderation.status.value
        source.done.clear()
        source.last.clear()
        for in_target, action in turns:
            (target if in_target else source).act(action)
        before, theirs = target.entry(), source.entry()
        copying, reasons = copied(source, target)
        result = target.entry()
        assert result in (before, theirs)
        assert (copying.feedback.conflicts, len(reasons)) == (result != theirs, result != theirs)
        if not target.done:
            # Two decisions in a row do not show what the first of them was based on.
            assert result == theirs or sum(action in DECISIONS for action in source.done) >= 2
        elif result != before:
            assert not lost(target, source, common_status)


def lost(target: Side, source: Side, common_status: str) -> list[str]:
    """The changes in the target that were neither made in the source nor followed there by a later one."""
    done, source_done = target.done, source.done
    kinds = {action.partition(" ")[0] for action in source_done}
    decided = [action for action in source_done if action in DECISIONS]
    votes = [n for n, action in enumerate(source_done) if action.startswith("vote")]
    # A moderator's decision after a change of the author is about other content.
    on_new_words = votes and any(action in DECISIONS for action in source_done[votes[0] :])
    voted_later = "vote" in kinds and source.last["vote"] > target.last.get("withdraw", source.last["vote"])
    known = {common_status, *(DECISIONS[action] for action in decided)}
    last_decision = [action for action in done if action in DECISIONS][-1:]
    return [
        *(action for action in done if action.startswith("vote")),
        *(action for action in done if action == "withdraw" and action not in kinds and not voted_later),
        *(action for action in done if action.startswith("reply") and "reply" not in kinds),
        *(action for action in last_decision if not on_new_words and DECISIONS[action] not in known),
    ]


@pytest.mark.parametrize("hidden", ["reject", "withdraw"])
def test_feedback_hidden_in_the_target_stays_hidden(hidden: str) -> None:
    """Even if the author changed the entry in the source twice, so that it has a later version there."""
    before, result = after([], [hidden], ["vote 1", "vote 2"])
    assert (result, result.is_counted) == (before, False)


def test_a_withdrawal_is_not_followed_by_an_earlier_vote() -> None:
    """Not even by one that replaces a version with the same number and content."""
    with sides() as (source, target):
        copied(source, target)
        source.act("reject")
        source.act("vote 1")
        target.act("withdraw")
        before = target.entry()
        assert copied(source, target)[1] == [BOTH_CHANGED.format(2)]
        assert target.entry() == before
    before, result = after([], ["withdraw"], ["pend", "vote 1"])
    assert result == before


@pytest.mark.parametrize("hidden", ["reject", "withdraw"])
def test_decisions_alone_do_not_overwrite_each_other(hidden: str) -> None:
    """If only moderators changed the source, nothing shows that they knew the target's decision."""
    before, result = after([], [hidden], ["pend", "approve"])
    assert (result, result.is_counted) == (before, False)


def test_an_older_decision_does_not_overwrite_a_later_one() -> None:
    """Even if the older one was based on the status that the later one set again."""
    before, result = after(["pend", "approve"], ["pend"], ["reply 1", "reply 2"])
    assert (result, result.is_counted) == (before, False)


def test_a_reply_of_the_target_is_not_lost() -> None:
    """If the source has no reply in its place."""
    before, result = after([], ["reply 1"], ["pend", "approve"])
    assert (result, result.reply) == (before, "1")


@pytest.mark.parametrize(
    ("common", "since"),
    [
        (["reject"], ["approve"]),
        (["reject"], ["vote 1"]),
        (["reject"], ["vote 1", "approve", "vote 2"]),
        (["reject"], ["pend", "reject"]),
        (["withdraw"], ["vote 1", "withdraw"]),
        (["vote 1", "reply 1"], ["reply 2", "reject"]),
        (["vote 1", "withdraw"], ["vote 2", "vote 1"]),
    ],
)
def test_later_changes_in_the_source_are_taken_over(common: list[str], since: list[str]) -> None:
    """Decisions and votes that were based on the target's version."""
    before, result = after(common, [], since)
    assert result.version == before.version + len(since)


def test_a_limited_history_is_compared() -> None:
    """Beyond the limits of number or size of revisions: later votes are taken over, other decisions are not."""
    with sides() as (source, target):
        source.act("vote 1")
        copied(source, target)
        for number in range(130):
            source.act(f"vote {number % 2}")
        assert copied(source, target)[0].differences == 0
        assert target.entry() == source.entry()
        target.act("reject")
        for number in range(130):
            source.act(f"vote {number % 2}")
        before = target.entry()
        assert copied(source, target)[1] == [BOTH_CHANGED.format(before.version)]
        assert target.entry() == before


def test_a_history_limited_by_size_is_not_a_conflict() -> None:
    """It has far fewer revisions than the maximum number, as each is long."""
    with sides() as (source, target):
        for letter in "abc":
            source.act(f"vote {letter * LONGEST}")
        copied(source, target)
        for number in range(20):
            source.act(f"vote {chr(0x4E00 + number) * LONGEST}")
        revisions = source.entry().revisions
        assert len(revisions) < 20
        assert copied(source, target)[1] == []
        assert target.entry() == source.entry()


def test_a_version_with_another_history_is_not_an_earlier_version() -> None:
    """The same content and version, but changed at another time: it was changed in the target, too."""
    with sides() as (source, target):
        copied(source, target)
        target.act("vote 1")
        source.act("vote 1")
        source.act("vote 2")
        before = target.entry()
        assert copied(source, target)[1] == [BOTH_CHANGED.format(2)]
        assert target.entry() == before

"""Moderation by a team: what waits, decisions on several entries, what was decided, and reviews."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from attrs import evolve

import harken
from harken import (
    Feedback,
    FeedbackNotFound,
    FeedbackQuery,
    FeedbackRejected,
    FeedbackWithdrawn,
    Harken,
    InvalidQuery,
    InvalidTransition,
    Moderation,
    ModerationStatus,
    RatingPolicy,
    ResponseTime,
    StorageUnavailable,
    Submission,
    Summary,
    Violation,
)
from harken.domain.moderation import Decision, DecisionConflict, Waiting
from harken.domain.query import Order
from harken.testing import Faults
from support import NOON, ManualClock, a_feedback, a_submission, in_threads

APP = "default"
PENDING, APPROVED, REJECTED = ModerationStatus
MINUTE = timedelta(minutes=1)


def mentions_a_lawyer(submission: Submission) -> list[Violation]:
    """A rule of the operator."""
    return [Violation("comment", "legal", "It mentions a lawyer")] if "lawyer" in submission.comment else []


POLICY = RatingPolicy.standard(spam="hold").with_rules(mentions_a_lawyer, hold=True)


@pytest.fixture
def team(storage_url: str, clock: ManualClock) -> Iterator[Harken]:
    """A Harken on each kind of storage that holds spam and lawyers."""
    with harken.connect(storage_url, clock=clock, policy=POLICY) as hk:
        yield hk


@pytest.fixture
def team_in_memory(clock: ManualClock) -> Iterator[Harken]:
    """The same in memory, where only services are tested."""
    with harken.connect("memory://", clock=clock, policy=POLICY) as hk:
        yield hk


def hold(hk: Harken, number: int, comment: str = "casino", **keywords: object) -> list[Feedback]:
    """Submit feedback that is held, in sessions of their own."""
    return [hk.submit(f"s{index}", "up", comment, **keywords).feedback for index in range(number)]  # type: ignore[arg-type]


def decided(status: ModerationStatus, *feedback: Feedback, reason: str = "") -> list[Decision]:
    """The same decision on each entry, in the version that it has."""
    return [Decision(feedback_id=one.id, version=one.version, status=status, reason=reason) for one in feedback]


class TestTheQueue:
    def test_pages_of_equal_times(self, team: Harken) -> None:
        """Each entry is on one page, in both orders, even if all were created at the same time."""
        held = [one.id for one in hold(team, 7)]
        orders: tuple[tuple[Order, list[str]], ...] = (("oldest", sorted(held)), ("newest", sorted(held)[::-1]))
        for order, expected in orders:
            found, after = [], None
            for _ in range(4):
                page = team.moderation.queue(FeedbackQuery(), limit=2, after=after, order=order)
                found += [one.id for one in page.items]
                after = page.next
            assert (found, after) == (expected, None)

    def test_by_rule(self, team: Harken, clock: ManualClock) -> None:
        """The queue can be limited to what one rule held, and says how much that is."""
        (spam, *_) = hold(team, 2)
        clock.turn(minutes=1)
        (legal,) = hold(team, 1, "My lawyer", agent_id="a")
        (both,) = hold(team, 1, "My lawyer owns a casino", agent_id="a")
        clock.turn(minutes=1)
        old = a_feedback("old", moderation=Moderation.held("From before"), created_at=NOON - MINUTE)
        team.collection.restore([old, a_feedback("approved")])
        for order in ("oldest", "newest"):
            page = team.moderation.queue(FeedbackQuery(), rule="mentions a lawyer", order=order, limit=2)
            assert {one.id for one in page.items} == {legal.id, both.id}
        found = team.moderation.queue(FeedbackQuery(), rule="From before").items
        assert [one.id for one in found] == ["old"]
        assert team.moderation.waiting(FeedbackQuery()) == Waiting(
            5, old.created_at, {"spam phrases": 3, "mentions a lawyer": 2, "From before": 1}
        )
        assert team.moderation.waiting(FeedbackQuery(agent_id="a"), rule="spam phrases") == Waiting(
            1, both.created_at, {"spam phrases": 1, "mentions a lawyer": 1}
        )
        assert team.moderation.waiting(FeedbackQuery(application="other")) == Waiting()
        assert spam.created_at == NOON


class TestDecisionsOnSeveral:
    def test_each_has_its_own_outcome(self, team: Harken, clock: ManualClock) -> None:
        """One that fails does not fail the others, and says why: by whom it was decided, and when."""
        taken, withdrawn, changed, first, last = hold(team, 5)
        clock.turn(minutes=1)
        team.moderation.decide(APP, taken.id, APPROVED, moderator="priya")
        team.withdraw(withdrawn.id)
        team.change(changed.id, harken.Change(comment="casino!"))
        unknown = evolve(first, id="unknown")
        results = team.moderation.decide_many(
            APP, decided(REJECTED, taken, withdrawn, changed, unknown, first, last, reason="spam"), moderator="mo"
        )
        conflict, gone, stale, missing, *good = results
        assert isinstance(conflict, DecisionConflict)
        assert (conflict.moderator, conflict.decided_at, conflict.status) == ("priya", NOON + MINUTE, APPROVED)
        assert isinstance(gone, FeedbackWithdrawn)
        assert isinstance(stale, DecisionConflict)
        assert (stale.version, stale.moderator) == (2, None)
        assert isinstance(missing, FeedbackNotFound)
        assert good == [team.get(first.id), team.get(last.id)]
        assert [(one.moderation.status, one.moderation.reason, one.moderation.moderator) for one in good] == [
            (REJECTED, "spam", "mo")
        ] * 2
        assert team.get(taken.id).moderation.status is APPROVED
        assert team.get(changed.id).moderation.status is PENDING

    def test_a_repeated_call_is_no_conflict(self, team: Harken, clock: ManualClock) -> None:
        """After a lost response the same call returns the same feedback, without a second decision or event."""
        held = hold(team, 3)
        decisions = decided(REJECTED, *held, reason="spam")
        made = team.moderation.decide_many(APP, decisions, moderator="mo")
        clock.turn(minutes=1)
        assert team.moderation.decide_many(APP, decisions, moderator="mo") == made
        assert (
            team.moderation.decide(APP, held[0].id, REJECTED, moderator="mo", reason="spam", expected_version=1)
            == made[0]
        )
        versions = {one.id: 2 for one in held}
        undone = team.moderation.undo_many(APP, versions, moderator="mo")
        clock.turn(minutes=1)
        assert team.moderation.undo_many(APP, versions, moderator="mo") == undone
        assert [(one.version, one.moderation.status) for one in map(team.get, versions)] == [(3, PENDING)] * 3

    def test_others_decisions_are_conflicts(self, team: Harken, clock: ManualClock) -> None:
        """A decision is a repeated one only of the same moderator, with the same status and reason, on that version."""
        (held,) = hold(team, 1)
        made = team.moderation.decide(APP, held.id, REJECTED, moderator="mo", reason="spam", expected_version=1)
        for moderator, status, reason in [("max", REJECTED, "spam"), ("mo", APPROVED, "spam"), ("mo", REJECTED, "")]:
            (result,) = team.moderation.decide_many(APP, decided(status, held, reason=reason), moderator=moderator)
            assert isinstance(result, DecisionConflict)
            assert result.moderator == "mo"
        # An undo on the version before the decision undoes nothing.
        (result,) = team.moderation.undo_many(APP, {held.id: 1}, moderator="mo")
        assert isinstance(result, DecisionConflict)
        clock.turn(seconds=1)
        team.collection.reply(APP, held.id, "Thanks")
        (result,) = team.moderation.decide_many(APP, decided(REJECTED, held, reason="spam"), moderator="mo")
        assert isinstance(result, DecisionConflict)
        (result,) = team.moderation.undo_many(APP, {held.id: 2}, moderator="mo")
        assert isinstance(result, DecisionConflict)
        assert team.get(held.id).moderation == made.moderation

    def test_two_moderators_at_once(self, team: Harken) -> None:
        """Each entry has the decision of one of them, and the other one learns who made it."""
        held = hold(team, 20)
        calls: list[Callable[[], object]] = [
            lambda: team.moderation.decide_many(APP, decided(APPROVED, *held), moderator="ann"),
            lambda: team.moderation.decide_many(APP, decided(REJECTED, *held[::-1]), moderator="bob"),
        ]
        ann, bob = in_threads(calls)
        assert isinstance(ann, list)
        assert isinstance(bob, list)
        for one, first, second in zip(held, ann, bob[::-1], strict=True):
            won, lost = (first, second) if isinstance(first, Feedback) else (second, first)
            assert won == team.get(one.id)
            assert won.version == 2
            assert isinstance(lost, DecisionConflict)
            assert lost.moderator == won.moderation.moderator

    def test_nothing_to_do(self, team_in_memory: Harken) -> None:
        """A status that the entry has already, and nothing to undo, are outcomes of their own."""
        (held,) = hold(team_in_memory, 1)
        results = [
            *team_in_memory.moderation.decide_many(APP, decided(PENDING, held)),
            *team_in_memory.moderation.undo_many(APP, {held.id: 1}),
        ]
        assert [type(one) for one in results] == [InvalidTransition] * 2

    def test_invalid_calls(self, team_in_memory: Harken) -> None:
        """What is invalid about the call is raised before anything is decided."""
        (held,) = hold(team_in_memory, 1)
        moderation = team_in_memory.moderation
        with pytest.raises(InvalidQuery, match="At most 500 entries can be decided at once, got 501"):
            moderation.undo_many(APP, {str(number): 1 for number in range(501)})
        with pytest.raises(InvalidQuery, match="two decisions on the same entry"):
            moderation.decide_many(APP, decided(REJECTED, held, held))
        bad = decided(REJECTED, held) + decided(REJECTED, evolve(held, id="x"), reason="\x00")
        with pytest.raises(FeedbackRejected):
            moderation.decide_many(APP, bad)
        with pytest.raises(FeedbackRejected):
            moderation.undo_many(APP, {held.id: 1}, moderator="")
        assert team_in_memory.get(held.id) == held

    @pytest.mark.parametrize("after", [False, True])
    def test_after_a_failure_the_call_can_be_repeated(self, clock: ManualClock, *, after: bool) -> None:
        """If the storage fails in the middle, before or after a write, a repetition completes what is missing."""
        faults = Faults()
        with harken.open_storage("memory://") as storage:
            hk = harken.assemble(faults.around(storage), harken.Parts(clock=clock, policy=POLICY))
            held = hold(hk, 3)
            # Each decision reads and writes: the second write fails.
            faults.arm(at=4, after=after)
            with pytest.raises(StorageUnavailable):
                hk.moderation.decide_many(APP, decided(APPROVED, *held), moderator="mo")
            assert faults.failed == "feedback.replace"
            faults.disarm()
            results = hk.moderation.decide_many(APP, decided(APPROVED, *held), moderator="mo")
            assert [isinstance(one, Feedback) and one.version for one in results] == [2, 2, 2]
            hk.close()


class TestWhatWasDecided:
    def test_decisions(self, team: Harken, clock: ManualClock) -> None:
        """The latest decision comes first; with how many each moderator made, and how long the entries had waited."""
        held = hold(team, 5, agent_id="a")
        kept = team.submit("s", "up", "Fine").feedback
        for number, one in enumerate(held[:4]):
            clock.turn(minutes=1)
            moderator = ("ann", None, "ann", "bob")[number]
            team.moderation.decide(APP, one.id, (APPROVED, REJECTED)[number % 2], moderator=moderator)
        clock.turn(minutes=1)
        team.moderation.decide(APP, kept.id, REJECTED, moderator="ann", reason="rude")
        team.moderation.undo(APP, held[3].id, moderator="bob")
        page = team.moderation.decisions(FeedbackQuery(), since=NOON, limit=3)
        assert [one.id for one in page.items] == [kept.id, held[2].id, held[1].id]
        assert page.items[0] == team.get(kept.id)
        assert (page.count, page.by_moderator, page.is_complete) == (4, {"ann": 3, None: 1}, True)
        assert page.response_time == ResponseTime(3, 120.0, 180.0)
        rest = team.moderation.decisions(FeedbackQuery(), since=NOON, limit=3, after=page.next)
        assert ([one.id for one in rest.items], rest.next, rest.count) == ([held[0].id], None, 4)
        late = team.moderation.decisions(FeedbackQuery(), since=NOON + 3 * MINUTE)
        assert [one.id for one in late.items] == [kept.id, held[2].id]
        rejected = team.moderation.decisions(FeedbackQuery(), since=NOON, statuses=frozenset({REJECTED}))
        assert [one.id for one in rejected.items] == [kept.id, held[1].id]
        of_agent = team.moderation.decisions(FeedbackQuery(agent_id="a"), since=NOON)
        assert of_agent.count == 3
        assert team.moderation.decisions(FeedbackQuery(application="other"), since=NOON).count == 0

    def test_an_undone_rejection_is_not_a_decision(self, team_in_memory: Harken, clock: ManualClock) -> None:
        """Neither the rejection nor the undo is listed, as there is nothing left to undo."""
        given = team_in_memory.submit("s", "up", "Fine").feedback
        team_in_memory.moderation.decide(APP, given.id, REJECTED, moderator="mo")
        clock.turn(minutes=1)
        team_in_memory.moderation.undo(APP, given.id, moderator="mo")
        assert team_in_memory.moderation.decisions(FeedbackQuery(), since=NOON).items == ()

    def test_a_change_by_the_author_is_not_a_decision(self, team_in_memory: Harken, clock: ManualClock) -> None:
        """An old decision does not become one of today when the author changes the feedback."""
        (held,) = hold(team_in_memory, 1)
        team_in_memory.moderation.decide(APP, held.id, APPROVED, moderator="mo")
        clock.turn(hours=24)
        team_in_memory.change(held.id, harken.Change(comment="Fine"))
        assert team_in_memory.moderation.decisions(FeedbackQuery(), since=NOON + 60 * MINUTE).count == 0
        assert team_in_memory.moderation.decisions(FeedbackQuery(), since=NOON).count == 1


class TestReviews:
    def test_a_review(self, team: Harken, clock: ManualClock) -> None:
        """The author's record, the session, similar texts, and what an approval would change."""
        for number in range(9):
            team.submit("a", "down" if number else "up", "No", agent_id="a")
        team.submit("b", "down", "No", agent_id="b")
        text = "Great airline, best price for luggage sets at a casino near you"
        before = [team.submit(f"s{number}", "up", text, author="ann", agent_id="a").feedback for number in range(4)]
        team.moderation.decide_many(APP, decided(REJECTED, *before[:2]))
        clock.turn(minutes=20)
        team.submit("s9", "up", f"{text}!!", author="bob", agent_id="b")
        held = team.submit("s9", "up", text.upper(), author="ann", agent_id="a").feedback
        team.collection.submit(a_submission(comment=text, application="other"))
        review = team.moderation.review(FeedbackQuery(), held.id)
        assert review.feedback == held
        assert review.author is not None
        assert (review.author.total, review.author.rejected, review.author.pending) == (4, 2, 2)
        assert review.author.is_complete
        assert review.in_session == 2
        assert [one.session_id for one in review.similar.entries] == ["s2", "s3", "s9", "s9"]
        assert (review.similar.sessions, review.similar.is_complete) == (3, True)
        assert (review.similar.since, review.similar.until) == (NOON, NOON + 20 * MINUTE)
        selection, agent = review.if_approved.selection, review.if_approved.agents["a"]
        assert (selection.before, selection.after) == (team.summary(), team.summary() + Summary.of(held))
        assert (agent.before.satisfaction, agent.after.satisfaction) == (1 / 9 * 100, 20.0)
        team.moderation.decide(APP, held.id, APPROVED)
        assert (team.summary(), team.summary(agent_id="a")) == (selection.after, agent.after)
        later = team.moderation.review(FeedbackQuery(since=NOON + MINUTE), held.id)
        assert later.author is not None
        assert later.author.total == 0
        assert later.if_approved.selection.before == later.if_approved.selection.after == Summary.of(held)

    def test_without_author_agent_and_comment(self, team_in_memory: Harken) -> None:
        """What does not exist is left out."""
        empty = a_feedback("x", moderation=Moderation.held("why"))
        team_in_memory.collection.restore([empty, evolve(empty, id="y")])
        review = team_in_memory.moderation.review(FeedbackQuery(), "x")
        assert (review.author, review.similar.entries, review.similar.since) == (None, (), None)
        assert review.if_approved.agents[None].after.total == 1
        with pytest.raises(FeedbackNotFound):
            team_in_memory.moderation.review(FeedbackQuery(), "unknown")

    def test_a_preview(self, team: Harken) -> None:
        """What still has the version that was seen, and what the decisions would change, for any status."""
        held = hold(team, 3, agent_id="a")
        kept = team.submit("s", "down", "No", agent_id="b").feedback
        team.moderation.decide(APP, held[0].id, REJECTED)
        versions = {one.id: one.version for one in (*held, kept)} | {"unknown": 1, "\x00": 1, "\ud800": 1}
        approving = team.moderation.preview(FeedbackQuery(), versions, "approved")
        assert [one.feedback_id for one in approving.entries] == [held[1].id, held[2].id, kept.id]
        assert approving.effect.selection.after.positive == 2
        assert approving.effect.agents["b"].before == approving.effect.agents["b"].after == Summary.of(kept)
        rejecting = team.moderation.preview(FeedbackQuery(), versions, REJECTED)
        assert rejecting.effect.agents["a"].before == rejecting.effect.agents["a"].after == Summary()
        assert rejecting.effect.selection.after == Summary()
        assert team.summary() == Summary.of(kept)

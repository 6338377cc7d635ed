"""Moderation: the queue, and the decisions of moderators."""

import pickle
from datetime import timedelta
from functools import partial

import pytest

import harken
from harken import (
    DecisionConflict,
    Feedback,
    FeedbackNotFound,
    FeedbackQuery,
    FeedbackRejected,
    Harken,
    InvalidTransition,
    Moderation,
    ModerationStatus,
    ResponseTime,
    RuleMatch,
    Summary,
)
from support import NOON, ManualClock, a_submission, all_events, in_threads

APP = "default"
PENDING, APPROVED, REJECTED = ModerationStatus


@pytest.fixture
def kept(hk: Harken) -> Feedback:
    """An approved thumbs-up."""
    return hk.submit("s", "up", "Good").feedback


def test_a_decision_changes_the_statistics(hk: Harken, clock: ManualClock, kept: Feedback) -> None:
    """Rejected feedback is no longer counted, and the decision is stored with moderator, time and reason."""
    clock.turn(hours=1)
    rejected = hk.moderation.decide(APP, kept.id, REJECTED, moderator="mia", reason="rude")
    assert rejected.moderation == Moderation(
        status=REJECTED, reason="rude", moderator="mia", decided_at=NOON + timedelta(hours=1), previous=APPROVED
    )
    assert hk.collection.get(APP, kept.id) == rejected
    assert hk.summary() == Summary()
    assert all_events(hk)[1:] == [("feedback.moderated", kept.id, 2)]
    assert hk.moderation.decide(APP, kept.id, APPROVED).is_counted
    assert hk.summary() == Summary.of(kept)


def test_the_response_time() -> None:
    """The wait from the submission or the last change to the decision, of entries that were pending."""
    clock = ManualClock()
    with harken.connect("memory://", clock=clock, spam="hold") as hk:
        query = hk.query()
        hk.submit("s", "up", "Good")
        assert hk.moderation.response_time(query) is None
        held = [hk.submit(f"s{number}", "up", "casino", agent_id="a").feedback for number in range(10)]
        clock.turn(seconds=7)
        changed = hk.collection.change(APP, held[9].id, harken.Change(comment="casino again"))
        for number, one in enumerate([*held[:9], changed]):
            clock.now = NOON + timedelta(seconds=10 * (number + 1))
            hk.moderation.decide(APP, one.id, REJECTED if number % 2 else APPROVED, moderator="mia")
        assert hk.moderation.response_time(query) == ResponseTime(10, 50.0, 90.0)
        assert hk.moderation.response_time(hk.query(session_id="s9")) == ResponseTime(1, 93.0, 93.0)
        assert hk.moderation.response_time(hk.query(agent_id="b")) is None
        # A decision about feedback that was not pending is not a response.
        hk.moderation.decide(APP, held[0].id, REJECTED, moderator="mia")
        hk.moderation.undo(APP, held[1].id, moderator="mia")
        response_time = hk.moderation.response_time(query)
        assert response_time is not None
        assert response_time.decisions == 8


def test_undo(hk: Harken, kept: Feedback) -> None:
    """A decision can be undone, and the undo as well."""
    hk.moderation.decide(APP, kept.id, REJECTED)
    undone = hk.moderation.undo(APP, kept.id, moderator="max")
    assert (undone.moderation.status, undone.moderation.moderator) == (APPROVED, "max")
    assert hk.moderation.undo(APP, kept.id).moderation.status is REJECTED
    assert [event[::2] for event in all_events(hk)[1:]] == [("feedback.moderated", version) for version in (2, 3, 4)]


def test_invalid_decisions(hk: Harken, kept: Feedback) -> None:
    """A decision that changes nothing, or is about unknown feedback, is an error and has no event."""
    with pytest.raises(InvalidTransition, match="already approved"):
        hk.moderation.decide(APP, kept.id, APPROVED)
    with pytest.raises(InvalidTransition, match="no decision on this feedback to undo"):
        hk.moderation.undo(APP, kept.id)
    with pytest.raises(FeedbackNotFound):
        hk.moderation.decide("shop", kept.id, REJECTED)
    with pytest.raises(FeedbackNotFound):
        hk.moderation.undo(APP, "nothing")
    assert len(all_events(hk)) == 1


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"reason": "\x00"}, "reason"),
        ({"reason": "\ud800"}, "reason"),
        ({"reason": None}, "reason"),
        ({"moderator": ""}, "moderator"),
        ({"moderator": "x" * 201}, "moderator"),
        ({"moderator": 7}, "moderator"),
    ],
)
def test_invalid_texts(hk: Harken, kept: Feedback, words: dict[str, str], field: str) -> None:
    """Texts of moderators follow the same rules as any other text."""
    with pytest.raises(FeedbackRejected) as caught:
        hk.moderation.decide(APP, kept.id, REJECTED, **words)
    assert [violation.field for violation in caught.value.violations] == [field]
    if field == "moderator":
        with pytest.raises(FeedbackRejected):
            hk.moderation.undo(APP, kept.id, **words)
    assert hk.collection.get(APP, kept.id) == kept


def test_one_of_many_moderators_is_first(hk: Harken, kept: Feedback) -> None:
    """Of many concurrent rejections one succeeds, and the others get the error that it is decided."""
    results = in_threads([lambda: hk.moderation.decide(APP, kept.id, REJECTED)] * 8)
    assert sum(isinstance(result, Feedback) for result in results) == 1
    assert sum(isinstance(result, InvalidTransition) for result in results) == 7
    assert hk.collection.get(APP, kept.id).version == 2


# --- Versions ---------------------------------------------------------------------------------------------------------


def test_a_second_moderator_gets_the_first_decision(storage_url: str) -> None:
    """A decision on an old version is an error with the decision that was made, by whom and when, and changes
    nothing.
    """
    clock = ManualClock()
    with harken.connect(storage_url, spam="hold", clock=clock) as hk:
        held = hk.submit("s", "up", "casino").feedback
        (seen,) = hk.moderation.queue(hk.query()).items
        clock.turn(hours=1)
        decided = hk.moderation.decide(APP, held.id, APPROVED, moderator="mia", expected_version=seen.version)
        late = [
            lambda: hk.moderation.decide(APP, held.id, REJECTED, moderator="max", expected_version=seen.version),
            lambda: hk.moderation.decide(APP, held.id, APPROVED, expected_version=seen.version),
            lambda: hk.moderation.undo(APP, held.id, moderator="max", expected_version=seen.version),
        ]
        for call in late:
            with pytest.raises(
                DecisionConflict, match=r"now has version 2 and is approved \(decided by 'mia' at .* UTC\)"
            ) as caught:
                call()
            conflict = caught.value
            assert (conflict.feedback_id, conflict.version, conflict.status) == (held.id, 2, APPROVED)
            assert (conflict.moderator, conflict.decided_at) == ("mia", NOON + timedelta(hours=1))
        assert hk.collection.get(APP, held.id) == decided
        again = hk.moderation.decide(APP, held.id, REJECTED, moderator="max", expected_version=conflict.version)
        assert (again.moderation.status, again.version) == (REJECTED, 3)
        assert hk.moderation.undo(APP, held.id, expected_version=3).moderation.status is APPROVED


def test_only_one_decision_on_a_version(storage_url: str) -> None:
    """Of many different concurrent decisions on one version, one succeeds, and the others get an error."""
    with harken.connect(storage_url, spam="hold") as hk:
        held = hk.submit("s", "up", "casino").feedback
        deciding = [
            lambda n=n: hk.moderation.decide(
                APP, held.id, (APPROVED, REJECTED)[n % 2], moderator=f"m-{n}", expected_version=1
            )
            for n in range(6)
        ]
        results = in_threads(deciding)
        (won,) = [result for result in results if isinstance(result, Feedback)]
        lost = [result for result in results if isinstance(result, DecisionConflict)]
        assert {(one.moderator, one.status, one.version) for one in lost} == {
            (won.moderation.moderator, won.moderation.status, 2)
        }
        assert len(lost) == 5
        assert hk.collection.get(APP, held.id) == won


def test_a_change_by_the_author_is_another_version(hk: Harken, kept: Feedback) -> None:
    """A moderator does not decide on content that they have not seen."""
    hk.collection.change(APP, kept.id, harken.Change(comment="Else"))
    with pytest.raises(DecisionConflict, match="now has version 2 and is approved; read it again") as caught:
        hk.moderation.decide(APP, kept.id, REJECTED, expected_version=1)
    assert (caught.value.moderator, caught.value.decided_at) == (None, None)


def test_without_a_version_no_other_moderator_is_overridden(hk: Harken, kept: Feedback) -> None:
    """A named moderator can change their own decision, and any moderator can decide on pending feedback."""
    hk.moderation.decide(APP, kept.id, REJECTED, moderator="mia")
    for status in (APPROVED, REJECTED, PENDING):
        with pytest.raises(DecisionConflict, match="decided by 'mia'"):
            hk.moderation.decide(APP, kept.id, status, moderator="max")
    hk.moderation.decide(APP, kept.id, PENDING, moderator="mia")
    assert hk.moderation.decide(APP, kept.id, APPROVED, moderator="max").version == 4
    assert hk.moderation.decide(APP, kept.id, REJECTED, moderator="mia", expected_version=4).version == 5


@pytest.mark.parametrize("status", [REJECTED, PENDING])
def test_without_a_version_no_other_moderators_decision_is_undone(
    hk: Harken, kept: Feedback, status: ModerationStatus
) -> None:
    """A named moderator can undo their own decision, an unnamed one, or one on a version that they saw."""
    hk.moderation.decide(APP, kept.id, status, moderator="mia")
    with pytest.raises(DecisionConflict, match=rf"{status.value} \(decided by 'mia'"):
        hk.moderation.undo(APP, kept.id, moderator="max")
    assert hk.moderation.undo(APP, kept.id, moderator="mia").moderation.status is APPROVED
    assert hk.moderation.undo(APP, kept.id).moderation.status is status
    assert hk.moderation.undo(APP, kept.id, moderator="max").moderation.status is APPROVED
    assert hk.moderation.undo(APP, kept.id, moderator="mia", expected_version=5).moderation.status is status


@pytest.mark.parametrize("undoing", [False, True])
def test_a_concurrent_decision_is_not_overridden(hk: Harken, kept: Feedback, *, undoing: bool) -> None:
    """Even without names and versions, a decision that is made between reading and writing stays."""
    hk.moderation.decide(APP, kept.id, REJECTED)

    def decides_first(current: Feedback) -> None:
        if current.version == 2:
            hk.moderation.decide(APP, kept.id, PENDING)

    call = hk.moderation.undo if undoing else partial(hk.moderation.decide, status=APPROVED)
    with pytest.raises(DecisionConflict, match="pending"):
        call(APP, kept.id, check=decides_first)
    found = hk.collection.get(APP, kept.id)
    assert (found.version, found.moderation.status) == (3, PENDING)


def test_a_conflict_can_be_pickled() -> None:
    """Task queues pass errors to other processes."""
    conflict = DecisionConflict("f", 3, Moderation(status=REJECTED, moderator="mia", decided_at=NOON))
    copy = pickle.loads(pickle.dumps(conflict))
    assert (str(copy), vars(copy)) == (str(conflict), vars(conflict))


# --- The queue --------------------------------------------------------------------------------------------------------


def test_the_queue() -> None:
    """Pending feedback that is not withdrawn is in the queue, in pages, within the query's other filters."""
    clock = ManualClock()
    with harken.connect("memory://", spam="hold", clock=clock) as hk:
        held = []
        for number in range(4):
            clock.turn(minutes=1)
            held.append(hk.submit(f"s{number % 2}", "up", "casino").feedback.id)
        hk.submit("s0", "up", "Fine")
        hk.collection.withdraw(APP, held[0])
        page = hk.moderation.queue(FeedbackQuery(), limit=2)
        assert [one.id for one in page.items] == [held[1], held[2]]
        page = hk.moderation.queue(FeedbackQuery(), after=page.next, limit=1)
        assert ([one.id for one in page.items], page.next) == ([held[3]], None)
        page = hk.moderation.queue(FeedbackQuery(), limit=2, order="newest")
        assert [one.id for one in page.items] == [held[3], held[2]]
        page = hk.moderation.queue(FeedbackQuery(), after=page.next, order="newest")
        assert ([one.id for one in page.items], page.next) == ([held[1]], None)
        rejected = hk.query(session_id="s0").in_any_state()
        assert [one.id for one in hk.moderation.queue(rejected).items] == [held[2]]
        hk.moderation.decide(APP, held[2], APPROVED)
        assert hk.moderation.queue(rejected).items == ()
        with pytest.raises(harken.InvalidQuery):
            hk.moderation.queue(FeedbackQuery(), limit=0)
        with pytest.raises(harken.InvalidQuery, match="order must be 'newest' or 'oldest', got 'x'"):
            hk.moderation.queue(FeedbackQuery(), order="x")  # type: ignore[arg-type]


def test_applications_have_their_own_queues() -> None:
    """Each application has its own queue."""
    with harken.connect("memory://", spam="hold") as hk:
        hk.collection.submit(a_submission(comment="casino", application="shop"))
        assert hk.moderation.queue(FeedbackQuery()).items == ()
        assert len(hk.moderation.queue(FeedbackQuery(application="shop")).items) == 1


def test_a_status_may_be_a_word(hk: Harken) -> None:
    """A decision accepts the word for a status, and an unknown word is an error."""
    feedback = hk.submit("session", "up").feedback
    rejected = hk.moderation.decide("default", feedback.id, "rejected")
    assert rejected.moderation.status is ModerationStatus.REJECTED
    with pytest.raises(InvalidTransition, match="'pending', 'approved' or 'rejected', not 'gone'"):
        hk.moderation.decide("default", feedback.id, "gone")


def test_a_decision_has_its_own_reason_and_moderator_only(hk: Harken) -> None:
    """A decision without a reason or a moderator does not show those of the decision before."""
    feedback = hk.submit("session", "up").feedback
    hk.moderation.decide("default", feedback.id, "pending", moderator="mo", reason="fine")
    rejected = hk.moderation.decide("default", feedback.id, "rejected").moderation
    assert (rejected.reason, rejected.moderator) == ("", None)
    assert (rejected.previous, rejected.previous_reason) == (ModerationStatus.PENDING, "fine")


def test_undo_restores_the_reason_of_the_status() -> None:
    """The reason why feedback was held is shown again after it was approved and that was undone."""
    with harken.connect("memory://", spam="hold") as hk:
        held = hk.submit("session", "up", "click here").feedback
        hk.moderation.decide("default", held.id, "approved", moderator="mo")
        undone = hk.moderation.undo("default", held.id)
        assert (undone.moderation.status, undone.moderation.reason) == (ModerationStatus.PENDING, "Spam detected")
        assert hk.moderation.queue(hk.query()).items == (undone,)


def test_feedback_that_is_held_again_has_no_decision_to_undo() -> None:
    """A change that is held needs its own decision; the one before was about other content."""
    with harken.connect("memory://", spam="hold") as hk:
        feedback = hk.submit("session", "up", "fine").feedback
        hk.moderation.decide("default", feedback.id, "rejected", moderator="mo")
        hk.moderation.decide("default", feedback.id, "approved", moderator="mo")
        changed = hk.collection.change("default", feedback.id, harken.Change(comment="click here"))
        assert changed.moderation == Moderation.held("Spam detected", (RuleMatch("spam phrases", ((0, 10),)),))
        with pytest.raises(InvalidTransition, match="no decision on this feedback to undo"):
            hk.moderation.undo("default", feedback.id)


class TestTheRulesThatHeld:
    """``Moderation.held_by``: which rules held feedback, and what they matched."""

    def test_decisions_keep_them(self) -> None:
        """A moderator still sees them after decisions, and after these were undone."""
        with harken.connect("memory://", spam="hold") as hk:
            held = hk.submit("session", "up", "please click here").feedback
            matched = (RuleMatch("spam phrases", ((7, 17),)),)
            assert held.moderation.held_by == matched
            for status in ("approved", "rejected", "pending"):
                assert hk.moderation.decide("default", held.id, status).moderation.held_by == matched
            assert hk.moderation.undo("default", held.id).moderation.held_by == matched

    def test_another_comment_has_no_spans(self) -> None:
        """A change of a pending comment removes the spans, which would be of other words, but not the rule."""
        with harken.connect("memory://", spam="hold") as hk:
            held = hk.submit("session", "up", "please click here").feedback
            rated = hk.change(held.id, harken.Change(tags=["x"]))
            assert rated.moderation.held_by == held.moderation.held_by
            changed = hk.change(held.id, harken.Change(comment="Fine"))
            assert changed.moderation.held_by == (RuleMatch("spam phrases"),)
            assert changed.moderation.status is ModerationStatus.PENDING
            again = hk.change(held.id, harken.Change(comment="casino"))
            assert again.moderation.held_by == (RuleMatch("spam phrases", ((0, 6),)),)

    def test_names(self) -> None:
        """Feedback without stored rules has its reason in place of their names."""
        assert Moderation.held("x", (RuleMatch("one"), RuleMatch("two"))).rules == ("one", "two")
        assert Moderation.held("An old reason").rules == ("An old reason",)
        assert Moderation().rules == ()

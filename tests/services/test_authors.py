"""What authors do with their feedback later: vote again, change, withdraw; and get replies."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import (
    Change,
    Context,
    Feedback,
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    Harken,
    IdempotencyConflict,
    Moderation,
    ModerationStatus,
    Rating,
    RatingPolicy,
    Receipt,
    RuleMatch,
    StaleFeedback,
    Submission,
    Target,
)
from harken.domain.events import Event
from harken.domain.history import MAX_REVISIONS
from harken.domain.query import FeedbackQuery
from harken.ports.repository import Accepted, Outcome
from harken_adapters.storage.memory import open_storage
from support import NOON, ManualClock, a_submission, all_events, counting_ids, in_threads

APP = "default"
TARGET = Target("s", "m", "helper")


@pytest.fixture
def kept(hk: Harken) -> Feedback:
    """A thumbs-down with all parts."""
    return hk.collection.submit(
        a_submission("s", "down", "Slow", author="ann", tags=["slow"], context={"tier": "free"}, agent_id="helper")
    ).feedback


def check_history(feedback: Feedback) -> None:
    """A complete history: versions without gaps, each replaced before the next one."""
    assert [revision.version for revision in feedback.revisions] == list(range(1, feedback.version))
    times = [revision.replaced_at for revision in feedback.revisions]
    assert times == sorted(times)


class TestVotes:
    def test_a_new_vote_replaces_the_old_one(self, hk: Harken, clock: ManualClock) -> None:
        """An author has one vote on a message; the earlier vote becomes a revision, and both have events."""
        first = hk.collection.set_vote(TARGET, "ann", "down", "Slow", tags=["slow"], context={"tier": "free"}).feedback
        hk.collection.reply(APP, first.id, "Sorry")
        clock.turn(hours=1)
        receipt = hk.collection.set_vote(TARGET, "ann", "up")
        feedback = receipt.feedback
        assert not receipt.duplicate
        assert (feedback.id, feedback.rating, feedback.comment, feedback.tags) == (first.id, Rating.UP, "", ())
        assert (feedback.context, feedback.reply) == (Context(), None)
        assert (feedback.created_at, feedback.updated_at) == (NOON, NOON + timedelta(hours=1))
        (revision,) = feedback.revisions
        assert (revision.rating, revision.comment, revision.tags, revision.reply) == (
            Rating.DOWN,
            "Slow",
            ("slow",),
            "Sorry",
        )
        assert (hk.summary().positive, hk.summary().total) == (1, 1)
        assert [event[::2] for event in all_events(hk)] == [
            ("feedback.created", 1),
            ("feedback.updated", 2),
            ("feedback.updated", 3),
        ]

    def test_the_same_vote_again_changes_nothing(self, hk: Harken) -> None:
        """The same vote twice is a duplicate and has no event."""
        first = hk.collection.set_vote(TARGET, "ann", "up", "Good ")
        again = hk.collection.set_vote(TARGET, "ann", Rating.UP, "Good")
        assert again == Receipt(first.feedback, duplicate=True)
        assert len(all_events(hk)) == 1

    def test_a_vote_is_checked_like_everything(self, hk: Harken) -> None:
        """A vote against the rules is refused, and the earlier one stays."""
        first = hk.collection.set_vote(TARGET, "ann", "up").feedback
        with pytest.raises(FeedbackRejected, match="Please provide a comment"):
            hk.collection.set_vote(TARGET, "ann", "down")
        assert hk.collection.get(APP, first.id) == first

    def test_a_withdrawn_vote_can_be_set_again(self, hk: Harken) -> None:
        """An author who withdrew a vote may vote again, even the same: it is counted again."""
        first = hk.collection.set_vote(TARGET, "ann", "up").feedback
        hk.collection.withdraw(APP, first.id)
        receipt = hk.collection.set_vote(TARGET, "ann", "up")
        assert not receipt.duplicate
        assert (receipt.feedback.id, receipt.feedback.withdrawn, receipt.feedback.version) == (first.id, False, 3)
        assert hk.summary().total == 1
        assert [kind for kind, _, _ in all_events(hk)] == [
            "feedback.created",
            "feedback.withdrawn",
            "feedback.updated",
        ]

    @pytest.mark.parametrize(
        "other",
        [
            lambda hk: hk.collection.set_vote(TARGET, "bob", "up"),
            lambda hk: hk.collection.set_vote(Target("s"), "ann", "up"),
            lambda hk: hk.collection.set_vote(Target("s", "m2"), "ann", "up"),
            lambda hk: hk.collection.set_vote(Target("s2", "m"), "ann", "up"),
            lambda hk: hk.collection.set_vote(TARGET, "ann", "up", application="shop"),
            lambda hk: hk.submit("s", "up", message_id="m", author="ann"),
        ],
    )
    def test_other_targets_have_other_votes(self, hk: Harken, other: Callable[[Harken], Receipt]) -> None:
        """Another author, session, message or application has its own vote, and plain feedback is not a vote."""
        first = hk.collection.set_vote(TARGET, "ann", "up").feedback
        receipt = other(hk)
        assert not receipt.duplicate
        assert receipt.feedback.id != first.id

    def test_the_agent_is_kept(self, hk: Harken) -> None:
        """A vote without an agent keeps the known one; a vote with an agent corrects it."""
        hk.collection.set_vote(TARGET, "ann", "up")
        assert hk.collection.set_vote(Target("s", "m"), "ann", None).feedback.agent_id == "helper"
        assert hk.collection.set_vote(Target("s", "m", "other"), "ann", None).feedback.agent_id == "other"
        assert hk.summary(agent_id="other").total == hk.summary().total == 1

    def test_idempotency_keys(self, hk: Harken) -> None:
        """A repeated first vote is a duplicate even after later votes; its key with another body is refused."""
        first = hk.collection.set_vote(TARGET, "ann", "up", idempotency_key="k")
        second = hk.collection.set_vote(TARGET, "ann", "down", "Slow")
        assert hk.collection.set_vote(TARGET, "ann", "up", idempotency_key="k") == Receipt(
            second.feedback, duplicate=True
        )
        with pytest.raises(IdempotencyConflict):
            hk.collection.set_vote(TARGET, "ann", None, idempotency_key="k")
        assert first.feedback.id == second.feedback.id

    def test_many_votes_in_one_write(self, hk: Harken) -> None:
        """Later votes in a write replace earlier ones, one after another."""
        votes = [a_submission(rating=rating, author="ann", vote=True) for rating in ("up", None, None, "up")]
        receipts = hk.collection.submit_many(votes)
        assert [receipt.duplicate for receipt in receipts if isinstance(receipt, Receipt)] == [
            False,
            False,
            True,
            False,
        ]
        (feedback,) = hk.export()
        assert [revision.rating for revision in feedback.revisions] == [Rating.UP, Rating.NEUTRAL]

    def test_unannounced_votes_have_no_events(self, hk: Harken) -> None:
        """Votes that are stored without announcement have no events, whether they are new or replace others."""
        votes = [a_submission(rating=rating, author="ann", vote=True) for rating in ("up", None)]
        hk.collection.submit_many(votes, announce=False)
        assert all_events(hk) == []
        assert hk.summary().neutral == 1

    def test_racing_votes(self, hk: Harken) -> None:
        """Any number of concurrent votes make one entry, and a history without gaps of all of them."""
        comments = [f"Comment {number}" for number in range(16)]
        receipts = in_threads(
            [lambda comment=comment: hk.collection.set_vote(TARGET, "ann", "up", comment) for comment in comments]
        )
        assert all(isinstance(receipt, Receipt) for receipt in receipts)
        (feedback,) = hk.export()
        check_history(feedback)
        said = [revision.comment for revision in feedback.revisions] + [feedback.comment]
        assert sorted(said) == sorted(comments)
        assert [version for _, _, version in all_events(hk)] == list(range(1, 17))


class TestChanging:
    def test_the_old_content_is_a_revision(self, hk: Harken, clock: ManualClock, kept: Feedback) -> None:
        """A change makes a new version with the old content as a revision, and one event."""
        clock.turn(minutes=1)
        changed = hk.collection.change(APP, kept.id, Change(comment=" Too slow "), expected_version=1)
        assert (changed.comment, changed.rating, changed.tags) == ("Too slow", Rating.DOWN, ("slow",))
        assert (changed.version, changed.updated_at) == (2, NOON + timedelta(minutes=1))
        assert changed.revisions[0].comment == "Slow"
        assert hk.collection.get(APP, kept.id) == changed
        assert all_events(hk)[1:] == [("feedback.updated", kept.id, 2)]

    @pytest.mark.parametrize(
        "change",
        [
            Change(),
            Change(rating="down"),
            Change(rating=Rating.DOWN, comment=" Slow "),
            Change(tags=["slow", "slow"]),
            Change(context={"tier": "free"}),
        ],
    )
    def test_a_change_to_the_same_content(self, hk: Harken, kept: Feedback, change: Change) -> None:
        """A change that changes nothing makes neither a version nor an event."""
        assert hk.collection.change(APP, kept.id, change) == kept
        assert len(all_events(hk)) == 1

    def test_a_value_can_be_changed_to_an_equal_one_of_another_type(self, hk: Harken) -> None:
        """1 and true are different values: changing one to the other is a change, and groups follow."""
        feedback = hk.submit("s", "up", context={"beta": 1}).feedback
        assert hk.collection.change(APP, feedback.id, Change(context={"beta": True})).version == 2
        assert list(hk.groups("context.beta")) == ["true"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (Change(comment=" ", tags=()), "Please provide a comment when giving negative feedback"),
            (Change(rating="maybe"), "Invalid rating: maybe. Must be 'up', 'down', or None"),
            (Change(comment="casino"), "Spam detected"),
            (Change(comment=7), "comment must be a string, got int"),  # type: ignore[arg-type]
            (Change(tags="slow"), "tags must be a list of strings, got str"),
            (Change(context={"a": [1]}), "context.a must be a string, a number, true, false or null, got list"),  # type: ignore[dict-item]
        ],
    )
    def test_the_whole_entry_is_checked_again(self, hk: Harken, kept: Feedback, change: Change, message: str) -> None:
        """A change cannot make feedback that could not have been submitted; the feedback stays unchanged."""
        with pytest.raises(FeedbackRejected) as caught:
            hk.collection.change(APP, kept.id, change)
        assert str(caught.value) == message
        assert hk.collection.get(APP, kept.id) == kept
        assert len(all_events(hk)) == 1

    def test_a_thumbs_up_without_comment_cannot_become_a_thumbs_down(self, hk: Harken) -> None:
        """The rule about the comment applies to the whole entry, whichever part is changed."""
        feedback = hk.submit("s", "up").feedback
        with pytest.raises(FeedbackRejected, match="Please provide a comment"):
            hk.collection.change(APP, feedback.id, Change(rating="down"))
        assert hk.collection.change(APP, feedback.id, Change(rating="down", comment="Slow")).comment == "Slow"

    def test_a_stale_version(self, hk: Harken, kept: Feedback) -> None:
        """A change of another version than expected is refused; without an expected version the last change wins."""
        hk.collection.change(APP, kept.id, Change(comment="First"))
        with pytest.raises(StaleFeedback, match="now has version 2, not 1"):
            hk.collection.change(APP, kept.id, Change(comment="Second"), expected_version=1)
        assert hk.collection.change(APP, kept.id, Change(comment="Second")).version == 3

    def test_a_concurrent_change(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A change that loses a race is repeated on top of the winner, and both are in the history."""
        with open_storage() as storage:
            replace, raced = storage.feedback.replace, []

            def replace_late(feedback: Feedback, events: Sequence[Event]) -> None:
                if not raced:
                    raced.append(feedback)
                    hk.collection.change(APP, feedback.id, Change(tags=["faster"]))
                replace(feedback, events)

            monkeypatch.setattr(storage.feedback, "replace", replace_late)
            hk = harken.connect(storage)
            feedback = hk.submit("s", "up").feedback
            changed = hk.collection.change(APP, feedback.id, Change(comment="Good"))
            assert (changed.comment, changed.tags, changed.version) == ("Good", ("faster",), 3)
            check_history(changed)
            assert [version for _, _, version in all_events(hk)] == [1, 2, 3]
            hk.close()

    def test_racing_changes(self, hk: Harken, kept: Feedback) -> None:
        """Each concurrent change is in the history; of several with the same expected version, one wins."""
        in_threads([lambda n=n: hk.collection.change(APP, kept.id, Change(comment=f"C{n}")) for n in range(12)])
        now = hk.collection.get(APP, kept.id)
        check_history(now)
        assert len(now.revisions) == 12
        results = in_threads(
            [
                lambda n=n: hk.collection.change(APP, kept.id, Change(comment=f"D{n}"), expected_version=13)
                for n in range(8)
            ]
        )
        assert sorted(type(result).__name__ for result in results) == ["Feedback"] + ["StaleFeedback"] * 7

    def test_feedback_of_another_application(self, hk: Harken, kept: Feedback) -> None:
        """Feedback of another application is not found."""
        with pytest.raises(FeedbackNotFound):
            hk.collection.change("shop", kept.id, Change())

    def test_history_is_limited(self, hk: Harken, kept: Feedback) -> None:
        """After any number of changes, the first revision and the latest 99 are stored, with their versions."""
        for number in range(MAX_REVISIONS):
            last = hk.collection.change(APP, kept.id, Change(comment=f"Version {number}"))
        check_history(last)
        for number in range(MAX_REVISIONS, MAX_REVISIONS + 20):
            last = hk.collection.change(APP, kept.id, Change(comment=f"Version {number}"))
        assert hk.collection.get(APP, kept.id) == last
        assert [revision.version for revision in last.revisions] == [1, *range(22, 121)]
        assert (last.version, last.revisions[0].comment) == (121, "Slow")
        assert [version for _, _, version in all_events(hk)] == list(range(1, 122))

    @given(st.lists(st.tuples(st.sampled_from(["up", None]), st.sampled_from(["", "a", "b"])), max_size=8))
    def test_history_is_complete(self, wishes: list[tuple[str | None, str]]) -> None:
        """Versions, revisions and events are those of the changes that changed something, in order."""
        with harken.connect("memory://", clock=ManualClock(), new_id=counting_ids()) as hk:
            feedback = hk.submit("s", "up").feedback
            said = [("up", "")]
            for rating, comment in wishes:
                feedback = hk.collection.change(APP, feedback.id, Change(rating=rating, comment=comment))
                if said[-1] != (rating, comment):
                    said.append((rating, comment))  # type: ignore[arg-type]
            chain = [(one.rating.value, one.comment) for one in (*feedback.revisions, feedback)]
            assert chain == said
            check_history(feedback)
            assert [version for _, _, version in all_events(hk)] == list(range(1, len(said) + 1))


class TestModerationAfterChanges:
    def test_changed_rejected_feedback_is_pending(self, hk: Harken, kept: Feedback) -> None:
        """Rejected feedback that its author changes is pending again; a change cannot approve itself."""
        hk.moderation.decide(APP, kept.id, ModerationStatus.REJECTED)
        changed = hk.collection.change(APP, kept.id, Change(comment="Kinder words"))
        assert changed.moderation.status is ModerationStatus.PENDING
        assert changed.moderation.reason == "changed after it was rejected"
        again = hk.collection.change(APP, kept.id, Change(comment="Even kinder"))
        assert again.moderation.status is ModerationStatus.PENDING

    def test_new_spam_is_held(self) -> None:
        """With a policy that holds, a change to spam holds approved feedback, and changing it back does not
        release it.
        """
        with harken.connect("memory://", policy=RatingPolicy.standard(spam="hold")) as hk:
            feedback = hk.submit("s", "up", "Fine").feedback
            held = hk.collection.change(APP, feedback.id, Change(comment="casino"))
            match = RuleMatch("spam phrases", ((0, 6),))
            assert held.moderation == Moderation(
                status=ModerationStatus.PENDING, reason="Spam detected", held_by=(match,)
            )
            freed = hk.collection.change(APP, feedback.id, Change(comment="Fine"))
            assert freed.moderation.status is ModerationStatus.PENDING
            assert hk.summary().total == 0

    def test_a_vote_cannot_approve_itself_either(self, hk: Harken) -> None:
        """A new vote over a rejected one is pending."""
        first = hk.collection.set_vote(TARGET, "ann", "up").feedback
        hk.moderation.decide(APP, first.id, ModerationStatus.REJECTED)
        again = hk.collection.set_vote(TARGET, "ann", None).feedback
        assert again.moderation.status is ModerationStatus.PENDING

    def test_a_vote_without_a_context_object_is_refused(self, hk: Harken) -> None:
        """``None`` is a violation in a vote, as any other value that is not an object."""
        with pytest.raises(FeedbackRejected, match="context"):
            hk.collection.set_vote(TARGET, "ann", "up", context=None)

    def test_a_stream_is_closed_before_a_vote_is_withdrawn(self) -> None:
        """A storage may hold a lock as long as its stream is open."""
        with open_storage("memory://") as storage:
            streams = storage.feedback.stream
            is_open: list[bool] = []

            def stream(query: FeedbackQuery) -> Iterator[Feedback]:
                is_open.append(True)
                yield from streams(query)
                is_open.clear()

            def replace(*arguments: Any, **options: Any) -> None:
                assert not is_open
                original(*arguments, **options)

            original = storage.feedback.replace
            with harken.connect(storage) as hk:
                hk.collection.set_vote(TARGET, "ann", "up")
                hk.submit("s", "up", author="ann")
                storage.feedback.stream, storage.feedback.replace = stream, replace  # type: ignore[method-assign]
                assert hk.collection.withdraw_vote(APP, "s", "m", "ann")


class TestWithdrawing:
    def test_a_tombstone(self, hk: Harken, clock: ManualClock, kept: Feedback) -> None:
        """Withdrawn feedback is not counted but can be looked up; withdrawing it again changes nothing."""
        clock.turn(days=1)
        withdrawn = hk.collection.withdraw(APP, kept.id)
        assert (withdrawn.withdrawn_at, withdrawn.version) == (NOON + timedelta(days=1), 2)
        assert hk.summary().total == 0
        clock.turn(days=1)
        assert hk.collection.withdraw(APP, kept.id) == hk.collection.get(APP, kept.id) == withdrawn
        assert all_events(hk)[1:] == [("feedback.withdrawn", kept.id, 2)]

    def test_withdrawn_feedback_cannot_be_changed(self, hk: Harken, kept: Feedback) -> None:
        """Withdrawn feedback can neither be changed nor replied to nor moderated."""
        hk.collection.withdraw(APP, kept.id)
        for attempt in (
            lambda: hk.collection.change(APP, kept.id, Change(comment="No, wait")),
            lambda: hk.collection.reply(APP, kept.id, "Sorry"),
            lambda: hk.moderation.decide(APP, kept.id, ModerationStatus.REJECTED),
            lambda: hk.moderation.undo(APP, kept.id),
        ):
            with pytest.raises(FeedbackWithdrawn, match="withdrawn by its author"):
                attempt()
        assert len(all_events(hk)) == 2

    def test_unknown_feedback(self, hk: Harken) -> None:
        """Withdrawing unknown feedback is an error."""
        with pytest.raises(FeedbackNotFound):
            hk.collection.withdraw(APP, "nothing")


class TestReplying:
    def test_a_reply_can_be_set_and_removed(self, hk: Harken, kept: Feedback) -> None:
        """A reply makes a version, can be replaced and removed, and is not a revision of the author's."""
        answered = hk.collection.reply(APP, kept.id, "We are faster now")
        assert hk.collection.get(APP, kept.id).reply == "We are faster now"
        assert hk.collection.reply(APP, kept.id, "We are faster now") == answered
        assert hk.collection.reply(APP, kept.id, None).reply is None
        assert [event[::2] for event in all_events(hk)[1:]] == [("feedback.updated", 2), ("feedback.updated", 3)]
        assert hk.collection.get(APP, kept.id).revisions == ()

    def test_a_duplicate_submitter_sees_the_reply(self, hk: Harken) -> None:
        """The receipt has the reply."""
        body = Submission(target=Target("s"), rating="up", idempotency_key="k")
        assert hk.collection.submit(body).reply is None
        hk.collection.reply(APP, hk.collection.submit(body).feedback.id, "Thanks")
        assert hk.collection.submit(body).reply == "Thanks"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("\x00", "reply must not contain NUL characters"),
            ("\ud800", "reply contains a lone surrogate, which is not valid Unicode text"),
            (7, "reply must be a string, got int"),
        ],
    )
    def test_invalid_replies(self, hk: Harken, kept: Feedback, text: str, message: str) -> None:
        """A reply is text like a comment, and the violation is about the reply."""
        with pytest.raises(FeedbackRejected) as caught:
            hk.collection.reply(APP, kept.id, text)
        assert [(one.field, one.message) for one in caught.value.violations] == [("reply", message)]
        assert hk.collection.get(APP, kept.id) == kept


def test_a_late_retry_does_not_replace_a_newer_vote(hk: Harken) -> None:
    """A vote that is repeated with its key, after the author has voted again, changes nothing."""
    target = Target("session", "message")
    for rating, key in (("up", "k1"), ("down", "k2"), ("up", "k3")):
        hk.collection.set_vote(target, "ann", rating, "so", idempotency_key=key)
    again = hk.collection.set_vote(target, "ann", "down", "so", idempotency_key="k2")
    assert (again.duplicate, again.feedback.rating, again.feedback.version) == (True, Rating.UP, 3)
    with pytest.raises(IdempotencyConflict, match="'k2' was used before"):
        hk.collection.set_vote(target, "ann", "up", "other words", idempotency_key="k2")


def test_a_vote_whose_earlier_one_is_erased_meanwhile_is_the_first() -> None:
    """Erasing an author's vote while they vote again loses nothing and fails no call."""
    with open_storage() as storage, harken.connect(storage) as hk:
        hk.collection.set_vote(Target("session"), "ann", "up")
        add = storage.feedback.add

        def erased_just_then(batch: Sequence[Accepted]) -> Sequence[Outcome]:
            outcomes = add(batch)
            storage.feedback.erase(FeedbackQuery(author="ann").in_any_state(), at=NOON)
            storage.feedback.add = add  # type: ignore[method-assign]
            return outcomes

        storage.feedback.add = erased_just_then  # type: ignore[method-assign]
        with harken.connect(storage) as racing:
            receipt = racing.collection.set_vote(Target("session"), "ann", "down", "no")
        assert (receipt.duplicate, receipt.feedback.version) == (False, 1)
        assert hk.summary().negative == 1


def test_a_vote_needs_an_author(hk: Harken) -> None:
    """A vote without an author is rejected."""
    with pytest.raises(FeedbackRejected, match="needs an author"):
        hk.collection.submit(a_submission(vote=True))

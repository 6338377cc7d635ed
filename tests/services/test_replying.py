"""Replies: at once by rules, and later by a responder that delays no one."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Change, Feedback, FeedbackRejected, Harken, ModerationStatus, Rating, RatingPolicy, Receipt, Target
from harken.domain.replies import ReplyRule, reply_to
from harken.ports.repository import Accepted, Outcome
from harken.testing import strategies as these
from harken_adapters.storage.memory import open_storage
from support import NOON, PATIENCE, ManualClock, a_submission, all_events, counting_ids, eventually

APP = "default"
TARGET = Target("s", "m", "helper")
RULES = (
    ReplyRule(text="We are making {agent_id} faster", tag="slow"),
    ReplyRule(text="Thank you", rating=Rating.UP, agent="helper"),
    ReplyRule(text="Sorry about the price", theme="price"),
)
WAYS: dict[str, Callable[..., Receipt]] = {
    "submit": lambda hk, *parts, **more: hk.collection.submit(a_submission(*parts, **more)),
    "submit_soon": lambda hk, *parts, **more: hk.collection.submit_soon(a_submission(*parts, **more)).result(PATIENCE),
    "submit_many": lambda hk, *parts, **more: hk.collection.submit_many([a_submission(*parts, **more)])[0],
}


class Responder:
    """Returns set replies, and records the feedback; blocks while it is held."""

    def __init__(self, answer: Any = "Sorry") -> None:
        self.answer = answer
        self.asked: list[Feedback] = []
        self.begun = Event()
        self.release = Event()
        self.release.set()

    def __call__(self, feedback: Feedback) -> str | None:
        self.asked.append(feedback)
        self.begun.set()
        assert self.release.wait(PATIENCE)
        if isinstance(self.answer, BaseException):
            raise self.answer
        answer: str | None = self.answer(feedback) if callable(self.answer) else self.answer
        return answer

    def hold(self) -> None:
        """Block all calls until it is released."""
        self.release.clear()


@pytest.fixture
def responder() -> Iterator[Responder]:
    """A responder that is released at the end of the test."""
    made = Responder()
    yield made
    made.release.set()


@pytest.fixture
def asking(clock: ManualClock, responder: Responder) -> Iterator[Harken]:
    """A Harken with the responder, and optionally with rules."""
    with harken.connect(
        "memory://", clock=clock, new_id=counting_ids(), replies=RULES, responder=responder, spam="hold"
    ) as hk:
        yield hk
        responder.release.set()


@pytest.fixture
def ruled(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with rules only, in which a thumbs-down needs no comment."""
    with harken.connect(
        "memory://", clock=clock, new_id=counting_ids(), replies=RULES, reason_when_down=False, spam="hold"
    ) as hk:
        yield hk


def replied(hk: Harken, feedback: Feedback) -> bool:
    """Whether it has a reply now."""
    return hk.collection.get(APP, feedback.id).reply is not None


class TestByRules:
    @pytest.mark.parametrize("way", WAYS)
    def test_the_receipt_has_the_reply(self, ruled: Harken, way: str) -> None:
        """The reply is stored with the feedback, in its first version, for each way to submit."""
        receipt = WAYS[way](ruled, rating="down", comment="Slow", tags=["slow"], agent_id="helper")
        assert receipt.reply == "We are making helper faster"
        assert receipt.feedback == ruled.collection.get(APP, receipt.feedback.id)
        assert all_events(ruled) == [("feedback.created", receipt.feedback.id, 1)]

    @pytest.mark.parametrize("way", WAYS)
    def test_a_duplicate_has_the_reply(self, ruled: Harken, way: str) -> None:
        """A repeated submission, whose first receipt was lost, gets the reply."""
        body = {"rating": "down", "comment": "The price!", "idempotency_key": "k"}
        first = WAYS[way](ruled, **body)
        again = WAYS[way](ruled, **body)
        assert (again.duplicate, again.reply) == (True, "Sorry about the price")
        assert again.feedback == first.feedback

    @given(st.lists(these.submissions(), max_size=5))
    def test_stored_feedback_has_the_reply_of_the_rules(self, submissions: Sequence[harken.Submission]) -> None:
        """After any submissions and new votes, feedback has the first reply of the rules for its rating."""
        rules = (*RULES, ReplyRule(text="Sorry about {rating} in {session_id}"))
        with harken.connect("memory://", replies=rules, policy=RatingPolicy(refuse=(), hold=())) as hk:
            hk.collection.submit_many(submissions)
            for feedback in hk.export():
                if feedback.version == 1:
                    assert feedback.reply == reply_to(rules, feedback)
                elif feedback.rating is Rating.DOWN:
                    assert feedback.reply

    def test_imports_get_no_reply(self, ruled: Harken) -> None:
        """Imported feedback gets no reply, even if an old vote replaces an older one."""
        old = a_submission(rating="down", tags=["slow"], author="ann", vote=True)
        first, second = (
            ruled.collection.submit_many([one], announce=False)[0]
            for one in (a_submission(author="ann", vote=True), old)
        )
        assert isinstance(first, Receipt)
        assert isinstance(second, Receipt)
        assert (first.reply, second.reply, second.feedback.version) == (None, None, 2)

    def test_held_feedback_gets_no_reply(self, ruled: Harken) -> None:
        """Spam gets no reply, neither new spam nor a change to spam."""
        held = ruled.submit("s", "down", "casino", tags=["slow"]).feedback
        assert (held.moderation.status, held.reply) == (ModerationStatus.PENDING, None)
        assert ruled.collection.change(APP, held.id, Change(comment="The price")).reply is None

    def test_another_vote_another_reply(self, ruled: Harken, clock: ManualClock) -> None:
        """A new rating drops the old reply and gets its own, and the revision keeps the old reply."""
        first = ruled.collection.set_vote(TARGET, "ann", "up").feedback
        clock.turn(minutes=1)
        second = ruled.collection.set_vote(TARGET, "ann", "down", tags=["slow"]).feedback
        third = ruled.collection.set_vote(TARGET, "ann", None).feedback
        assert [one.reply for one in (first, second, third)] == ["Thank you", "We are making helper faster", None]
        assert [revision.reply for revision in third.revisions] == ["Thank you", "We are making helper faster"]
        assert second.updated_at == NOON + timedelta(minutes=1)
        assert ruled.collection.get(APP, first.id) == third

    def test_a_tag_that_is_added_later(self, ruled: Harken) -> None:
        """The widget sends the rating first and the tag later: the reply comes with the tag."""
        assert ruled.collection.set_vote(TARGET, "ann", "down").reply is None
        assert ruled.collection.set_vote(TARGET, "ann", "down", tags=["slow"]).reply == "We are making helper faster"

    def test_an_existing_reply_stays(self, ruled: Harken) -> None:
        """A rule does not replace a reply."""
        feedback = ruled.submit("s", "down").feedback
        ruled.collection.reply(APP, feedback.id, "Let us see")
        assert ruled.collection.change(APP, feedback.id, Change(tags=["slow"])).reply == "Let us see"

    def test_a_change_to_a_thumbs_down(self, ruled: Harken) -> None:
        """A change to a thumbs-down gets a reply like new feedback, if there is none."""
        feedback = ruled.submit("s", "up", author="ann", agent_id="helper").feedback
        assert feedback.reply == "Thank you"
        changed = ruled.collection.change(APP, feedback.id, Change(rating="down", comment="The PRICE"))
        assert changed.reply == "Sorry about the price"
        assert ruled.collection.get(APP, feedback.id) == changed

    def test_an_invalid_rule(self) -> None:
        """It is refused when it is created, and by connect when it is in a table."""
        with pytest.raises(harken.ConfigurationError, match="expected one of"):
            harken.connect("memory://", replies=[{"text": "Dear {author}"}])


class TestByAResponder:
    @pytest.mark.parametrize("way", WAYS)
    def test_replies_later(self, asking: Harken, responder: Responder, way: str) -> None:
        """The reply is stored as an update, so listeners are notified and readers see it."""
        responder.answer = lambda feedback: f"Sorry, {feedback.session_id}: {feedback.comment}"
        feedback = WAYS[way](asking, "s-1", "down", "Wrong").feedback
        eventually(lambda: replied(asking, feedback))
        now = asking.collection.get(APP, feedback.id)
        assert (now.reply, now.version, now.revisions) == ("Sorry, s-1: Wrong", 2, ())
        eventually(lambda: len(all_events(asking)) == 2)
        assert all_events(asking)[1] == ("feedback.updated", feedback.id, 2)
        assert responder.asked == [feedback]

    @pytest.mark.parametrize("way", WAYS)
    def test_submitters_do_not_wait(self, asking: Harken, responder: Responder, way: str) -> None:
        """Submissions are answered while the responder is busy."""
        responder.hold()
        receipts = [WAYS[way](asking, rating="down", comment="Wrong") for _ in range(20)]
        assert responder.begun.wait(PATIENCE)
        assert [receipt.reply for receipt in receipts] == [None] * 20
        assert asking.summary().negative == 20
        responder.release.set()
        eventually(lambda: all(replied(asking, receipt.feedback) for receipt in receipts))

    def test_only_counted_thumbs_downs(self, asking: Harken, responder: Responder) -> None:
        """Not for other ratings, feedback with a reply of a rule, held feedback, duplicates, and imports."""
        for _ in range(2):
            asking.submit("s", "down", "Wrong", idempotency_key="k")
            eventually(lambda: [one.version for one in asking.export(rating="down")][:1] == [2])
        asking.submit("s", "up", "Fine")
        asking.submit("s", None, "Well")
        asking.submit("s", "down", "Slow", tags=["slow"])
        asking.submit("s", "down", "casino")
        asking.collection.submit_many([a_submission(rating="down", comment="Old")], announce=False)
        last = asking.submit("s", "down", "Last").feedback
        eventually(lambda: replied(asking, last))
        assert [feedback.comment for feedback in responder.asked] == ["Wrong", "Last"]

    def test_votes_and_changes(self, asking: Harken, responder: Responder) -> None:
        """The responder is called for each vote or change that makes it a thumbs-down."""
        vote = asking.collection.set_vote(TARGET, "ann", None).feedback
        for _ in range(2):
            assert asking.collection.set_vote(TARGET, "ann", "down", "Wrong").feedback.id == vote.id
            eventually(lambda: replied(asking, vote))
            assert asking.collection.set_vote(TARGET, "ann", None).reply is None
        asking.collection.change(APP, vote.id, Change(rating="down", comment="Bad"))
        eventually(lambda: replied(asking, vote))
        assert [feedback.comment for feedback in responder.asked] == ["Wrong", "Wrong", "Bad"]

    @pytest.mark.parametrize(
        "meanwhile",
        [
            lambda hk, one: hk.collection.change(APP, one, Change(rating="up", comment="")),
            lambda hk, one: hk.collection.withdraw(APP, one),
            lambda hk, one: hk.collection.reply(APP, one, "I am on it"),
            lambda hk, one: hk.moderation.decide(APP, one, ModerationStatus.REJECTED),
            lambda hk, one: hk.collection.erase(hk.query().in_any_state()),
        ],
        ids=["changed", "withdrawn", "answered", "rejected", "erased"],
    )
    @pytest.mark.parametrize("before", [True, False], ids=["before it is asked", "while it thinks"])
    def test_too_late(
        self,
        asking: Harken,
        responder: Responder,
        meanwhile: Callable[[Harken, str], object],
        before: bool,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Feedback that was changed meanwhile keeps its reply; the responder is not called for it if it was waiting."""
        responder.hold()
        if before:
            for number in range(2):
                asking.submit(f"busy-{number}", "down", "Wrong")
            eventually(lambda: len(responder.asked) == 2)
        feedback = asking.submit("s", "down", "Wrong").feedback
        if not before:
            assert responder.begun.wait(PATIENCE)
        meanwhile(asking, feedback.id)
        in_session = asking.query(session_id="s").in_any_state()
        left = list(asking.collection.stream(in_session))
        responder.release.set()
        last = asking.submit("last", "down", "Wrong").feedback
        eventually(lambda: replied(asking, last))
        asking.collection.close()
        assert list(asking.collection.stream(in_session)) == left
        assert (feedback in responder.asked) is not before
        assert caplog.messages == []

    def test_a_change_meanwhile(self, asking: Harken, responder: Responder) -> None:
        """A reply to old content is dropped, and the responder is called for the new content."""
        responder.answer = lambda feedback: f"About {feedback.comment}"
        responder.hold()
        feedback = asking.submit("s", "down", "Wrong", author="ann").feedback
        assert responder.begun.wait(PATIENCE)
        asking.collection.change(APP, feedback.id, Change(comment="Rude"))
        responder.release.set()
        eventually(lambda: replied(asking, feedback))
        assert asking.collection.get(APP, feedback.id).reply == "About Rude"
        assert len(responder.asked) == 2

    @pytest.mark.parametrize("error", [ZeroDivisionError("no model"), FeedbackRejected([]), SystemExit(3)])
    def test_a_responder_that_fails(
        self, asking: Harken, responder: Responder, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The error is logged, there is no reply, and the responder is called for the next feedback."""
        responder.answer = error
        feedback = [asking.submit("s", "down", "Wrong").feedback for _ in range(3)]
        eventually(lambda: len(responder.asked) == 3 and len(caplog.records) == 3)
        responder.answer = "Sorry"
        last = asking.submit("s", "down", "Wrong").feedback
        eventually(lambda: replied(asking, last))
        assert not any(replied(asking, one) for one in feedback)
        assert {record.levelno for record in caplog.records} == {logging.ERROR}
        assert all(record.exc_info and record.exc_info[1] is error for record in caplog.records)

    @pytest.mark.parametrize(
        ("answer", "problem"),
        [
            ("", "reply must not be empty"),
            (" \n", "reply must not be empty"),
            ("x" * 1001, "reply too long: 1001 characters (max: 1000)"),
            ("\x00", "reply must not contain NUL characters"),
            ("\ud800", "reply contains a lone surrogate, which is not valid Unicode text"),
            (7, "reply must be a string, got int"),
            (b"Sorry", "reply must be a string, got bytes"),
        ],
    )
    def test_an_invalid_reply(
        self, asking: Harken, responder: Responder, answer: object, problem: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An invalid reply is not stored, and the reason is logged."""
        responder.answer = answer
        feedback = asking.submit("s", "down", "Wrong").feedback
        eventually(lambda: caplog.records)
        assert caplog.messages == [f"The responder's reply to feedback {feedback.id} is invalid: {problem}"]
        assert asking.collection.get(APP, feedback.id) == feedback

    def test_no_reply(self, asking: Harken, responder: Responder, caplog: pytest.LogCaptureFixture) -> None:
        """A responder may return no reply, which is not logged."""
        responder.answer = lambda feedback: "Sorry" if feedback.comment == "Last" else None
        feedback = asking.submit("s", "down", "Wrong").feedback
        last = asking.submit("s", "down", "Last").feedback
        eventually(lambda: replied(asking, last) and len(responder.asked) == 2)
        asking.collection.close()
        assert caplog.messages == []
        assert all_events(asking)[0] == ("feedback.created", feedback.id, 1)
        assert len(all_events(asking)) == 3

    def test_too_many_for_the_responder(
        self, asking: Harken, responder: Responder, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Beyond a thousand waiting, no submission is delayed or refused: some get no reply, which is logged."""
        responder.hold()
        receipts = asking.collection.submit_many([a_submission(rating="down", comment="Wrong") for _ in range(1_100)])
        assert all(isinstance(receipt, Receipt) for receipt in receipts)
        assert asking.summary().negative == 1_100
        assert "too many jobs wait" in caplog.messages[0]
        assert len(caplog.messages) < 10

    def test_a_storage_that_fails(self, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        """A reply that cannot be stored is logged, and the responder is called for the next feedback."""
        with open_storage() as storage:
            replace = storage.feedback.replace

            def fail_once(feedback: Feedback, events: Sequence[Any]) -> None:
                storage.feedback.replace = replace  # type: ignore[method-assign]
                raise harken.StorageUnavailable("It is away")

            storage.feedback.replace = fail_once  # type: ignore[method-assign]
            with harken.connect(storage, clock=clock, responder=lambda feedback: "Sorry") as hk:
                first = hk.submit("s", "down", "Wrong").feedback
                eventually(lambda: caplog.records)
                second = hk.submit("s", "down", "Wrong").feedback
                eventually(lambda: replied(hk, second))
                assert not replied(hk, first)
        assert caplog.messages == [f"Feedback {first.id} gets no reply: It is away"]

    def test_a_failed_write_does_not_call_the_responder(self, responder: Responder) -> None:
        """The responder is not called for feedback that was not stored."""
        with open_storage() as storage:
            add, errors = storage.feedback.add, [harken.StorageUnavailable("It is away")]

            def fail_once(batch: Sequence[Accepted]) -> Sequence[Outcome]:
                if errors:
                    raise errors.pop()
                return add(batch)

            storage.feedback.add = fail_once  # type: ignore[method-assign]
            with harken.connect(storage, responder=responder) as hk:
                with pytest.raises(harken.StorageUnavailable):
                    hk.submit("s", "down", "Lost")
                kept = hk.submit("s", "down", "Kept").feedback
                eventually(lambda: replied(hk, kept))
        assert [feedback.comment for feedback in responder.asked] == ["Kept"]

    @pytest.mark.slow
    def test_closing(self, asking: Harken, responder: Responder, caplog: pytest.LogCaptureFixture) -> None:
        """Waiting calls are dropped and logged, running ones get a moment, and close may be called twice."""
        responder.hold()
        for _ in range(5):
            asking.submit("s", "down", "Wrong")
        eventually(lambda: len(responder.asked) == 2)
        asking.close()
        asking.close()
        responder.release.set()
        assert caplog.messages[0] == "harken-replying: closed; 3 waiting jobs were dropped"
        assert len(responder.asked) == 2

    def test_a_responder_that_closes(self, asking: Harken, responder: Responder) -> None:
        """The responder may close Harken without waiting for itself."""
        closed = Event()

        def close(_: Feedback) -> str:
            asking.close()
            closed.set()
            return "Goodbye"

        responder.answer = close
        asking.submit("s", "down", "Wrong")
        assert closed.wait(PATIENCE)

    def test_a_responder_that_submits(self, asking: Harken, responder: Responder) -> None:
        """The responder may use Harken like any caller."""

        def evaluate_windows(feedback: Feedback) -> str:
            downs = asking.summary(session_id=feedback.session_id).negative
            asking.submit("log", "up", "asked")
            return f"That makes {downs}"

        responder.answer = evaluate_windows
        feedback = asking.submit("s", "down", "Wrong").feedback
        eventually(lambda: replied(asking, feedback))
        assert asking.collection.get(APP, feedback.id).reply == "That makes 1"
        assert asking.summary(session_id="log").positive == 1


HANGING = """
from threading import Event
import harken

begun = Event()
hk = harken.connect("memory://", responder=lambda feedback: begun.set() or Event().wait())
hk.submit("s", "down", "Wrong")
begun.wait()
if CLOSE:
    hk.close()
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("close", [True, False])
def test_a_responder_that_hangs_does_not_block_the_exit(close: bool) -> None:
    """With closing and without."""
    program = f"CLOSE = {close}\n{HANGING}"
    done = subprocess.run([sys.executable, "-c", program], timeout=PATIENCE, check=True, capture_output=True, text=True)
    assert done.stdout == "done\n"
    assert "Traceback" not in done.stderr


def test_after_a_fork(asking: Harken, responder: Responder) -> None:
    """A forked process that closes its copy does not wait."""
    responder.hold()
    asking.submit("s", "down", "Wrong")
    assert responder.begun.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        asking.collection.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

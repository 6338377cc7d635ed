"""Replies: at once by rules, and later by a responder that is in nobody's way."""

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
from support import NOON, PATIENCE, ManualClock, a_submission, counting_ids, eventually, told

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
    """Answers what it is told to, and remembers who asked; waits where it is held."""

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
        """Answer nobody until it is released."""
        self.release.clear()


@pytest.fixture
def responder() -> Iterator[Responder]:
    """A responder that holds nobody up when the test is over."""
    made = Responder()
    yield made
    made.release.set()


@pytest.fixture
def asking(clock: ManualClock, responder: Responder) -> Iterator[Harken]:
    """A Harken with the responder, and with rules too."""
    with harken.connect(
        "memory://", clock=clock, new_id=counting_ids(), replies=RULES, responder=responder, spam="hold"
    ) as hk:
        yield hk
        responder.release.set()


@pytest.fixture
def ruled(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with rules only, where a down needs no comment."""
    with harken.connect(
        "memory://", clock=clock, new_id=counting_ids(), replies=RULES, comment_when_down=False, spam="hold"
    ) as hk:
        yield hk


def replied(hk: Harken, feedback: Feedback) -> bool:
    """Whether it has a reply by now."""
    return hk.collection.get(APP, feedback.id).reply is not None


class TestByRules:
    @pytest.mark.parametrize("way", WAYS)
    def test_in_the_receipt_at_once(self, ruled: Harken, way: str) -> None:
        """The reply is stored with the feedback, as its first version, whichever way it came in."""
        receipt = WAYS[way](ruled, rating="down", comment="Slow", tags=["slow"], agent_id="helper")
        assert receipt.reply == "We are making helper faster"
        assert receipt.feedback == ruled.collection.get(APP, receipt.feedback.id)
        assert told(ruled) == [("feedback.created", receipt.feedback.id, 1)]

    @pytest.mark.parametrize("way", WAYS)
    def test_a_duplicate_gets_the_reply_again(self, ruled: Harken, way: str) -> None:
        """Whoever sends again because the answer was lost gets the answer."""
        body = {"rating": "down", "comment": "The price!", "idempotency_key": "k"}
        first = WAYS[way](ruled, **body)
        again = WAYS[way](ruled, **body)
        assert (again.duplicate, again.reply) == (True, "Sorry about the price")
        assert again.feedback == first.feedback

    @given(st.lists(these.submissions(), max_size=5))
    def test_what_is_stored_has_what_the_rules_say(self, submissions: Sequence[harken.Submission]) -> None:
        """Whatever came in and as often as it was changed by voting again, the first reply to each rating stands."""
        rules = (*RULES, ReplyRule(text="Sorry about {rating} in {session_id}"))
        with harken.connect("memory://", replies=rules, policy=RatingPolicy(refuse=(), hold=())) as hk:
            hk.collection.submit_many(submissions)
            for feedback in hk.stream():
                if feedback.version == 1:
                    assert feedback.reply == reply_to(rules, feedback)
                elif feedback.rating is Rating.DOWN:
                    assert feedback.reply

    def test_imports_get_none(self, ruled: Harken) -> None:
        """Nobody is there to read it, also where an old vote takes the place of an older one."""
        old = a_submission(rating="down", tags=["slow"], author="ann", vote=True)
        first, second = (
            ruled.collection.submit_many([one], announce=False)[0]
            for one in (a_submission(author="ann", vote=True), old)
        )
        assert isinstance(first, Receipt)
        assert isinstance(second, Receipt)
        assert (first.reply, second.reply, second.feedback.version) == (None, None, 2)

    def test_what_is_held_gets_none(self, ruled: Harken) -> None:
        """Spam is not talked to, neither new nor by a change."""
        held = ruled.submit("s", "down", "casino", tags=["slow"]).feedback
        assert (held.moderation.status, held.reply) == (ModerationStatus.PENDING, None)
        assert ruled.collection.change(APP, held.id, Change(comment="The price")).reply is None

    def test_another_vote_another_reply(self, ruled: Harken, clock: ManualClock) -> None:
        """A new rating drops the old reply and gets its own, and the revision keeps what was answered then."""
        first = ruled.collection.set_vote(TARGET, "ann", "up").feedback
        clock.turn(minutes=1)
        second = ruled.collection.set_vote(TARGET, "ann", "down", tags=["slow"]).feedback
        third = ruled.collection.set_vote(TARGET, "ann", None).feedback
        assert [one.reply for one in (first, second, third)] == ["Thank you", "We are making helper faster", None]
        assert [revision.reply for revision in third.revisions] == ["Thank you", "We are making helper faster"]
        assert second.updated_at == NOON + timedelta(minutes=1)
        assert ruled.collection.get(APP, first.id) == third

    def test_a_reason_that_is_picked_later(self, ruled: Harken) -> None:
        """The widget sends the thumb first and the reason after it: the reply comes with the reason."""
        assert ruled.collection.set_vote(TARGET, "ann", "down").reply is None
        assert ruled.collection.set_vote(TARGET, "ann", "down", tags=["slow"]).reply == "We are making helper faster"

    def test_a_reply_that_is_there_stays(self, ruled: Harken) -> None:
        """A rule does not talk over what somebody has answered."""
        feedback = ruled.submit("s", "down").feedback
        ruled.collection.reply(APP, feedback.id, "Let us see")
        assert ruled.collection.change(APP, feedback.id, Change(tags=["slow"])).reply == "Let us see"

    def test_a_change_to_a_down(self, ruled: Harken) -> None:
        """Whoever changes their mind is answered as others are, once more only if there is no reply."""
        feedback = ruled.submit("s", "up", author="ann", agent_id="helper").feedback
        assert feedback.reply == "Thank you"
        changed = ruled.collection.change(APP, feedback.id, Change(rating="down", comment="The PRICE"))
        assert changed.reply == "Sorry about the price"
        assert ruled.collection.get(APP, feedback.id) == changed

    def test_a_rule_that_cannot_be_meant(self) -> None:
        """It is refused where it is made, and so when connecting with a table."""
        with pytest.raises(harken.ConfigurationError, match="known are"):
            harken.connect("memory://", replies=[{"text": "Dear {author}"}])


class TestByAResponder:
    @pytest.mark.parametrize("way", WAYS)
    def test_answers_later(self, asking: Harken, responder: Responder, way: str) -> None:
        """The answer is stored as an update, so those who listen are told and whoever looks sees it."""
        responder.answer = lambda feedback: f"Sorry, {feedback.session_id}: {feedback.comment}"
        feedback = WAYS[way](asking, "s-1", "down", "Wrong").feedback
        eventually(lambda: replied(asking, feedback))
        now = asking.collection.get(APP, feedback.id)
        assert (now.reply, now.version, now.revisions) == ("Sorry, s-1: Wrong", 2, ())
        eventually(lambda: len(told(asking)) == 2)
        assert told(asking)[1] == ("feedback.updated", feedback.id, 2)
        assert responder.asked == [feedback]

    @pytest.mark.parametrize("way", WAYS)
    def test_nobody_waits_for_it(self, asking: Harken, responder: Responder, way: str) -> None:
        """Submissions are answered while the responder thinks of its first answer."""
        responder.hold()
        receipts = [WAYS[way](asking, rating="down", comment="Wrong") for _ in range(20)]
        assert responder.begun.wait(PATIENCE)
        assert [receipt.reply for receipt in receipts] == [None] * 20
        assert asking.summary().negative == 20
        responder.release.set()
        eventually(lambda: all(replied(asking, receipt.feedback) for receipt in receipts))

    def test_asked_only_about_downs_that_count(self, asking: Harken, responder: Responder) -> None:
        """Not about what is fine, what a rule has answered, what is held, a duplicate, or an import."""
        for _ in range(2):
            asking.submit("s", "down", "Wrong", idempotency_key="k")
            eventually(lambda: [one.version for one in asking.stream(rating="down")][:1] == [2])
        asking.submit("s", "up", "Fine")
        asking.submit("s", None, "Well")
        asking.submit("s", "down", "Slow", tags=["slow"])
        asking.submit("s", "down", "casino")
        asking.collection.submit_many([a_submission(rating="down", comment="Old")], announce=False)
        last = asking.submit("s", "down", "Last").feedback
        eventually(lambda: replied(asking, last))
        assert [feedback.comment for feedback in responder.asked] == ["Wrong", "Last"]

    def test_votes_and_changes(self, asking: Harken, responder: Responder) -> None:
        """A vote or a change that makes it a down is asked about, each time it becomes one."""
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
        """What has changed meanwhile keeps what it has, is not asked about if it was not yet, and is no error."""
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

    def test_other_words_meanwhile(self, asking: Harken, responder: Responder) -> None:
        """An answer to what a person no longer says is dropped, and the responder is asked about the new words."""
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
    def test_one_that_fails(
        self, asking: Harken, responder: Responder, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, there is no reply, and the next one is asked about."""
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
            (7, "reply must be text, got int"),
            (b"Sorry", "reply must be text, got bytes"),
        ],
    )
    def test_nonsense(
        self, asking: Harken, responder: Responder, answer: object, problem: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What is no fit text is not shown to anybody, and the log says why."""
        responder.answer = answer
        feedback = asking.submit("s", "down", "Wrong").feedback
        eventually(lambda: caplog.records)
        assert caplog.messages == [f"The responder's reply to feedback {feedback.id} is invalid: {problem}"]
        assert asking.collection.get(APP, feedback.id) == feedback

    def test_no_answer(self, asking: Harken, responder: Responder, caplog: pytest.LogCaptureFixture) -> None:
        """A responder may have nothing to say, which is nothing to talk about."""
        responder.answer = lambda feedback: "Sorry" if feedback.comment == "Last" else None
        feedback = asking.submit("s", "down", "Wrong").feedback
        last = asking.submit("s", "down", "Last").feedback
        eventually(lambda: replied(asking, last) and len(responder.asked) == 2)
        asking.collection.close()
        assert caplog.messages == []
        assert told(asking)[0] == ("feedback.created", feedback.id, 1)
        assert len(told(asking)) == 3

    def test_more_than_it_can_answer(
        self, asking: Harken, responder: Responder, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Beyond a thousand that wait, nobody is held up and nothing refused: some get no reply, which is logged."""
        responder.hold()
        receipts = asking.collection.submit_many([a_submission(rating="down", comment="Wrong") for _ in range(1_100)])
        assert all(isinstance(receipt, Receipt) for receipt in receipts)
        assert asking.summary().negative == 1_100
        assert "too many jobs wait" in caplog.messages[0]
        assert len(caplog.messages) < 10

    def test_a_storage_that_fails(self, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        """An answer that cannot be stored is logged, and the next one is tried again."""
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

    def test_a_write_that_fails_asks_nobody(self, responder: Responder) -> None:
        """What was not stored is not talked about."""
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
        """What waits is dropped and logged, what is under way gets a moment, and twice is once."""
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
        """Even the responder may close Harken without waiting for itself."""
        closed = Event()

        def close(_: Feedback) -> str:
            asking.close()
            closed.set()
            return "Goodbye"

        responder.answer = close
        asking.submit("s", "down", "Wrong")
        assert closed.wait(PATIENCE)

    def test_a_responder_that_submits(self, asking: Harken, responder: Responder) -> None:
        """The responder may use Harken like anybody else."""

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
def test_a_responder_that_hangs_keeps_no_program_from_ending(close: bool) -> None:
    """Not with closing and not without."""
    program = f"CLOSE = {close}\n{HANGING}"
    done = subprocess.run([sys.executable, "-c", program], timeout=PATIENCE, check=True, capture_output=True, text=True)
    assert done.stdout == "done\n"
    assert "Traceback" not in done.stderr


def test_after_a_fork(asking: Harken, responder: Responder) -> None:
    """A forked process that closes what it got waits for nobody."""
    responder.hold()
    asking.submit("s", "down", "Wrong")
    assert responder.begun.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        asking.collection.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

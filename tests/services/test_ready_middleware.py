"""Ready-made middleware: audit, notices of thumbs-downs, and counters."""

import json
import logging
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import (
    FeedbackQuery,
    FeedbackRejected,
    Harken,
    Middleware,
    RatingPolicy,
    Receipt,
    StorageUnavailable,
    Submission,
    Summary,
    Target,
    Violation,
)
from harken.ports.repository import Accepted, Outcome
from harken.services.feedback.ready_middleware import (
    AuditEntry,
    AuditOutcome,
    Counters,
    NegativeFeedback,
    audit,
    notify_negative,
)
from harken.testing import strategies as these
from harken_adapters.storage.memory import open_storage
from support import NOON, PATIENCE, ManualClock, a_submission, eventually, in_threads

#: The seven entries of the guide, with the statistics that it shows.
GUIDE = [
    ("up", "Excellent!"),
    ("down", "Could be better with more examples"),
    (None, "Just saving this for later"),
    ("up", "Very clear explanation"),
    ("up", "Thanks!"),
    ("down", "The response was incomplete"),
    ("up", "Perfect, exactly what I needed"),
]
WAYS: dict[str, Callable[[Harken, Submission], object]] = {
    "submit": lambda hk, submission: hk.collection.submit(submission),
    "submit_soon": lambda hk, submission: hk.collection.submit_soon(submission).exception(PATIENCE),
    "submit_many": lambda hk, submission: hk.collection.submit_many([submission]),
}


class Ticking:
    """A timer that advances by a millisecond and a half at each call."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        self.seconds += 0.0015
        return self.seconds


def swallowed(call: Callable[[], object]) -> None:
    """Call, and ignore the outcome."""
    try:
        call()
    except Exception:  # noqa: BLE001 - the audit tells
        return


class TestAudit:
    @pytest.fixture
    def entries(self) -> list[AuditEntry]:
        """The logged entries."""
        return []

    @pytest.fixture
    def audited(self, entries: list[AuditEntry], clock: ManualClock) -> Middleware:
        """The middleware, with a fixed clock and a ticking timer."""
        return audit(entries.append, clock=clock, timer=Ticking())

    @pytest.mark.parametrize("way", WAYS)
    def test_outcomes(self, entries: list[AuditEntry], audited: Middleware, way: str) -> None:
        """An entry has author, target, outcome and duration, for each way to submit."""
        body = a_submission(
            "s-1",
            "down",
            "Slow",
            author="ann",
            message_id="m",
            agent_id="helper",
            idempotency_key="k",
            application="shop",
        )
        with harken.connect("memory://", middleware=[audited]) as hk:
            for submission in (body, body, evolve(body, comment="Other"), evolve(body, comment="", tags=["", "x"])):
                swallowed(lambda submission=submission: WAYS[way](hk, submission))
            (feedback,) = hk.export(application="shop")
        stored = AuditEntry(
            at=NOON,
            application="shop",
            author="ann",
            session_id="s-1",
            message_id="m",
            agent_id="helper",
            rating="down",
            outcome=AuditOutcome.STORED,
            feedback_id=feedback.id,
            milliseconds=1.5,
        )
        refused = evolve(stored, outcome=AuditOutcome.REFUSED, feedback_id=None)
        assert entries == [
            stored,
            evolve(stored, outcome=AuditOutcome.DUPLICATE),
            evolve(refused, problems=("idempotency_key.reused",)),
            evolve(refused, problems=("tags.empty",)),
        ]

    @pytest.mark.parametrize("way", WAYS)
    def test_failures(self, entries: list[AuditEntry], audited: Middleware, way: str) -> None:
        """A failed submission has the class of its error."""
        with open_storage() as storage:

            def fail(batch: Sequence[Accepted]) -> Sequence[Outcome]:
                raise StorageUnavailable("ann's words")

            storage.feedback.add = fail  # type: ignore[method-assign]
            with harken.connect(storage, middleware=[audited]) as hk:
                swallowed(lambda: WAYS[way](hk, a_submission()))
        (entry,) = entries
        assert (entry.outcome, entry.problems, entry.feedback_id) == (
            AuditOutcome.FAILED,
            ("StorageUnavailable",),
            None,
        )

    def test_refusals_of_other_middleware(self, entries: list[AuditEntry], audited: Middleware) -> None:
        """The outermost middleware sees the refusals of those inside."""

        def refuse(submission: Submission) -> Generator[Submission, Receipt, None]:
            raise FeedbackRejected([Violation("author", "banned", "Not you")])
            yield submission

        with harken.connect("memory://", middleware=[audited, refuse]) as hk:
            swallowed(lambda: hk.submit("s", "up"))
        assert [(entry.outcome, entry.problems) for entry in entries] == [(AuditOutcome.REFUSED, ("author.banned",))]

    @pytest.mark.parametrize(
        "nonsense",
        [
            {"target": None},
            {"target": Target("x" * 1000)},
            {"rating": "maybe\n"},
            {"rating": ["down"]},
            {"author": 7},
            {"application": ""},
            {"target": Target("a\nb\ud800"), "rating": "down"},
        ],
    )
    def test_one_line_for_any_submission(self, nonsense: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
        """A submission that is not well-formed makes one short line of JSON in the log, too."""
        submission = evolve(a_submission("s", "up", "secret words", context={"user": "secret"}), **nonsense)
        with (
            caplog.at_level(logging.INFO, "harken.services.feedback.ready_middleware"),
            harken.connect("memory://", middleware=[audit()]) as hk,
        ):
            swallowed(lambda: hk.collection.submit(submission))
        (line,) = caplog.messages
        assert json.loads(line)["outcome"] == "refused"
        assert "\n" not in line
        assert line.isascii()
        assert "secret" not in line
        assert len(line) < 1_000

    @given(st.lists(these.submissions(), max_size=5))
    def test_one_entry_each(self, submissions: list[Submission]) -> None:
        """Each submission has one entry, and the stored ones are in the storage."""
        entries: list[AuditEntry] = []
        with harken.connect("memory://", middleware=[audit(entries.append)]) as hk:
            answers = hk.collection.submit_many(submissions)
            ids = {one.id for name in these.APPLICATIONS for one in hk.collection.stream(hk.query(application=name))}
        outcomes = {AuditOutcome.STORED: False, AuditOutcome.DUPLICATE: True}
        seen = [outcomes.get(entry.outcome) for entry in entries]
        assert seen == [answer.duplicate if isinstance(answer, Receipt) else None for answer in answers]
        assert {entry.feedback_id for entry in entries if entry.feedback_id} == ids
        for entry in entries:
            assert json.loads(str(entry))["session_id"] == entry.session_id

    def test_the_default_clocks(self, entries: list[AuditEntry]) -> None:
        """Without arguments, it uses the clocks of the machine."""
        before = datetime.now(UTC)
        with harken.connect("memory://", middleware=[audit(entries.append)]) as hk:
            hk.submit("s", "up")
        (entry,) = entries
        assert before <= entry.at <= datetime.now(UTC)
        assert 0 <= entry.milliseconds < PATIENCE * 1_000

    def test_a_log_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """An error in the audit log fails no submission, and is logged."""

        def fail(entry: AuditEntry) -> None:
            raise OSError("disk full")

        with harken.connect("memory://", middleware=[audit(fail)]) as hk:
            assert not hk.submit("s", "up").duplicate
        assert caplog.messages[0].startswith("A middleware failed after feedback")


class Downs:
    """A Harken that reports thumbs-downs, and its reports."""

    def __init__(self, tell: Callable[[NegativeFeedback], object] | None = None, **settings: Any) -> None:
        self.reports: list[tuple[str, str, int]] = []
        self.hk = harken.connect(
            "memory://", middleware=[notify_negative(self.summarize, tell or self.tell)], **settings
        )

    def summarize(self, query: FeedbackQuery) -> Summary:
        """The summary; it is called when Harken is connected."""
        return self.hk.analytics.summary(query)

    def tell(self, negative: NegativeFeedback) -> None:
        """Record a report."""
        self.reports.append((negative.feedback.session_id, negative.feedback.comment, negative.number))

    def until(self, count: int) -> list[tuple[str, str, int]]:
        """The reports, when there are that many."""
        eventually(lambda: len(self.reports) >= count)
        return self.reports


class TestDowns:
    def test_the_guides_count(self) -> None:
        """Two thumbs-downs in the guide's session are number one and two; the thumbs-up between them is not
        reported.
        """
        downs = Downs()
        with downs.hk as hk:
            hk.submit("notification-session", "up", "Perfect solution!")
            hk.submit("notification-session", "down", "The code had syntax errors")
            hk.submit("other", "down", "No")
            hk.submit("notification-session", "down", "Still doesn't work after fix")
            assert downs.until(3) == [
                ("notification-session", "The code had syntax errors", 1),
                ("other", "No", 1),
                ("notification-session", "Still doesn't work after fix", 2),
            ]

    def test_counts_stored_feedback(self) -> None:
        """The storage counts: in this application, without withdrawn feedback and without feedback that is not
        approved.
        """
        downs = Downs(spam="hold")
        with downs.hk as hk:
            hk.submit("s", "down", "elsewhere", application="shop")
            first = hk.submit("s", "down", "1").feedback
            hk.submit("s", "down", "2")
            downs.until(3)
            hk.collection.withdraw("default", first.id)
            hk.submit("s", "down", "casino")
            hk.submit("s", "down", "3")
            assert downs.until(4)[-1] == ("s", "3", 2)
        assert [comment for _, comment, _ in downs.reports] == ["elsewhere", "1", "2", "3"]

    def test_what_is_not_reported(self, clock: ManualClock) -> None:
        """A duplicate, an import and a changed thumbs-down are not reported; a vote that becomes a thumbs-down is."""
        downs = Downs(clock=clock)
        with downs.hk as hk:
            for _ in range(2):
                hk.submit("s", "down", "once", idempotency_key="k")
            old = a_submission("s", "down", "old", created_at=NOON - timedelta(days=9))
            hk.collection.submit_many([old], announce=False)
            clock.turn(seconds=1)
            hk.collection.set_vote(Target("s"), "ann", "up")
            clock.turn(seconds=1)
            hk.collection.set_vote(Target("s"), "ann", "down", "vote")
            hk.collection.set_vote(Target("s"), "ann", "down", "vote, and more")
            hk.collection.set_vote(Target("s"), "ann", None)
            hk.submit("s", "down", "last")
            assert downs.until(3)[-1] == ("s", "last", 3)
        assert [comment for _, comment, _ in downs.reports] == ["once", "vote", "last"]

    def test_submitters_do_not_wait(self) -> None:
        """Submissions are answered while the first thumbs-down is being reported; the others are reported after it, in
        order.
        """
        release, numbers = Event(), list[int]()

        def slow(negative: NegativeFeedback) -> None:
            assert release.wait(PATIENCE)
            numbers.append(negative.number)

        downs = Downs(slow)
        with downs.hk as hk:
            for _ in range(20):
                hk.submit("s", "down", "No")
            assert numbers == []
            release.set()
            eventually(lambda: len(numbers) == 20)
        assert numbers == list(range(1, 21))

    def test_a_callback_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """The error is logged, and the next thumbs-down is reported."""

        def fail_first(negative: NegativeFeedback) -> None:
            if negative.number == 1:
                raise ZeroDivisionError
            downs.tell(negative)

        downs = Downs(fail_first)
        with downs.hk as hk:
            hk.submit("s", "down", "No")
            hk.submit("s", "down", "No")
            assert downs.until(1) == [("s", "No", 2)]
        assert caplog.messages == ["harken-negative failed"]

    def test_the_default_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """By default, a thumbs-down is logged as a warning, without its comment."""
        with harken.connect("memory://", middleware=[notify_negative(lambda query: Summary(negative=1))]) as hk:
            feedback = hk.submit("s", "down", "secret").feedback
            eventually(lambda: caplog.records)
        assert caplog.messages == [f"Thumbs-down number 1 in session s, feedback {feedback.id}"]
        assert caplog.records[0].levelno == logging.WARNING


class TestCounters:
    def test_the_guides_statistics(self, clock: ManualClock) -> None:
        """The guide's seven: 4 up, 2 down, 1 neutral, satisfaction 66.7%. Its average of 28.7 is 22.3 when counted."""
        counters = Counters()
        clock.now = NOON.replace(hour=10)
        with harken.connect("memory://", middleware=[counters], clock=clock) as hk:
            for rating, comment in GUIDE:
                hk.submit("analytics-session", rating, comment)
        assert counters.metrics() == {
            "total": 7,
            "positive": 4,
            "negative": 2,
            "neutral": 1,
            "average_comment_length": sum(len(comment) for _, comment in GUIDE) / 7,
            "by_hour": {10: 7},
        }
        assert round(counters.satisfaction, 1) == 66.7

    def test_no_submissions(self) -> None:
        """There is a summary before there is feedback."""
        counters = Counters()
        assert (counters.summary, counters.satisfaction) == (Summary(), 0.0)
        assert counters.metrics()["by_hour"] == {}

    @given(st.lists(these.submissions().map(lambda one: evolve(one, vote=False)), max_size=8))
    def test_equals_the_storage(self, submissions: list[Submission]) -> None:
        """The summary equals the sum over the stored feedback exactly."""
        counters = Counters()
        policy = RatingPolicy().with_rules(lambda one: [Violation("a", "b", "c")] if one.tags else (), hold=True)
        with harken.connect("memory://", middleware=[counters], policy=policy) as hk:
            hk.collection.submit_many(submissions)
            hk.collection.submit_many(submissions[:3] if all(one.idempotency_key for one in submissions[:3]) else [])
            stored = [one for name in these.APPLICATIONS for one in hk.collection.stream(hk.query(application=name))]
        assert counters.summary == Summary.fold(stored)

    def test_each_cast_vote_counts(self, clock: ManualClock) -> None:
        """Each cast vote counts, at its own hour; setting the same vote again is a duplicate."""
        counters = Counters()
        with harken.connect("memory://", middleware=[counters], clock=clock) as hk:
            hk.collection.set_vote(Target("s"), "ann", "up")
            clock.turn(hours=1)
            for _ in range(2):
                hk.collection.set_vote(Target("s"), "ann", "down", "No")
        assert counters.metrics() == {
            "total": 2,
            "positive": 1,
            "negative": 1,
            "neutral": 0,
            "average_comment_length": 1.0,
            "by_hour": {12: 1, 13: 1},
        }

    def test_from_many_threads(self) -> None:
        """No submission is lost when many threads submit at the same time."""
        counters = Counters()
        with harken.connect("memory://", middleware=[counters]) as hk:

            def submit() -> None:
                for _ in range(50):
                    hk.submit("s", "up", "x")

            in_threads([submit] * 8)
            assert counters.summary == hk.summary()
        assert counters.summary.total == 400

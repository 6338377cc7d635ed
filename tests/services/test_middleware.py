"""Middleware: generators around a submission, for each way to submit."""

import logging
import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest
from attrs import evolve

import harken
from harken import (
    Change,
    FeedbackRejected,
    Harken,
    IdempotencyConflict,
    Middleware,
    Receipt,
    StorageUnavailable,
    Submission,
    Violation,
)
from harken.ports.repository import Accepted, Outcome
from harken.ports.storage import Storage
from harken.testing.faults import Faults
from harken_adapters.storage.memory import open_storage
from support import PATIENCE, a_submission, all_events

Steps = Generator[Submission, Receipt, None]
WAYS: dict[str, Callable[[Harken, Submission], Receipt | FeedbackRejected]] = {
    "submit": lambda hk, submission: hk.collection.submit(submission),
    "submit_soon": lambda hk, submission: hk.collection.submit_soon(submission).result(PATIENCE),
    "submit_many": lambda hk, submission: hk.collection.submit_many([submission])[0],
}


class Submitter:
    """A Harken with middleware, and one of the ways to submit."""

    def __init__(self, way: str) -> None:
        self.way = WAYS[way]
        self.answer: object = None

    def __call__(self, submission: Submission, *middleware: Any, storage: Storage | str = "memory://") -> Harken:
        hk = harken.connect(storage, middleware=middleware)
        try:
            self.answer = self.way(hk, submission)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.answer = error
        return hk


@pytest.fixture(params=WAYS)
def submitter(request: pytest.FixtureRequest) -> Submitter:
    """Each way to submit."""
    return Submitter(request.param)


def watching(seen: list[object], name: str = "") -> Middleware:
    """Middleware that records what it sees."""

    def watch(submission: Submission) -> Steps:
        seen.append(f"{name}in")
        try:
            receipt = yield submission
        except Exception as error:
            seen.append(f"{name}{type(error).__name__}")
            raise
        seen.append(f"{name}{'again' if receipt.duplicate else 'kept'}")

    return watch


def test_enriching(submitter: Submitter) -> None:
    """The next middleware gets what one yields; the last one's submission is checked and stored."""

    def tier(submission: Submission) -> Steps:
        yield evolve(submission, context={**submission.context, "tier": "free"})

    def shout(submission: Submission) -> Steps:
        yield evolve(submission, comment=f"{submission.context['tier']}: {submission.comment}")

    hk = submitter(a_submission(comment="fine"), tier, shout)
    (feedback,) = hk.export()
    assert (feedback.comment, dict(feedback.context)) == ("free: fine", {"tier": "free"})


def test_order(submitter: Submitter) -> None:
    """The first middleware is the outermost: it sees the submission first and the receipt last."""
    seen: list[object] = []
    submitter(a_submission(), watching(seen, "outer "), watching(seen, "inner "))
    assert seen == ["outer in", "inner in", "inner kept", "outer kept"]


def test_observing(submitter: Submitter) -> None:
    """After the yield it has the receipt, and the feedback is durable."""
    found: list[bool] = []
    with open_storage() as storage:

        def look(submission: Submission) -> Steps:
            receipt = yield submission
            stored = storage.feedback.get("default", receipt.feedback.id)
            found.append(stored == receipt.feedback and not receipt.duplicate)

        submitter(a_submission(), look, storage=storage)
    assert found == [True]


def test_refusing(submitter: Submitter) -> None:
    """An error raised before the yield is the result; nothing is stored, and outer middleware sees the error."""
    seen: list[object] = []

    def refuse(submission: Submission) -> Steps:
        raise FeedbackRejected([Violation("author", "banned", "Not you")])
        yield submission

    hk = submitter(a_submission(), watching(seen, "outer "), refuse, watching(seen, "inner "))
    assert isinstance(submitter.answer, FeedbackRejected)
    assert str(submitter.answer) == "Not you"
    assert seen == ["outer in", "outer FeedbackRejected"]
    assert all_events(hk) == []


def test_errors_are_raised_at_the_yield(submitter: Submitter) -> None:
    """Violations and reused keys are raised at the yield, innermost first."""
    seen: list[object] = []
    both = (watching(seen, "outer "), watching(seen, "inner "))
    submitter(a_submission(rating="maybe"), *both)
    assert seen == ["outer in", "inner in", "inner FeedbackRejected", "outer FeedbackRejected"]
    seen.clear()
    with open_storage() as storage:
        submitter(a_submission(idempotency_key="k"), storage=storage)
        submitter(a_submission(idempotency_key="k"), *both, storage=storage)
        submitter(a_submission(rating=None, idempotency_key="k"), *both, storage=storage)
    assert isinstance(submitter.answer, IdempotencyConflict)
    ends = ["inner again", "outer again", "inner IdempotencyConflict", "outer IdempotencyConflict"]
    assert [one for one in seen if one not in ("outer in", "inner in")] == ends


@pytest.mark.parametrize("error", [StorageUnavailable("away"), ZeroDivisionError()])
def test_a_failed_write_is_raised_at_the_yield(
    submitter: Submitter, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the storage is raised in the middleware too."""

    def add(batch: object) -> object:
        raise error

    seen: list[object] = []
    with open_storage() as storage:
        monkeypatch.setattr(storage.feedback, "add", add)
        submitter(a_submission(), watching(seen), storage=storage)
    assert submitter.answer is error
    assert seen == ["in", type(error).__name__]


def test_an_interrupted_write_fails_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome of an interrupted write is unknown to all that share it, and the queue stays usable."""
    seen: list[object] = []

    def swallow(submission: Submission) -> Steps:
        try:
            yield submission
        except StorageUnavailable as error:
            seen.append(error)
            raise ZeroDivisionError from None

    with open_storage() as storage:
        add = storage.feedback.add

        def add_or_exit(batch: Sequence[Accepted]) -> Sequence[Outcome]:
            return add(batch) if seen else sys.exit("torn down")

        monkeypatch.setattr(storage.feedback, "add", add_or_exit)
        hk = harken.connect(storage, middleware=[swallow])
        error = hk.submit_soon("s", "up").exception(PATIENCE)
        assert isinstance(error, StorageUnavailable)
        assert "unknown" in str(error)
        assert seen == [error]
        assert not hk.submit_soon("s", "up").result(PATIENCE).duplicate
        hk.close()


def test_suppressing_an_error_has_no_effect(submitter: Submitter) -> None:
    """A middleware may observe an error but not make it a success."""

    def swallow(submission: Submission) -> Steps:
        try:
            yield submission
        except FeedbackRejected:
            return

    submitter(a_submission(rating="maybe"), swallow)
    assert isinstance(submitter.answer, FeedbackRejected)


def test_an_error_after_the_write_is_only_logged(submitter: Submitter, caplog: pytest.LogCaptureFixture) -> None:
    """The feedback is durable: a failing observer fails neither the submission nor the other observers."""
    seen: list[object] = []

    def fail(submission: Submission) -> Steps:
        yield submission
        raise ZeroDivisionError

    hk = submitter(a_submission(), watching(seen, "outer "), fail)
    (feedback,) = hk.export()
    assert isinstance(submitter.answer, Receipt)
    assert seen == ["outer in", "outer kept"]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"A middleware failed after feedback {feedback.id} was stored"
    assert record.exc_info is not None


def test_an_error_about_an_error_is_only_logged(submitter: Submitter, caplog: pytest.LogCaptureFixture) -> None:
    """A middleware that fails while it handles an error does not hide that error."""

    def fail(submission: Submission) -> Steps:
        try:
            yield submission
        finally:
            raise ZeroDivisionError

    seen: list[object] = []
    submitter(a_submission(rating="maybe"), watching(seen), fail)
    assert isinstance(submitter.answer, FeedbackRejected)
    assert seen == ["in", "FeedbackRejected"]
    assert [record.getMessage() for record in caplog.records] == ["A middleware failed while it handled an error"]


def never(submission: Submission) -> Steps:
    """Forgets to yield."""
    if submission.comment == "never":
        yield submission


def empty_handed(submission: Submission) -> Steps:
    """Yields nothing."""
    yield  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [never, empty_handed, lambda submission: None, lambda submission: submission])
def test_middleware_that_does_not_yield_a_submission(submitter: Submitter, wrong: Middleware) -> None:
    """Invalid middleware is a programming error: a TypeError, nothing is stored, and the others see the error."""
    seen: list[object] = []
    hk = submitter(a_submission(), watching(seen), wrong)
    assert isinstance(submitter.answer, TypeError)
    assert all_events(hk) == []
    if submitter.way is not WAYS["submit_many"]:
        assert seen == ["in", "TypeError"]


def test_middleware_that_yields_twice(submitter: Submitter, caplog: pytest.LogCaptureFixture) -> None:
    """The second yield has no effect: it is logged, and the feedback is stored."""

    def twice(submission: Submission) -> Steps:
        yield submission
        yield submission

    hk = submitter(a_submission(), twice)
    assert isinstance(submitter.answer, Receipt)
    assert hk.summary().total == 1
    (record,) = caplog.records
    assert record.getMessage().startswith("A middleware yielded twice")


def test_middleware_that_cannot_be_closed(submitter: Submitter, caplog: pytest.LogCaptureFixture) -> None:
    """Middleware that refuses to be closed does not fail a durable submission."""
    stop = False

    def stubborn(submission: Submission) -> Steps:
        while not stop:
            try:
                yield submission
            except GeneratorExit:
                continue

    hk = submitter(a_submission(), stubborn)
    stop = True
    assert isinstance(submitter.answer, Receipt)
    assert hk.summary().total == 1
    assert len(caplog.records) == 2


def test_each_of_many_has_its_own_run() -> None:
    """In one write, each submission has its own middleware run, which sees its own result."""
    seen: list[object] = []
    with harken.connect("memory://", middleware=[watching(seen)]) as hk:
        hk.collection.submit_many([a_submission(), a_submission(rating="maybe"), a_submission()])
    assert seen == ["in", "in", "in", "kept", "FeedbackRejected", "kept"]


def test_an_error_in_one_of_many_fails_all() -> None:
    """Middleware that fails stops the whole write, and the middleware that was entered before sees the error."""
    seen: list[object] = []

    def broken(submission: Submission) -> Steps:
        if submission.comment == "break":
            raise RuntimeError("out of order")
        yield submission

    with harken.connect("memory://", middleware=[watching(seen), broken]) as hk:
        with pytest.raises(RuntimeError, match="out of order"):
            hk.collection.submit_many([a_submission(), a_submission(comment="break"), a_submission()])
        assert hk.summary().total == 0
    assert seen == ["in", "in", "RuntimeError", "RuntimeError"]


def test_a_later_write_of_many_fails() -> None:
    """What an earlier write stored stays and is announced, and its middleware sees that; the error is raised."""
    seen: list[object] = []
    notified: list[int] = []
    faults = Faults()
    large = [a_submission(extras=f'{{"large": "{"x" * 13_000_000}"}}') for _ in range(3)]
    with (
        open_storage() as storage,
        harken.connect(faults.around(storage), middleware=[watching(seen)]) as hk,
    ):
        # Read from the storage itself, so that the fault meets the second write.
        hk.collection._editor.on_change(lambda: notified.append(len(list(storage.outbox.events(limit=10)))))
        faults.arm(at=2)
        with pytest.raises(StorageUnavailable):
            hk.collection.submit_many([large[0], large[1], a_submission(rating="maybe"), large[2]])
        assert faults.failed == "feedback.add"
        faults.disarm()
        assert hk.summary().total == 2
    assert seen[-4:] == ["kept", "kept", "FeedbackRejected", "StorageUnavailable"]
    assert notified == [2]


@pytest.mark.parametrize("way", ["submit", "submit_soon"])
def test_middleware_may_submit(way: str) -> None:
    """Middleware may submit to the same Harken and wait after the write, for each way to submit."""
    hk: Harken

    def copy(submission: Submission) -> Steps:
        receipt = yield submission
        if receipt.feedback.session_id != "copies":
            hk.submit("copies", receipt.feedback.rating)

    with harken.connect("memory://", middleware=[copy]) as hk:
        for _ in range(20):
            WAYS[way](hk, a_submission())
        futures = [hk.submit_soon("s", "up") for _ in range(20)]
        assert all(not future.result(PATIENCE).duplicate for future in futures)
        assert hk.summary(session_id="copies").total == 40


def test_changes_do_not_run_through_middleware() -> None:
    """A change does not run through the middleware of submissions."""
    seen: list[object] = []
    with harken.connect("memory://", middleware=[watching(seen)]) as hk:
        feedback = hk.submit("s", "up").feedback
        hk.collection.change("default", feedback.id, Change(comment="More"))
    assert seen == ["in", "kept"]

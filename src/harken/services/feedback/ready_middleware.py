"""Ready-made middleware: an audit log, notices of negative feedback, and counters."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator
from datetime import datetime
from enum import Enum
from time import monotonic
from typing import Any

from attrs import asdict, evolve, frozen

from harken.clock import utc_now
from harken.domain.errors import FeedbackRejected
from harken.domain.feedback import Feedback, Rating, Submission
from harken.domain.instants import MICROSECOND
from harken.domain.query import FeedbackQuery
from harken.domain.rules import MAX_ID_LENGTH
from harken.domain.summary import Summary
from harken.ports.time import Clock
from harken.services.background import Background
from harken.services.feedback.middleware import Middleware
from harken.services.feedback.receipt import Receipt
from harken.services.forks import ForkSafeLock

logger = logging.getLogger(__name__)

Steps = Generator[Submission, Receipt, None]


# --- Audit -----------------------------------------------------------------------------------------------------------


class AuditOutcome(Enum):
    """The outcome of a submission."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    FAILED = "failed"


@frozen(kw_only=True)
class AuditEntry:
    """One submission: its author, target and rating, its outcome and duration. It has no comment, tags or context.

    ``str`` returns it as a line of JSON. A refused submission may not be well-formed, so its values are converted to
    text and cut to 200 characters.

    Attributes:
        at: when it was submitted, in UTC.
        application: the application.
        author: the author.
        session_id: the session that it is about.
        message_id: the message that it is about.
        agent_id: the agent that answered.
        rating: ``up``, ``down`` or ``None``.
        outcome: the outcome.
        feedback_id: the id of the stored feedback.
        problems: why it was refused, each as ``<field>.<code>``; or the class of the error with which it failed.
        milliseconds: the time until it was stored, refused or failed.
    """

    at: datetime
    application: str | None
    author: str | None
    session_id: str | None
    message_id: str | None
    agent_id: str | None
    rating: str | None
    outcome: AuditOutcome
    feedback_id: str | None = None
    problems: tuple[str, ...] = ()
    milliseconds: float

    def __str__(self) -> str:
        return json.dumps({**asdict(self), "at": self.at.isoformat(), "outcome": self.outcome.value})


def log_entry(entry: AuditEntry) -> None:
    """Write an entry to the log ``harken.services.feedback.ready_middleware``, as a line of JSON."""
    logger.info("%s", entry)


def audit(
    log: Callable[[AuditEntry], object] = log_entry,
    *,
    clock: Clock = utc_now,
    timer: Callable[[], float] = monotonic,
) -> Middleware:
    """Middleware that logs each submission with its outcome.

    For example::

        trail = open("audit.jsonl", "a", buffering=1)
        hk = harken.connect("sqlite:///feedback.db", middleware=[audit(lambda entry: print(entry, file=trail))])
        hk.submit("session-1", "down", "Too slow", author="ann")
        # {"at": "2026-03-04T12:00:00.000000+00:00", "application": "default", "author": "ann", ... "outcome": "stored"}

    It should be the first middleware, so that it sees what others refuse.

    Args:
        log: called with each entry; it should be quick, as the submitter waits.
        clock: returns the current time, in UTC.
        timer: returns seconds of a monotonic clock, for durations.
    """

    def watch(submission: Submission) -> Steps:
        at, began = clock(), timer()

        def write(outcome: AuditOutcome, feedback_id: str | None = None, problems: tuple[str, ...] = ()) -> None:
            target = submission.target
            log(
                AuditEntry(
                    at=at,
                    application=_shorten(submission.application),
                    author=_shorten(submission.author),
                    session_id=_shorten(getattr(target, "session_id", None)),
                    message_id=_shorten(getattr(target, "message_id", None)),
                    agent_id=_shorten(getattr(target, "agent_id", None)),
                    rating=_shorten(_rating_value(submission.rating)),
                    outcome=outcome,
                    feedback_id=feedback_id,
                    problems=problems,
                    milliseconds=round((timer() - began) * 1_000, 3),
                )
            )

        try:
            receipt = yield submission
        except FeedbackRejected as error:
            write(AuditOutcome.REFUSED, problems=tuple(f"{one.field}.{one.code}" for one in error.violations))
            raise
        except Exception as error:
            write(AuditOutcome.FAILED, problems=(type(error).__name__,))
            raise
        write(AuditOutcome.DUPLICATE if receipt.duplicate else AuditOutcome.STORED, receipt.feedback.id)

    return watch


def _rating_value(rating: Rating | str | None) -> object:
    return rating.value if isinstance(rating, Rating) else rating


def _shorten(value: object) -> str | None:
    return None if value is None else str(value)[:MAX_ID_LENGTH]


# --- Negative feedback -----------------------------------------------------------------------------------------------


@frozen
class NegativeFeedback:
    """A thumbs-down, and its number in its session, from 1."""

    feedback: Feedback
    number: int


def log_negative(negative: NegativeFeedback) -> None:
    """Write a warning to the log ``harken.services.feedback.ready_middleware``, without the comment."""
    session_id, number = negative.feedback.session_id, negative.number
    logger.warning("Thumbs-down number %d in session %s, feedback %s", number, session_id, negative.feedback.id)


def notify_negative(
    summarize: Callable[[FeedbackQuery], Summary],
    notify: Callable[[NegativeFeedback], object] = log_negative,
    *,
    max_waiting: int = 1_000,
) -> Middleware:
    """Middleware that calls ``notify`` for each thumbs-down, with the number of thumbs-downs in its session.

    For example::

        def notify(negative):
            if negative.number == 3:
                page(f"Three thumbs-downs in {negative.feedback.session_id}: {negative.feedback.comment}")

        notices = notify_negative(lambda query: hk.analytics.summary(query), notify)
        with harken.connect("sqlite:///feedback.db", middleware=[notices]) as hk:
            hk.submit("session-1", "down", "Too slow")

    The storage counts, so the number is correct with several processes and after a restart. ``notify`` is called in a
    background thread, one call at a time: submitters do not wait for it. Pending calls are lost when the process ends;
    use channels for notifications that must arrive.

    It is not called for duplicates, for pending feedback, for a vote that was a thumbs-down before, and for imported
    feedback, which has a ``created_at`` of its own.

    Args:
        summarize: returns the summary of a query.
        notify: called with each thumbs-down; it may block. An error that it raises is logged.
        max_waiting: how many calls may wait; further ones are dropped, which is logged.
    """
    background = Background("harken-negative", threads=1, max_waiting=max_waiting)

    def count(feedback: Feedback) -> None:
        notify(NegativeFeedback(feedback, summarize(_negative_up_to(feedback)).total))

    def watch(submission: Submission) -> Steps:
        is_new = submission.created_at is None
        receipt = yield submission
        if is_new and not receipt.duplicate and _is_newly_negative(receipt.feedback):
            background.soon(lambda: count(receipt.feedback))

    return watch


def _is_newly_negative(feedback: Feedback) -> bool:
    before = feedback.revisions[-1].rating if feedback.revisions else None
    return feedback.rating is Rating.DOWN and feedback.is_counted and before is not Rating.DOWN


def _negative_up_to(feedback: Feedback) -> FeedbackQuery:
    """The thumbs-downs of its session up to this one: later ones must not increase its number."""
    return FeedbackQuery(
        application=feedback.application,
        session_id=feedback.session_id,
        rating=Rating.DOWN,
        until=None if feedback.revisions else feedback.created_at + MICROSECOND,
    )


# --- Counting --------------------------------------------------------------------------------------------------------


class Counters:
    """Middleware that counts the submissions of this process exactly.

    For example::

        counters = Counters()
        with harken.connect("sqlite:///feedback.db", middleware=[counters]) as hk:
            hk.submit("session-1", "up", "Excellent!")
            counters.metrics()["average_comment_length"]  # 10.0
            counters.satisfaction                         # 100.0

    Each approved submission counts once, in its UTC hour; duplicates and pending feedback do not count. A vote that
    replaces an earlier one counts as well: ``hk.analytics`` has the statistics of the current feedback.
    """

    def __init__(self) -> None:
        self._summary = Summary()
        self._adding = ForkSafeLock()

    def __call__(self, submission: Submission) -> Steps:
        """The middleware."""
        receipt = yield submission
        if receipt.duplicate or not receipt.feedback.is_counted:
            return
        summary = Summary.of(_at_submission(receipt.feedback))
        with self._adding:
            self._summary += summary

    @property
    def summary(self) -> Summary:
        """The summary so far."""
        return self._summary

    @property
    def satisfaction(self) -> float:
        """The percentage of thumbs-up among all thumbs, 0.0 to 100.0; 0.0 if there are none."""
        return self._summary.satisfaction

    def metrics(self) -> dict[str, Any]:
        """The statistics so far as JSON values; ``by_hour`` has the UTC hours of the day with submissions."""
        summary = self._summary
        return {
            "total": summary.total,
            "positive": summary.positive,
            "negative": summary.negative,
            "neutral": summary.neutral,
            "average_comment_length": summary.average_comment_length,
            "by_hour": {hour: count for hour, count in enumerate(summary.by_hour) if count},
        }


def _at_submission(feedback: Feedback) -> Feedback:
    """The feedback, with the time of the latest vote as its creation time."""
    return evolve(feedback, created_at=feedback.updated_at) if feedback.revisions else feedback

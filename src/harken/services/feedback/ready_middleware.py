"""Ready middleware: who gave what and what became of it, how many downs a session has, and what came in so far."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from enum import Enum
from threading import Lock
from time import monotonic
from typing import Any, Final

from attrs import asdict, evolve, frozen

from harken.clock import utc_now
from harken.domain.errors import FeedbackRejected
from harken.domain.feedback import Feedback, Rating, Submission
from harken.domain.query import FeedbackQuery
from harken.domain.rules import MAX_ID_LENGTH
from harken.domain.summary import Summary
from harken.ports.time import Clock
from harken.services.feedback.background import Background
from harken.services.feedback.middleware import Middleware, Receipt

logger = logging.getLogger(__name__)

Steps = Generator[Submission, Receipt, None]

_MICROSECOND: Final = timedelta(microseconds=1)


# --- Audit ----------------------------------------------------------------------------------------------------------


class AuditOutcome(Enum):
    """What became of a submission."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    FAILED = "failed"


@frozen(kw_only=True)
class AuditEntry:
    """Who gave what and when, what became of it, and how long that took; without anybody's words.

    ``str`` gives it as a line of JSON. What was refused may not have been well-formed, so its parts are as text here,
    and cut to 200 characters.

    Attributes:
        at: when it came in, in UTC.
        application: whose.
        author: who gave it.
        session_id: the session that it is about.
        message_id: the message that it is about.
        agent_id: the agent that answered.
        rating: ``up``, ``down`` or ``None``.
        outcome: what became of it.
        feedback_id: the id of what is stored, now or since before.
        problems: why it was refused, each as ``<field>.<code>``; or the kind of the error with which it failed.
        milliseconds: how long it took until it was durable, or until that was known to be impossible.
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
    """Middleware that tells what became of each submission, whether it was kept or not.

    For example::

        trail = open("audit.jsonl", "a", buffering=1)
        hk = harken.connect("sqlite:///feedback.db", middleware=[audit(lambda entry: print(entry, file=trail))])
        hk.submit("session-1", "down", "Too slow", author="ann")
        # {"at": "2026-03-04T12:00:00.000000+00:00", "application": "default", "author": "ann", ... "outcome": "stored"}

    It should be the first, so that it is told of what others refuse.

    Args:
        log: what is told of each; it should be quick, as the person still waits.
        clock: gives the time now, in UTC.
        timer: seconds that only ever grow, to take the time by.
    """

    def watch(submission: Submission) -> Steps:
        at, began = clock(), timer()

        def tell(outcome: AuditOutcome, feedback_id: str | None = None, problems: tuple[str, ...] = ()) -> None:
            target = submission.target
            log(
                AuditEntry(
                    at=at,
                    application=_short(submission.application),
                    author=_short(submission.author),
                    session_id=_short(getattr(target, "session_id", None)),
                    message_id=_short(getattr(target, "message_id", None)),
                    agent_id=_short(getattr(target, "agent_id", None)),
                    rating=_short(_wire(submission.rating)),
                    outcome=outcome,
                    feedback_id=feedback_id,
                    problems=problems,
                    milliseconds=round((timer() - began) * 1_000, 3),
                )
            )

        try:
            receipt = yield submission
        except FeedbackRejected as error:
            tell(AuditOutcome.REFUSED, problems=tuple(f"{one.field}.{one.code}" for one in error.violations))
            raise
        except Exception as error:
            tell(AuditOutcome.FAILED, problems=(type(error).__name__,))
            raise
        tell(AuditOutcome.DUPLICATE if receipt.duplicate else AuditOutcome.STORED, receipt.feedback.id)

    return watch


def _wire(rating: Rating | str | None) -> object:
    return rating.value if isinstance(rating, Rating) else rating


def _short(value: object) -> str | None:
    return None if value is None else str(value)[:MAX_ID_LENGTH]


# --- Downs ----------------------------------------------------------------------------------------------------------


@frozen
class Down:
    """A down that came in, and which one it is in its session: the first, the second ..."""

    feedback: Feedback
    number: int


def log_down(down: Down) -> None:
    """Write a warning to the log ``harken.services.feedback.ready_middleware``, without the person's words."""
    session_id, number = down.feedback.session_id, down.number
    logger.warning("Down number %d in session %s, feedback %s", number, session_id, down.feedback.id)


def notify_downs(
    summarize: Callable[[FeedbackQuery], Summary],
    tell: Callable[[Down], object] = log_down,
    *,
    max_waiting: int = 1_000,
) -> Middleware:
    """Middleware that tells of each down, with the count of downs in its session.

    For example::

        def tell(down):
            if down.number == 3:
                page(f"Three downs in {down.feedback.session_id}: {down.feedback.comment}")

        notices = notify_downs(lambda query: hk.analytics.summary(query), tell)
        with harken.connect("sqlite:///feedback.db", middleware=[notices]) as hk:
            hk.submit("session-1", "down", "Too slow")

    The count comes from the storage, so it is right with several processes and after a restart. Counting and telling
    are done one after the other in the background: whoever submits waits for neither. What is told here is lost if the
    process ends; what must arrive goes through channels.

    Not told are duplicates, what waits for a moderator, a vote that was a down before, and feedback that was given
    elsewhere before and so brings its own time.

    Args:
        summarize: gives the figures of a query.
        tell: what is told of each down; it may take its time. What it raises is logged.
        max_waiting: how many may wait to be told before more are left out, which is logged.
    """
    background = Background("harken-downs", threads=1, max_waiting=max_waiting)

    def notify(feedback: Feedback) -> None:
        tell(Down(feedback, summarize(_downs_up_to(feedback)).total))

    def watch(submission: Submission) -> Steps:
        is_news = submission.created_at is None
        receipt = yield submission
        if is_news and not receipt.duplicate and _is_new_down(receipt.feedback):
            background.soon(lambda: notify(receipt.feedback))

    return watch


def _is_new_down(feedback: Feedback) -> bool:
    before = feedback.revisions[-1].rating if feedback.revisions else None
    return feedback.rating is Rating.DOWN and feedback.is_counted and before is not Rating.DOWN


def _downs_up_to(feedback: Feedback) -> FeedbackQuery:
    """The downs of its session until it came: what comes before it is told may not make its number higher."""
    return FeedbackQuery(
        application=feedback.application,
        session_id=feedback.session_id,
        rating=Rating.DOWN,
        until=None if feedback.revisions else feedback.created_at + _MICROSECOND,
    )


# --- Counting -------------------------------------------------------------------------------------------------------


class Counters:
    """Middleware that counts what comes in while this process runs, exactly.

    For example::

        counters = Counters()
        with harken.connect("sqlite:///feedback.db", middleware=[counters]) as hk:
            hk.submit("session-1", "up", "Excellent!")
            counters.metrics()["average_comment_length"]  # 10.0
            counters.satisfaction                         # 100.0

    Everything counts that was accepted, once, at the UTC hour in which it was given; a duplicate does not count again,
    and what waits for a moderator does not count. A vote that takes the place of an earlier one counts as well: for
    what stands there is ``hk.analytics``.
    """

    def __init__(self) -> None:
        self._summary = Summary()
        self._adding = Lock()

    def __call__(self, submission: Submission) -> Steps:
        """The middleware."""
        receipt = yield submission
        if receipt.duplicate or not receipt.feedback.is_counted:
            return
        figures = Summary.of(_as_given(receipt.feedback))
        with self._adding:
            self._summary += figures

    @property
    def summary(self) -> Summary:
        """All figures so far."""
        return self._summary

    @property
    def satisfaction(self) -> float:
        """Thumbs up among all thumbs, 0.0 to 100.0; 0.0 where there are none."""
        return self._summary.satisfaction

    def metrics(self) -> dict[str, Any]:
        """The figures so far as JSON values; ``by_hour`` has the UTC hours of day in which something came in."""
        summary = self._summary
        return {
            "total": summary.total,
            "positive": summary.positive,
            "negative": summary.negative,
            "neutral": summary.neutral,
            "average_comment_length": summary.average_comment_length,
            "by_hour": {hour: count for hour, count in enumerate(summary.by_hour) if count},
        }


def _as_given(feedback: Feedback) -> Feedback:
    """A vote that took the place of an earlier one, at the time when it did."""
    return evolve(feedback, created_at=feedback.updated_at) if feedback.revisions else feedback

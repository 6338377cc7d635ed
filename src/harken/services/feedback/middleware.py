"""What happens around a submission: generator functions that enrich, refuse or observe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable

from attrs import frozen

from harken.domain.errors import FeedbackRejected
from harken.domain.feedback import Feedback, Submission

logger = logging.getLogger(__name__)


@frozen
class Receipt:
    """What a submitter gets back: the feedback as it is stored, and whether it was there before."""

    feedback: Feedback
    duplicate: bool = False

    @property
    def reply(self) -> str | None:
        """What to answer to the person, if there is an answer."""
        return self.feedback.reply


#: A generator function around a submission. It yields the submission once, as it is or enriched, and is sent the
#: receipt when the feedback is durable. To refuse, it raises before the yield; an error of what comes after it is
#: raised at the yield. For example ``def audit(submission): receipt = yield submission; log(receipt.feedback.id)``.
Middleware = Callable[[Submission], Generator[Submission, Receipt, None]]

#: The middleware that a submission went through so far, outermost first.
Opened = list[Generator[Submission, Receipt, None]]


def first(steps: Generator[Submission, Receipt, None]) -> Submission:
    """What a middleware passes on.

    Raises:
        TypeError: it passes nothing on.
    """
    submission = next(steps, None)
    if submission is None:
        raise TypeError(f"A middleware must yield the submission once; this one never did: {steps!r}")
    return submission


def tell_receipt(opened: Opened, receipt: Receipt) -> None:
    """Send the receipt to the middleware, innermost first. The feedback is durable: nothing can refuse it any more."""
    for steps in reversed(opened):
        try:
            steps.send(receipt)
            logger.error("A middleware yielded twice; it must yield the submission once: %r", steps)
            steps.close()
        except StopIteration:
            continue
        except Exception:
            logger.exception("A middleware failed after feedback %s was stored", receipt.feedback.id)


def tell_failure(opened: Opened, error: BaseException) -> None:
    """Raise the error inside the middleware, innermost first; they may look at it, but not undo it."""
    for steps in reversed(opened):
        try:
            steps.throw(error)
        except StopIteration:
            continue
        except BaseException as raised:
            if raised is not error:
                logger.exception("A middleware failed while it was told of an error")


def tell_failures(opened: Iterable[Opened], error: BaseException) -> None:
    """Raise the error inside the middleware of many submissions."""
    for one in opened:
        tell_failure(one, error)


def refusal(error: FeedbackRejected, opened: Opened) -> FeedbackRejected:
    """The error, after the middleware was told of it."""
    tell_failure(opened, error)
    return error

"""Middleware: generator functions around a submission that enrich, refuse or observe it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence

from harken.domain.feedback import Submission
from harken.services.feedback.receipt import Receipt

logger = logging.getLogger(__name__)


#: A generator function around a submission. It yields the submission once, unchanged or enriched, and is sent the
#: receipt when the feedback is durable. To refuse the submission, it raises before the yield; a later error is raised
#: at the yield. For example ``def audit(submission): receipt = yield submission; log(receipt.feedback.id)``.
Middleware = Callable[[Submission], Generator[Submission, Receipt, None]]


class MiddlewareChain:
    """The middleware around one submission."""

    __slots__ = ("_entered", "_middleware")

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self._middleware = middleware
        self._entered: list[Generator[Submission, Receipt, None]] = []

    def enter(self, submission: Submission) -> Submission:
        """Run each middleware up to its yield, the outermost first, and return what the innermost yields.

        Raises what a middleware raises, and ``TypeError`` for one that yields nothing.
        """
        for middleware in self._middleware:
            steps = middleware(submission)
            passed_on = next(steps, None)
            if passed_on is None:
                raise TypeError(f"A middleware must yield the submission once; this one did not: {steps!r}")
            submission = passed_on
            self._entered.append(steps)
        return submission

    def succeeded(self, receipt: Receipt) -> None:
        """Send the receipt to the middleware, innermost first. An error is logged, as the feedback is durable."""
        for steps in reversed(self._entered):
            try:
                steps.send(receipt)
                logger.error("A middleware yielded twice; it must yield the submission once: %r", steps)
                steps.close()
            except StopIteration:
                continue
            except Exception:
                logger.exception("A middleware failed after feedback %s was stored", receipt.feedback.id)

    def failed(self, error: BaseException) -> None:
        """Raise the error inside the middleware, innermost first. They can observe it, but not suppress it."""
        for steps in reversed(self._entered):
            try:
                steps.throw(error)
            except StopIteration:
                continue
            except BaseException as raised:
                if raised is not error:
                    logger.exception("A middleware failed while it handled an error")

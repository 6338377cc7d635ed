"""An event for each rating, as OpenTelemetry's conventions for generative AI describe an evaluation."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from harken import Feedback, Middleware, MissingExtra, Rating, Receipt, Submission

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

EVENT: Final = "gen_ai.evaluation.result"
#: How feedback of people is told from the evaluations of machines.
NAME: Final = "user_feedback"

#: Their mean is the satisfaction, as a part of 1. Neutral has none there, and so none here.
_VALUES: Final = {Rating.UP: 1.0, Rating.DOWN: 0.0}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def evaluation_events(*, explanation: bool = False, logger_provider: LoggerProvider | None = None) -> Middleware:
    """Middleware that emits an event when feedback is stored.

    There is none for a duplicate, nor for feedback that does not count, as it waits for a moderator. A vote that takes
    the place of an earlier one is told as well.

    Args:
        explanation: whether the comment goes with it. Whoever reads the events then reads what people wrote.
        logger_provider: where to; the one of the process without it.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import trace  # noqa: PLC0415 - it may be missing
        from opentelemetry._logs import LogRecord, SeverityNumber, get_logger  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "Evaluation events need the package 'opentelemetry-api'; try pip install \"harken[telemetry]\""
        ) from error
    logger = get_logger("harken", version("harken"), logger_provider)

    def tell(submission: Submission) -> Generator[Submission, Receipt, None]:
        # Of the caller, now: whoever writes the batch tells all of it, and may be in the middle of another request.
        context = trace.set_span_in_context(trace.get_current_span())
        receipt = yield submission
        feedback = receipt.feedback
        if receipt.duplicate or not feedback.is_counted:
            return
        record = LogRecord(
            timestamp=_nanoseconds(feedback),
            context=context,
            severity_number=SeverityNumber.INFO,
            event_name=EVENT,
            attributes=_attributes(feedback, explanation=explanation),
        )
        logger.emit(record)

    return tell


def _nanoseconds(feedback: Feedback) -> int:
    """When it was said, also if it is imported only now."""
    at = feedback.created_at if feedback.version == 1 else feedback.updated_at
    return (at - _EPOCH) // timedelta(microseconds=1) * 1_000


def _attributes(feedback: Feedback, *, explanation: bool) -> dict[str, str | float]:
    attributes: dict[str, str | float] = {
        "gen_ai.evaluation.name": NAME,
        "gen_ai.evaluation.score.label": feedback.rating.word,
    }
    if feedback.rating in _VALUES:
        attributes["gen_ai.evaluation.score.value"] = _VALUES[feedback.rating]
    if feedback.target.message_id is not None:
        attributes["gen_ai.response.id"] = feedback.target.message_id
    if explanation and feedback.comment:
        attributes["gen_ai.evaluation.explanation"] = feedback.comment
    return attributes

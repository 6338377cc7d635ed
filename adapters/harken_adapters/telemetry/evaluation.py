"""Evaluation events for ratings, as in OpenTelemetry's semantic conventions for generative AI."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from harken import Feedback, Middleware, MissingExtra, Rating, Receipt, Submission
from harken.domain.instants import to_microseconds

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

EVENT: Final = "gen_ai.evaluation.result"
#: The name that distinguishes user feedback from automatic evaluations.
NAME: Final = "user_feedback"

#: Their mean is the satisfaction, as a fraction. Neutral ratings have no value.
_VALUES: Final = {Rating.UP: 1.0, Rating.DOWN: 0.0}


def evaluation_events(*, explanation: bool = False, logger_provider: LoggerProvider | None = None) -> Middleware:
    """Middleware that emits an event when feedback is stored.

    Duplicates and feedback that is not counted, such as pending feedback, cause no event. A changed vote does.

    Args:
        explanation: whether to include the comment.
        logger_provider: the provider; the default is that of the process.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import trace  # noqa: PLC0415 - may be missing
        from opentelemetry._logs import LogRecord, SeverityNumber, get_logger  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "Evaluation events need the package 'opentelemetry-api'; try pip install \"harken[telemetry]\""
        ) from error
    logger = get_logger("harken", version("harken"), logger_provider)

    def emit(submission: Submission) -> Generator[Submission, Receipt, None]:
        # The context of the caller, as the event may be emitted by another thread, which writes the batch.
        context = trace.set_span_in_context(trace.get_current_span())
        receipt = yield submission
        feedback = receipt.feedback
        if receipt.duplicate or not feedback.is_counted:
            return
        record = LogRecord(
            timestamp=event_time(feedback),
            context=context,
            severity_number=SeverityNumber.INFO,
            event_name=EVENT,
            attributes=evaluation_attributes(feedback, explanation=explanation),
        )
        logger.emit(record)

    return emit


def event_time(feedback: Feedback) -> int:
    """The time of the rating in nanoseconds since 1970, also if it is imported later."""
    at = feedback.created_at if feedback.version == 1 else feedback.updated_at
    return nanoseconds(at)


def nanoseconds(moment: datetime) -> int:
    """The number of nanoseconds since 1970, for OpenTelemetry."""
    return to_microseconds(moment) * 1_000


def score_value(rating: Rating) -> float | None:
    """1.0 for a thumbs-up, 0.0 for a thumbs-down: the mean is the satisfaction. ``None`` for a neutral rating."""
    return _VALUES.get(rating)


def evaluation_attributes(feedback: Feedback, *, explanation: bool) -> dict[str, str | float]:
    """The attributes of the event; with the comment if ``explanation``."""
    attributes: dict[str, str | float] = {
        "gen_ai.evaluation.name": NAME,
        "gen_ai.evaluation.score.label": feedback.rating.word,
    }
    if (value := score_value(feedback.rating)) is not None:
        attributes["gen_ai.evaluation.score.value"] = value
    if feedback.target.message_id is not None:
        attributes["gen_ai.response.id"] = feedback.target.message_id
    if explanation and feedback.comment:
        attributes["gen_ai.evaluation.explanation"] = feedback.comment
    return attributes

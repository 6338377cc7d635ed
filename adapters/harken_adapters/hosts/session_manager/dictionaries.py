"""Feedback as a dictionary: rating, comment, time, and any other values of the caller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from harken import Feedback, FeedbackRejected, Rating, Sentiment, Submission, Target, Violation
from harken.domain.feedback import Scalar
from harken.domain.instants import parse_instant

#: Names with a field in feedback. All other names are stored in the context.
_FIELDS: Final = frozenset(
    {"rating", "comment", "created_at", "message_id", "agent_id", "author", "tags", "sentiment", "idempotency_key"}
)
#: The context value that lists the values stored as JSON text, because a context value cannot be a list or dictionary.
_AS_JSON: Final = "_as_json"
_SENTIMENT: Final = {"polarity", "subjectivity"}
_Extras = dict[str, Scalar]


def to_submission(feedback: Mapping[str, Any], about: Target, application: str) -> Submission:
    """Convert a dictionary to a submission. Names that begin with an underscore become enrichment.

    Args:
        feedback: the dictionary, which is not changed.
        about: the target of the feedback.
        application: the application of the feedback.

    Raises:
        FeedbackRejected: a value cannot be stored.
    """
    context, enrichment = _split_extras({name: value for name, value in feedback.items() if name not in _FIELDS})
    return Submission(
        target=about,
        rating=feedback.get("rating"),
        comment=feedback.get("comment") or "",
        author=feedback.get("author"),
        tags=feedback.get("tags") or (),
        context=context,
        enrichment=enrichment,
        sentiment=_sentiment(feedback.get("sentiment")),
        idempotency_key=feedback.get("idempotency_key"),
        application=application,
        created_at=_moment(feedback.get("created_at")),
    )


def copy_feedback(feedback: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a dictionary, which hooks may change.

    Raises:
        FeedbackRejected: it is not a dictionary.
    """
    if isinstance(feedback, Mapping):
        return dict(feedback)
    message = f"feedback must be a dictionary with a rating and a comment, got {type(feedback).__name__}"
    raise FeedbackRejected([Violation("feedback", "type", message)])


def to_dictionary(feedback: Feedback) -> dict[str, Any]:
    """Convert feedback to a dictionary, without empty fields. ``created_at`` is UTC, without a time zone.

    Context values with the name of a field are left out.
    """
    optional = {
        "agent_id": feedback.agent_id,
        "message_id": feedback.message_id,
        "author": feedback.author,
        "tags": list(feedback.tags) or None,
        "sentiment": feedback.sentiment.to_dict() if feedback.sentiment else None,
        "idempotency_key": feedback.idempotency_key,
    }
    return {
        "rating": None if feedback.rating is Rating.NEUTRAL else feedback.rating.value,
        "comment": feedback.comment,
        **_restore_extras(feedback.context),
        **{name: value for name, value in optional.items() if value is not None},
        "created_at": feedback.created_at.replace(tzinfo=None).isoformat(timespec="microseconds"),
    }


def _split_extras(given: Mapping[str, Any]) -> tuple[_Extras, _Extras]:
    """Split extra values into context and enrichment. Lists and dictionaries become JSON text."""
    if _AS_JSON in given:
        message = f"{_AS_JSON} is reserved; choose another name"
        raise FeedbackRejected([Violation(f"context.{_AS_JSON}", "reserved", message)])
    scalars = {name: value for name, value in given.items() if value is None or isinstance(value, str | int | float)}
    structures = {name: _json(name, value) for name, value in given.items() if name not in scalars}
    extras = {**scalars, **structures}
    enrichment = {name: value for name, value in extras.items() if str(name).startswith("_")}
    if structures:
        # Names do not contain spaces.
        enrichment[_AS_JSON] = " ".join(map(str, structures))
    return {name: value for name, value in extras.items() if name not in enrichment}, enrichment


def _json(name: str, value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        message = f"{name} must be a string, a number, true, false, None, or a list or dictionary of these: {error}"
        raise FeedbackRejected([Violation(f"context.{name}", "type", message)]) from error


def _restore_extras(context: Mapping[str, Scalar]) -> dict[str, Any]:
    as_json = str(context.get(_AS_JSON, "")).split()
    extras: dict[str, Any] = {name: value for name, value in context.items() if name != _AS_JSON}
    restored = extras | {name: _parse(extras[name]) for name in as_json if name in extras}
    # A visitor may choose the context: it must never look like a field, not even like one that is not set.
    return {name: value for name, value in restored.items() if name not in _FIELDS}


def _parse(value: Any) -> Any:
    """Parse a value that was stored as JSON. Feedback from other hosts may have a value that only looks like it."""
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return value


def _sentiment(value: object) -> Sentiment | None:
    if value is None:
        return None
    try:
        if isinstance(value, Mapping) and value.keys() == _SENTIMENT:
            return Sentiment(value["polarity"], value["subjectivity"])
    except (TypeError, ValueError, OverflowError):
        pass
    message = "sentiment must have a polarity from -1 to 1 and a subjectivity from 0 to 1; use another name for others"
    raise FeedbackRejected([Violation("sentiment", "type", message)])


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return parse_instant(str(value))
    except ValueError as error:
        message = f"created_at must be a time such as '2026-01-26T10:00:00', got {value!r}"
        raise FeedbackRejected([Violation("created_at", "type", message)]) from error

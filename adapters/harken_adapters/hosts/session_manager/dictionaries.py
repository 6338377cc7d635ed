"""Feedback as a dictionary: a rating, a comment, when it was given, and whatever else the caller put into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from harken import Feedback, FeedbackRejected, Rating, Sentiment, Submission, Target, Violation
from harken.domain.feedback import Scalar

#: What has a place of its own in feedback. Everything else is kept in its context.
_FIELDS: Final = frozenset(
    {"rating", "comment", "created_at", "message_id", "agent_id", "author", "tags", "sentiment", "idempotency_key"}
)
#: The context value that names those which are kept as JSON, as context holds no lists and no dictionaries.
_AS_JSON: Final = "_as_json"
_SENTIMENT: Final = {"polarity", "subjectivity"}
_Extras = dict[str, Scalar]


def to_submission(feedback: Mapping[str, Any], about: Target, application: str) -> Submission:
    """What a dictionary submits. Names that begin with an underscore are what was found out, and not what was said.

    Args:
        feedback: the dictionary, which is not changed.
        about: what it is about.
        application: whose it is.

    Raises:
        FeedbackRejected: a value in it is nothing that can be kept.
    """
    sentiment = _sentiment(feedback.get("sentiment"))
    own = _FIELDS if sentiment else _FIELDS - {"sentiment"}
    said, found_out = _extras({name: value for name, value in feedback.items() if name not in own})
    return Submission(
        target=about,
        rating=feedback.get("rating"),
        comment=feedback.get("comment") or "",
        author=feedback.get("author"),
        tags=feedback.get("tags") or (),
        context=said,
        enrichment=found_out,
        sentiment=sentiment,
        idempotency_key=feedback.get("idempotency_key"),
        application=application,
        created_at=_moment(feedback.get("created_at")),
    )


def copied(feedback: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a dictionary, for hooks to change.

    Raises:
        FeedbackRejected: it is no dictionary.
    """
    if isinstance(feedback, Mapping):
        return dict(feedback)
    message = f"feedback must be a dictionary with a rating and a comment, got {type(feedback).__name__}"
    raise FeedbackRejected([Violation("feedback", "type", message)])


def to_dictionary(feedback: Feedback) -> dict[str, Any]:
    """Feedback as a dictionary; what it does not have is left out. ``created_at`` is UTC, without saying so."""
    perhaps = {
        "agent_id": feedback.agent_id,
        "message_id": feedback.message_id,
        "author": feedback.author,
        "tags": list(feedback.tags) or None,
        "sentiment": _sentiment_dictionary(feedback.sentiment),
        "idempotency_key": feedback.idempotency_key,
    }
    return {
        "rating": None if feedback.rating is Rating.NEUTRAL else feedback.rating.value,
        "comment": feedback.comment,
        **_from_context(feedback.context),
        **{name: value for name, value in perhaps.items() if value is not None},
        "created_at": feedback.created_at.replace(tzinfo=None).isoformat(timespec="microseconds"),
    }


def _extras(given: Mapping[str, Any]) -> tuple[_Extras, _Extras]:
    """The context: what was said, and what was found out."""
    if _AS_JSON in given:
        message = f"{_AS_JSON} is a name that Harken uses itself; choose another one"
        raise FeedbackRejected([Violation(f"context.{_AS_JSON}", "reserved", message)])
    scalars = {name: value for name, value in given.items() if value is None or isinstance(value, str | int | float)}
    structures = {name: _json(name, value) for name, value in given.items() if name not in scalars}
    kept = {**scalars, **structures}
    found_out = {name: value for name, value in kept.items() if str(name).startswith("_")}
    if structures:
        # No name has a space in it.
        found_out[_AS_JSON] = " ".join(map(str, structures))
    return {name: value for name, value in kept.items() if name not in found_out}, found_out


def _json(name: str, value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        message = f"{name} must be text, a number, true, false, None, or a list or dictionary of these: {error}"
        raise FeedbackRejected([Violation(f"context.{name}", "type", message)]) from error


def _from_context(context: Mapping[str, Scalar]) -> dict[str, Any]:
    as_json = str(context.get(_AS_JSON, "")).split()
    extras: dict[str, Any] = {name: value for name, value in context.items() if name != _AS_JSON}
    return extras | {name: _parsed(extras[name]) for name in as_json if name in extras}


def _parsed(kept: Any) -> Any:
    """A value that was kept as JSON. Feedback that came another way may only look as if it had such values."""
    try:
        return json.loads(kept)
    except (TypeError, ValueError):
        return kept


def _sentiment(value: object) -> Sentiment | None:
    """A sentiment, if it is one; anything else of that name is kept as it is."""
    if not (isinstance(value, Mapping) and value.keys() == _SENTIMENT):
        return None
    try:
        return Sentiment(value["polarity"], value["subjectivity"])
    except (TypeError, ValueError):
        return None


def _sentiment_dictionary(sentiment: Sentiment | None) -> dict[str, float] | None:
    if sentiment is None:
        return None
    return {"polarity": sentiment.polarity, "subjectivity": sentiment.subjectivity}


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        message = f"created_at must be a time such as '2026-01-26T10:00:00', got {value!r}"
        raise FeedbackRejected([Violation("created_at", "type", message)]) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

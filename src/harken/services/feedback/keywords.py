"""The keyword arguments that several methods take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from harken.domain.feedback import NO_CONTEXT, RatingValue, Scalar, Submission, Target
from harken.domain.texts import unknown_names


class VoteKeywords(TypedDict, total=False):
    """The optional keywords of ``set_vote``, which ``submit`` takes too.

    Attributes:
        tags: the reasons that the author picked.
        context: further values by name, such as ``{"user_tier": "premium"}``; ``submit`` takes ``None`` for no context.
        idempotency_key: makes it safe to repeat the call: the same key and body are stored once.
        application: the application, by default the one that ``connect`` was called with.
    """

    tags: Sequence[str]
    context: Mapping[str, Scalar] | None
    idempotency_key: str | None
    application: str | None


class SubmitKeywords(VoteKeywords, total=False):
    """The optional keywords of ``submit``.

    Attributes:
        agent_id: the agent that answered.
        message_id: the message that the feedback is about, if it is about one.
        author: the person who gives the feedback, as an opaque id.
    """

    agent_id: str | None
    message_id: str | None
    author: str | None


def build_submission(
    target: Target,
    rating: RatingValue | None,
    comment: str,
    keywords: VoteKeywords,
    *,
    application: str,
    author: str | None = None,
    vote: bool = False,
) -> Submission:
    """The submission that these arguments mean; ``application`` is used if the keywords have none."""
    other = keywords.get("application")
    context: Any = keywords.get("context", NO_CONTEXT)  # the rules report a wrong type
    if context is None and not vote:
        context = NO_CONTEXT
    return Submission(
        target=target,
        rating=rating,
        comment=comment,
        author=author,
        tags=keywords.get("tags", ()),
        context=context,
        idempotency_key=keywords.get("idempotency_key"),
        application=application if other is None else other,
        vote=vote,
    )


def check_keywords(given: Mapping[str, object], known: type, what: str = "keyword") -> None:
    """Raise ``TypeError`` for a keyword that a ``TypedDict`` does not have: a misspelt one must not be ignored."""
    if not given.keys() <= known.__annotations__.keys():
        raise TypeError(unknown_names(given, known.__annotations__, what))

"""Spam detection that learns from the decisions of moderators. It informs them, and never decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from harken.domain.feedback import Content, Feedback, Rating
from harken.domain.insight.evaluation import Evaluation, evaluate
from harken.domain.insight.learned_sentiment import MODEL_VERSION, RatedTerms, SentimentModel, calibration_sample
from harken.domain.insight.terms import TermCounts, terms
from harken.domain.moderation import ModerationStatus
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.erasures import Erasures
from harken.services.finding import newest_changes
from harken.services.sentiment import ModelCache

#: The approved and the rejected comments that it needs at least.
MIN_DECISIONS: Final = 50
RESEMBLES_REJECTED: Final = "resembles rejected comments"
_LIKELY: Final = 0.9
#: Spam changes. Older decisions say little about it.
_PERIOD: Final = timedelta(days=365)
#: How many changes are searched for decisions.
_MAX_CHANGES: Final = 10_000
_LASTS: Final = timedelta(minutes=1)


@frozen
class SpamReading:
    """How a comment compares with those that moderators decided on.

    Attributes:
        likelihood: of a rejection, from 0 to 1.
        reason: ``"resembles rejected comments"`` if the likelihood is at least 0.9, else empty.
        version: of the method.
    """

    likelihood: float
    reason: str
    version: int = MODEL_VERSION


@frozen
class SpamEvaluation:
    """How well decisions are predicted, each as if the comment had not been learned from.

    Attributes:
        approved: the number of approved comments.
        rejected: the number of rejected comments.
        is_on: whether pending comments are compared: there are at least 50 of both, and their words predict decisions
            clearly better than the share of approved comments does.
        likelihoods: how good the likelihoods of a rejection are; ``None`` without both approved and rejected comments.
    """

    approved: int
    rejected: int
    is_on: bool
    likelihoods: Evaluation | None


@frozen
class _Fitted:
    """A model that reads the likelihood of an approval, fitted at this time and after this number of erasures."""

    model: SentimentModel
    at: datetime
    erasures: int


class SpamService:
    """Compares pending comments with those that moderators approved and rejected.

    It learns from the decisions among the newest 10,000 changes of feedback in the last year. Decisions count within a
    minute, erasures at once. Nothing is stored, and no comment is refused, held or rejected because of it.
    """

    def __init__(self, repository: FeedbackRepository, erasures: Erasures, *, clock: Clock) -> None:
        self._repository = repository
        self._erasures = erasures
        self._clock = clock
        self._models = ModelCache(self._fit, self._is_current, lambda fitted: fitted.model.size)

    def readings(self, feedback: Sequence[Feedback]) -> Mapping[str, SpamReading]:
        """The readings by feedback id, of pending feedback with a comment; none until it has learned enough."""
        waiting = [one for one in feedback if one.comment and one.moderation.status is ModerationStatus.PENDING]
        models = {name: self._models.get(name).model for name in {one.application for one in waiting}}
        return {one.id: _reading(models[one.application], one) for one in waiting if _is_on(models[one.application])}

    def evaluate(self, application: str) -> SpamEvaluation:
        """Compare the likelihoods of a rejection with the decisions that it learned from."""
        decided = self._decided(application)
        fitted = _learn(decided)
        # Also if it is off: whether the words would predict decisions.
        model = evolve(fitted, uses_words=True)
        learned = list(map(RatedTerms.of, decided))
        likelihoods = [1 - model.reading_without(one.terms, is_up=one.is_up) for one in learned]
        return SpamEvaluation(
            approved=model.counts.up,
            rejected=model.counts.down,
            is_on=_is_on(fitted),
            likelihoods=evaluate(likelihoods, [not one.is_up for one in learned]),
        )

    def _fit(self, application: str) -> _Fitted:
        at, erasures = self._clock(), self._erasures.count(application)
        return _Fitted(_learn(self._decided(application)), at, erasures)

    def _is_current(self, application: str, fitted: _Fitted) -> bool:
        # Not in time if the clock was set back.
        in_time = timedelta() <= self._clock() - fitted.at < _LASTS
        return in_time and self._erasures.count(application) == fitted.erasures

    def _decided(self, application: str) -> Sequence[Feedback]:
        """The comments that moderators decided on, with the decision in place of the rating."""
        # Every decision is a change.
        now = self._clock()
        changes = newest_changes(self._repository, application, since=now - _PERIOD, now=now, limit=_MAX_CHANGES)
        return [_as_rated(one) for one in changes if _is_decided(one)]


def _learn(decided: Sequence[Feedback]) -> SentimentModel:
    return SentimentModel.fit(TermCounts.fold(decided), calibration_sample(decided))


def _is_on(model: SentimentModel) -> bool:
    return model.uses_words and min(model.counts.up, model.counts.down) >= MIN_DECISIONS


def _is_decided(feedback: Feedback) -> bool:
    moderation = feedback.moderation
    is_open = moderation.status is ModerationStatus.PENDING or moderation.decided_at is None
    return not is_open and bool(_decided_content(feedback).comment)


def _decided_content(feedback: Feedback) -> Content:
    """The content that the moderator saw: an author must not teach anything by a later change, or by withdrawing it."""
    decided_at = feedback.moderation.decided_at
    later = (one.content for one in feedback.revisions if decided_at and one.replaced_at > decided_at)
    return next(later, feedback.content)


def _as_rated(feedback: Feedback) -> Feedback:
    approved = feedback.moderation.status is ModerationStatus.APPROVED
    # Without the sentiment: an angry comment is no more likely to be spam.
    rating = Rating.UP if approved else Rating.DOWN
    return evolve(feedback, content=evolve(_decided_content(feedback), rating=rating, sentiment=None))


def _reading(model: SentimentModel, feedback: Feedback) -> SpamReading:
    likelihood = 1 - model.reading(terms(feedback.comment, None))
    return SpamReading(likelihood, RESEMBLES_REJECTED if likelihood >= _LIKELY else "")

"""Sentiment learned from an application's own ratings: how likely a comment is a thumbs-up.

A naive Bayes model over :class:`TermCounts`, calibrated by leave-one-out. What the sentiment analyser said when the
comment was accepted is one of its terms, and takes over entirely where there are too few ratings to learn from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from math import exp, fsum, log, log1p, sqrt
from typing import Final

from attrs import frozen

from harken.domain.feedback import Feedback, Rating
from harken.domain.insight.terms import TermCounts, terms

MODEL_VERSION: Final = 1
#: How many rated comments calibrate the model, those with the smallest hashes of their ids.
CALIBRATION_SAMPLE: Final = 2_000

#: Words say again what pairs of them say, and what the analyser read from them.
_WEIGHTS: Final = {"~": 2.0, "#": 0.5}
_PSEUDO_COMMENTS: Final = 32
# Normal priors of slope and intercept: mean and variance.
_SLOPE, _SLOPE_VARIANCE = 0.6, 0.25
_INTERCEPT, _INTERCEPT_VARIANCE = 0.0, 1.0
_HALVINGS: Final = 20
_CONVERGED: Final = 1e-9


@frozen
class RatedTerms:
    """The terms of one rated comment."""

    terms: Collection[str]
    is_up: bool

    @classmethod
    def of(cls, feedback: Feedback) -> RatedTerms:
        """Those of feedback with a comment and a thumbs-up or thumbs-down."""
        return cls(terms(feedback.comment, feedback.sentiment), feedback.rating is Rating.UP)


def calibration_sample(rated: Iterable[Feedback]) -> list[RatedTerms]:
    """The same 2,000 comments of any set in any order: those with the smallest SHA-256 of their ids."""
    return list(map(RatedTerms.of, sorted(rated, key=_hash_of_id)[:CALIBRATION_SAMPLE]))


def _hash_of_id(feedback: Feedback) -> bytes:
    return sha256(feedback.id.encode()).digest()


@frozen
class SentimentModel:
    """Reads comments by the ratings of earlier ones. Equal counts and samples give an equal model.

    Attributes:
        counts: what it learned from.
        slope: of the calibration, a logistic regression of ratings on scores.
        intercept: of the calibration.
        uses_words: whether words count; if not, only what the sentiment analyser said.
    """

    counts: TermCounts
    slope: float
    intercept: float
    uses_words: bool

    @classmethod
    def fit(cls, counts: TermCounts, sample: Sequence[RatedTerms]) -> SentimentModel:
        """Calibrate on a sample of the comments that were counted, each scored as if it had not been.

        Words are used where they clearly predict the sample better than the analyser does, by mean log loss.
        """
        scores = [_score(counts, one.terms, left_out=one.is_up) for one in sample]
        ratings = [one.is_up for one in sample]
        slope, intercept = calibrate(scores, ratings)
        gains = [
            log_loss(_analyser_reading(counts, one.terms, left_out=one.is_up), one.is_up)
            - log_loss(logistic(slope * score + intercept), one.is_up)
            for score, one in zip(scores, sample, strict=True)
        ]
        return cls(counts, slope, intercept, uses_words=is_clearly_positive(gains))

    @property
    def size(self) -> int:
        """The number of counts, which most of the memory is for."""
        return len(self.counts.ups) + len(self.counts.downs)

    def reading(self, terms: Collection[str]) -> float:
        """How likely a comment with these terms is a thumbs-up, from 0 to 1."""
        if not self.uses_words:
            return _analyser_reading(self.counts, terms)
        return logistic(self.slope * _score(self.counts, terms) + self.intercept)

    def reading_without(self, terms: Collection[str], *, is_up: bool) -> float:
        """The reading of a comment that was counted, as if it had not been."""
        if not self.uses_words:
            return _analyser_reading(self.counts, terms, left_out=is_up)
        return logistic(self.slope * _score(self.counts, terms, left_out=is_up) + self.intercept)


def _score(counts: TermCounts, terms: Iterable[str], *, left_out: bool | None = None) -> float:
    """Log odds of a thumbs-up by naive Bayes: priors in proportion to all ratings, so that unseen terms say nothing."""
    own_up, own_down = int(left_out is True), int(left_out is False)
    up, down = counts.up - own_up, counts.down - own_down
    share = (up + 1) / (up + down + 2)
    prior = log(share / (1 - share))
    weights: list[float] = []
    for term in terms:
        in_up, in_down = counts.ups.get(term, 0) - own_up, counts.downs.get(term, 0) - own_down
        if in_up or in_down:
            weight = log((in_up + 2 * share) / (in_down + 2 * (1 - share))) - prior
            weights.append(weight * _WEIGHTS.get(term[0], 1.0))
    # The exact sum, which does not depend on the order.
    return prior + fsum(weights)


def _analyser_reading(counts: TermCounts, terms: Iterable[str], *, left_out: bool | None = None) -> float:
    """The share of thumbs-up among comments that sounded the same, shrunk to the analyser's own reading."""
    own_up, own_down = int(left_out is True), int(left_out is False)
    sound = next((term for term in terms if term.startswith("~")), None)
    if sound is None:
        return (counts.up - own_up + 1) / (counts.total - own_up - own_down + 2)
    own = logistic(3 * int(sound[1:]) / 4 - 0.5)
    in_up, in_down = counts.ups.get(sound, 0) - own_up, counts.downs.get(sound, 0) - own_down
    return (in_up + _PSEUDO_COMMENTS * own) / (in_up + in_down + _PSEUDO_COMMENTS)


def calibrate(scores: Sequence[float], ratings: Sequence[bool]) -> tuple[float, float]:
    """Slope and intercept of the most likely logistic regression under normal priors, by damped Newton steps."""
    slope, intercept = _SLOPE, _INTERCEPT
    loss = _penalised_loss(scores, ratings, slope, intercept)
    while True:
        step_slope, step_intercept = _newton_step(scores, ratings, slope, intercept)
        # A step that makes it worse is halved.
        for halvings in range(_HALVINGS):
            nearer = slope - step_slope / 2**halvings, intercept - step_intercept / 2**halvings
            smaller = _penalised_loss(scores, ratings, *nearer)
            if smaller < loss:
                break
        if loss - smaller < _CONVERGED:
            break
        (slope, intercept), loss = nearer, smaller
    return slope, intercept


def _penalised_loss(scores: Sequence[float], ratings: Sequence[bool], slope: float, intercept: float) -> float:
    prior = (slope - _SLOPE) ** 2 / (2 * _SLOPE_VARIANCE) + (intercept - _INTERCEPT) ** 2 / (2 * _INTERCEPT_VARIANCE)
    odds = (slope * score + intercept for score in scores)
    return prior + fsum(_softplus(-one if is_up else one) for one, is_up in zip(odds, ratings, strict=True))


def _newton_step(
    scores: Sequence[float], ratings: Sequence[bool], slope: float, intercept: float
) -> tuple[float, float]:
    likely = [logistic(slope * score + intercept) for score in scores]
    errors = [one - is_up for one, is_up in zip(likely, ratings, strict=True)]
    weights = [one * (1 - one) for one in likely]
    by_slope = (slope - _SLOPE) / _SLOPE_VARIANCE + fsum(e * s for e, s in zip(errors, scores, strict=True))
    by_intercept = (intercept - _INTERCEPT) / _INTERCEPT_VARIANCE + fsum(errors)
    slopes = 1 / _SLOPE_VARIANCE + fsum(w * s * s for w, s in zip(weights, scores, strict=True))
    mixed = fsum(w * s for w, s in zip(weights, scores, strict=True))
    intercepts = 1 / _INTERCEPT_VARIANCE + fsum(weights)
    determinant = slopes * intercepts - mixed * mixed
    return (
        (intercepts * by_slope - mixed * by_intercept) / determinant,
        (slopes * by_intercept - mixed * by_slope) / determinant,
    )


def is_clearly_positive(values: Sequence[float]) -> bool:
    """Whether the mean is above zero by 1.3 standard errors, and by more where there are few values."""
    count = len(values)
    if count < 2:
        return False
    mean = fsum(values) / count
    variance = fsum((value - mean) ** 2 for value in values) / (count - 1)
    return mean > (1.3 + 60 / count) * sqrt(variance / count)


def log_loss(likely: float, is_up: bool) -> float:
    """The natural logarithm of how unlikely the rating was, at most that of one in a billion."""
    return -log(max(likely if is_up else 1 - likely, 1e-9))


def _softplus(value: float) -> float:
    """``log(1 + exp(value))`` without overflow."""
    return max(value, 0.0) + log1p(exp(-abs(value)))


def logistic(value: float) -> float:
    """The likelihood with these log odds."""
    if value >= 0:
        return 1 / (1 + exp(-value))
    small = exp(value)
    return small / (1 + small)

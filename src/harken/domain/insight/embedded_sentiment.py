"""Sentiment learned from embeddings: a ridge regression of ratings on the features of comments.

What is learned from are sums of products of integers, so that adding and subtracting a comment is exact, in any order.
Ridge regression is from A. E. Hoerl and R. W. Kennard (1970), its leave-one-out residuals in closed form from
D. M. Allen (1974).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt
from operator import mul
from typing import Final

from attrs import frozen

from harken.domain.insight.learned_sentiment import calibrate, is_clearly_positive, log_loss, logistic

#: The ridge, in comments: it is added to the squares of each feature as if this many comments had no effect. It is for
#: features as strong as those of sentence encoders; from 300 to 3,000, readings are about as good.
_RIDGE_COMMENTS: Final = 700
_INTERCEPT_RIDGE: Final = 1
#: The standard deviation of scores to which the priors of the calibration belong.
_SPREAD: Final = 4
#: With fewer, it is not used: a handful of similar comments proves nothing.
_MIN_COMMENTS: Final = 50
#: The scale of scores, so that the priors of the calibration suit them.
_SCALE: Final = 10.0

Rows = Sequence[Sequence[float]]


@frozen
class RatedFeatures:
    """The features of one rated comment: integers from -128 to 127, the same number for each comment."""

    features: tuple[int, ...]
    is_up: bool


@frozen
class FeatureSums:
    """Sums over rated comments of the products of any two entries of ``(1, *features, thumb)``, where thumb is 1 or -1.

    Attributes:
        rows: the lower triangle; the last row has the products with the thumb.
    """

    rows: tuple[tuple[int, ...], ...]

    @classmethod
    def empty(cls, size: int) -> FeatureSums:
        """Of no comments, with this number of features."""
        return cls(tuple((0,) * (index + 1) for index in range(size + 2)))

    def add(self, one: RatedFeatures) -> FeatureSums:
        """With one comment more.

        Raises:
            ValueError: it has another number of features.
        """
        return self._with(one, 1)

    def subtract(self, one: RatedFeatures) -> FeatureSums:
        """Without a comment that was added.

        Raises:
            ValueError: it has another number of features.
        """
        return self._with(one, -1)

    def _with(self, one: RatedFeatures, times: int) -> FeatureSums:
        entries = (1, *one.features, 1 if one.is_up else -1)
        if len(entries) != len(self.rows):
            raise ValueError(f"Expected {len(self.rows) - 2} features, got {len(one.features)}")
        rows: list[tuple[int, ...]] = []
        for row, entry in zip(self.rows, entries, strict=True):
            factor = times * entry
            # The row is as long as the entries up to this one.
            rows.append(tuple([total + factor * other for total, other in zip(row, entries, strict=False)]))
        return FeatureSums(tuple(rows))


@frozen
class EmbeddedModel:
    """Reads comments by their features. Equal comments give an equal model, in any order.

    Attributes:
        weights: of the intercept and of each feature.
        slope: of the calibration, a logistic regression of ratings on scores.
        intercept: of the calibration.
        left_out: the reading of each comment that it learned from, as if it had not learned from it.
        is_better: whether these readings clearly predict the ratings of at least 50 comments better than other readings
            do, by mean log loss.
    """

    weights: tuple[float, ...]
    slope: float
    intercept: float
    left_out: tuple[float, ...]
    is_better: bool

    @classmethod
    def fit(cls, sums: FeatureSums, rated: Sequence[RatedFeatures], others: Sequence[float]) -> EmbeddedModel:
        """Learn from rated comments.

        Args:
            sums: of these comments.
            rated: the comments, at least one.
            others: for each of them, another reading that does not know its rating.
        """
        ratings = [one.is_up for one in rated]
        factor = _cholesky(_penalised(sums.rows[:-1], _ridge(sums.rows[:-1])))
        target = _solve_lower(factor, sums.rows[-1][:-1])
        scores = [_score_without(factor, target, one) for one in rated]
        scale = _SPREAD / (_deviation(scores) or _SPREAD)
        slope, intercept = calibrate([scale * score for score in scores], ratings)
        slope *= scale
        left_out = tuple(logistic(slope * score + intercept) for score in scores)
        gains = [
            log_loss(other, is_up) - log_loss(own, is_up)
            for other, own, is_up in zip(others, left_out, ratings, strict=True)
        ]
        is_better = len(rated) >= _MIN_COMMENTS and is_clearly_positive(gains)
        return cls(_solve_upper(factor, target), slope, intercept, left_out, is_better)

    def reading(self, features: Sequence[int]) -> float:
        """How likely a comment with these features is a thumbs-up, from 0 to 1."""
        return logistic(self.slope * _dot(self.weights, (1, *features)) + self.intercept)


def _ridge(rows: Sequence[Sequence[int]]) -> float:
    """In proportion to the mean variance of the features, so that their scale does not matter."""
    count = rows[0][0]
    variance = sum(count * row[-1] - row[0] ** 2 for row in rows[1:]) / (count**2 * (len(rows) - 1))
    return _RIDGE_COMMENTS * variance or 1.0


def _penalised(rows: Sequence[Sequence[int]], ridge: float) -> Rows:
    ridges = (_INTERCEPT_RIDGE, *(ridge for _ in rows[1:]))
    return [[*row[:-1], row[-1] + added] for row, added in zip(rows, ridges, strict=True)]


def _score_without(factor: Rows, target: Sequence[float], one: RatedFeatures) -> float:
    """The score of a comment, by the regression on all others."""
    solved = _solve_lower(factor, (1, *one.features))
    leverage, score = _dot(solved, solved), _dot(solved, target)
    return (score - leverage * (1 if one.is_up else -1)) / (1 - leverage)


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation, which does not depend on the order."""
    mean = fsum(values) / len(values)
    return sqrt(fsum((value - mean) ** 2 for value in values) / len(values))


def _cholesky(rows: Rows) -> Rows:
    """The lower triangular factor of a positive definite matrix, of which the lower triangle is given."""
    factor: list[list[float]] = []
    for row in rows:
        made: list[float] = []
        for above, entry in zip(factor, row, strict=False):
            made.append((entry - _dot(made, above)) / above[-1])
        made.append(sqrt(row[-1] - _dot(made, made)))
        factor.append(made)
    return factor


def _solve_lower(factor: Rows, values: Sequence[float]) -> list[float]:
    solved: list[float] = []
    for row, value in zip(factor, values, strict=True):
        # The row is longer by what is not solved yet.
        solved.append((value - _dot(solved, row)) / row[-1])
    return solved


def _solve_upper(factor: Rows, values: Sequence[float]) -> tuple[float, ...]:
    """Like ``_solve_lower``, for the transposed factor."""
    solved = list(values)
    for index in reversed(range(len(factor))):
        row = factor[index]
        solved[index] /= row[-1]
        solved[:index] = [value - solved[index] * entry for value, entry in zip(solved, row[:-1], strict=False)]
    return tuple(solved)


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    """The sum of products, up to the end of the shorter one."""
    total: float = sum(map(mul, one, other))
    return total

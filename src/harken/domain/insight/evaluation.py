"""How good readings are, against ratings: accuracy, ranking and calibration."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import fsum

from attrs import frozen

_BINS = 10


@frozen
class Evaluation:
    """The quality of readings, which are likelihoods of a thumbs-up from 0 to 1.

    Attributes:
        comments: how many readings were compared with ratings.
        accuracy: the share of readings on the right side of one half.
        balanced_accuracy: the mean accuracy of thumbs-up and of thumbs-down, where a reading is a thumbs-up if it is at
            least the share of thumbs-up; one half is chance.
        auc: how often a thumbs-up reads higher than a thumbs-down, ties counting half; the area under the receiver
            operating characteristic.
        brier: the mean squared difference; 0 is perfect.
        calibration_error: the mean difference of readings and ratings in ten bins of readings; ECE; 0 is perfect.
    """

    comments: int
    accuracy: float
    balanced_accuracy: float
    auc: float
    brier: float
    calibration_error: float


def evaluate(readings: Sequence[float], ratings: Sequence[bool]) -> Evaluation | None:
    """Compare readings with ratings; ``None`` if there are not both thumbs-up and thumbs-down."""
    ups = sorted(reading for reading, is_up in zip(readings, ratings, strict=True) if is_up)
    downs = sorted(reading for reading, is_up in zip(readings, ratings, strict=True) if not is_up)
    if not (ups and downs):
        return None
    count = len(ratings)
    base = len(ups) / count
    right = len(ups) - bisect_left(ups, 0.5) + bisect_left(downs, 0.5)
    sensitivity = 1 - bisect_left(ups, base) / len(ups)
    specificity = bisect_left(downs, base) / len(downs)
    higher = sum(bisect_left(downs, one) + bisect_right(downs, one) for one in ups) / 2
    return Evaluation(
        comments=count,
        accuracy=right / count,
        balanced_accuracy=(sensitivity + specificity) / 2,
        auc=higher / (len(ups) * len(downs)),
        brier=fsum((reading - is_up) ** 2 for reading, is_up in zip(readings, ratings, strict=True)) / count,
        calibration_error=_calibration_error(readings, ratings),
    )


def evaluate_polarities(polarities: Sequence[float], ratings: Sequence[bool]) -> Evaluation | None:
    """Compare polarities from -1 to 1, as readings from 0 to 1, with ratings.

    A polarity of 0 is on the side of one half that is right more often.
    """
    nudged = ([min(1.0, max(0.0, (1 + one + nudge) / 2)) for one in polarities] for nudge in (1e-6, -1e-6))
    found = [one for readings in nudged if (one := evaluate(readings, ratings))]
    return max(found, key=lambda one: one.accuracy, default=None)


def _calibration_error(readings: Sequence[float], ratings: Sequence[bool]) -> float:
    differences = [0.0] * _BINS
    for reading, is_up in zip(readings, ratings, strict=True):
        differences[min(_BINS - 1, int(reading * _BINS))] += reading - is_up
    return fsum(map(abs, differences)) / len(ratings)

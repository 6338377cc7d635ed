"""Sentiment on halves of real feedback: learned, and by the analyser alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from tests.measurements.table import Row

from harken import Feedback, Rating
from harken.domain.insight.evaluation import Evaluation, evaluate, evaluate_polarities
from harken.domain.insight.learned_sentiment import SentimentModel, calibration_sample
from harken.domain.insight.terms import TermCounts, terms

_FEW = (20, 50, 100, 200)
_QUANTITIES: dict[str, Callable[[Evaluation], float]] = {
    "accuracy": lambda one: one.accuracy,
    "balanced accuracy": lambda one: one.balanced_accuracy,
    "AUC": lambda one: one.auc,
    "Brier": lambda one: one.brier,
    "ECE": lambda one: one.calibration_error,
}


def rows(name: str, rated: Sequence[Feedback], bounds: dict[str, str], seeds: Sequence[int]) -> Iterator[Row]:
    """Learned from one half and judged on the other, for each seed; then learned from few."""
    split = halves(rated, seeds)
    learned = [by_words(known, unknown) for known, unknown in split]
    alone = [_by_analyser(unknown) for _, unknown in split]
    for quantity, of in _QUANTITIES.items():
        yield Row(f"{name}: {quantity}", [of(one) for one in learned], bounds.get(quantity, ""))
        yield Row(f"{name}: {quantity}, VADER alone", [of(one) for one in alone])
    for few in _FEW:
        accuracies = [by_words(known[:few], unknown).accuracy for known, unknown in split]
        yield Row(f"{name}: accuracy, {few} labels", accuracies, bounds.get(str(few), ""))
        gains = [learned - plain.accuracy for learned, plain in zip(accuracies, alone, strict=True)]
        yield Row(f"{name}: accuracy above VADER, {few} labels", gains, ">= -.01")
        yield Row(f"{name}: accuracy above VADER, {few} labels, worst seed", [min(gains)])


def halves(rated: Sequence[Feedback], seeds: Sequence[int]) -> list[tuple[list[Feedback], list[Feedback]]]:
    """Two random halves for each seed."""
    shuffled = [Random(seed).sample(rated, len(rated)) for seed in seeds]
    return [(one[: len(one) // 2], one[len(one) // 2 :]) for one in shuffled]


def by_words(known: Sequence[Feedback], unknown: Sequence[Feedback]) -> Evaluation:
    """The quality of readings of one part that are learned from another."""
    model = SentimentModel.fit(TermCounts.fold(known), calibration_sample(known))
    return evaluation_of([model.reading(terms(one.comment, one.sentiment)) for one in unknown], unknown)


def _by_analyser(unknown: Sequence[Feedback]) -> Evaluation:
    polarities = [one.sentiment.polarity if one.sentiment else 0.0 for one in unknown]
    evaluation = evaluate_polarities(polarities, [one.rating is Rating.UP for one in unknown])
    assert evaluation is not None
    return evaluation


def evaluation_of(readings: Sequence[float], rated: Sequence[Feedback]) -> Evaluation:
    """The quality of readings of feedback with both ratings."""
    evaluation = evaluate(readings, [one.rating is Rating.UP for one in rated])
    assert evaluation is not None
    return evaluation

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
    halves = [_halves(rated, seed) for seed in seeds]
    learned = [_learned(known, unknown) for known, unknown in halves]
    alone = [_by_analyser(unknown) for _, unknown in halves]
    for quantity, of in _QUANTITIES.items():
        yield Row(f"{name}: {quantity}", [of(one) for one in learned], bounds.get(quantity, ""))
        yield Row(f"{name}: {quantity}, VADER alone", [of(one) for one in alone])
    for few in _FEW:
        accuracies = [_learned(known[:few], unknown).accuracy for known, unknown in halves]
        yield Row(f"{name}: accuracy, {few} labels", accuracies, bounds.get(str(few), ""))
        gains = [learned - plain.accuracy for learned, plain in zip(accuracies, alone, strict=True)]
        yield Row(f"{name}: accuracy above VADER, {few} labels", gains, ">= -.01")


def _halves(rated: Sequence[Feedback], seed: int) -> tuple[list[Feedback], list[Feedback]]:
    shuffled = Random(seed).sample(rated, len(rated))
    return shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]


def _learned(known: Sequence[Feedback], unknown: Sequence[Feedback]) -> Evaluation:
    model = SentimentModel.fit(TermCounts.fold(known), calibration_sample(known))
    return _evaluation([model.reading(terms(one.comment, one.sentiment)) for one in unknown], unknown)


def _by_analyser(unknown: Sequence[Feedback]) -> Evaluation:
    polarities = [one.sentiment.polarity if one.sentiment else 0.0 for one in unknown]
    evaluation = evaluate_polarities(polarities, [one.rating is Rating.UP for one in unknown])
    assert evaluation is not None
    return evaluation


def _evaluation(readings: Sequence[float], rated: Sequence[Feedback]) -> Evaluation:
    evaluation = evaluate(readings, [one.rating is Rating.UP for one in rated])
    assert evaluation is not None
    return evaluation

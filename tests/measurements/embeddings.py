"""Sentiment by embeddings on halves of real feedback, against words, with few labels and with many; and its cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from time import process_time

from tests.measurements.sentiment import by_words, evaluation_of, halves
from tests.measurements.table import Row

from harken import Evaluation, Feedback, Rating
from harken.domain.insight.embedded_sentiment import EmbeddedModel, FeatureSums, RatedFeatures
from harken_adapters.text.embeddings import E5FeatureExtractor

_LABELS = (50, 200, 1_000)
#: Computing features takes minutes for as many comments.
_MAX_COMMENTS = 2_000

Features = dict[str, tuple[int, ...]]


def rows(name: str, rated: Sequence[Feedback], seeds: Sequence[int]) -> Iterator[Row]:
    """Learned from a part of one half and judged on the other, for each seed; and milliseconds for each text."""
    rated = Random(0).sample(rated, min(len(rated), _MAX_COMMENTS))
    extract, features = E5FeatureExtractor().features, Features()
    extract("load the weights")
    durations: list[float] = []
    for one in rated:
        start = process_time()
        features[one.comment] = tuple(extract(one.comment))
        durations.append((process_time() - start) * 1_000)
    yield Row(f"{name}: milliseconds of processor time for the features of a comment", durations)
    for labels in _LABELS:
        split = [(known[:labels], unknown) for known, unknown in halves(rated, seeds)]
        embedded = [_by_embeddings(known, unknown, features) for known, unknown in split]
        words = [by_words(known, unknown) for known, unknown in split]
        for quantity, of in (("accuracy", _accuracy), ("AUC", _auc), ("Brier", _brier)):
            yield Row(f"{name}: {quantity}, {labels} labels, embeddings", [of(one) for one in embedded])
            yield Row(f"{name}: {quantity}, {labels} labels, words", [of(one) for one in words])


def _by_embeddings(known: Sequence[Feedback], unknown: Sequence[Feedback], features: Features) -> Evaluation:
    learned = [RatedFeatures(features[one.comment], one.rating is Rating.UP) for one in known]
    sums = FeatureSums.empty(len(learned[0].features))
    for one in learned:
        sums = sums.add(one)
    model = EmbeddedModel.fit(sums, learned, [0.5] * len(learned))
    return evaluation_of([model.reading(features[one.comment]) for one in unknown], unknown)


def _accuracy(evaluation: Evaluation) -> float:
    return evaluation.accuracy


def _auc(evaluation: Evaluation) -> float:
    return evaluation.auc


def _brier(evaluation: Evaluation) -> float:
    return evaluation.brier

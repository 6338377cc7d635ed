"""Readings of comments and their evaluation as JSON values, for all hosts. Likelihoods have three decimals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harken import (
    AverageReading,
    EmbeddingsEvaluation,
    Evaluation,
    Feedback,
    Reading,
    SentimentEvaluation,
    SentimentSurvey,
    SpamEvaluation,
    SpamReading,
)

Record = dict[str, Any]


def readings_record(readings: Mapping[str, Reading]) -> Record:
    """Readings of comments by feedback id: how likely each is a thumbs-up, from 0 to 1."""
    return {feedback_id: reading_record(reading) for feedback_id, reading in readings.items()}


def reading_record(reading: Reading) -> Record:
    """One reading."""
    return {
        "likelihood": round(reading.likelihood, 3),
        "contradicts": reading.contradicts,
        "by": reading.by,
        "version": reading.version,
    }


def spam_record(readings: Mapping[str, SpamReading]) -> Record:
    """Readings of pending comments by feedback id: how likely moderators reject each, from 0 to 1."""
    return {
        feedback_id: {
            "likelihood": round(reading.likelihood, 3),
            "reason": reading.reason,
            "version": reading.version,
        }
        for feedback_id, reading in readings.items()
    }


def survey_record(survey: SentimentSurvey, feedback_record: Callable[[Feedback], Record]) -> Record:
    """The average readings, and contradictions with their readings; ``feedback_record`` returns that of one."""
    return {
        "average": _average_record(survey.average),
        "by_rating": {rating.word: _average_record(average) for rating, average in survey.by_rating.items()},
        "contradicting": survey.contradicting,
        "contradictions": [feedback_record(feedback) for feedback, _ in survey.contradictions],
        "readings": readings_record({feedback.id: reading for feedback, reading in survey.contradictions}),
    }


def sentiment_evaluation_record(evaluation: SentimentEvaluation) -> Record:
    """How good readings are, and those of the analyser alone; ``None`` where there is nothing to compare with.

    Embeddings are present if they are switched on.
    """
    record = {
        "up": evaluation.up,
        "down": evaluation.down,
        "by": evaluation.by,
        "learned": _evaluation_record(evaluation.learned),
        "analyser": _evaluation_record(evaluation.analyser),
    }
    if evaluation.embeddings:
        record["embeddings"] = _embeddings_record(evaluation.embeddings)
    return record


def spam_evaluation_record(evaluation: SpamEvaluation) -> Record:
    """How good the likelihoods of a rejection are; ``None`` where there is nothing to compare with."""
    return {
        "approved": evaluation.approved,
        "rejected": evaluation.rejected,
        "is_on": evaluation.is_on,
        "likelihoods": _evaluation_record(evaluation.likelihoods),
    }


def _average_record(average: AverageReading) -> Record:
    likelihood = None if average.likelihood is None else round(average.likelihood, 3)
    return {"likelihood": likelihood, "comments": average.comments}


def _embeddings_record(evaluation: EmbeddingsEvaluation) -> Record:
    return {
        "are_used": evaluation.are_used,
        "otherwise": _evaluation_record(evaluation.otherwise),
        "embeddings": _evaluation_record(evaluation.embeddings),
    }


def _evaluation_record(evaluation: Evaluation | None) -> Record | None:
    if evaluation is None:
        return None
    return {
        "comments": evaluation.comments,
        "accuracy": round(evaluation.accuracy, 3),
        "balanced_accuracy": round(evaluation.balanced_accuracy, 3),
        "auc": round(evaluation.auc, 3),
        "brier": round(evaluation.brier, 3),
        "calibration_error": round(evaluation.calibration_error, 3),
    }

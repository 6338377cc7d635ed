"""How readings and their evaluation are printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from harken import Evaluation, Reading, SpamReading
from harken_adapters.hosts.cli.output import table

_STATISTICS: Final[Mapping[str, tuple[Callable[[Evaluation], float], str]]] = {
    "accuracy": (lambda one: one.accuracy, "share on the right side of one half"),
    "balanced accuracy": (lambda one: one.balanced_accuracy, "mean over both kinds; .500 is chance"),
    "AUC": (lambda one: one.auc, "pairs in the right order; .500 is chance"),
    "Brier": (lambda one: one.brier, "mean squared error; .000 is perfect"),
    "ECE": (lambda one: one.calibration_error, "by how much likelihoods are off"),
}


def evaluation_table(columns: Mapping[str, Evaluation]) -> None:
    """Print one statistic per line, with the value of each column and what it means; 80 characters wide."""
    table(
        ("", *columns, "meaning"),
        [
            (name, *(_decimals(value(evaluation)) for evaluation in columns.values()), meaning)
            for name, (value, meaning) in _STATISTICS.items()
        ],
    )


def reading_note(reading: Reading) -> str:
    """A reading, to be printed with the entry."""
    return f"thumbs-up {reading.likelihood:.0%} likely{', contradicts the rating' if reading.contradicts else ''}"


def spam_note(reading: SpamReading) -> str:
    """A reading of a pending comment, to be printed with the entry."""
    return f"rejection {reading.likelihood:.0%} likely{f': {reading.reason}' if reading.reason else ''}"


def _decimals(value: float) -> str:
    """Three decimals, without a zero before them."""
    return f"{value:.3f}".removeprefix("0")

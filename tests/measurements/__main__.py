"""``make measure DATA=folder``: how good the statistics are on real feedback, and in simulations with a known truth.

Prints the mean, the standard deviation, the minimum and the maximum over five fixed seeds of each quantity. If the mean
has a bound, it is printed with "met" or "missed". The exit code is 1 if a bound is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.measurements import data, embeddings, sentiment, simulations, themes
from tests.measurements.table import HEADER, Row

from harken import Feedback, Rating

SEEDS = (1, 2, 3, 4, 5)
AIRLINE = {"accuracy": ">= .925", "balanced accuracy": ">= .895", "AUC": ">= .96", "ECE": "<= .03", "200": ">= .90"}
REVIEWS = {"accuracy": ">= .85", "AUC": ">= .93", "ECE": "<= .04"}


def _sentiment(folder: Path) -> Iterator[Row]:
    for name, feedback, bounds in (
        ("airline", data.airline(folder)[0], AIRLINE),
        ("reviews", data.reviews(folder), REVIEWS),
    ):
        yield from sentiment.rows(name, _rated(feedback), bounds, SEEDS)


def _embeddings(folder: Path) -> Iterator[Row]:
    for name, feedback in (("reviews", data.reviews(folder)), ("airline", data.airline(folder)[0])):
        yield from embeddings.rows(name, _rated(feedback), SEEDS)


def _themes(folder: Path) -> Iterator[Row | str]:
    airline, reasons = data.airline(folder)
    yield from themes.rows(airline, reasons, SEEDS)
    yield from themes.labels(airline, reasons)


def _simulations(_: Path) -> Iterator[Row]:
    yield from simulations.rows(SEEDS)


def _rated(feedback: Sequence[Feedback]) -> list[Feedback]:
    return [one for one in feedback if one.rating is not Rating.NEUTRAL]


_PARTS = {"sentiment": _sentiment, "embeddings": _embeddings, "themes": _themes, "simulations": _simulations}


def main() -> int:
    """Measure what the command line names. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements", description=__doc__)
    parser.add_argument("folder", type=Path, help="has airline-feedback.csv and reviews.jsonl")
    parser.add_argument("--only", choices=tuple(_PARTS))
    options = parser.parse_args()
    print(HEADER)
    missed = 0
    for name, rows in _PARTS.items():
        if options.only in (None, name):
            for row in rows(options.folder):
                print(row, flush=True)
                missed += isinstance(row, Row) and row.is_missed
    print(f"{missed} bounds missed" if missed else "All bounds met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

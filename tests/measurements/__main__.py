"""``make measure DATA=folder``: how good the statistics are on real feedback, and in simulations with a known truth.

Prints the mean and the standard deviation over five fixed seeds of each quantity, and the bound that it should keep.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.measurements import data, sentiment, simulations, themes

from harken import Rating

SEEDS = (1, 2, 3, 4, 5)
AIRLINE = {"accuracy": ">= .925", "balanced accuracy": ">= .895", "AUC": ">= .96", "ECE": "<= .03", "200": ">= .90"}
REVIEWS = {"accuracy": ">= .85", "AUC": ">= .93", "ECE": "<= .04"}


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements", description=__doc__)
    parser.add_argument("folder", type=Path, help="has airline-feedback.csv and reviews.jsonl")
    parser.add_argument("--only", choices=("sentiment", "themes", "simulations"))
    options = parser.parse_args()
    if options.only in (None, "sentiment"):
        airline, _ = data.airline(options.folder)
        for name, feedback, bounds in (
            ("airline", airline, AIRLINE),
            ("reviews", data.reviews(options.folder), REVIEWS),
        ):
            rated = [one for one in feedback if one.rating is not Rating.NEUTRAL]
            for row in sentiment.rows(name, rated, bounds, SEEDS):
                print(row, flush=True)
    if options.only in (None, "themes"):
        airline, reasons = data.airline(options.folder)
        for row in themes.rows(airline, reasons, SEEDS):
            print(row, flush=True)
        print(*themes.labels(airline, reasons), sep="\n")
    if options.only in (None, "simulations"):
        for row in simulations.rows(SEEDS):
            print(row, flush=True)


if __name__ == "__main__":
    main()

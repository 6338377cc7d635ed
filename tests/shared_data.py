"""Real feedback, which lies in the folder ``shared`` beside the project, as its licence allows no copy in here."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
AIRLINES = SHARED / "data" / "airline-feedback.csv"
REVIEWS = SHARED / "data" / "reviews.jsonl"

#: Marks a test that reads real feedback. Where it is not there, the test is skipped, but fails where CI is set.
needs_real_feedback = pytest.mark.skipif(
    "CI" not in os.environ and not (AIRLINES.exists() and REVIEWS.exists()),
    reason=f"there is no real feedback in {SHARED / 'data'}",
)

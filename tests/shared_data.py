"""Real feedback in the folder ``shared`` next to the project, as its licence allows no copy in the repository."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
AIRLINES = SHARED / "data" / "airline-feedback.csv"
REVIEWS = SHARED / "data" / "reviews.jsonl"

#: Marks a test that reads real feedback. Without the folder, the test is skipped, but fails if CI is set.
needs_real_feedback = pytest.mark.skipif(
    "CI" not in os.environ and not (AIRLINES.exists() and REVIEWS.exists()),
    reason=f"there is no real feedback in {SHARED / 'data'}",
)

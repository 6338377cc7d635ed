"""Files in the folder ``shared`` next to the project: real feedback, whose licence allows no copy here, and a guide.

Without the folder, tests that need these files are skipped, but fail if CI is set.
"""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
AIRLINES = SHARED / "data" / "airline-feedback.csv"
REVIEWS = SHARED / "data" / "reviews.jsonl"
GUIDE = SHARED / "reference" / "feedback-patterns-guide.md"

#: Marks a test that reads real feedback.
needs_real_feedback = pytest.mark.skipif(
    "CI" not in os.environ and not (AIRLINES.exists() and REVIEWS.exists()),
    reason=f"there is no real feedback in {SHARED / 'data'}",
)


def skip_module_without_guide() -> None:
    """Skip the calling module if the guide is missing. For modules that read it when they are imported."""
    if "CI" not in os.environ and not GUIDE.exists():
        pytest.skip(f"there is no {GUIDE}", allow_module_level=True)

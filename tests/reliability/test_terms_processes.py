"""Processes that count, change, erase and rebuild terms at once, and are killed."""

from pathlib import Path

import pytest
from tests.reliability.terms_processes import play

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["sqlite", "mongodb"])
def test_counts_stay_exact(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """A short form of ``python -m tests.reliability.terms_processes``."""
    url = request.getfixturevalue("mongodb_url") if kind == "mongodb" else f"sqlite:///{tmp_path}/feedback.db"
    report = play(url, tmp_path, kills=3)
    assert report.problems == (), str(report)
    assert report.steps > 3 * 20

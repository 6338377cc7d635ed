"""gunicorn workers that are forked from a parent that has used Harken.

``python -m tests.reliability.gunicorn_processes`` kills and replaces workers for a given time.
"""

from pathlib import Path

import pytest
from tests.reliability.gunicorn_processes import play


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "mongodb"])
def test_acknowledged_feedback_is_stored(storage: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Workers are killed and replaced under load: nothing is lost, duplicated or missing in the statistics."""
    url = f"sqlite:///{tmp_path}/feedback.db" if storage == "sqlite" else request.getfixturevalue("mongodb_url")
    report = play(url, tmp_path)
    assert report.ok, report
    assert len(report.replaced) == 2

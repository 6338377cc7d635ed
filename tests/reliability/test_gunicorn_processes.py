"""gunicorn whose workers are forked from a parent that has used Harken.

``python -m tests.reliability.gunicorn_processes`` kills and replaces workers for as long as one likes.
"""

from pathlib import Path

import pytest
from tests.reliability.gunicorn_processes import play


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "mongodb"])
def test_what_was_acknowledged_is_kept(storage: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Workers of a warm parent are killed and replaced under load: nothing is lost, doubled or left out of figures."""
    url = f"sqlite:///{tmp_path}/feedback.db" if storage == "sqlite" else request.getfixturevalue("mongodb_url")
    report = play(url, tmp_path)
    assert report.kept, report
    assert len(report.replaced) == 2

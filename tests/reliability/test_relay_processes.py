"""Relays that are killed while they send: a short form of ``python -m tests.reliability.relay_processes``."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reliability.relay_processes import play, storages

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["sqlite", "mongodb"])
def test_killed_relays_lose_nothing(kind: str, tmp_path: Path) -> None:
    """Two relays are repeatedly killed while they send: everything arrives, and repeated requests have the same id."""
    with storages(kind, tmp_path) as storage:
        report = play(storage, tmp_path, events=1_000, kills=4)
    assert report.ok, str(report)
    assert report.kills == 4
    assert report.requests >= report.events

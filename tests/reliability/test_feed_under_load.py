"""Listeners of ``harken serve`` on SQLite while many clients submit.

``python -m tests.reliability.feed_under_load`` runs 400 clients, and prints the delay of events.
"""

import asyncio
from pathlib import Path

import pytest
from tests.reliability.feed_under_load import play
from tests.reliability.http_processes import PATIENCE, UNLIMITED, serve


@pytest.mark.slow
def test_listeners_receive_all_acknowledged_feedback(tmp_path: Path) -> None:
    """Each acknowledged event reaches each listener, the first ones while clients are still submitting."""
    with serve(f"sqlite:///{tmp_path / 'feedback.db'}", tmp_path, "--open", **UNLIMITED) as service:
        playing = play(service.url, writers=50, listeners=3, until_received=True)
        run = asyncio.run(asyncio.wait_for(playing, 4 * PATIENCE))
    assert run.received_early >= 3
    assert run.missing == 0

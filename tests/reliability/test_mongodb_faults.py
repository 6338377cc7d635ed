"""MongoDB is killed, hangs or loses its majority once while feedback is submitted.

``python -m tests.reliability.mongodb_faults`` repeats this for a given time.
"""

from collections.abc import Iterator

import pytest
from tests.reliability.mongodb_faults import SCENARIOS, Load, account, play

import harken
from harken import Harken, StorageUnavailable, Submission


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_acknowledged_feedback_is_stored_once(name: str) -> None:
    """Nothing acknowledged is lost, no retry is stored twice, and failing calls raise ``StorageUnavailable`` soon."""
    report = play(SCENARIOS[name])
    assert report.ok, str(report)
    assert report.acknowledged == report.submitted


def test_without_faults_every_guarantee_holds() -> None:
    """The report is free of violations, and counts the submissions."""
    with harken.connect("memory://") as hk:
        load = run_load(hk)
        report = account(hk, load)
        assert report.ok, str(report)
        assert report.submitted == hk.summary().total >= 200
        assert "lost 0, duplicated 0" in str(report)


def test_lost_feedback_is_detected() -> None:
    """The report counts acknowledged feedback that is missing."""
    with harken.connect("memory://") as hk:
        load = run_load(hk)
        hk.collection.erase(hk.query(session_id="session-0").in_any_state())
        assert account(hk, load).violations["lost"] >= 1


def test_a_duplicate_is_detected() -> None:
    """The report counts keys that are stored twice."""
    with harken.connect("memory://") as hk:
        load = run_load(hk)
        hk.submit("another session", "up", idempotency_key="0-0")
        assert account(hk, load).violations["duplicated"] == 1


def test_only_storage_unavailable_is_expected() -> None:
    """Other errors are violations. All errors are retried and counted."""
    errors = [RuntimeError("a defect"), StorageUnavailable("away")]

    def failing(submission: Submission) -> Iterator[Submission]:
        if errors:
            raise errors.pop()
        yield submission

    with harken.connect("memory://", middleware=[failing]) as hk:
        load = run_load(hk)
        report = account(hk, load)
    assert report.errors == {"StorageUnavailable": 1, "RuntimeError": 1}
    assert report.unexpected == ("submit raised RuntimeError('a defect')",)
    assert report.acknowledged == report.submitted
    assert not report.ok


def run_load(hk: Harken) -> Load:
    """Run a load until it has submitted enough."""
    with Load([hk]) as load:
        load.wait_for_more()
    return load

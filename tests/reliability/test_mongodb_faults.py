"""MongoDB dies, hangs or loses its majority while feedback is submitted: each time once, and briefly.

``python -m tests.reliability.mongodb_faults`` does the same for as long as one likes.
"""

from collections.abc import Iterator

import pytest
from tests.reliability.mongodb_faults import SCENARIOS, Load, account, play

import harken
from harken import Harken, StorageUnavailable, Submission


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_what_was_acknowledged_is_there_once(name: str) -> None:
    """No acknowledged feedback is lost, no retry is stored twice, and calls fail clearly and soon or not at all."""
    report = play(SCENARIOS[name])
    assert report.kept, str(report)
    assert report.acknowledged == report.submitted


def test_without_faults_every_promise_is_kept() -> None:
    """A storage that does nothing wrong passes, and what was submitted is counted."""
    with harken.connect("memory://") as hk:
        load = under_load(hk)
        report = account(hk, load)
        assert report.kept, str(report)
        assert report.submitted == hk.summary().total >= 200
        assert "lost 0, duplicated 0" in str(report)


def test_a_lost_feedback_is_noticed() -> None:
    """The count sees what was acknowledged and is not there."""
    with harken.connect("memory://") as hk:
        load = under_load(hk)
        hk.collection.erase(hk.query(session_id="session-0").in_any_state())
        assert account(hk, load).broken["lost"] >= 1


def test_a_duplicate_is_noticed() -> None:
    """The count sees a key that is stored twice."""
    with harken.connect("memory://") as hk:
        load = under_load(hk)
        hk.submit("another session", "up", idempotency_key="0-0")
        assert account(hk, load).broken["duplicated"] == 1


def test_only_storage_unavailable_is_expected() -> None:
    """That error is tried again and counted; any other one breaks the promise."""
    errors = [RuntimeError("a defect"), StorageUnavailable("away")]

    def failing(submission: Submission) -> Iterator[Submission]:
        if errors:
            raise errors.pop()
        yield submission

    with harken.connect("memory://", middleware=[failing]) as hk:
        load = under_load(hk)
        report = account(hk, load)
    assert report.errors == {"StorageUnavailable": 1, "RuntimeError": 1}
    assert report.surprises == ("submit raised RuntimeError('a defect')",)
    assert report.acknowledged == report.submitted
    assert not report.kept


def under_load(hk: Harken) -> Load:
    """A load that has come and gone."""
    with Load([hk]) as load:
        load.go_on()
    return load

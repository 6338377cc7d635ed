"""Retention on the command line: the relay erases and says so, and doctor shows the settings and what is overdue."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import harken
from harken.domain.instants import to_microseconds
from harken.ports.state import StateEntry
from support import a_feedback

URL = "sqlite:///feedback.db"
DAY = timedelta(days=1)


@pytest.fixture
def old(cli: Any) -> None:
    """Feedback of two applications, of now and of 100 days ago, and settings that keep that of one for 90 days."""
    now = datetime.now(UTC)
    with harken.connect(URL) as hk:
        for name in ("default", "shop"):
            for age in (0, 100, 100.5):
                one = a_feedback(f"{age}", application=name, created_at=now - age * DAY)
                hk.collection.restore([one])
    Path("harken.toml").write_text('[applications.shop]\nretention = "90 days"\n')


def _look_back(ago: timedelta) -> None:
    """Let the last check be this long ago."""
    with harken.connect(URL) as hk:
        stored = hk.state.get("retention", "last-check")
        version = stored.version + 1 if stored else 1
        at = to_microseconds(datetime.now(UTC) - ago)
        assert hk.state.put("retention", StateEntry("last-check", {"at": at}, version))


@pytest.mark.usefixtures("old")
def test_the_relay_erases_and_says_so(cli: Any) -> None:
    """The first run only checks the clock; a later one erases expired feedback, and logs the numbers."""
    assert "Erased" not in cli("relay", "--once").err
    _look_back(timedelta(minutes=11))
    ran = cli("relay", "--once")
    assert ran.code == 0
    assert "info  Erased 2 entries of application shop, created before " in ran.err
    assert ran.err.rstrip().endswith("feedback is kept for 90d")
    with harken.connect(URL) as hk:
        assert [hk.summary(application=name).total for name in ("default", "shop")] == [3, 1]


@pytest.mark.usefixtures("old")
def test_doctor_shows_the_retention(cli: Any) -> None:
    """It is a problem if no relay erases what should have been erased a day ago."""
    ran = cli("doctor")
    assert ran.code == 1
    assert "retention" in ran.out
    assert "forever, 90d for shop" in ran.out
    report = cli("doctor", "--json").json
    assert report["retention"] == "forever, 90d for shop"
    (problem,) = report["problems"]
    assert problem.startswith("2 entries of application shop should have been erased, as feedback is kept for 90d; run")
    assert problem.endswith("harken --storage sqlite:///feedback.db relay")
    assert cli("--application", "default", "doctor").code == 0
    _look_back(timedelta(minutes=11))
    cli("relay", "--once")
    assert cli("doctor", "--json").json["problems"] == []


def test_doctor_reports_a_mistake_in_the_settings(cli: Any) -> None:
    """Feedback is not erased by a setting that is not understood."""
    Path("harken.toml").write_text('retention = "12 months"\n')
    (problem,) = cli("doctor", "--json").json["problems"]
    assert "must be a duration in days or hours, such as '400 days' or '36h', or 'forever'; got '12 months'" in problem

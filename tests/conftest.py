"""Common fixtures: Hypothesis profiles, a Harken with its own storage and clock, and a MongoDB server."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import harken
import mongod
from harken import Harken
from support import ManualClock, counting_ids

# A Rich console keeps the COLUMNS of its creation, so tests set them only later, for one command.
os.environ.pop("COLUMNS", None)

settings.register_profile("quick", max_examples=10, deadline=None, derandomize="CI" in os.environ)
settings.register_profile("thorough", max_examples=100, deadline=None, derandomize="CI" in os.environ)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def _same_settings() -> Iterator[None]:
    """Fails a test that leaves settings in the environment to the tests after it."""
    before = _settings_of_environment()
    yield
    assert _settings_of_environment() == before


def _settings_of_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("HARKEN_")}


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stays at noon until it is turned."""
    return ManualClock()


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with an empty memory storage."""
    with harken.connect("memory://", clock=clock, new_id=counting_ids()) as connected:
        yield connected


@pytest.fixture
def in_kathmandu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets the machine's time zone to 5:45 hours ahead of UTC, as half of ``make test`` does."""
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="session")
def mongodb_server() -> Iterator[str]:
    """The URL of the MongoDB server in ``HARKEN_TEST_MONGODB_URL``, or of a started replica set with one member."""
    if named := os.environ.get("HARKEN_TEST_MONGODB_URL"):
        yield named
    else:
        with mongod.replica_set() as started:
            yield started.url


@pytest.fixture
def mongodb_url(mongodb_server: str) -> Iterator[str]:
    """The URL of a new database on this server, which is dropped at the end."""
    with mongod.database(mongodb_server) as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty storage of each kind that Harken ships."""
    if request.param == "mongodb":
        return str(request.getfixturevalue("mongodb_url"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/feedback.db"

"""What all tests share: the Hypothesis profiles, and a Harken on a storage of its own with a clock to turn."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

import harken
from harken import Harken
from support import ManualClock, counting_ids

settings.register_profile("quick", max_examples=25, deadline=None, derandomize="CI" in os.environ)
settings.register_profile("thorough", max_examples=200, deadline=None, derandomize="CI" in os.environ)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at noon until it is turned."""
    return ManualClock()


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A ready Harken on an empty memory storage."""
    with harken.connect("memory://", clock=clock, new_id=counting_ids()) as connected:
        yield connected

"""The newest changes: exactly these, however they are spread over time, without reading most others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as some

import harken
from harken import Feedback
from harken.services.finding import newest_changes
from support import NOON


class Changes:
    """Feedback that changed at these times, which counts how much of it is read."""

    def __init__(self, times: list[datetime]) -> None:
        with harken.connect("memory://") as hk:
            one = hk.submit("s", "up").feedback
        self.items = [evolve(one, id=f"{number:06}", updated_at=at) for number, at in enumerate(sorted(times))]
        self.read = 0

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        """The changes since a time, oldest first."""
        for one in self.items:
            if one.updated_at >= since:
                self.read += 1
                yield one


@given(
    some.lists(some.floats(-5, 90_000).map(lambda ago: NOON - timedelta(seconds=ago)), max_size=60),
    some.integers(1, 20),
)
def test_they_are_the_newest(times: list[datetime], limit: int) -> None:
    """Also if clocks differ, so that some are later than now."""
    since = NOON - timedelta(days=1)
    stored = Changes(times)
    found = newest_changes(stored, "default", since=since, now=NOON, limit=limit)  # type: ignore[arg-type]
    assert list(found) == [one for one in stored.items if one.updated_at >= since][-limit:]


@pytest.mark.parametrize("ago", [0, 60, 3_600, 40_000])
@pytest.mark.parametrize("seconds", [600, 3_000])
def test_a_burst_is_not_read_as_a_whole(ago: int, seconds: int) -> None:
    """After 50,000 changes within minutes, at most 20,000 are read to find the newest 1,000."""
    first = NOON - timedelta(seconds=ago + seconds)
    stored = Changes([first + timedelta(seconds=seconds * number / 50_000) for number in range(50_000)])
    found = newest_changes(stored, "default", since=NOON - timedelta(days=1), now=NOON, limit=1_000)  # type: ignore[arg-type]
    assert list(found) == stored.items[-1_000:]
    assert stored.read < 20_000

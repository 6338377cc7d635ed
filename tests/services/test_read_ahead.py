"""Reading ahead: one call for as many subjects as are sent while they are fresh, and nothing stale is sent."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harken.domain.events import Event, EventType
from harken.services.feedback.erasing import FRESH
from harken.services.notifications import read_ahead
from harken.services.notifications.read_ahead import ReadAhead, Subjects
from support import a_feedback

EVENTS = [Event.about(a_feedback(f"f{number}"), EventType.CREATED) for number in range(60)]


class Reader:
    """Reads for a thread that takes some time to send each, and can be notified of a change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.calls: list[int] = []
        self.changed = object()
        monkeypatch.setattr(read_ahead, "perf_counter", lambda: self.now)
        self.ahead = ReadAhead(EVENTS, self.read, lambda: self.changed)

    def read(self, events: Sequence[Event]) -> Subjects:
        self.calls.append(len(events))
        return {("default", event.subject_id): a_feedback(event.subject_id, comment=str(self.now)) for event in events}

    def send(self, begin: int, end: int, *, seconds: float) -> None:
        """Ask for subjects one after another; each was read a moment ago."""
        for place in range(begin, end):
            found = self.ahead.subject(place)
            assert found is not None
            assert found.id == f"f{place}"
            assert self.now - float(found.comment) < FRESH  # type: ignore[union-attr]
            self.now += seconds


def test_many_are_read_at_once_if_sending_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call measures how long sending takes."""
    reader = Reader(monkeypatch)
    reader.send(0, 60, seconds=0.001)
    assert reader.calls == [1, 25, 25, 9]


def test_each_is_read_separately_if_sending_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent that was read before a slow send."""
    reader = Reader(monkeypatch)
    reader.send(0, 60, seconds=0.2)
    assert reader.calls == [1] * 60


def test_changes_of_this_process_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change takes effect at once, however fresh the subjects are."""
    reader = Reader(monkeypatch)
    reader.send(0, 10, seconds=0.001)
    reader.changed = object()
    reader.send(10, 20, seconds=0.001)
    assert reader.calls == [1, 25, 25]


def test_sending_that_becomes_slow_makes_it_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subjects that have become old meanwhile are not used."""
    reader = Reader(monkeypatch)
    reader.send(0, 5, seconds=0.001)
    reader.send(5, 8, seconds=1.0)
    assert reader.calls == [1, 25, 1, 1]


def test_an_erased_subject_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing for an erased subject."""
    reader = Reader(monkeypatch)
    monkeypatch.setattr(reader.ahead, "_read", lambda _: {})
    assert reader.ahead.subject(0) is None

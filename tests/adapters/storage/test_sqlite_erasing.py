"""Erasing much feedback in SQLite, in parts, so that others can write and memory stays bounded."""

import sqlite3
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harken import FeedbackQuery
from harken.configuration.storage_urls import open_storage
from harken.domain.erasure import Erased
from harken.domain.errors import StorageError
from harken.domain.events import DeliveryQuery, DeliveryState, EventType
from harken.ports.storage import Storage
from harken.testing import NOON, a_series, accepted

LATER = NOON + timedelta(minutes=1)
EVERYTHING = FeedbackQuery().in_any_state()


def add_delivered(storage: Storage, size: int) -> None:
    """Store ``size`` feedback entries of which a channel was notified."""
    storage.feedback.add(accepted(*a_series(size)))
    while events := storage.outbox.events(limit=500):
        storage.outbox.fan_out([(event, ["log"]) for event in events], due_at=NOON)
    while claimed := storage.outbox.claim("log", now=NOON, until=LATER, limit=500):
        storage.outbox.settle(claimed)


class Beginnings:
    """Runs a hook before each write transaction."""

    def __init__(self) -> None:
        self.before: Callable[[], object] = lambda: None


@pytest.fixture
def beginnings(monkeypatch: pytest.MonkeyPatch) -> Beginnings:
    """The hooks of connections that are opened from now on."""
    found, connect = Beginnings(), sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                found.before()
            return super().execute(sql, *parameters)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, **kwargs, factory=Connection))
    return found


def test_other_processes_can_write_during_a_large_erasure(tmp_path: Path, beginnings: Beginnings) -> None:
    """An erasure releases the file at least every 500 entries, and each part is atomic."""
    url, left = f"sqlite:///{tmp_path}/feedback.db?busy_timeout=0.1", list[int]()
    with open_storage(url) as storage, open_storage(url) as other:
        add_delivered(storage, 1_200)

        def write() -> None:
            beginnings.before = lambda: None
            other.sessions.update("default", "session", {"writes": len(left)})
            known = [len(other.outbox.deliveries(DeliveryQuery(state), limit=2_000)) for state in DeliveryState]
            left.append(len(list(other.feedback.stream(EVERYTHING))))
            assert known == [1_200 - left[-1], left[-1], 0]
            beginnings.before = write

        beginnings.before = write
        removed = storage.feedback.erase(EVERYTHING, at=NOON)
        beginnings.before = lambda: None
        assert removed == Erased(feedback=1_200, deliveries=1_200)
    assert left[0] == 1_200
    assert max(before - after for before, after in zip(left, [*left[1:], 0], strict=True)) <= 500


def test_an_interrupted_erasure_can_be_repeated(tmp_path: Path, beginnings: Beginnings) -> None:
    """Erased feedback is gone completely, the rest is unchanged, and the next call erases it."""
    with open_storage(f"sqlite:///{tmp_path}/feedback.db") as storage:
        add_delivered(storage, 1_200)
        transactions = iter(range(2))

        def fail() -> None:
            if next(transactions, None) is None:
                raise sqlite3.OperationalError("disk I/O error")

        beginnings.before = fail
        with pytest.raises(StorageError):
            storage.feedback.erase(EVERYTHING, at=NOON)
        beginnings.before = lambda: None
        left = {one.id for one in storage.feedback.stream(EVERYTHING)}
        assert 0 < len(left) < 1_200
        settled = storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=2_000)
        assert {one.event.subject_id for one in settled} == left
        assert storage.feedback.erase(EVERYTHING, at=NOON) == Erased(feedback=len(left), deliveries=len(left))
        notices = storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=2_000)
        assert {one.event.type for one in notices} == {EventType.ERASED}
        assert len({one.event.subject_id for one in notices}) == len(notices) == 1_200


@pytest.mark.slow
def test_memory_does_not_grow_with_the_erased_feedback(tmp_path: Path) -> None:
    """Erasing three times as much needs about the same memory."""

    def peak(size: int) -> int:
        with open_storage(f"sqlite:///{tmp_path}/{size}.db") as storage:
            add_delivered(storage, size)
            tracemalloc.start()
            try:
                storage.feedback.erase(EVERYTHING, at=NOON)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert peak(3_000) < 2 * peak(1_000)

"""If any statement of a write fails, either the whole write is stored or nothing of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from harken.domain.errors import StorageError
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.query import FeedbackQuery, GroupBy
from harken.ports.storage import Storage
from harken.testing import NOON, a_feedback, accepted, an_alert
from harken_adapters.storage import sqlite

pytestmark = pytest.mark.slow

LATER = NOON + timedelta(minutes=1)


class Failing:
    """Lets one statement fail after it was armed: before its execution or after it."""

    def __init__(self) -> None:
        self.executed = 0
        self.at: int | None = None
        self.after = False

    def arm(self, at: int | None, *, after: bool = False) -> None:
        """Let the statement with this number fail; ``None`` for none."""
        self.executed, self.at, self.after = 0, at, after

    def execute(self, statement: str, work: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        """Execute a statement or fail. Rollbacks always succeed."""
        if statement == "ROLLBACK":
            return work()
        self.executed += 1
        if self.executed != self.at:
            return work()
        if self.after:
            work()
        raise sqlite3.OperationalError("disk I/O error")


@contextmanager
def failing() -> Iterator[Failing]:
    """Connections opened meanwhile fail when a fault is armed."""
    faults, connect = Failing(), sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return faults.execute(sql, lambda: super(Connection, self).execute(sql, *parameters))

        def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return faults.execute(sql, lambda: super(Connection, self).executemany(sql, *parameters))

    def connect_failing(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, **kwargs, factory=Connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_failing)
        yield faults


def prepare(storage: Storage) -> list[Delivery]:
    """Store something of each kind, with two claimed deliveries and a dead one."""
    storage.feedback.add(accepted(*(a_feedback("s", id=f"f-{number}", author="ann") for number in range(4))))
    events = storage.outbox.events(limit=9)
    storage.outbox.fan_out([(event, ["log"]) for event in events[:3]], due_at=NOON)
    claimed = list(storage.outbox.claim("log", now=NOON, until=LATER, limit=9))
    storage.outbox.bury(claimed[2], error="gone")
    alert = an_alert("alert")
    storage.alerts.add(alert, alert.event())
    storage.sessions.update("default", "s", {"a": 1, "b": 2})
    storage.conversations.put_agent("default", "s", "a", {})
    storage.conversations.append("default", "s", "a", 0, {})
    return claimed


def contents(storage: Storage) -> list[object]:
    """Return everything that can be read from a storage."""
    everything = FeedbackQuery().in_any_state()
    return [
        list(storage.feedback.stream(everything)),
        sorted(storage.feedback.summarize(FeedbackQuery(), GroupBy.parse("slot")).items()),
        sorted(storage.outbox.events(limit=99), key=lambda event: event.id),
        [storage.outbox.deliveries(DeliveryQuery(state), limit=99) for state in DeliveryState],
        storage.alerts.find("default", limit=9),
        list(storage.sessions.stream()),
        [storage.conversations.agents("default", "s"), storage.conversations.count("default", "s")],
    ]


def add_many(storage: Storage, _: list[Delivery]) -> None:
    """Several entries, with their events."""
    storage.feedback.add(accepted(*(a_feedback("t", id=f"new-{number}") for number in range(3))))


def add_together(storage: Storage, _: list[Delivery]) -> None:
    """As many entries as one statement inserts, whose counts are added together."""
    storage.feedback.add(accepted(*(a_feedback("t", id=f"new-{number}") for number in range(250))))


def replace(storage: Storage, _: list[Delivery]) -> None:
    """A change, with its event."""
    changed = storage.feedback.get("default", "f-0").answered("Thanks", at=LATER)
    storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED)])


def resolve(storage: Storage, _: list[Delivery]) -> None:
    """A resolved alert, with its event."""
    alert = an_alert("alert").resolved(at=LATER)
    storage.alerts.replace(alert, alert.event())


def raise_alert(storage: Storage, _: list[Delivery]) -> None:
    """A new alert, with its event."""
    alert = an_alert("other")
    storage.alerts.add(alert, alert.event())


def fan_out(storage: Storage, _: list[Delivery]) -> None:
    """Events that become deliveries."""
    plan = [(event, ["a", "b"]) for event in storage.outbox.events(limit=99)]
    storage.outbox.fan_out(plan, due_at=NOON)


WRITES: dict[str, Callable[[Storage, list[Delivery]], object]] = {
    "add": add_many,
    "add together": add_together,
    "replace": replace,
    "erase": lambda storage, _: storage.feedback.erase(FeedbackQuery(session_id="s").in_any_state(), at=NOON),
    "resolve": resolve,
    "raise": raise_alert,
    "fan out": fan_out,
    "claim": lambda storage, _: storage.outbox.claim("log", now=LATER, until=LATER + timedelta(1), limit=9),
    "settle": lambda storage, claimed: storage.outbox.settle(claimed[:2]),
    "release": lambda storage, claimed: storage.outbox.release(claimed[:2]),
    "replay": lambda storage, claimed: storage.outbox.replay(claimed[2].id, due_at=LATER),
    "update metadata": lambda storage, _: storage.sessions.update("default", "s", {"a": 2, "c": 3}),
    "change metadata": lambda storage, _: storage.sessions.change("default", "s", lambda _: {"b": 2, "c": 3}),
    "delete metadata": lambda storage, _: storage.sessions.delete("default", "s", ["a", "b"]),
    "erase conversation": lambda storage, _: storage.conversations.erase("default", "s"),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_is_atomic(name: str, tmp_path: Path) -> None:
    """A failure of each statement, before or after its execution, leaves no partial write in any table."""
    numbers = count()

    def written(at: int | None, *, after: bool = False) -> tuple[bool, int, list[object], list[object]]:
        with failing() as faults, sqlite.open_storage(f"sqlite:///{tmp_path}/{next(numbers)}.db") as storage:
            claimed = prepare(storage)
            before = contents(storage)
            faults.arm(at, after=after)
            try:
                WRITES[name](storage, claimed)
                raised = False
            except StorageError:
                raised = True
            executed = faults.executed
            faults.arm(None)
            return raised, executed, before, contents(storage)

    raised, statements, before, expected = written(None)
    assert not raised
    assert expected != before
    for number in range(1, statements + 1):
        for after in (False, True):
            raised, _, before, found = written(number, after=after)
            assert found in (before, expected), f"statement {number} of {statements}"
            assert raised or found == expected, f"statement {number} of {statements}"

"""Durability settings on every write path, and the consistency of reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from harken.domain.events import DeliveryQuery, DeliveryState
from harken.domain.query import FeedbackQuery, GroupBy
from harken.domain.summary import Summary
from harken.ports.storage import Storage
from harken.testing import NOON, StorageContract, a_feedback, accepted
from harken_adapters.storage import sqlite

pytestmark = pytest.mark.slow

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "ALTER", "DROP")
#: Writes that may be lost if the machine fails: leases, as the process that holds them fails as well, and new counts of
#: terms with the corrections that they include, which the next reading makes again. Removing counts must be durable.
_MAY_BE_LOST = (
    "UPDATE delivery SET leased_until",
    "INSERT OR REPLACE INTO term_counts",
    "DELETE FROM term_correction",
)


class Observed:
    """Observes the statements of a connection: how durable its writes are, and which settings it has."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        (default,) = connection.execute("PRAGMA synchronous").fetchone()
        assert default == 2, "a new connection writes durably"
        self._durable = True
        self._transaction: list[str] | None = None
        self._settings: set[str] = set()
        self.writes = 0
        self.faults: list[str] = []

    def __call__(self, statement: str) -> None:
        """Called at the beginning of a statement; statements of triggers appear as comments."""
        words = " ".join(statement.split())
        if words.startswith("PRAGMA synchronous ="):
            if self._transaction is not None:
                self.faults.append(f"{words} is ignored inside of a transaction")
            self._durable = words.endswith(("FULL", "EXTRA"))
        elif words.startswith("PRAGMA"):
            self._settings.add(words)
        elif words.startswith("BEGIN"):
            self._transaction = []
        elif words in ("COMMIT", "ROLLBACK"):
            self._check(self._transaction or [] if words == "COMMIT" else [])
            self._transaction = None
        elif words.startswith(_WRITES) and self._transaction is not None:
            self._transaction.append(words)
        elif words.startswith(_WRITES):
            self._check([words])

    def _check(self, statements: list[str]) -> None:
        if not statements:
            return
        self.writes += 1
        if not self._durable and not all(one.startswith(_MAY_BE_LOST) for one in statements):
            self.faults.append(f"{statements[0][:80]} is not durable")
        makes_the_file = any(one.startswith("CREATE TABLE") for one in statements)
        if "PRAGMA secure_delete = ON" not in self._settings and not makes_the_file:
            self.faults.append(f"{statements[0][:80]} leaves what it deletes in the file")


@contextmanager
def observed() -> Iterator[list[Observed]]:
    """Observes every connection opened meanwhile, and checks that all its writes were durable."""
    connections: list[Observed] = []
    connect = sqlite3.connect

    def connect_observed(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        if args[0] == ":memory:":
            # Not a file: what a rebuild compares the schema with.
            return connection
        connections.append(Observed(connection))
        connection.set_trace_callback(connections[-1])
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_observed)
        yield connections
    assert sum(one.writes for one in connections) > 0
    assert [fault for one in connections for fault in one.faults] == []


class TestEveryWritePath(StorageContract):
    """Runs the whole contract on a file whose connections are observed."""

    test_any_sequence_of_operations_gives_what_the_reference_model_gives = None  # type: ignore[assignment]
    test_any_sequence_of_deliveries_gives_what_the_reference_model_gives = None  # type: ignore[assignment]
    test_any_sequence_of_conversations_gives_what_the_reference_model_gives = None  # type: ignore[assignment]

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self._urls = (f"sqlite:///{tmp_path}/{number}.db" for number in count())

    @contextmanager
    def open_storage(self) -> Iterator[Storage]:
        with observed(), sqlite.open_storage(next(self._urls)) as storage:
            yield storage


def test_the_write_after_a_claim_is_durable(tmp_path: Path) -> None:
    """A claim does not wait for the disk; later writes of the same connection do."""
    with observed() as connections, sqlite.open_storage(f"sqlite:///{tmp_path}/f.db") as storage:
        storage.feedback.add(accepted(a_feedback()))
        storage.outbox.fan_out([(event, ["log"]) for event in storage.outbox.events(limit=9)], due_at=NOON)
        claimed = storage.outbox.claim("log", now=NOON, until=NOON + timedelta(minutes=1), limit=9)
        storage.outbox.release(claimed)
        (again,) = storage.outbox.claim("log", now=NOON, until=NOON + timedelta(minutes=1), limit=9)
        storage.outbox.settle([again])
        storage.feedback.add(accepted(a_feedback()))
        assert sum(one.writes for one in connections) >= 7


def test_a_file_is_in_wal_mode_before_the_first_write(tmp_path: Path) -> None:
    """The connection that creates the file sets the journal mode, and every connection has it."""
    path = tmp_path / "f.db"
    with sqlite.open_storage(f"sqlite:///{path}") as storage:
        storage.feedback.add(accepted(a_feedback()))
        assert Path(f"{path}-wal").stat().st_size > 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


# --- consistent reads -------------------------------------------------------------------------------------------------


@contextmanager
def writing_between_reads(path: Path, write: Callable[[Storage], object]) -> Iterator[Storage]:
    """A storage, and another connection that writes and commits before each of its read statements."""
    connect = sqlite3.connect
    writing = False

    def before(statement: str) -> None:
        nonlocal writing
        if not writing and statement.lstrip().startswith(("SELECT", "WITH")):
            writing = True
            write(other)
            writing = False

    def connect_traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(before)
        return connection

    with sqlite.open_storage(f"sqlite:///{path}") as other, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_traced)
        reading = sqlite.open_storage(f"sqlite:///{path}")
        with reading as storage:
            yield storage


@pytest.mark.parametrize(
    "query",
    [
        FeedbackQuery(),
        FeedbackQuery(since=NOON - timedelta(minutes=5), until=NOON + timedelta(hours=2, minutes=5)),
        FeedbackQuery(since=NOON - timedelta(minutes=5), agent_id="a"),
        FeedbackQuery(tag="slow"),
    ],
)
def test_statistics_of_several_statements_are_consistent(tmp_path: Path, query: FeedbackQuery) -> None:
    """A write between two statements of a read is in all parts of the result or in none."""
    places = [NOON - timedelta(minutes=3), NOON + timedelta(hours=1), NOON + timedelta(hours=2, minutes=4)]

    def write(other: Storage) -> None:
        # One entry in each part of the range, together: the partial slots at both ends, and the whole ones.
        other.feedback.add(accepted(*(a_feedback(agent_id="a", tags=("slow",), created_at=at) for at in places)))

    with writing_between_reads(tmp_path / "f.db", write) as storage:
        for by in (None, GroupBy.parse("agent"), GroupBy.parse("slot")):
            groups = storage.feedback.summarize(query, by)
            assert sum(groups.values(), Summary()).total % len(places) == 0
            assert len({one.total for one in groups.values()}) <= 1


def test_lists_of_several_statements_are_consistent(tmp_path: Path) -> None:
    """Deliveries of one event to several channels that are stored meanwhile are all in a list, or none of them."""

    def write(other: Storage) -> None:
        other.feedback.add(accepted(a_feedback()))
        other.outbox.fan_out([(event, ["a", "b", "c"]) for event in other.outbox.events(limit=9)], due_at=NOON)

    with writing_between_reads(tmp_path / "f.db", write) as storage:
        for _ in range(3):
            found = storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=999)
            channels = [sum(one.channel == name for one in found) for name in "abc"]
            assert len(set(channels)) == 1
        assert channels[0] > 0

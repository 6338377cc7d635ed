"""Counts of many entries that are inserted together are those that the trigger gives to single ones."""

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken import Feedback, FeedbackQuery, GroupBy
from harken.configuration.storage_urls import open_storage
from harken.domain.summary import Summary
from harken.ports.repository import Conflict, Stored
from harken.ports.storage import Storage
from harken.testing import a_feedback, a_series, accepted
from harken.testing.strategies import feedback_entries

#: More than one statement inserts, so that some entries are inserted one by one.
MANY = 530


def many(feedback: Sequence[Feedback]) -> list[Feedback]:
    """As many entries, like these in turn, without what must be unique."""
    return [
        evolve(one, id=f"many-{number}", idempotency_key=None, later_keys=(), vote=False)
        for number, one in enumerate(islice(cycle(feedback), MANY))
    ]


def triggered(path: Path) -> int:
    """The number of counted entries according to the file, read without Harken."""
    with closing(sqlite3.connect(path)) as connection:
        (total,) = connection.execute(
            "SELECT sum(positive + negative + neutral) FROM counter WHERE span = 'hour'"
        ).fetchone()
        assert connection.execute("SELECT count(*) FROM uncounted").fetchone() == (0,)
        return int(total)


def check_statistics(storage: Storage, feedback: Sequence[Feedback]) -> None:
    """Check the stored counters against a recount by the storage, and against a fold."""
    assert storage.check() == []
    for application in {one.application for one in feedback}:
        counted = [one for one in feedback if one.application == application and one.is_counted]
        by_agent = storage.feedback.summarize(FeedbackQuery(application=application), GroupBy.parse("agent"))
        assert by_agent == {
            agent: Summary.fold(one for one in counted if one.agent_id == agent)
            for agent in {one.agent_id for one in counted}
        }


@given(st.lists(feedback_entries(), min_size=1, max_size=8))
def test_counts_of_a_batch_are_exact(feedback: list[Feedback]) -> None:
    """For feedback of any content, application, agent, time and state."""
    batch = many(feedback)
    with TemporaryDirectory() as folder, open_storage(f"sqlite:///{folder}/feedback.db") as storage:
        outcomes = storage.feedback.add(accepted(*batch))
        assert outcomes == [Stored(one) for one in batch]
        check_statistics(storage, batch)
        storage.feedback.add(accepted(a_feedback(agent_id="later")))
        assert storage.check() == []


@pytest.mark.parametrize("position", [0, 124, 249, 250, MANY - 1])
def test_an_entry_with_a_conflict_counts_once(tmp_path: Path, position: int) -> None:
    """The others are stored and counted."""
    batch = a_series(MANY)
    other = evolve(batch[position], author="somebody else")
    with open_storage(f"sqlite:///{tmp_path}/feedback.db") as storage:
        storage.feedback.add(accepted(other))
        outcomes = storage.feedback.add(accepted(*batch))
        assert [one for one in outcomes if isinstance(one, Conflict)] == [outcomes[position]]
        check_statistics(storage, [other, *batch[:position], *batch[position + 1 :]])


def test_feedback_of_a_process_of_the_version_before_is_counted(tmp_path: Path) -> None:
    """It has opened the file before the migration, and inserts rows as it always did."""
    path = tmp_path / "feedback.db"
    with open_storage(f"sqlite:///{path}") as storage, closing(sqlite3.connect(path, isolation_level=None)) as before:
        storage.feedback.add(accepted(*a_series(MANY)))
        before.execute("CREATE TEMP TABLE copied AS SELECT * FROM feedback LIMIT 250")
        before.execute("UPDATE copied SET id = 'old-' || id, agent_id = 'old'")
        before.execute("INSERT INTO feedback SELECT * FROM copied WHERE TRUE ON CONFLICT DO NOTHING")
        storage.feedback.add(accepted(*a_series(MANY)))
        assert storage.check() == []
    assert triggered(path) == 2 * MANY + 250


@pytest.mark.slow
def test_batches_of_several_processes_and_single_entries_are_counted(tmp_path: Path) -> None:
    """Processes that write at once do not count for each other."""
    path = tmp_path / "feedback.db"
    program = """
import sys
from harken.configuration.storage_urls import open_storage
from harken.testing import a_feedback, accepted
with open_storage("sqlite:///" + sys.argv[1]) as storage:
    sys.stdin.readline()
    for batch in range(10):
        ids = (f"{batch}-{number}-of-{sys.argv[2]}" for number in range(int(sys.argv[2])))
        storage.feedback.add(accepted(*(a_feedback(id=one) for one in ids)))
"""
    sizes = (530, 250, 3, 1)
    processes = [
        subprocess.Popen([sys.executable, "-c", program, path, str(size)], stdin=subprocess.PIPE, text=True)
        for size in sizes
    ]
    for process in processes:
        process.communicate("go\n", timeout=120)
    assert [process.returncode for process in processes] == [0] * len(sizes)
    with open_storage(f"sqlite:///{path}") as storage:
        assert storage.check() == []
    assert triggered(path) == 10 * sum(sizes)


@pytest.mark.slow
def test_a_process_killed_within_a_batch_leaves_no_part_of_it(tmp_path: Path) -> None:
    """After ``kill -9`` before each statement, the next process finds exact counters, and counts what it adds."""
    program = """
import os, signal, sqlite3, sys

plain, left = sqlite3.connect, None

class Dying(sqlite3.Connection):
    def die(self):
        global left
        if left is not None:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    def execute(self, *arguments):
        self.die()
        return super().execute(*arguments)
    def executemany(self, *arguments):
        self.die()
        return super().executemany(*arguments)

sqlite3.connect = lambda *arguments, **options: plain(*arguments, factory=Dying, **options)
from harken.configuration.storage_urls import open_storage
from harken.testing import a_feedback, accepted
with open_storage("sqlite:///" + sys.argv[1]) as storage:
    batch = accepted(*(a_feedback(id=str(number)) for number in range(250)))
    left = int(sys.argv[2])
    storage.feedback.add(batch)
    left = None
"""
    path, statement, killed = tmp_path / "feedback.db", 0, True
    with open_storage(f"sqlite:///{path}") as storage:
        storage.feedback.add(accepted(a_feedback()))
    while killed:
        statement += 1
        before = triggered(path)
        killed = subprocess.run([sys.executable, "-c", program, path, str(statement)], check=False).returncode == -9
        with open_storage(f"sqlite:///{path}") as storage:
            assert storage.check() == []
            storage.feedback.add(accepted(a_feedback()))
        assert triggered(path) == before + 1 + (0 if killed else 250)
    assert statement > 8

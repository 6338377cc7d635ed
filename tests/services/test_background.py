"""Background jobs: run in order, in limited numbers, without delaying callers."""

import logging
import os
import subprocess
import sys
from threading import Barrier, Event, active_count

import pytest

from harken.services.background import Background
from support import PATIENCE, eventually


def test_in_order() -> None:
    """One thread runs jobs in the order in which they were added."""
    done: list[int] = []
    background = Background("jobs", threads=1)
    assert all(background.soon(lambda number=number: done.append(number)) for number in range(100))
    eventually(lambda: len(done) == 100)
    assert done == list(range(100))
    background.close()


def test_several_at_a_time() -> None:
    """As many jobs as threads run at the same time, so one that hangs does not stop the others."""
    background, meet, done = Background("jobs", threads=3), Barrier(4, timeout=PATIENCE), Event()
    for _ in range(3):
        background.soon(meet.wait)
    meet.wait()
    release = Event()
    background.soon(release.wait)
    background.soon(done.set)
    assert done.wait(PATIENCE)
    release.set()
    background.close()


def test_the_number_of_threads_is_limited() -> None:
    """With any number of jobs, there are no more threads than allowed."""
    background, release, before = Background("jobs", threads=2), Event(), active_count()
    for _ in range(50):
        background.soon(release.wait)
    assert active_count() <= before + 2
    release.set()
    eventually(lambda: background.waiting == 0)
    background.close()


def test_too_many_jobs_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Jobs above the limit are refused at once and counted, without filling the log."""
    background, begun, release = Background("jobs", threads=1, max_waiting=3), Event(), Event()
    done: list[int] = []

    def hang() -> None:
        begun.set()
        release.wait()

    assert background.soon(hang)
    assert begun.wait(PATIENCE)
    taken = [background.soon(lambda number=number: done.append(number)) for number in range(23)]
    assert taken == [True] * 3 + [False] * 20
    assert (background.waiting, background.refused) == (3, 20)
    seen = [record.getMessage().split("; ")[1] for record in caplog.records]
    assert seen == [f"{count} refused so far" for count in (1, 2, 4, 8, 16)]
    release.set()
    eventually(lambda: done == [0, 1, 2])
    background.close()


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_job_that_fails(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged and affects no other job, even if the job tries to exit."""
    background, done = Background("jobs", threads=1), Event()

    def fail() -> None:
        raise error

    background.soon(fail)
    background.soon(done.set)
    assert done.wait(PATIENCE)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "jobs failed")
    background.close()


def test_closing_waits_for_running_jobs() -> None:
    """Running jobs get a moment; waiting ones are dropped and counted."""
    background, begun, release = Background("jobs", threads=1), Event(), Event()
    done: list[str] = []

    def slow() -> None:
        begun.set()
        release.wait()
        done.append("slow")

    background.soon(slow)
    assert begun.wait(PATIENCE)
    background.soon(lambda: done.append("never"))
    release.set()
    background.close(PATIENCE)
    assert done[0] == "slow"
    assert not background.soon(lambda: done.append("late"))
    assert background.close() == 0
    assert "late" not in done


def test_closing_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A job that hangs is left running, and the jobs after it are dropped and logged."""
    background, begun, release = Background("jobs", threads=1), Event(), Event()

    def hang() -> None:
        begun.set()
        release.wait()

    background.soon(hang)
    assert begun.wait(PATIENCE)
    background.soon(hang)
    assert background.close(0.01) == 1
    assert caplog.messages == ["jobs: closed; 1 waiting jobs were dropped"]
    release.set()


def test_closing_may_finish_what_waits(caplog: pytest.LogCaptureFixture) -> None:
    """With ``finish``, waiting jobs run within the time; what is left is dropped and logged."""
    done: list[int] = []
    background = Background("jobs", threads=1)
    for number in range(20):
        background.soon(lambda number=number: done.append(number))
    assert background.close(PATIENCE, finish=True) == 0
    assert done == list(range(20))

    background, begun, release = Background("jobs", threads=1), Event(), Event()

    def hang() -> None:
        begun.set()
        release.wait()

    background.soon(hang)
    assert begun.wait(PATIENCE)
    background.soon(hang)
    assert background.close(0.01, finish=True) == 1
    assert caplog.messages == ["jobs: closed; 1 waiting jobs were dropped"]
    release.set()


def test_closed_by_a_job() -> None:
    """A job may close its background: it does not wait for itself."""
    background, closed = Background("jobs"), Event()

    def close() -> None:
        background.close(PATIENCE)
        closed.set()

    background.soon(close)
    assert closed.wait(PATIENCE / 2)


def test_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, the job is refused without an error."""

    def no_more(_: object) -> None:
        raise RuntimeError("can't start new thread")

    background = Background("jobs")
    with monkeypatch.context() as patched:
        patched.setattr("threading.Thread.start", no_more)
        assert not background.soon(print)
    done = Event()
    assert background.soon(done.set)
    assert done.wait(PATIENCE)
    background.close()


def test_after_a_fork() -> None:
    """In a forked process no job is accepted and closing does not wait, even if the lock was held at the fork."""
    background, release = Background("jobs", threads=1), Event()
    background.soon(release.wait)
    with background._state:
        child = os.fork()
        if child == 0:
            os._exit(int(background.soon(print)) + background.close(PATIENCE))
    assert os.waitpid(child, 0)[1] == 0
    release.set()
    background.close()


HANGING = """
from threading import Event
from harken.services.background import Background

begun = Event()
background = Background("jobs")
background.soon(lambda: begun.set() or Event().wait())
begun.wait()
print("done")
"""


@pytest.mark.slow
def test_a_hanging_job_does_not_block_the_exit() -> None:
    """A job that never ends does not outlive the program."""
    done = subprocess.run([sys.executable, "-c", HANGING], timeout=PATIENCE, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("done\n", "")

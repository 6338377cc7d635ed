"""Locks and hooks in programs that fork."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, RLock, Thread

import pytest
from tests.support import PATIENCE

import harken
import harken_adapters
from harken.services import forks
from harken.services.forks import ForkSafeLock, register_at_fork

#: The modules whose locks need no renewal, or are renewed in another way.
_OTHERWISE = {
    "interruption.py": "a latch: it is only waited for with a time limit",
    "connections.py": "a fork waits for the locks of SQLite",
    "deadlines.py": "the object with the lock is replaced in a child",
    "order_contract.py": "local to one check",
}


def run_in_child(call: Callable[[], object]) -> bool:
    """Whether a forked child can make this call within the time limit, without an error."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    signal.alarm(20)
    status = 1
    try:
        call()
        status = 0
    finally:
        os._exit(status)


class Holder:
    """A thread that holds a lock from its creation until :meth:`release`."""

    def __init__(self, lock: ForkSafeLock) -> None:
        self._lock = lock
        self._held, self._release = Event(), Event()
        self._thread = Thread(target=self._hold)
        self._thread.start()
        self._held.wait()

    def release(self) -> None:
        """Release the lock."""
        self._release.set()
        self._thread.join()

    def _hold(self) -> None:
        with self._lock:
            self._held.set()
            self._release.wait()


def use(lock: ForkSafeLock) -> None:
    """Acquire and release the lock."""
    with lock:
        pass


@pytest.mark.parametrize("create", [Lock, RLock])
def test_a_lock_is_free_in_a_child(create: Callable[[], object]) -> None:
    """A child can use a lock that another thread of the parent holds, which stays locked there."""
    lock = ForkSafeLock(create)
    holder = Holder(lock)
    assert run_in_child(lambda: use(lock))
    assert not lock.current.acquire(blocking=False)
    holder.release()
    use(lock)


def test_a_child_may_be_forked_under_the_lock() -> None:
    """A child that is forked by the thread that holds the lock leaves the ``with`` statement without an error."""
    lock = ForkSafeLock()
    with lock:
        child = os.fork()
    if child == 0:
        os._exit(lock.current.locked())
    assert os.waitpid(child, 0)[1] == 0
    assert not lock.current.locked()


def test_a_fork_waits_for_a_patient_lock() -> None:
    """A fork waits until the thread that holds such a lock has finished its step, so that the child finds it done."""
    lock, done = ForkSafeLock(patience=PATIENCE), []
    begun = Event()

    def step() -> None:
        with lock:
            begun.set()
            done.append(len(list(range(1_000_000))))

    thread = Thread(target=step)
    thread.start()
    begun.wait()
    assert run_in_child(lambda: done.index(1_000_000) or use(lock))
    use(lock)
    thread.join()


def test_a_fork_does_not_wait_for_ever() -> None:
    """If the lock is not released in time, the fork proceeds, and the lock is free in the child."""
    lock = ForkSafeLock(patience=0.01)
    holder = Holder(lock)
    assert run_in_child(lambda: use(lock))
    holder.release()
    use(lock)


def test_hooks_that_are_registered_during_the_wait_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is imported while a fork waits, and registers a hook, is prepared for this fork too."""
    monkeypatch.setattr(forks, "_HOOKS", [])
    lock, begun, ran = ForkSafeLock(patience=PATIENCE), Event(), []

    def step() -> None:
        with lock:
            begun.set()
            sum(range(1_000_000))
            register_at_fork(
                before=lambda: ran.append("before"),
                after_in_parent=lambda: ran.append("parent"),
                after_in_child=lambda: ran.append("child"),
            )

    thread = Thread(target=step)
    thread.start()
    begun.wait()
    assert run_in_child(lambda: [ran.index(one) for one in ("before", "child")])
    assert ran == ["before", "parent"]
    thread.join()


def test_every_lock_is_fork_safe() -> None:
    """No module creates a lock that a child could inherit locked."""
    roots = [Path(package.__path__[0]) for package in (harken, harken_adapters)]
    modules = {path: path.read_text(encoding="utf-8") for root in roots for path in root.rglob("*.py")}
    creating = {path.name for path, text in modules.items() if re.search(r"(?<![\w.])(threading\.)?R?Lock\(\)", text)}
    assert creating == _OTHERWISE.keys()


def test_other_threads_create_locks_during_a_fork() -> None:
    """The fork goes through all locks nevertheless."""
    locks, end = [ForkSafeLock() for _ in range(3_000)], Event()

    def create() -> None:
        while not end.is_set():
            locks.append(ForkSafeLock())
            del locks[6_000:]

    interval = sys.getswitchinterval()
    thread = Thread(target=create)
    thread.start()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            forks._before_fork()
            forks._after_fork()
    finally:
        sys.setswitchinterval(interval)
        end.set()
        thread.join()


@pytest.mark.parametrize("url", ["memory://", "sqlite:///feedback.db"])
def test_a_connected_harken_can_be_closed_in_a_child(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child can leave the ``with`` block of its parent, although threads of the parent hold locks."""
    monkeypatch.chdir(tmp_path)
    with harken.connect(url) as hk:
        hk.start_relay()
        locks = [lock for lock in forks._all_locks() if not lock.patience]
        holders = [Holder(lock) for lock in locks]
        closed = run_in_child(hk.close)
        for holder in holders:
            holder.release()
    assert closed

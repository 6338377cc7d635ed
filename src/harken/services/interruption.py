"""Synchronisation primitives that an asynchronous exception cannot break: Ctrl-C, an alarm, a time limit.

``threading.Event``, ``Condition`` and ``concurrent.futures.Future`` are written in Python. An exception that a signal
handler raises inside them can leave their lock locked, and then all threads that use them wait for ever. These
primitives are built on single operations of the interpreter instead.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from operator import attrgetter
from threading import Condition, Lock
from typing import TypeVar

_T = TypeVar("_T")


class Latch:
    """Wakes one waiting thread, like an ``Event`` that is cleared by waiting. Any thread may open it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Wake the waiting thread, or the next one that waits. Does not block."""
        if self._lock.locked():
            # Another thread may open it at the same time.
            with suppress(RuntimeError):
                self._lock.release()

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until it is open, and close it; whether it was open."""
        return self._lock.acquire(timeout=timeout)


class SafeCondition(Condition):
    """A condition whose lock is acquired in C.

    ``Condition.__enter__`` is a Python function: an exception inside it, after it took the lock, leaves it locked.
    """

    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))


class SafeFuture(Future[_T]):
    """A running future that can be completed even if an exception interrupts a thread that waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = SafeCondition()
        self.set_running_or_notify_cancel()

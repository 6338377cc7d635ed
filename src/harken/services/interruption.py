"""Waiting and waking that an exception from outside cannot break: Ctrl-C, an alarm, a time limit.

``threading.Event``, ``Condition`` and ``concurrent.futures.Future`` are written in Python. An exception that a signal
handler raises inside them can leave their lock locked, and then everyone who uses them waits for ever. What callers
share with other threads is built on single operations of the interpreter instead.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from operator import attrgetter
from threading import Condition, Lock
from typing import TypeVar

_T = TypeVar("_T")


class Latch:
    """Wakes one thread that waits, like an ``Event`` that waiting clears. Any thread may open it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let the thread that waits go on, or the next one that comes. Takes no time."""
        if self._lock.locked():
            # Another thread may open it at this very moment.
            with suppress(RuntimeError):
                self._lock.release()

    def wait(self, timeout: float) -> bool:
        """Wait so many seconds at most until it is open, and close it; whether it was open."""
        return self._lock.acquire(timeout=timeout)


class SafeCondition(Condition):
    """A condition that is entered in C.

    ``Condition.__enter__`` is a Python function: an exception raised in it after it took the lock leaves it locked.
    """

    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))


class SafeFuture(Future[_T]):
    """A running future. An exception that interrupts a thread that waits for it keeps nobody from completing it."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = SafeCondition()
        self.set_running_or_notify_cancel()

"""Locks in programs that fork, and hooks that run at forks.

A fork copies a locked lock, but not the thread that would release it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from threading import Lock, local
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from attrs import frozen


class ForkSafeLock:
    """A lock for ``with`` statements that is free in a forked child, even if a thread of the parent holds it.

    A ``with`` statement acquires and releases it in C, like a ``threading.Lock``: an asynchronous exception cannot
    leave it locked.

    Args:
        create: creates the lock: ``Lock`` or ``RLock``.
        patience: how many seconds a fork waits for another thread to release the lock. This is for long steps that a
            child could not repeat: if a thread of the parent is importing a module, the child cannot import it.
    """

    __slots__ = ("__weakref__", "_create", "current", "patience")

    def __init__(self, create: Callable[[], Any] = Lock, *, patience: float = 0.0) -> None:
        self._create = create
        self.patience = patience
        #: The lock of this process.
        self.current = create()
        _LOCKS.add(ref(self, _LOCKS.discard))

    def renew(self) -> None:
        """Replace the lock. A ``with`` statement that holds the earlier one releases that one."""
        self.current = self._create()

    if TYPE_CHECKING:

        def __enter__(self) -> object: ...

        def __exit__(self, *_: object) -> None: ...

    else:
        __enter__ = property(attrgetter("current.__enter__"))
        __exit__ = property(attrgetter("current.__exit__"))


#: Not a ``WeakSet``, which cannot be iterated over while another thread adds a lock.
_LOCKS: Final[set[ref[ForkSafeLock]]] = set()


def _all_locks() -> list[ForkSafeLock]:
    return [lock for reference in list(_LOCKS) if (lock := reference())]


class _Held(local):
    """The locks that this thread holds for a fork; other threads may be forking at the same time."""

    def __init__(self) -> None:
        self.locks: list[Any] = []


_held: Final = _Held()


@frozen
class _Hooks:
    """Functions to call at a fork."""

    before: Callable[[], object]
    after_in_parent: Callable[[], object]
    after_in_child: Callable[[], object]


_HOOKS: Final[list[_Hooks]] = []


def register_at_fork(
    *, before: Callable[[], object], after_in_parent: Callable[[], object], after_in_child: Callable[[], object]
) -> None:
    """Like ``os.register_at_fork``, but ``before`` runs after the fork has waited for locks.

    It also runs if it is registered during this wait, as when the thread that holds such a lock imports a module.
    """
    _HOOKS.append(_Hooks(before, after_in_parent, after_in_child))


def _before_fork() -> None:
    for lock in [one for one in _all_locks() if one.patience]:
        # Recorded first, so that the lock is released even if a signal interrupts the next line.
        _held.locks.append(lock.current)
        if not lock.current.acquire(timeout=lock.patience):
            _held.locks.pop()
    for hooks in _HOOKS:
        hooks.before()


def _after_fork() -> None:
    for hooks in _HOOKS:
        hooks.after_in_parent()
    while _held.locks:
        with suppress(RuntimeError):  # Not acquired: interrupted by a signal.
            _held.locks.pop().release()


def _after_fork_in_child() -> None:
    for hooks in _HOOKS:
        hooks.after_in_child()
    _held.locks.clear()
    for lock in _all_locks():
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)

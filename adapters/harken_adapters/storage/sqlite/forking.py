"""No process is forked while one of its threads is inside SQLite.

SQLite keeps in memory which locks of a file this process holds, for all of its connections together. A fork copies
that, but not the thread that would give the lock back: the child would find the file locked for ever, also by
connections that it opens itself.
"""

from __future__ import annotations

import os
from threading import Condition, local
from typing import Final


class Gate:
    """Lets calls through, but none while the process forks; and lets no fork through before all have come back."""

    def __init__(self) -> None:
        self._change = Condition()
        self._inside = 0
        self._shut = False
        self._own = local()

    def __enter__(self) -> None:
        depth = getattr(self._own, "depth", 0)
        self._own.depth = depth + 1
        if depth:
            # Whoever waits for this thread must not be waited for.
            return
        with self._change:
            while self._shut:
                self._change.wait()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        self._own.depth -= 1
        if self._own.depth:
            return
        with self._change:
            self._inside -= 1
            if self._shut:
                self._change.notify_all()

    def shut(self) -> None:
        """Wait until nobody is inside, and let nobody in."""
        own = bool(getattr(self._own, "depth", 0))
        with self._change:
            self._shut = True
            self._change.wait_for(lambda: self._inside == own)

    def open(self) -> None:
        """Let everybody in again."""
        with self._change:
            self._shut = False
            self._change.notify_all()

    def begin_anew(self) -> None:
        """Let everybody in, in a process in which there is no other thread any more."""
        # One that is gone may have held the lock just then.
        self._change = Condition()
        self._inside = int(bool(getattr(self._own, "depth", 0)))
        self._shut = False


#: What every call of SQLite goes through.
GATE: Final = Gate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=GATE.shut, after_in_parent=GATE.open, after_in_child=GATE.begin_anew)

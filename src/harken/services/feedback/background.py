"""What can wait, and nobody waits for: done by a few threads, refused where it becomes too much."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from threading import Thread, current_thread
from time import monotonic
from typing import Final

from harken.services.interruption import SafeCondition

logger = logging.getLogger(__name__)

#: For how many seconds a thread waits for something more to do before it ends.
_IDLE: Final = 10.0

Job = Callable[[], object]


class Background:
    """Does jobs in the order in which they came, some at a time.

    Its threads begin when there is something to do, and end when there is nothing for a while. They keep no
    interpreter from ending: what is not done by then is not done at all.
    """

    def __init__(self, name: str, *, threads: int = 2, max_waiting: int = 1_000, idle: float = _IDLE) -> None:
        self._name = name
        self._idle_seconds = idle
        self._max_threads = threads
        self._max_waiting = max_waiting
        self._jobs: deque[Job] = deque()
        # Callers that can be interrupted enter it.
        self._state = SafeCondition()
        self._threads: set[Thread] = set()
        self._idle = 0
        self._refused = 0
        self._closed = False
        self._pid = os.getpid()

    @property
    def waiting(self) -> int:
        """How many jobs nobody has begun yet."""
        return len(self._jobs)

    @property
    def refused(self) -> int:
        """How many jobs were not taken since it was made: too many waited, or it was closed."""
        return self._refused

    def soon(self, job: Job) -> bool:
        """Do this later, and say whether it will be done. Takes no time and raises nothing."""
        if os.getpid() != self._pid:
            # The threads are those of another process, and its lock may be held here for ever.
            return False
        with self._state:
            taken = not self._closed and len(self._jobs) < self._max_waiting and self._has_thread()
            if taken:
                self._jobs.append(job)
                self._state.notify()
            else:
                self._refused += 1
            refused = self._refused
        # Whoever sends too much shall not fill the log as well: the first, the second, the fourth, the eighth time ...
        if not taken and not refused & (refused - 1):
            logger.warning("%s: too much waits already, or it is closed; %d refused so far", self._name, refused)
        return taken

    def close(self, patience: float = 1.0) -> int:
        """Take nothing more, forget what waits and say how much that was; wait so many seconds for what is being done.

        Closing twice is harmless, and so is closing after a fork, and by a job.
        """
        if os.getpid() != self._pid:
            return 0
        with self._state:
            self._closed = True
            dropped = len(self._jobs)
            self._jobs.clear()
            self._state.notify_all()
            threads = self._threads - {current_thread()}
        deadline = monotonic() + patience
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        if dropped:
            logger.warning("%s: closed with %d still to be done, which are dropped", self._name, dropped)
        return dropped

    def _has_thread(self) -> bool:
        """Whether some thread will come to the next job; begins one where none is free."""
        if self._idle > len(self._jobs) or len(self._threads) >= self._max_threads:
            return True
        thread = Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is going down, or the machine has no more threads to give.
            return bool(self._threads)
        self._threads.add(thread)
        return True

    def _work(self) -> None:
        while (job := self._take()) is not None:
            try:
                job()
            except BaseException:
                # Not even what would exit may cost the thread: others wait for it.
                logger.exception("%s failed", self._name)

    def _take(self) -> Job | None:
        """The next job; ``None`` when there is none any more, and the thread shall end."""
        with self._state:
            self._idle += 1
            self._state.wait_for(lambda: self._jobs or self._closed, self._idle_seconds)
            self._idle -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._threads.discard(current_thread())
            return None

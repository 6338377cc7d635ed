"""Jobs that run later in a few threads, and are refused when too many wait."""

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

#: For how many seconds a thread waits for another job before it ends.
_IDLE: Final = 10.0

Job = Callable[[], object]


class Background:
    """Runs jobs in the order in which they were added, a few at a time.

    Threads are started when there are jobs, and end when there were none for a while. They are daemon threads: jobs
    that have not run when the interpreter exits are dropped.
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
        """How many jobs have not started."""
        return len(self._jobs)

    @property
    def refused(self) -> int:
        """How many jobs were refused so far, because too many waited or it was closed."""
        return self._refused

    def soon(self, job: Job) -> bool:
        """Run this later; ``False`` if the job is refused. Does not block and raises nothing."""
        if os.getpid() != self._pid:
            # After a fork: the threads run in the parent, and the lock may be locked here for ever.
            return False
        with self._state:
            taken = not self._closed and len(self._jobs) < self._max_waiting and self._has_thread()
            if taken:
                self._jobs.append(job)
                self._state.notify()
            else:
                self._refused += 1
            refused = self._refused
        # An overload must not fill the log as well: the first, second, fourth, eighth ... refusal is logged.
        if not taken and not refused & (refused - 1):
            logger.warning("%s: too many jobs wait, or it is closed; %d refused so far", self._name, refused)
        return taken

    def close(self, patience: float = 1.0, *, finish: bool = False) -> int:
        """Refuse further jobs, drop those that wait, and wait up to ``patience`` seconds for those that run.

        With ``finish``, jobs that wait are run in this time, and only the rest is dropped.

        May be called twice, after a fork, and by a job. Returns how many jobs were dropped.
        """
        if os.getpid() != self._pid:
            return 0
        with self._state:
            self._closed = True
            dropped = 0 if finish else self._drop()
            self._state.notify_all()
            threads = self._threads - {current_thread()}
        deadline = monotonic() + patience
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        with self._state:
            dropped += self._drop()
        if dropped:
            logger.warning("%s: closed; %d waiting jobs were dropped", self._name, dropped)
        return dropped

    def _drop(self) -> int:
        """Drop the jobs that wait; returns how many."""
        dropped = len(self._jobs)
        self._jobs.clear()
        return dropped

    def _has_thread(self) -> bool:
        """Whether a thread will run the next job; starts one if none is idle."""
        if self._idle > len(self._jobs) or len(self._threads) >= self._max_threads:
            return True
        thread = Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is shutting down, or the machine is out of threads.
            return bool(self._threads)
        self._threads.add(thread)
        return True

    def _work(self) -> None:
        while (job := self._take()) is not None:
            try:
                job()
            except BaseException:
                # Even SystemExit must not end the thread, as other jobs wait for it.
                logger.exception("%s failed", self._name)

    def _take(self) -> Job | None:
        """The next job; ``None`` if the thread should end."""
        with self._state:
            self._idle += 1
            self._state.wait_for(lambda: self._jobs or self._closed, self._idle_seconds)
            self._idle -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._threads.discard(current_thread())
            return None

"""Threads that tenants share fairly: what one of them asks for can take all of its own time, and not that of others."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any, TypeVar

from attrs import frozen

T = TypeVar("T")


@frozen(eq=False)
class _Call:
    """Something to do for a tenant."""

    tenant: str
    call: Callable[[], Any]
    future: Future[Any]

    def run(self) -> None:
        """Do it, unless nobody waits for it any more."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class FairThreads:
    """Runs calls that block, in a few threads, of which no tenant occupies all.

    What cannot begin at once waits, and the tenants take turns; the calls of one begin in their order. A call whose
    future was cancelled while it waited is not run. It is thread-safe.

    No thread keeps the process from ending, however long its call takes.

    Args:
        threads: how many calls run at a time.
        share: how many of them may be one tenant's.
    """

    def __init__(self, threads: int, share: int) -> None:
        self._threads = threads
        self._share = share
        self._workers: list[Thread] = []
        #: What begins now; ``None`` for each thread that is to end.
        self._begun: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = Lock()
        self._busy = 0
        self._closed = False
        self._running: Counter[str] = Counter()
        # Whose turn is next comes first. A tenant is in it for as long as something of it waits.
        self._waiting: OrderedDict[str, deque[_Call]] = OrderedDict()

    def submit(self, tenant: str, call: Callable[..., T], *arguments: object) -> Future[T]:
        """Run it when it is the tenant's turn.

        Raises:
            RuntimeError: it is shut down.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("The threads are shut down")
            self._waiting.setdefault(tenant, deque()).append(_Call(tenant, partial(call, *arguments), future))
            if self._busy < self._threads and (following := self._next()):
                self._busy += 1
                self._begun.put(following)
                if self._busy > len(self._workers):
                    self._start_worker()
        return future

    def of(self, tenant: str) -> Executor:
        """The same as an executor whose calls are all that tenant's."""
        return _Share(self, tenant)

    def shutdown(self, seconds: float | None = None) -> None:
        """Take nothing more, cancel what has not begun, and wait for the rest.

        Args:
            seconds: for how long at most; ``None`` for as long as it takes.
        """
        with self._lock:
            first, self._closed = not self._closed, True
            dropped = [call for calls in self._waiting.values() for call in calls]
            self._waiting.clear()
        for call in dropped:
            call.future.cancel()
        if first:
            for _ in self._workers:
                self._begun.put(None)
        until = None if seconds is None else monotonic() + seconds
        for worker in self._workers:
            worker.join(None if until is None else max(0.0, until - monotonic()))

    @property
    def ended(self) -> bool:
        """Whether it is shut down and no call runs any more."""
        return self._closed and not any(worker.is_alive() for worker in self._workers)

    def _start_worker(self) -> None:
        # Not those of a pool: at its end the interpreter waits for them.
        worker = Thread(target=self._run, name=f"harken-http_{len(self._workers)}", daemon=True)
        self._workers.append(worker)
        worker.start()

    def _run(self) -> None:
        while (call := self._begun.get()) is not None:
            self._work(call)

    def _next(self) -> _Call | None:
        """Take what is to run next, if anything may. Only with the lock."""
        tenant = next((one for one in self._waiting if self._running[one] < self._share), None)
        if tenant is None:
            return None
        waiting = self._waiting[tenant]
        call = waiting.popleft()
        self._waiting.move_to_end(tenant)
        if not waiting:
            del self._waiting[tenant]
        self._running[tenant] += 1
        return call

    def _work(self, call: _Call) -> None:
        following: _Call | None = call
        while following is not None:
            following.run()
            with self._lock:
                self._running[following.tenant] -= 1
                if not self._running[following.tenant]:
                    del self._running[following.tenant]
                following = self._next()
                self._busy -= following is None


class _Share(Executor):
    """One tenant's part of the threads."""

    def __init__(self, threads: FairThreads, tenant: str) -> None:
        self._threads = threads
        self._tenant = tenant

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return self._threads.submit(self._tenant, partial(fn, *args, **kwargs))

"""A thread pool that tenants share fairly, so that slow calls of one tenant do not block the others."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Thread, current_thread
from time import monotonic
from typing import Any, TypeVar

from attrs import frozen

from harken.services.forks import ForkSafeLock

T = TypeVar("T")


@frozen(eq=False)
class _Call:
    """A call on behalf of a tenant."""

    tenant: str
    call: Callable[[], Any]
    future: Future[Any]

    def run(self) -> None:
        """Run the call, unless its future was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class FairThreads:
    """Runs blocking calls in a fixed number of threads, of which no tenant can occupy all.

    Waiting calls are started in turn for each tenant, and in order within a tenant. A call whose future is cancelled
    while it waits is not run. It is thread-safe.

    The threads are daemons, so a call that hangs does not keep the process from exiting.

    Args:
        threads: the maximum number of concurrent calls.
        share: the maximum number of concurrent calls of one tenant.
        name: what the names of the threads begin with.
    """

    def __init__(self, threads: int, share: int, *, name: str = "harken") -> None:
        self._threads = threads
        self._share = share
        self._name = name
        self._workers: list[Thread] = []
        #: The calls to start now; ``None`` for each thread that is to end.
        self._ready: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = ForkSafeLock()
        self._busy = 0
        self._closed = False
        self._running: Counter[str] = Counter()
        # The waiting calls by tenant, in the order of their turns.
        self._waiting: OrderedDict[str, deque[_Call]] = OrderedDict()

    def submit(self, tenant: str, call: Callable[..., T], *arguments: object) -> Future[T]:
        """Schedule a call.

        Raises:
            RuntimeError: the pool is shut down.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("The threads are shut down")
            self._waiting.setdefault(tenant, deque()).append(_Call(tenant, partial(call, *arguments), future))
            if self._busy < self._threads and (following := self._next()):
                self._busy += 1
                self._ready.put(following)
                if self._busy > len(self._workers):
                    self._start_worker()
        return future

    def of(self, tenant: str) -> Executor:
        """An executor for the calls of one tenant."""
        return _Share(self, tenant)

    def shutdown(self, seconds: float | None = None, *, cancel_waiting: bool = True) -> None:
        """Accept no more calls, cancel waiting ones, and wait for running ones.

        Args:
            seconds: the maximum time to wait; ``None`` for no limit.
            cancel_waiting: whether waiting calls are cancelled; otherwise they are run.
        """
        dropped: list[_Call] = []
        with self._lock:
            first, self._closed = not self._closed, True
            if cancel_waiting:
                dropped = [call for calls in self._waiting.values() for call in calls]
                self._waiting.clear()
        for call in dropped:
            call.future.cancel()
        if first:
            for _ in self._workers:
                self._ready.put(None)
        until = None if seconds is None else monotonic() + seconds
        for worker in self._workers:
            if worker is not current_thread():
                worker.join(None if until is None else max(0.0, until - monotonic()))

    @property
    def closed(self) -> bool:
        """Whether the pool is shut down."""
        return self._closed

    @property
    def ended(self) -> bool:
        """Whether the pool is shut down and no call is running."""
        return self._closed and not any(worker.is_alive() for worker in self._workers)

    def _start_worker(self) -> None:
        # Not the threads of an executor, as the interpreter waits for those at exit.
        worker = Thread(target=self._run, name=f"{self._name}_{len(self._workers)}", daemon=True)
        self._workers.append(worker)
        worker.start()

    def _run(self) -> None:
        while (call := self._ready.get()) is not None:
            self._work(call)

    def _next(self) -> _Call | None:
        """Remove and return the next call to run, if there is one. The lock must be held."""
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
    """An executor for one tenant."""

    def __init__(self, threads: FairThreads, tenant: str) -> None:
        self._threads = threads
        self._tenant = tenant

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return self._threads.submit(self._tenant, partial(fn, *args, **kwargs))

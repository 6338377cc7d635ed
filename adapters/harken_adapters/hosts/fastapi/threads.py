"""Threads that tenants share fairly: what one of them asks for can take all of its own time, and not that of others."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
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

    What cannot begin at once waits, and the tenants take turns; the calls of one begin in their order. It is
    thread-safe.

    Args:
        threads: how many calls run at a time.
        share: how many of them may be one tenant's.
    """

    def __init__(self, threads: int, share: int) -> None:
        self._threads = threads
        self._share = share
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="harken-http")
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
                self._pool.submit(self._work, following)
        return future

    def of(self, tenant: str) -> Executor:
        """The same as an executor whose calls are all that tenant's."""
        return _Share(self, tenant)

    def shutdown(self) -> None:
        """Take nothing more, and wait until all is done that was taken."""
        with self._lock:
            self._closed = True
        self._pool.shutdown()

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

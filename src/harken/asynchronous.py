"""Harken for asyncio: the methods of the facade as coroutines, which do not block the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial, wraps
from itertools import islice
from threading import Thread
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, Unpack

from harken.connection import connect
from harken.domain.errors import StorageClosed
from harken.domain.feedback import RatingValue
from harken.domain.query import FeedbackQuery
from harken.facade import Filters, Harken
from harken.services.fair_threads import FairThreads
from harken.services.feed import Listener, Missed, News, Place
from harken.services.feedback.keywords import SubmitKeywords
from harken.services.feedback.receipt import Receipt
from harken.services.forks import ForkSafeLock
from harken.services.interruption import SafeFuture

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: The number of threads for short calls, and for long ones. More would only wait for the storage or for each other.
_THREADS: Final = 8
#: How many of them one application may occupy, so that its slow calls do not block all others.
_SHARE: Final = 6
#: How many items of an iterator one call reads. At most two pages are in memory.
_PAGE: Final = 100


def _short(
    method: Callable[Concatenate[Harken, P], T],
) -> Callable[Concatenate[AsyncHarken, P], Coroutine[Any, Any, T]]:
    """A method that reads or writes a few entries, as a coroutine."""

    @wraps(method)
    async def call(self: AsyncHarken, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call(self._short_calls, method, *args, **kwargs)

    return call


def _long(
    method: Callable[Concatenate[Harken, P], T],
) -> Callable[Concatenate[AsyncHarken, P], Coroutine[Any, Any, T]]:
    """A method that may read all feedback, as a coroutine."""

    @wraps(method)
    async def call(self: AsyncHarken, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call(self._long_calls, method, *args, **kwargs)

    return call


def _iterator(
    method: Callable[Concatenate[Harken, P], Iterator[T]],
) -> Callable[Concatenate[AsyncHarken, P], AsyncGenerator[T, None]]:
    """A method that returns an iterator, as an asynchronous generator."""

    @wraps(method)
    def call(self: AsyncHarken, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        function = partial(getattr(self.sync, method.__name__), *args, **kwargs)
        return self._iterate(function, kwargs.get("application"))

    return call


class AsyncHarken:
    """A :class:`Harken` for asyncio: the same methods as coroutines, with the same arguments, results and errors.

    Calls run in threads of this object and not in the event loop. Statistics and exports have threads of their own, so
    that they do not delay submissions. It can be used in several event loops. Use it in an ``async with`` block, or
    close it.

    A call that is cancelled returns at once. If it has started, it completes in the background, and an error that it
    raises is logged. Otherwise it never starts.

    Args:
        sync: the Harken to call. Its services are used with :meth:`run_sync`. It is closed together with this object.
    """

    def __init__(self, sync: Harken) -> None:
        self.sync = sync
        self._short_calls = FairThreads(_THREADS, _SHARE, name="harken-async")
        self._long_calls = FairThreads(_THREADS, _SHARE, name="harken-async-long")
        self._pid = os.getpid()
        self._lock = ForkSafeLock()
        self._closing: Future[None] | None = None
        sync.on_close(self._end_threads)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for calls in progress, then close the Harken; see :meth:`Harken.close`. Later calls are refused.

        If this is cancelled, closing continues in the background.
        """
        with self._lock:
            if self._closing is None:
                # Cancelling it has no effect.
                self._closing = SafeFuture()
                Thread(target=self._close, args=(self._closing,), name="harken-close").start()
        await _result(self._closing)

    async def submit(
        self, session_id: str, rating: RatingValue | None, comment: str = "", **keywords: Unpack[SubmitKeywords]
    ) -> Receipt:
        """Store feedback about a session, or about a message in it; on return it is durable. See :meth:`Harken.submit`.

        Submissions that are awaited at the same time share writes.
        """
        # A thread takes it through middleware and rules, but does not wait until it is written.
        function = partial(self.sync.submit_soon, session_id, rating, comment, **keywords)
        return await _result(await _result(self._start(self._short_calls, function, keywords.get("application"))))

    vote = _short(Harken.vote)
    votes = _short(Harken.votes)
    withdraw_vote = _short(Harken.withdraw_vote)
    change = _short(Harken.change)
    withdraw = _short(Harken.withdraw)
    get = _short(Harken.get)
    feedback = _short(Harken.feedback)
    export = _iterator(Harken.export)
    to_arrow = _long(Harken.to_arrow)
    to_pandas = _long(Harken.to_pandas)
    to_polars = _long(Harken.to_polars)
    summary = _long(Harken.summary)
    groups = _long(Harken.groups)
    trend = _long(Harken.trend)
    themes = _long(Harken.themes)
    estimate = _long(Harken.estimate)
    compare = _long(Harken.compare)
    compare_to_previous = _long(Harken.compare_to_previous)
    compare_groups = _long(Harken.compare_groups)
    heat_map = _long(Harken.heat_map)
    headline = _long(Harken.headline)
    reasons = _long(Harken.reasons)
    ranking = _long(Harken.ranking)
    facets = _long(Harken.facets)
    changes = _long(Harken.changes)
    check = _long(Harken.check)
    rebuild = _long(Harken.rebuild)
    index_comments = _long(Harken.index_comments)
    start_relay = _long(Harken.start_relay)

    def events(self, after: Place | str | None = None, **filters: Unpack[Filters]) -> AsyncEvents:
        """The events from now on, as an asynchronous iterator that waits for the next one; see :meth:`Harken.events`.

        It begins to listen on the first event, or at the start of an ``async with`` block. Waiting occupies no thread.
        """
        place = Place.parse(after) if isinstance(after, str) else after
        return AsyncEvents(self, self.sync.query(**filters).in_any_state(), place)

    async def run_sync(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread, such as a method of a service: ``await hk.run_sync(hk.sync.alerts.find, ...)``.

        The context variables of the caller are set.
        """
        return await _result(self._start(self._long_calls, partial(function, *args, **kwargs)))

    def iterate_sync(
        self, function: Callable[P, Iterable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[T, None]:
        """Call a function in a thread, and iterate over its result in threads, 100 items at a time.

        Items are read ahead, but not more than 200. The iterator is closed at the end of the loop, even if it ends
        early. Use ``contextlib.aclosing`` to close it right after a ``break``.
        """
        return self._iterate(partial(function, *args, **kwargs))

    async def _call(
        self,
        threads: FairThreads,
        method: Callable[Concatenate[Harken, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        # By name, as a subclass may override it.
        function = partial(getattr(self.sync, method.__name__), *args, **kwargs)
        return await _result(self._start(threads, function, kwargs.get("application")))

    def _start(self, threads: FairThreads, function: Callable[[], T], application: object = None) -> Future[T]:
        """Call a function in one of the threads, on behalf of an application."""
        if os.getpid() != self._pid:
            # The threads are not there, so the call would never start.
            raise StorageClosed("Harken was connected in another process; connect again after forking")
        tenant = self.sync.application if application is None else str(application)
        try:
            return threads.submit(tenant, copy_context().run, _without_stop_iteration, function)
        except RuntimeError:
            if not threads.closed:
                raise
            raise StorageClosed("Harken is closed; connect again") from None

    async def _iterate(
        self, function: Callable[[], Iterable[T]], application: object = None
    ) -> AsyncGenerator[T, None]:
        items = _items(function)
        page = self._start(self._long_calls, partial(_page, items), application)
        try:
            while found := await _result(page):
                page = self._start(self._long_calls, partial(_page, items), application)
                for item in found:
                    yield item
        finally:
            # Not awaited, as a page may take long to read: a cancelled caller returns at once.
            page.cancel()
            page.add_done_callback(lambda _: self._close_items(items, application))

    def _close_items(self, items: Generator[T, None, None], application: object) -> None:
        # If this object is closed, so is the storage that the items come from.
        with suppress(StorageClosed):
            self._start(self._long_calls, items.close, application).add_done_callback(_log_error)

    def _end_threads(self, seconds: float | None = 0.0) -> None:
        """Run the calls that have been made, and let the threads end; wait that long for it, or without a limit."""
        for threads in (self._short_calls, self._long_calls):
            threads.shutdown(seconds, cancel_waiting=False)

    def _close(self, closing: Future[None]) -> None:
        try:
            self._end_threads(None)
            self.sync.close()
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            closing.set_exception(error)
        else:
            closing.set_result(None)


class AsyncEvents:
    """Iterates over the events of one application, like :class:`harken.services.feed.Events`.

    Waiting for an event can be cancelled, for example by a timeout, and repeated. Close it at the end, or use it in an
    ``async with`` block: it takes one of 200 places. It belongs to one event loop.
    """

    def __init__(self, hk: AsyncHarken, wanted: FeedbackQuery, after: Place | None) -> None:
        self._hk = hk
        self._wanted = wanted
        self._after = after
        self._items: deque[News | Missed] = deque()
        # Several tasks may wait for events, one after the other.
        self._turn = asyncio.Lock()
        self._woken = asyncio.Event()
        self._is_closed = False
        # Not cancelled with the caller, so that no place stays taken, and no event is lost.
        self._listening: asyncio.Future[Listener] | None = None
        self._taking: asyncio.Future[list[News | Missed]] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> News | Missed:
        async with self._turn:
            while not self._items and not self._is_closed:
                await self._take(await self._listen())
            if self._is_closed:
                raise StopAsyncIteration
            return self._items.popleft()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the iteration, also if another task waits for the next event."""
        self._is_closed = True
        self._items.clear()
        self._woken.set()
        if self._listening is not None:
            self._listening.add_done_callback(_close_listener)

    async def _listen(self) -> Listener:
        """The listener, which is opened by the first call."""
        if self._listening is None:
            wake = partial(_set_in_loop, asyncio.get_running_loop(), self._woken)
            self._listening = self._start(partial(self._open_listener, wake))
        try:
            return await asyncio.shield(self._listening)
        except Exception:
            self._listening = None
            raise

    def _open_listener(self, wake: Callable[[], None]) -> Listener:
        feed = self._hk.sync.feed
        listener = feed.listen(self._wanted.application, wake, after=self._after, wanted=self._wanted)
        if listener.missed:
            self._items.append(Missed())
        if listener.waiting:
            wake()
        return listener

    async def _take(self, listener: Listener) -> None:
        """Wait for events, and take them."""
        if self._taking is None:
            await self._woken.wait()
            self._woken.clear()
        if self._is_closed:
            return
        try:
            self._taking = self._taking or self._start(partial(_take, listener))
            self._items.extend(await asyncio.shield(self._taking))
        except StorageClosed:
            await self.close()
            return
        except Exception:
            # The next call tries again.
            self._taking = None
            self._woken.set()
            raise
        self._taking = None
        if listener.waiting:
            self._woken.set()

    def _start(self, function: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.wrap_future(self._hk._start(self._hk._short_calls, function, self._wanted.application))  # noqa: SLF001


def _set_in_loop(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event from another thread, unless its loop is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(event.set)


def _take(listener: Listener) -> list[News | Missed]:
    news = listener.take()
    return [Missed(), *news] if listener.missed else [*news]


def _close_listener(listening: asyncio.Future[Listener]) -> None:
    if not listening.cancelled() and not listening.exception():
        listening.result().close()


def _items(function: Callable[[], Iterable[T]]) -> Generator[T, None, None]:
    """The items that the function returns. Nothing is called before the first one is read."""
    yield from function()


def _page(items: Iterator[T]) -> list[T]:
    """The next items; none at the end."""
    return list(islice(items, _PAGE))


def _without_stop_iteration(function: Callable[[], T]) -> T:
    try:
        return function()
    except StopIteration as error:
        # It cannot be the result of an asyncio future: the caller would wait for ever.
        raise RuntimeError("The function raised StopIteration") from error


async def _result(future: Future[T]) -> T:
    """The result of a future of another thread."""
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.add_done_callback(_log_error)
        raise


def _log_error(future: Future[Any]) -> None:
    """Log the error of a call whose caller was cancelled."""
    if not future.cancelled() and (error := future.exception()):
        logger.warning("A call whose caller was cancelled failed: %s", error, exc_info=error)


def _close_unused(connected: Future[Harken]) -> None:
    if not connected.cancelled() and not connected.exception():
        connected.result().close()


class Connecting:
    """What :func:`connect_async` returns: await it, or use it in an ``async with`` block."""

    def __init__(self, function: Callable[[], Harken]) -> None:
        self._function = function
        self._connected: AsyncHarken | None = None

    def __await__(self) -> Generator[Any, None, AsyncHarken]:
        return self._connect().__await__()

    async def __aenter__(self) -> AsyncHarken:
        self._connected = await self._connect()
        return self._connected

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connected is not None:
            await self._connected.close()

    async def _connect(self) -> AsyncHarken:
        thread = ThreadPoolExecutor(1, "harken-connect")
        connected = thread.submit(copy_context().run, self._function)
        try:
            return AsyncHarken(await _result(connected))
        except asyncio.CancelledError:
            thread.submit(_close_unused, connected)
            raise
        finally:
            thread.shutdown(wait=False)


def _asynchronous(function: Callable[P, Harken]) -> Callable[P, Connecting]:
    def connect_async(*args: P.args, **kwargs: P.kwargs) -> Connecting:
        """Open a storage in a thread; returns an :class:`AsyncHarken`. The arguments are those of :func:`connect`.

        Use it in an ``async with`` block, which closes it at the end, or await it::

            async with harken.connect_async("sqlite:///feedback.db") as hk:
                await hk.submit("session-1", "up")
        """
        return Connecting(partial(function, *args, **kwargs))

    return connect_async


connect_async = _asynchronous(connect)

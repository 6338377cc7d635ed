"""Group commit: submissions that arrive at the same time share one write."""

from __future__ import annotations

import atexit
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread, current_thread, get_ident, local, main_thread
from time import perf_counter
from typing import Final, ParamSpec, TypeVar
from weakref import ref

from harken.domain.errors import Overloaded, StorageClosed, StorageError, StorageUnavailable
from harken.ports.repository import Accepted, Conflict, DuplicateOf, Outcome, Stored
from harken.services.interruption import Latch, SafeFuture

logger = logging.getLogger(__name__)

Write = Callable[[Sequence[Accepted]], Sequence[Outcome]]

#: Called with the number of items in a write.
OnWrite = Callable[[int], object]

#: A leader waits for others for this part of the duration of the last write, up to this many seconds.
_PATIENCE: Final = 0.5
_LONGEST_PATIENCE: Final = 0.002
#: After this many seconds each waiting caller tries to lead. They wait that long only for an interrupted leader, which
#: did not wake another one.
_POLL: Final = 0.05
#: For how many seconds the background thread waits for work before it ends.
_IDLE: Final = 10.0
#: The number of characters of extras that may wait when a submission with large extras is added; a full queue of such
#: extras would exceed it. Others are added without summing up what waits, as that takes time. In a full queue they have
#: at most the same number of characters, so that up to twice as many may wait.
MAX_WAITING_EXTRAS: Final = 256_000_000
#: How many times in a row the background thread lets a caller lead instead.
_LONGEST_DEFERRAL: Final = 100
#: The number of characters of extras above which a batch ends. One entry may have nearly half of it.
MAX_EXTRAS_IN_BATCH: Final = 32_000_000

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Entry:
    """One item in the queue. Its caller waits for the latch, and then may lead; or it has the future."""

    __slots__ = ("answer", "future", "item", "latch", "leads")

    def __init__(self, item: Accepted, *, latch: Latch | None = None, future: Future[Outcome] | None = None) -> None:
        self.item = item
        self.latch = latch
        self.future = future
        # Signal handlers run in the main thread: their exceptions must not interrupt the writes of other callers.
        self.leads = latch is not None and get_ident() != main_thread().ident
        self.answer: Outcome | BaseException | None = None


class _ThisThread(local):
    """Thread-local: whether this thread leads."""

    leads = False


class _Batch:
    """The entries of one write; ``results`` is set when the write has returned."""

    __slots__ = ("entries", "results")

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self.entries = entries
        self.results: Sequence[Outcome | BaseException] | None = None


def batches(items: Iterable[Accepted]) -> Iterator[list[Accepted]]:
    """Yield the items in order, in lists of one item or more. Items without extras are in one list."""
    batch: list[Accepted] = []
    size = 0
    for item in items:
        size += len(item.extras)
        if size > MAX_EXTRAS_IN_BATCH and batch:
            yield batch
            batch, size = [], len(item.extras)
        batch.append(item)
    if batch:
        yield batch


class GroupCommit:
    """A caller that finds no write in progress becomes the leader: it writes all queued items at once.

    A single caller writes in its own thread; under load, one write carries many items. No item is acknowledged before
    its write has returned. If a batch fails, each of its items is written alone, so that only the bad ones fail.

    A write carries at most ``max_batch`` items and the queue ``max_queue``, and fewer if their extras are large.

    After a write, the leader wakes a waiting caller, which leads next, or the background thread if no caller waits.
    Futures are completed in the background thread: their callbacks do not delay callers, and may submit and wait, or
    close. Exceptions of callbacks are logged.

    Callers that were answered together return at about the same time. If others wrote or waited just before, a leader
    therefore waits for the same number of items, for a part of the duration of a write at most. Otherwise the first
    caller to return would write alone while all others wait.

    Write listeners are called when the callers of the write are answered and another caller can lead. So a listener
    delays only the thread that it runs in, and may submit and wait, or close.

    A caller can be interrupted at any point by an asynchronous exception: Ctrl-C, an alarm, a time limit. Therefore
    no caller holds anything that must be released, and nothing depends on code that runs during an exception:

    - To lead is to be inside :meth:`contextvars.Context.run`, which admits one thread at a time, and which C code
      leaves however the call ends. There is no lock that could stay locked.
    - A batch is recorded before it leaves the queue. The next leader finds the batch of an interrupted one and answers
      its callers: with the results if the write has returned, else with an error that the outcome is unknown.
    - Waking a thread is a hint. Every waiting caller tries to lead after a moment, and so does the background thread.
    - Callers access shared state only through single operations of the interpreter (``deque.append``,
      ``SimpleQueue.put``, ``Lock.release``), never through ``Condition``, ``Event`` or ``Future``, which are written
      in Python.
    - Signal handlers run in the main thread. It writes its own item if no other thread leads, but not those of others.
    """

    def __init__(
        self,
        write: Write,
        *,
        max_queue: int = 10_000,
        max_batch: int = 1_000,
        poll: float = _POLL,
        idle: float = _IDLE,
    ) -> None:
        self._write = write
        self._poll = poll
        self._idle_seconds = idle
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._queue: deque[_Entry] = deque()
        # Not used for its variables, but because only one call at a time can run in it.
        self._lead_context = Context()
        self._this_thread = _ThisThread()
        self._leader = 0
        self._batch: _Batch | None = None
        self._expected = 1
        self._patience = 0.0
        self._gathered = Latch()
        self._closed = False
        self._listeners: list[OnWrite] = []
        self._pid = os.getpid()
        # Entries whose futures the background thread has to complete. It ends when it had no work for a while. If
        # several are started at the same time, only one can run in the context, and the others end.
        self._answered: deque[_Entry] = deque()
        self._thread: Thread | None = None
        self._thread_context = Context()
        self._pokes: SimpleQueue[None] = SimpleQueue()
        self._idle = False
        self._deferred = 0
        # Opened after each write, for threads that wait until everything is written.
        self._progress = Latch()
        # Handlers run in reverse order: this one runs before those of the storage, which was opened earlier.
        self._at_exit = partial(_drain, ref(self))
        atexit.register(self._at_exit)

    @property
    def waiting(self) -> int:
        """How many items are queued, without those of a write in progress."""
        return len(self._queue)

    def on_write(self, callback: OnWrite) -> None:
        """Call this after each write, even a failed one, with its number of items.

        Any thread may call it, and several may at the same time. An error that it raises is logged.
        """
        self._listeners.append(callback)

    def commit(self, item: Accepted) -> Outcome:
        """Write one item and return its outcome; blocks until it is durable.

        If an asynchronous exception such as ``KeyboardInterrupt`` interrupts the call, the item may be written or not.

        Raises:
            Overloaded: the queue is full.
            StorageUnavailable: the storage is unavailable, or the caller that wrote the item was interrupted and the
                outcome is unknown.
            StorageError: the write failed.
        """
        self._must_be_usable()
        if self._expected == 1 and not self._queue:
            try:
                outcome = _exclusively(self._lead_context, self._as_leader, self._write_alone, item)
            except BaseException:
                self._leave(1)
                raise
            if outcome is not None:
                self._leave(1)
                return outcome
        entry = _Entry(item, latch=Latch())
        self._enqueue(entry)
        return self._await(entry)

    def commit_soon(self, item: Accepted, then: Callable[[Future[Outcome]], object] | None = None) -> Future[Outcome]:
        """Like :meth:`commit`, without blocking: the future returns the outcome or raises the error.

        Args:
            item: what to write.
            then: called with the future when it is done, in the background thread. Unlike with
                ``add_done_callback``, it is called even if this call is interrupted.

        Raises:
            Overloaded: the queue is full.
        """
        self._must_be_usable()
        future: Future[Outcome] = SafeFuture()
        if then is not None:
            future.add_done_callback(then)
        self._enqueue(_Entry(item, future=future))
        if not self._poke():
            self._work_here()
        return future

    def close(self) -> None:
        """Write what is queued, and refuse further items. May be called twice, and after a fork."""
        if os.getpid() != self._pid:
            return
        self._closed = True
        if self._leads_here():
            # Called by a signal handler: the write that it interrupted can only end after it.
            return
        # In a callback: a thread cannot join itself.
        in_background = current_thread() is self._thread
        while not self._is_done():
            if in_background or not self._poke():
                self._work_here()
            self._progress.wait(_POLL)
        while not in_background and (thread := self._thread):
            self._pokes.put(None)
            thread.join(_POLL)
        atexit.unregister(self._at_exit)

    # --- in the caller's thread --------------------------------------------------------------------------------------

    def _must_be_usable(self) -> None:
        if self._leads_here():
            # A signal handler would wait for the write that it interrupted.
            raise StorageUnavailable(
                "A signal handler submitted while this thread was writing; nothing was stored, submit it later"
            )
        if os.getpid() != self._pid:
            raise StorageClosed("Harken was connected in another process; connect again after forking")
        if self._closed:
            raise StorageClosed("Harken is closed; connect again")

    def _enqueue(self, entry: _Entry) -> None:
        # Futures with slow callbacks wait, too. Blocking callers are not refused because of them.
        waiting = len(self._queue) + (0 if entry.future is None else len(self._answered))
        if waiting >= self._max_queue:
            raise Overloaded(
                f"The queue is full: {self._max_queue:,} submissions wait to be written; nothing was stored, "
                "try again in a moment"
            )
        size = len(entry.item.extras)
        if size * self._max_queue > MAX_WAITING_EXTRAS and size + self._waiting_extras(entry) > MAX_WAITING_EXTRAS:
            raise Overloaded(
                f"The queue is full: submissions with more than {MAX_WAITING_EXTRAS // 1_000_000} MB of extras would "
                "wait to be written; nothing was stored, try again in a moment"
            )
        self._queue.append(entry)
        if len(self._queue) == self._expected:
            self._gathered.open()

    def _waiting_extras(self, entry: _Entry) -> int:
        """The number of characters of extras that wait before this entry."""
        waiting = list(self._queue) if entry.future is None else [*self._queue, *self._answered]
        return sum(len(one.item.extras) for one in waiting)

    def _await(self, entry: _Entry) -> Outcome:
        """Wait until the entry is answered, and lead if no other thread does."""
        latch = entry.latch
        assert latch is not None  # noqa: S101 - its caller waits
        try:
            while entry.answer is None:
                others_lead = not entry.leads and self._poke()
                if (others_lead or not self._lead()) and not latch.wait(self._poll):
                    # No one has led so far: the background thread may be busy with a callback.
                    entry.leads = True
        except BaseException:
            entry.leads = False
            if self._has_work():
                self._poke()
            raise
        if isinstance(entry.answer, BaseException):
            raise entry.answer
        return entry.answer

    # --- leading -----------------------------------------------------------------------------------------------------

    def _leads_here(self) -> bool:
        """Whether this thread is leading, so that the caller is a signal handler."""
        # All of the checks, as an interrupted leader may have left the first two set.
        mine = self._this_thread.leads and self._leader == get_ident()
        return mine and _exclusively(self._lead_context, lambda: True) is None

    def _as_leader(self, write: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        self._this_thread.leads, self._leader = True, get_ident()
        try:
            return write(*args, **kwargs)
        finally:
            self._this_thread.leads = False

    def _write_alone(self, item: Accepted) -> Outcome:
        """Write the item of a caller that found an empty queue."""
        began = perf_counter()
        try:
            (outcome,) = self._write_checked([item])
        finally:
            self._update_estimates(1, began)
        return outcome

    def _lead(self) -> bool:
        """Write the first batch of the queue, unless another thread leads; whether it did."""
        written = _exclusively(self._lead_context, self._as_leader, self._write_queued)
        if written is None:
            return False
        size, raised = written
        self._leave(size)
        if raised is not None:
            raise raised
        return True

    def _write_queued(self) -> tuple[int, BaseException | None]:
        """Write a batch; returns its number of items, and the exception of the write that no item caused."""
        if self._batch is not None:
            # Left by an interrupted leader.
            self._finish(self._batch)
        self._gather()
        # In one call, as others append to the queue meanwhile.
        entries = list(self._queue)[: self._max_batch]
        if not entries:
            return 0, None
        entries = entries[: len(next(batches(entry.item for entry in entries)))]
        batch = self._batch = _Batch(entries)
        self._take_out(entries)
        began = perf_counter()
        batch.results, raised = self._write_all([entry.item for entry in entries])
        self._update_estimates(len(entries), began)
        self._finish(batch)
        return len(entries), raised

    def _take_out(self, entries: Sequence[_Entry]) -> None:
        """Remove those entries that are still in the queue."""
        for entry in entries:
            if self._queue and self._queue[0] is entry:
                self._queue.popleft()

    def _finish(self, batch: _Batch) -> None:
        """Answer all entries of the batch; may be repeated, even if it was interrupted."""
        self._take_out(batch.entries)
        results = batch.results or [_unknown_outcome_error() for _ in batch.entries]
        for entry, result in zip(batch.entries, results, strict=True):
            if entry.answer is None:
                entry.answer = result
            if (latch := entry.latch) is not None:
                latch.open()
            elif entry.future is not None:
                self._answered.append(entry)
        self._batch = None

    def _gather(self) -> None:
        """Wait a moment for the callers that probably follow."""
        if len(self._queue) < self._expected:
            self._gathered.wait(0)
            if len(self._queue) < self._expected:
                self._gathered.wait(self._patience)

    def _update_estimates(self, written: int, began: float) -> None:
        """Estimate from a write how many items to expect next, and how long to wait for them."""
        self._expected = min(written + len(self._queue), self._max_batch)
        self._patience = min((perf_counter() - began) * _PATIENCE, _LONGEST_PATIENCE)

    # --- after leading -----------------------------------------------------------------------------------------------

    def _leave(self, written: int) -> None:
        """Let another thread lead, and notify listeners; raises what they raise, except an ``Exception``."""
        self._hand_on()
        if raised := self._notify(written):
            raise raised

    def _hand_on(self) -> None:
        """Wake the next leader, or the background thread."""
        self._progress.open()
        needs_background = bool(self._answered)
        if self._queue:
            latch = self._next_leader()
            if latch is not None:
                latch.open()
            else:
                needs_background = True
        if needs_background and not self._poke():
            self._work_here()

    def _next_leader(self) -> Latch | None:
        """The latch of the first caller in the queue that can lead."""
        return next((entry.latch for entry in list(self._queue) if entry.leads), None)

    def _notify(self, written: int) -> BaseException | None:
        """Notify all listeners; logs an ``Exception``, and returns the first other exception that was raised."""
        if not written:
            return None
        raised: BaseException | None = None
        for listener in tuple(self._listeners):
            try:
                listener(written)
            except Exception:
                logger.exception("A listener failed after a write of %d submissions", written)
            except BaseException as error:  # noqa: BLE001 - raised when all are notified
                raised = raised or error
        return raised

    def _work_here(self) -> None:
        """Write what is queued and complete futures in this thread, because no thread can be started.

        Exceptions are raised at the end, so that all callers are answered.
        """
        raised: BaseException | None = None
        while self._has_work():
            written = _exclusively(self._lead_context, self._as_leader, self._write_queued)
            error = self._follow_up(written or (0, None))
            raised = raised or error
            if written is None:
                break
        if raised is not None:
            raise raised

    def _follow_up(self, written: tuple[int, BaseException | None]) -> BaseException | None:
        """Complete futures and notify listeners after a write; returns the first exception that was raised."""
        size, raised = written
        for error in (self._complete_futures(), self._notify(size)):
            raised = raised or error
        return raised

    # --- in the background -------------------------------------------------------------------------------------------

    def _poke(self) -> bool:
        """Wake the background thread, or start it; ``False`` if it cannot be started."""
        if self._thread is None:
            thread = Thread(target=self._work, name="harken-group-commit", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The interpreter is shutting down and does not start threads.
                return False
        if self._idle:
            self._idle = False
            self._pokes.put(None)
        return True

    def _work(self) -> None:
        # Again if work came while this thread was leaving: a thread that was started for it has ended at once.
        while _exclusively(self._thread_context, self._work_until_idle) and self._has_work():
            pass

    def _work_until_idle(self) -> bool:
        """Work until there was no work for a while; always returns true."""
        self._thread = current_thread()
        has_more = True
        while has_more:
            try:
                has_more = self._work_once()
            except BaseException:
                # It must not end the thread, as others wait for it.
                logger.exception("A callback, a listener or a write was interrupted; all submissions are answered")
        self._thread = None
        return True

    def _work_once(self) -> bool:
        """Work, or wait for work; whether the thread should continue."""
        self._idle = False
        if raised := self._complete_futures():
            raise raised
        # Before it reads the queue: later items poke the thread.
        self._idle = True
        if self._answered:
            return True
        if self._has_work():
            self._help()
            return True
        return not self._closed and self._wait_for_poke(self._idle_seconds)

    def _help(self) -> None:
        """Lead, or wait a moment while another thread does."""
        # Waiting callers lead rather than this thread, which may be needed for callbacks. Not indefinitely: an
        # interrupted caller may still look as if it waited.
        if self._next_leader() is not None and self._deferred < _LONGEST_DEFERRAL and self._wait_for_poke(self._poll):
            self._deferred += 1
            return
        self._deferred = 0
        written = _exclusively(self._lead_context, self._as_leader, self._write_queued)
        if written is None:
            self._wait_for_poke(self._poll)
            return
        self._hand_on()
        if raised := self._follow_up(written):
            raise raised

    def _wait_for_poke(self, patience: float) -> bool:
        """Wait for a poke; whether one came."""
        try:
            self._pokes.get(timeout=patience)
        except Empty:
            return False
        return True

    def _complete_futures(self) -> BaseException | None:
        """Complete the futures of answered entries; returns the first exception that a callback raised."""
        raised: BaseException | None = None
        while True:
            try:
                entry = self._answered.popleft()
            except IndexError:
                return raised
            assert entry.future is not None  # noqa: S101 - only entries with a future get here
            # More than once only if this is interrupted before the future is done.
            while not entry.future.done():
                try:
                    if isinstance(entry.answer, BaseException):
                        entry.future.set_exception(entry.answer)
                    elif entry.answer is not None:
                        entry.future.set_result(entry.answer)
                except BaseException as error:  # noqa: BLE001 - returned when all are answered
                    raised = raised or error

    # --- closing -----------------------------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        """Whether everything is answered and no thread writes."""
        free = _exclusively(self._lead_context, lambda: True)
        return bool(free) and not self._has_work()

    def _has_work(self) -> bool:
        return bool(self._queue or self._batch or self._answered)

    def drain(self) -> None:
        """Wait until all futures are done; called at exit, so that queued items are not lost."""
        if os.getpid() != self._pid:
            return
        while self._has_work() or (self._thread is not None and not self._idle):
            if not self._poke():
                self._work_here()
            self._progress.wait(_POLL)

    # --- writing -----------------------------------------------------------------------------------------------------

    def _write_all(self, items: Sequence[Accepted]) -> tuple[Sequence[Outcome | BaseException], BaseException | None]:
        """Write the items, each alone if that fails; also returns the exception of the write that no item caused."""
        try:
            return self._write_checked(items), None
        except (StorageUnavailable, StorageClosed) as error:
            return [error] * len(items), None
        except Exception as error:  # noqa: BLE001 - raised for the caller of the item
            if len(items) == 1:
                return [error], None
            results = self._write_each(items)
            # An asynchronous exception, such as the leader's time limit, is not raised again by any of the items.
            is_fault = any(isinstance(result, BaseException) for result in results)
            return results, None if is_fault else error

    def _write_each(self, items: Sequence[Accepted]) -> Sequence[Outcome | BaseException]:
        """Write each item alone. Stops if the storage is unavailable: each further item would wait for its timeout."""
        results: list[Outcome | BaseException] = []
        for item in items:
            ((result,), _) = self._write_all([item])
            results.append(_stored_by_first_try(item, result))
            if isinstance(result, StorageUnavailable | StorageClosed):
                return results + [result] * (len(items) - len(results))
        return results

    def _write_checked(self, items: Sequence[Accepted]) -> Sequence[Outcome]:
        outcomes = self._write(items)
        if len(outcomes) != len(items):
            raise StorageError(f"The storage returned {len(outcomes)} outcomes for {len(items)} items")
        return outcomes


def _exclusively(context: Context, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
    """Call this if no other thread runs in the context, else return ``None``. Context variables are the caller's."""
    try:
        return context.run(partial(copy_context().run, work, *args, **kwargs))
    except RuntimeError as error:
        if "cannot enter context" in str(error):
            return None
        raise


def _unknown_outcome_error() -> StorageUnavailable:
    return StorageUnavailable(
        "The thread that wrote this submission was interrupted, so it is unknown whether the submission was stored; "
        "submit it again with the same idempotency key"
    )


def _stored_by_first_try(item: Accepted, result: Outcome | BaseException) -> Outcome | BaseException:
    """The outcome of an item that is written again: if its own id exists, the first write has stored it."""
    if isinstance(result, DuplicateOf | Conflict) and result.feedback.id == item.feedback.id:
        return Stored(result.feedback)
    return result


def _drain(group: ref[GroupCommit]) -> None:
    if (alive := group()) is not None:
        alive.drain()

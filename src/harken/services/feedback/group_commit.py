"""Group commit: callers that write at the same time share one write."""

from __future__ import annotations

import atexit
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
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

#: For how much of the time that the last write took, and for how many seconds at most, a leader waits for others.
_PATIENCE: Final = 0.5
_LONGEST_PATIENCE: Final = 0.002
#: After so many seconds anyone who waits tries to lead. Only an interrupted leader, which woke nobody, makes them wait
#: that long.
_POLL: Final = 0.05
#: For how many seconds the background thread waits for something more to do before it ends.
_IDLE: Final = 10.0
#: How often in a row the background thread lets a caller lead, although it was woken.
_LONGEST_DEFERRAL: Final = 100

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Entry:
    """One item in the queue. Its caller waits for the latch, and leads when it is woken, or has the future."""

    __slots__ = ("answer", "future", "item", "latch", "leads")

    def __init__(self, item: Accepted, *, latch: Latch | None = None, future: Future[Outcome] | None = None) -> None:
        self.item = item
        self.latch = latch
        self.future = future
        # Signal handlers run in the main thread: what they raise shall not interrupt the writes of others.
        self.leads = latch is not None and get_ident() != main_thread().ident
        self.answer: Outcome | BaseException | None = None


class _Own(local):
    """What each thread knows of itself: whether it leads."""

    leads = False


class _Batch:
    """What one write carries; ``results`` are there when the write has returned."""

    __slots__ = ("entries", "results")

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self.entries = entries
        self.results: Sequence[Outcome | BaseException] | None = None


class GroupCommit:
    """A caller that finds no write in progress leads: it writes all that is queued at once.

    A lone caller pays no thread hop; under load one write carries many items. Nothing is acknowledged before its write
    has returned. Where a whole batch fails, each of its items is tried alone, so that a bad one fails alone.

    When a leader leaves, it wakes a caller that waits, if there is any, and the background thread if there is none.
    Futures are completed in the background thread: their callbacks hold up no caller, and may submit and wait, or
    close. Whatever a callback raises is logged, and the others are answered.

    Callers that were answered together come back at about the same time. So where others wrote or waited a moment ago,
    a leader waits for as many of them as there were, a part of the time that a write takes at most: without that, the
    first to come back would write alone while all others wait.

    Write listeners are notified when those who waited for the write are answered and somebody else can lead. So a
    listener holds up only the thread that it runs in, and may submit and wait, or close, as a callback may.

    A caller can be interrupted at any point by an exception that is not its own: Ctrl-C, an alarm, a time limit. So
    no caller owns anything that has to be given back, and nothing depends on code that runs while an exception passes:

    - Leading is being inside :meth:`contextvars.Context.run`, which lets one in at a time, and which C code leaves
      however the call ends. There is no lock that could stay locked.
    - The batch is recorded before it leaves the queue. The next leader finds what an interrupted one left, and answers
      it: with its results, if the write has returned, else with an error that says that the outcome is unknown.
    - Being woken is a hint. Anyone who waits tries to lead after a moment, and so does the background thread.
    - Callers touch what they share with others only by single operations of the interpreter (``deque.append``,
      ``SimpleQueue.put``, ``Lock.release``), never by ``Condition``, ``Event`` or ``Future``, which are written in
      Python.
    - Signal handlers run in the main thread, which writes its own item if nobody else is there, but not those of
      others.
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
        # Not for its variables, but because only one call at a time can run in it.
        self._lead_context = Context()
        self._own = _Own()
        self._leader = 0
        self._batch: _Batch | None = None
        self._expected = 1
        self._patience = 0.0
        self._gathered = Latch()
        self._closed = False
        self._listeners: list[OnWrite] = []
        self._pid = os.getpid()
        # Entries whose futures are to be completed by the background thread, which ends when it had nothing to do for a
        # while. Where several are started at the same time, only one can run in the context, and the others end.
        self._answered: deque[_Entry] = deque()
        self._thread: Thread | None = None
        self._thread_context = Context()
        self._pokes: SimpleQueue[None] = SimpleQueue()
        self._idle = False
        self._deferred = 0
        # Opened after each write, for those who wait until all is written.
        self._progress = Latch()
        # Handlers run in the reverse order: now, this one comes before those of the storage, which was opened earlier.
        self._at_exit = partial(_drain, ref(self))
        atexit.register(self._at_exit)

    @property
    def waiting(self) -> int:
        """How many items are queued now; those of a write in progress are not."""
        return len(self._queue)

    def on_write(self, callback: OnWrite) -> None:
        """Call this after each write, also one that failed, with the number of items that it was to carry.

        Any thread may call it, and several may at once. What it raises is logged and changes nothing.
        """
        self._listeners.append(callback)

    def commit(self, item: Accepted) -> Outcome:
        """Write one item and say what became of it; blocks until it is durable.

        If the call is interrupted by an exception from outside, such as ``KeyboardInterrupt``, the item may be written
        or not.

        Raises:
            Overloaded: the queue is full.
            StorageUnavailable: also if the caller that wrote the item was interrupted; the outcome is unknown.
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
        """The same without blocking; what :meth:`commit` raises once it is queued, the future raises.

        Args:
            item: what to write.
            then: called with the future when it is done, in the background thread. Unlike ``add_done_callback`` it
                cannot be lost if this call is interrupted.

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
        """Write what is queued, then refuse everything. Closing twice is harmless, and so is closing after a fork."""
        if os.getpid() != self._pid:
            return
        self._closed = True
        if self._leads_here():
            # A signal handler closes: the write that it interrupted can only end after it.
            return
        # In a callback: a thread cannot wait for its own end.
        in_background = current_thread() is self._thread
        while not self._is_done():
            if in_background or not self._poke():
                self._work_here()
            self._progress.wait(_POLL)
        while not in_background and (thread := self._thread):
            self._pokes.put(None)
            thread.join(_POLL)
        atexit.unregister(self._at_exit)

    # --- in the caller's thread ------------------------------------------------------------------------------------

    def _must_be_usable(self) -> None:
        if self._leads_here():
            # What interrupted a write would wait for itself.
            raise StorageUnavailable(
                "A signal handler submitted while this thread was writing; nothing was kept, submit it later"
            )
        if os.getpid() != self._pid:
            raise StorageClosed("Harken was connected in another process; connect again after forking")
        if self._closed:
            raise StorageClosed("Harken is closed; connect again")

    def _enqueue(self, entry: _Entry) -> None:
        # Futures whose callbacks are slow wait, too. Callers that wait themselves are not refused for that.
        waiting = len(self._queue) + (0 if entry.future is None else len(self._answered))
        if waiting >= self._max_queue:
            raise Overloaded(
                f"{self._max_queue:,} submissions are waiting to be written already; nothing was kept, "
                "try again in a moment"
            )
        self._queue.append(entry)
        if len(self._queue) == self._expected:
            self._gathered.open()

    def _await(self, entry: _Entry) -> Outcome:
        """Wait until the entry is answered, and lead meanwhile if nobody else does."""
        latch = entry.latch
        assert latch is not None  # noqa: S101 - its caller waits
        try:
            while entry.answer is None:
                others_lead = not entry.leads and self._poke()
                if (others_lead or not self._lead()) and not latch.wait(self._poll):
                    # Nobody led so far: the background thread may be busy with a callback.
                    entry.leads = True
        except BaseException:
            entry.leads = False
            if self._has_work():
                self._poke()
            raise
        if isinstance(entry.answer, BaseException):
            raise entry.answer
        return entry.answer

    # --- leading ---------------------------------------------------------------------------------------------------

    def _leads_here(self) -> bool:
        """Whether this very thread is leading, so that a signal handler calls."""
        # All of it, as an interruption may have left a trace of an earlier lead.
        mine = self._own.leads and self._leader == get_ident()
        return mine and _exclusively(self._lead_context, lambda: True) is None

    def _as_leader(self, write: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        self._own.leads, self._leader = True, get_ident()
        try:
            return write(*args, **kwargs)
        finally:
            self._own.leads = False

    def _write_alone(self, item: Accepted) -> Outcome:
        """Write the item of a caller who found an empty queue."""
        began = perf_counter()
        try:
            (outcome,) = self._write_checked([item])
        finally:
            self._update_estimates(1, began)
        return outcome

    def _lead(self) -> bool:
        """Write what is first in the queue, unless somebody else leads; whether it did."""
        written = _exclusively(self._lead_context, self._as_leader, self._write_queued)
        if written is None:
            return False
        size, raised = written
        self._leave(size)
        if raised is not None:
            raise raised
        return True

    def _write_queued(self) -> tuple[int, BaseException | None]:
        """Write a batch; how many items it had, and what interrupted the write, if it was no fault of theirs."""
        if self._batch is not None:
            # An interrupted leader left it.
            self._finish(self._batch)
        self._gather()
        # In one call, as others append to the queue meanwhile.
        entries = list(self._queue)[: self._max_batch]
        if not entries:
            return 0, None
        batch = self._batch = _Batch(entries)
        self._take_out(entries)
        began = perf_counter()
        batch.results, raised = self._write_all([entry.item for entry in entries])
        self._update_estimates(len(entries), began)
        self._finish(batch)
        return len(entries), raised

    def _take_out(self, entries: Sequence[_Entry]) -> None:
        """Take out of the queue what is still in it."""
        for entry in entries:
            if self._queue and self._queue[0] is entry:
                self._queue.popleft()

    def _finish(self, batch: _Batch) -> None:
        """Answer all in the batch. Does no harm where it was done before, wholly or in part."""
        self._take_out(batch.entries)
        results = batch.results or [_outcome_unknown() for _ in batch.entries]
        for entry, result in zip(batch.entries, results, strict=True):
            if entry.answer is None:
                entry.answer = result
            if (latch := entry.latch) is not None:
                latch.open()
            elif entry.future is not None:
                self._answered.append(entry)
        self._batch = None

    def _gather(self) -> None:
        """Wait a moment for those who will probably come."""
        if len(self._queue) < self._expected:
            self._gathered.wait(0)
            if len(self._queue) < self._expected:
                self._gathered.wait(self._patience)

    def _update_estimates(self, written: int, began: float) -> None:
        """Learn from a write how many to expect, and how long it is worth waiting for them."""
        self._expected = min(written + len(self._queue), self._max_batch)
        self._patience = min((perf_counter() - began) * _PATIENCE, _LONGEST_PATIENCE)

    # --- after leading ---------------------------------------------------------------------------------------------

    def _leave(self, written: int) -> None:
        """Let somebody else lead, and notify listeners; raises what they raise if it is more than an error."""
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
        """What wakes the first caller in the queue that leads then."""
        return next((entry.latch for entry in list(self._queue) if entry.leads), None)

    def _notify(self, written: int) -> BaseException | None:
        """Notify all listeners, whatever they raise; the first that is more than an error is returned."""
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
        """Write what is queued and complete futures in this thread, where no other can be had.

        What is raised meanwhile is raised at the end: before, it would strand those who are still without an answer.
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
        """What comes after a write in a thread that completes futures; the first that was raised is returned."""
        size, raised = written
        for error in (self._complete_futures(), self._notify(size)):
            raised = raised or error
        return raised

    # --- in the background -----------------------------------------------------------------------------------------

    def _poke(self) -> bool:
        """Let the background thread look for something to do; ``False`` if none can be had."""
        if self._thread is None:
            thread = Thread(target=self._work, name="harken-group-commit", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The interpreter is going down and starts no more threads.
                return False
        if self._idle:
            self._idle = False
            self._pokes.put(None)
        return True

    def _work(self) -> None:
        # Again if something came while this thread was leaving, and the one that was started for it found it here.
        while _exclusively(self._thread_context, self._work_until_idle) and self._has_work():
            pass

    def _work_until_idle(self) -> bool:
        """Do what there is to do until there was nothing for a while; always true."""
        self._thread = current_thread()
        has_more = True
        while has_more:
            try:
                has_more = self._work_once()
            except BaseException:
                # It must not cost the thread, which others wait for.
                logger.exception("A callback, a listener or a write was interrupted; all are answered all the same")
        self._thread = None
        return True

    def _work_once(self) -> bool:
        """Do something, or wait for it; whether the thread should stay."""
        self._idle = False
        if raised := self._complete_futures():
            raise raised
        # Before it looks at the queue: what comes later pokes.
        self._idle = True
        if self._answered:
            return True
        if self._has_work():
            self._help()
            return True
        return not self._closed and self._wait_for_poke(self._idle_seconds)

    def _help(self) -> None:
        """Lead, or wait a moment while somebody else does."""
        # Callers that wait lead rather than this thread, which may be needed for callbacks. Not indefinitely: one that
        # was interrupted may still look as if it waited.
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
        """Complete the futures of what is answered, whatever their callbacks raise; the first of that is returned."""
        raised: BaseException | None = None
        while True:
            try:
                entry = self._answered.popleft()
            except IndexError:
                return raised
            assert entry.future is not None  # noqa: S101 - only those that have one get here
            # More than once only if it is interrupted before the future is done.
            while not entry.future.done():
                try:
                    if isinstance(entry.answer, BaseException):
                        entry.future.set_exception(entry.answer)
                    elif entry.answer is not None:
                        entry.future.set_result(entry.answer)
                except BaseException as error:  # noqa: BLE001 - raised when all are answered
                    raised = raised or error

    # --- until the end ---------------------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        """Whether everything is answered and nobody writes."""
        free = _exclusively(self._lead_context, lambda: True)
        return bool(free) and not self._has_work()

    def _has_work(self) -> bool:
        return bool(self._queue or self._batch or self._answered)

    def drain(self) -> None:
        """Wait until futures are done; at exit, so that nothing that is queued is forgotten."""
        if os.getpid() != self._pid:
            return
        while self._has_work() or (self._thread is not None and not self._idle):
            if not self._poke():
                self._work_here()
            self._progress.wait(_POLL)

    # --- writing ---------------------------------------------------------------------------------------------------

    def _write_all(self, items: Sequence[Accepted]) -> tuple[Sequence[Outcome | BaseException], BaseException | None]:
        """Write, each alone if that fails; also gives the error of which none was the fault of an item."""
        try:
            return self._write_checked(items), None
        except (StorageUnavailable, StorageClosed) as error:
            return [error] * len(items), None
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the item
            if len(items) == 1:
                return [error], None
            results = self._write_each(items)
            # An exception from outside, such as a time limit of the leader's, is not raised again by any of the items.
            is_fault = any(isinstance(result, BaseException) for result in results)
            return results, None if is_fault else error

    def _write_each(self, items: Sequence[Accepted]) -> Sequence[Outcome | BaseException]:
        """Try each alone, until the storage is gone: all others would wait for it as long as the first did."""
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
            raise StorageError(f"The storage was given {len(items)} items and told of {len(outcomes)}")
        return outcomes


def _exclusively(context: Context, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
    """Call this if nobody else runs in the context; ``None`` if somebody does. Variables are those of the caller."""
    try:
        return context.run(partial(copy_context().run, work, *args, **kwargs))
    except RuntimeError as error:
        if "cannot enter context" in str(error):
            return None
        raise


def _outcome_unknown() -> StorageUnavailable:
    return StorageUnavailable(
        "The thread that wrote this submission together with its own was interrupted, so it is unknown whether it was "
        "stored; submit it again under the same idempotency key"
    )


def _stored_by_first_try(item: Accepted, result: Outcome | BaseException) -> Outcome | BaseException:
    """What became of an item that is written a second time: if its own id is there, the first write has stored it."""
    if isinstance(result, DuplicateOf | Conflict) and result.feedback.id == item.feedback.id:
        return Stored(result.feedback)
    return result


def _drain(group: ref[GroupCommit]) -> None:
    if (alive := group()) is not None:
        alive.drain()

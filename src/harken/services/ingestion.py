"""Group commit: callers that write at the same time share one write."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Event, RLock, get_ident
from time import perf_counter
from typing import Final

from harken.domain.errors import Overloaded, StorageClosed, StorageError, StorageUnavailable
from harken.ports.repository import Accepted, Outcome

logger = logging.getLogger(__name__)

Write = Callable[[Sequence[Accepted]], Sequence[Outcome]]

#: What is told how many items a write carried.
OnWrite = Callable[[int], object]

#: For how much of the time that the last write took, and for how many seconds at most, a leader waits for others.
_PATIENCE: Final = 0.5
_LONGEST_PATIENCE: Final = 0.002


#: Making an event takes longer than making all else of an entry, so those that nobody waits for share one.
_NOBODY_WAITS: Final = Event()


class _Entry:
    """One item in the queue. ``turn`` wakes the caller that waits for it: it is done, or must lead."""

    __slots__ = ("caller_waits", "future", "item", "turn")

    def __init__(self, item: Accepted, *, caller_waits: bool) -> None:
        self.item = item
        self.future: Future[Outcome] = Future()
        self.future.set_running_or_notify_cancel()
        self.turn = Event() if caller_waits else _NOBODY_WAITS
        self.caller_waits = caller_waits


class GroupCommit:
    """Whoever finds no write in progress leads: it writes all that is queued at once, then hands the lead on.

    A lone caller pays no thread hop; under load one write carries many items. Nothing is acknowledged before its write
    has returned. Where a whole batch fails, each of its items is tried alone, so that a bad one fails alone.

    The lead goes to a caller that waits, if there is any, and is offered to a background thread if there is none; a
    caller that comes to wait takes up an offer that still stands. So whoever waits never waits for the background
    thread, which may be busy with the callbacks of futures, and a callback may submit and wait, or close, itself.
    Whatever a callback raises, everybody in its batch is answered first.

    Callers that were answered together come back at about the same time. So where others wrote or waited a moment ago,
    a leader waits for as many of them as there were, a part of the time that a write takes at most: without that, the
    first to come back would write alone while all others wait.

    Who listens to writes is told of each when those who waited for it are answered and somebody else can lead. So a
    listener holds up nobody but the thread that it runs in, and may submit and wait, or close, as a callback may.
    """

    def __init__(self, write: Write, *, max_queue: int = 10_000, max_batch: int = 1_000) -> None:
        self._write = write
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._queue: deque[_Entry] = deque()
        self._state = RLock()
        self._idle = Condition(self._state)
        self._gathered = Condition(self._state)
        self._expected = 1
        self._patience = 0.0
        self._leading = False
        self._offered = False
        self._closed = False
        self._listeners: tuple[OnWrite, ...] = ()
        self._pid = os.getpid()
        # One thread, started when first needed, leads for items whose callers do not wait. The interpreter waits for it
        # at exit, so that nothing that is queued is forgotten.
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="harken-group-commit")
        self._background_ident: int | None = None

    @property
    def waiting(self) -> int:
        """How many items are queued now; those of a write in progress are not."""
        return len(self._queue)

    def on_write(self, callback: OnWrite) -> None:
        """Call this after each write, also one that failed, with the number of items that it was to carry.

        Any thread may call it, and several may at once. What it raises is logged and changes nothing.
        """
        with self._state:
            self._listeners = (*self._listeners, callback)

    def commit(self, item: Accepted) -> Outcome:
        """Write one item and say what became of it; blocks until it is durable.

        Raises:
            Overloaded: the queue is full.
            StorageError: the write failed.
        """
        self._must_be_ours()
        with self._state:
            self._must_be_open()
            entry: _Entry | None = None
            if self._leading or self._expected > 1:
                entry = self._enqueue(_Entry(item, caller_waits=True))
                if not self._leading or self._offered:
                    self._hand_on()
            else:
                self._leading = True
        if entry is None:
            return self._write_alone(item)
        while not entry.future.done():
            self._await_turn(entry)
        return entry.future.result()

    def commit_soon(self, item: Accepted) -> Future[Outcome]:
        """The same without blocking; what :meth:`commit` raises once it is queued, the future raises.

        Raises:
            Overloaded: the queue is full.
        """
        self._must_be_ours()
        with self._state:
            self._must_be_open()
            entry = self._enqueue(_Entry(item, caller_waits=False))
            leads = not self._leading and self._hand_on()
        if leads:
            self._lead_if_offered()
        return entry.future

    def close(self) -> None:
        """Write what is queued, then refuse everything. Closing twice is harmless, and so is closing after a fork."""
        if os.getpid() != self._pid:
            return
        in_background = get_ident() == self._background_ident
        leading = True
        while leading:
            with self._state:
                self._closed = True
                self._idle.wait_for(lambda: not self._leading or (in_background and self._offered))
                leading = self._leading
            if leading:
                # A callback closes: the thread that the lead is offered to is this one, so nobody else would take it.
                self._lead_if_offered()
        # A thread cannot wait for its own end.
        self._background.shutdown(wait=not in_background)

    def _must_be_ours(self) -> None:
        """Asked before the lock, which may have been held at the fork and so is held in the child for ever."""
        if os.getpid() != self._pid:
            raise StorageClosed("Harken was connected in another process; connect again after forking")

    def _must_be_open(self) -> None:
        if self._closed:
            raise StorageClosed("Harken is closed; connect again")

    def _enqueue(self, entry: _Entry) -> _Entry:
        if len(self._queue) >= self._max_queue:
            raise Overloaded(
                f"{self._max_queue:,} submissions are waiting to be written already; nothing was kept, "
                "try again in a moment"
            )
        self._queue.append(entry)
        if len(self._queue) == self._expected:
            self._gathered.notify()
        return entry

    def _write_alone(self, item: Accepted) -> Outcome:
        """Write the item of a caller who found nobody leading, and so an empty queue."""
        began = perf_counter()
        try:
            (outcome,) = self._write_checked([item])
        finally:
            self._look_back(1, began)
            if self._hand_on():
                self._lead_if_offered()
            if raised := self._tell(1):
                raise raised
        return outcome

    def _await_turn(self, entry: _Entry) -> None:
        """Wait until the entry is done, or until its caller has to lead, and lead."""
        try:
            entry.turn.wait()
            if not entry.future.done():
                entry.turn.clear()
                self._lead()
        except BaseException:
            # Interrupted (Ctrl-C, or a callback that exits): the item may still be in the queue, so somebody else must
            # be able to lead for it.
            with self._state:
                entry.caller_waits = False
                leads = entry.turn.is_set() and not entry.future.done() and self._hand_on()
            if leads:
                self._lead_if_offered()
            raise

    def _lead_in_background(self) -> None:
        self._background_ident = get_ident()
        self._lead_if_offered()

    def _lead_if_offered(self) -> None:
        if self._take_offer():
            self._lead()

    def _take_offer(self) -> bool:
        """Whether the lead was still on offer, and so is this thread's now."""
        with self._state:
            offered, self._offered = self._offered, False
            return offered

    def _lead(self) -> None:
        """Write what is first in the queue, and go on for as long as nobody else can lead.

        What tears down a write or comes out of a callback is raised at the end: before, it would strand those who are
        still without an answer.
        """
        raised: BaseException | None = None
        leads = True
        while leads:
            try:
                self._gather()
            except BaseException as error:  # noqa: BLE001 - raised at the end
                raised = raised or error
            with self._state:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
            results: Sequence[Outcome | BaseException]
            began = perf_counter()
            try:
                results = self._write_all([entry.item for entry in batch])
            except BaseException as error:  # noqa: BLE001 - raised at the end
                results = [error] * len(batch)
                raised = raised or error
            self._look_back(len(batch), began)
            alone = self._hand_on()
            for told in (self._hand_out(batch, results), self._tell(len(batch))):
                raised = raised or told
            leads = alone and self._take_offer()
        if raised is not None:
            raise raised

    def _gather(self) -> None:
        """Wait a moment for those who will probably come."""
        with self._state:
            self._gathered.wait_for(lambda: len(self._queue) >= self._expected, self._patience)

    def _look_back(self, written: int, began: float) -> None:
        """Learn from a write how many to expect, and how long it is worth waiting for them."""
        with self._state:
            self._expected = min(written + len(self._queue), self._max_batch)
            self._patience = min((perf_counter() - began) * _PATIENCE, _LONGEST_PATIENCE)

    def _hand_out(self, batch: Sequence[_Entry], results: Sequence[Outcome | BaseException]) -> BaseException | None:
        """Give each entry its result, whatever callbacks raise; the first of that is returned.

        Those who wait come first, as they have no callbacks, which may take their time.
        """
        raised: BaseException | None = None
        for entry, result in sorted(zip(batch, results, strict=True), key=lambda pair: not pair[0].caller_waits):
            # More than once only if Ctrl-C comes in before the future is done.
            while not entry.future.done():
                try:
                    if isinstance(result, BaseException):
                        entry.future.set_exception(result)
                    else:
                        entry.future.set_result(result)
                except BaseException as error:  # noqa: BLE001 - the leader raises it when all are answered
                    raised = raised or error
            entry.turn.set()
        return raised

    def _tell(self, written: int) -> BaseException | None:
        """Tell all listeners of a write, whatever they raise; the first that is more than an error is returned."""
        raised: BaseException | None = None
        for listener in self._listeners:
            try:
                listener(written)
            except Exception:
                logger.exception("A listener failed after a write of %d submissions", written)
            except BaseException as error:  # noqa: BLE001 - the leader raises it when all are told
                raised = raised or error
        return raised

    def _hand_on(self) -> bool:
        """Find the next leader, if any is needed; whether no thread could be had, so that this one has to offer itself.

        Until it does, the offer stands for whoever comes to wait.
        """
        with self._state:
            self._leading, self._offered = bool(self._queue), False
            alone = False
            waiting = next((entry for entry in self._queue if entry.caller_waits), None)
            if waiting is not None:
                waiting.turn.set()
            elif self._queue:
                self._offered = True
                alone = not self._call_background()
            if self._closed:
                self._idle.notify_all()
            return alone

    def _call_background(self) -> bool:
        try:
            self._background.submit(self._lead_in_background)
        except RuntimeError:
            # The interpreter is going down and starts no more threads.
            return False
        return True

    def _write_all(self, items: Sequence[Accepted]) -> Sequence[Outcome | BaseException]:
        try:
            return self._write_checked(items)
        except (StorageUnavailable, StorageClosed) as error:
            return [error] * len(items)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the item
            return [error] if len(items) == 1 else self._write_each(items)

    def _write_each(self, items: Sequence[Accepted]) -> Sequence[Outcome | BaseException]:
        """Try each alone, until the storage is gone: all others would wait for it as long as the first did."""
        results: list[Outcome | BaseException] = []
        for item in items:
            results += self._write_all([item])
            if isinstance(results[-1], StorageUnavailable | StorageClosed):
                return results + [results[-1]] * (len(items) - len(results))
        return results

    def _write_checked(self, items: Sequence[Accepted]) -> Sequence[Outcome]:
        outcomes = self._write(items)
        if len(outcomes) != len(items):
            raise StorageError(f"The storage was given {len(items)} items and told of {len(outcomes)}")
        return outcomes

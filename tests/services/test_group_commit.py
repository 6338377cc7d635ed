"""Group commit: which thread writes, and how all callers are answered."""

import os
import signal
import subprocess
import sys
import threading
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Event, Semaphore
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken import Overloaded, Receipt, StorageClosed, StorageError, StorageUnavailable, Submission, connect
from harken.ports.repository import Accepted, Outcome, Stored
from harken.services.feedback.group_commit import MAX_WAITING_EXTRAS, GroupCommit
from support import PATIENCE, a_feedback, eventually, in_threads

BACKGROUND = "harken-group-commit"


def item(name: object) -> Accepted:
    """An item, identified by its name."""
    return Accepted(a_feedback(str(name)))


class FakeStorage:
    """Records each write and its thread; ``refuse`` may raise for a batch."""

    def __init__(self, refuse: Callable[[list[str]], object] = lambda names: None) -> None:
        self.batches: list[list[str]] = []
        self.threads: list[str] = []
        self.refuse = refuse

    def __call__(self, items: Sequence[Accepted]) -> Sequence[Outcome]:
        names = [one.feedback.id for one in items]
        self.batches.append(names)
        self.threads.append(threading.current_thread().name)
        self.refuse(names)
        return [Stored(one.feedback) for one in items]

    @property
    def written(self) -> list[str]:
        return [name for batch in self.batches for name in batch]


class HeldStorage(FakeStorage):
    """Blocks each write until the test continues it."""

    def __init__(self, refuse: Callable[[list[str]], object] = lambda names: None) -> None:
        super().__init__(refuse)
        self._entered, self._go = Semaphore(0), Semaphore(0)

    def __call__(self, items: Sequence[Accepted]) -> Sequence[Outcome]:
        self._entered.release()
        assert self._go.acquire(timeout=PATIENCE)
        return super().__call__(items)

    def entered(self) -> None:
        """Wait until a write has started."""
        assert self._entered.acquire(timeout=PATIENCE)

    def go(self, writes: int = 1) -> None:
        """Continue writes, including later ones."""
        self._go.release(writes)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for blocking callers."""
    with ThreadPoolExecutor(64, "caller") as executor:
        yield executor


def queued(group: GroupCommit, length: int) -> None:
    """Wait until that many items are queued during the write in progress."""
    eventually(lambda: len(group._queue) == length)


def raising(error: BaseException) -> Callable[[Future[Any]], None]:
    """A callback that raises."""

    def then(_: Future[Any]) -> None:
        raise error

    return then


def names(outcomes: Sequence[object]) -> list[str]:
    """The stored items, by name."""
    assert all(isinstance(outcome, Stored) for outcome in outcomes)
    return [outcome.feedback.id for outcome in outcomes if isinstance(outcome, Stored)]


class TestSharing:
    def test_a_single_caller_writes_in_its_own_thread(self) -> None:
        """A single caller has no thread hop, and each of its items is one write."""
        storage = FakeStorage()
        group = GroupCommit(storage)
        assert names([group.commit(item("a")), group.commit(item("b"))]) == ["a", "b"]
        assert storage.batches == [["a"], ["b"]]
        assert set(storage.threads) == {threading.current_thread().name}

    def test_many_callers_share_a_write(self, pool: ThreadPoolExecutor) -> None:
        """All items that came during a write are in the next one, each exactly once."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        callers = [pool.submit(group.commit, item("first"))]
        storage.entered()
        callers += [pool.submit(group.commit, item(number)) for number in range(50)]
        queued(group, 50)
        storage.go(2)
        assert names([caller.result(PATIENCE) for caller in callers]) == ["first", *map(str, range(50))]
        assert [len(batch) for batch in storage.batches] == [1, 50]
        assert sorted(storage.written) == sorted(["first", *map(str, range(50))])

    def test_in_the_order_of_the_queue(self) -> None:
        """Items are written in the order in which they came, and no write exceeds its limit."""
        storage = HeldStorage()
        group = GroupCommit(storage, max_batch=4)
        futures = [group.commit_soon(item("first"))]
        storage.entered()
        futures += [group.commit_soon(item(number)) for number in range(10)]
        storage.go(4)
        assert names([future.result(PATIENCE) for future in futures]) == ["first", *map(str, range(10))]
        assert storage.batches == [["first"], ["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"]]

    def test_a_write_ends_at_32_mb_of_extras(self) -> None:
        """Large extras are written in several writes, in order; none of them waits for memory that others use."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        large = "x" * 14_000_000
        futures = [group.commit_soon(item("first"))]
        storage.entered()
        futures += [group.commit_soon(evolve(item(number), extras=large)) for number in range(5)]
        storage.go(4)
        assert names([future.result(PATIENCE) for future in futures]) == ["first", *map(str, range(5))]
        assert storage.batches == [["first"], ["0", "1"], ["2", "3"], ["4"]]

    def test_soon_does_not_wait(self) -> None:
        """The call returns while the write is in progress, and nothing is acknowledged before it ends."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        future = group.commit_soon(item("a"))
        storage.entered()
        assert not future.done()
        assert not future.cancel()
        storage.go()
        assert names([future.result(PATIENCE)]) == ["a"]
        assert storage.threads[0].startswith(BACKGROUND)

    @given(st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=1, max_size=6), st.integers(1, 5))
    def test_every_caller_is_answered_once(self, plans: list[list[bool]], max_batch: int) -> None:
        """With any number of blocking and other callers, each item is written once, and its own caller gets the
        outcome.
        """
        storage = FakeStorage()
        group = GroupCommit(storage, max_batch=max_batch)

        def carry_out(thread: int, plan: list[bool]) -> list[str]:
            mine = [item(f"{thread}-{index}") for index in range(len(plan))]
            outcomes = [
                group.commit(one) if waits else group.commit_soon(one) for one, waits in zip(mine, plan, strict=True)
            ]
            return names([one.result(PATIENCE) if isinstance(one, Future) else one for one in outcomes])

        answers = in_threads([lambda pair=pair: carry_out(*pair) for pair in enumerate(plans)])
        group.close()
        expected = [[f"{thread}-{index}" for index in range(len(plan))] for thread, plan in enumerate(plans)]
        assert answers == expected
        assert sorted(storage.written) == sorted(name for mine in expected for name in mine)
        assert all(len(batch) <= max_batch for batch in storage.batches)

    @pytest.mark.slow
    def test_stress(self) -> None:
        """Thirty-two threads and thousands of items: all acknowledged exactly once, in fewer writes than items."""
        storage = FakeStorage()
        group = GroupCommit(storage, max_batch=100)

        def work(thread: int) -> list[str]:
            futures: list[Future[Outcome]] = []
            for index in range(100):
                futures.append(group.commit_soon(item(f"{thread}-{index}")))
                group.commit(item(f"{thread}-{index}-waited"))
            return names([future.result(PATIENCE) for future in futures])

        results = in_threads([lambda thread=thread: work(thread) for thread in range(32)])
        group.close()
        assert results == [[f"{thread}-{index}" for index in range(100)] for thread in range(32)]
        assert len(storage.written) == len(set(storage.written)) == 6400
        assert len(storage.batches) < 6400


class TestLeading:
    def test_a_waiting_caller_leads_for_others(self, pool: ThreadPoolExecutor) -> None:
        """A blocking caller leads, at any place in the queue: that saves a thread hop."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        callers = [pool.submit(group.commit, item("a"))]
        storage.entered()
        callers.append(group.commit_soon(item("b")))
        callers.append(pool.submit(group.commit, item("c")))
        queued(group, 2)
        storage.go(2)
        assert names([caller.result(PATIENCE) for caller in callers]) == ["a", "b", "c"]
        assert storage.batches == [["a"], ["b", "c"]]
        assert all(name.startswith("caller") for name in storage.threads)

    def test_the_background_leads_without_waiting_callers(self, pool: ThreadPoolExecutor) -> None:
        """A blocking caller does its own write and returns; the background thread writes the rest."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        caller = pool.submit(group.commit, item("a"))
        storage.entered()
        future = group.commit_soon(item("b"))
        storage.go()
        assert names([caller.result(PATIENCE)]) == ["a"]
        assert not future.done()
        storage.go()
        assert names([future.result(PATIENCE)]) == ["b"]
        assert [name.partition("_")[0] for name in storage.threads] == ["caller", BACKGROUND]

    def test_a_waiting_caller_leads_until_its_turn_comes(self, pool: ThreadPoolExecutor) -> None:
        """In a queue that is longer than a write, a caller leads several writes and still gets its answer."""
        storage = HeldStorage()
        group = GroupCommit(storage, max_batch=1)
        futures = [group.commit_soon(item("first"))]
        storage.entered()
        futures += [group.commit_soon(item(number)) for number in range(3)]
        futures.append(pool.submit(group.commit, item("waits")))
        queued(group, 4)
        futures.append(group.commit_soon(item("last")))
        storage.go(6)
        assert names([future.result(PATIENCE) for future in futures]) == ["first", "0", "1", "2", "waits", "last"]
        assert storage.batches == [["first"], ["0"], ["1"], ["2"], ["waits"], ["last"]]
        assert all(name.startswith("caller") for name in storage.threads[1:5])

    def test_a_callback_may_commit_and_wait(self) -> None:
        """The callback of a future may submit and wait, although the queue waits for its thread."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        nested: list[Outcome] = []
        done = Event()

        def then(_: Future[Outcome]) -> None:
            nested.append(group.commit(item("nested")))
            done.set()

        first = group.commit_soon(item("first"))
        storage.entered()
        first.add_done_callback(then)
        second = group.commit_soon(item("second"))
        storage.go(3)
        assert done.wait(PATIENCE)
        assert names([*nested, second.result(PATIENCE)]) == ["nested", "second"]

    def test_the_callbacks_of_two_leaders_may_wait_at_once(self, pool: ThreadPoolExecutor) -> None:
        """A caller that leads for others completes their futures, and is not delayed when the callbacks wait for a
        write.
        """
        storage = HeldStorage()
        group = GroupCommit(storage)
        nested: list[Outcome] = []

        def then(_: Future[Outcome]) -> None:
            nested.append(group.commit(item("nested")))

        caller = pool.submit(group.commit, item("a"))
        storage.entered()
        group.commit_soon(item("b")).add_done_callback(then)
        other = pool.submit(group.commit, item("c"))
        queued(group, 2)
        storage.go()
        storage.entered()
        group.commit_soon(item("d")).add_done_callback(then)
        storage.go(10)
        assert names([caller.result(PATIENCE), other.result(PATIENCE)]) == ["a", "c"]
        eventually(lambda: len(nested) == 2)
        group.close()
        assert sorted(storage.written) == ["a", "b", "c", "d", "nested", "nested"]


class TestFailing:
    def test_a_bad_item_fails_alone(self, pool: ThreadPoolExecutor) -> None:
        """An item that the storage refuses does not affect the other items of the write."""

        def refuse(batch: list[str]) -> None:
            if "bad" in batch:
                raise ValueError("no room for the bad")

        storage = HeldStorage(refuse)
        group = GroupCommit(storage)
        callers = [pool.submit(group.commit, item("first"))]
        storage.entered()
        callers += [group.commit_soon(item(name)) for name in ("good", "bad", "fine")]
        storage.go(10)
        with pytest.raises(ValueError, match="no room"):
            callers[2].result(PATIENCE)
        others = [callers[0], callers[1], callers[3]]
        assert names([caller.result(PATIENCE) for caller in others]) == ["first", "good", "fine"]

    def test_a_bad_single_item_is_written_once(self) -> None:
        """A failed write of one item is not repeated."""

        def refuse(batch: list[str]) -> None:
            raise ValueError(batch)

        storage = FakeStorage(refuse)
        group = GroupCommit(storage)
        with pytest.raises(ValueError, match="a"):
            group.commit(item("a"))
        with pytest.raises(ValueError, match="b"):
            group.commit_soon(item("b")).result(PATIENCE)
        assert storage.written == ["a", "b"]

    @pytest.mark.parametrize("error", [StorageUnavailable("away"), StorageClosed("shut")])
    def test_an_unavailable_storage_fails_the_batch(self, error: StorageError) -> None:
        """Writing each item alone would only take longer; afterwards the queue continues."""

        def refuse(batch: list[str]) -> None:
            if "a" in batch:
                raise error

        storage = HeldStorage(refuse)
        group = GroupCommit(storage)
        futures = [group.commit_soon(item("first"))]
        storage.entered()
        futures += [group.commit_soon(item(name)) for name in "abc"]
        storage.go(3)
        for future in futures[1:]:
            assert future.exception(PATIENCE) is error
        assert names([futures[0].result(PATIENCE), group.commit(item("next"))]) == ["first", "next"]
        assert storage.batches == [["first"], ["a", "b", "c"], ["next"]]

    @pytest.mark.parametrize("error", [StorageUnavailable("away"), StorageClosed("shut")])
    def test_writing_each_alone_ends_when_the_storage_is_unavailable(self, error: StorageError) -> None:
        """No item waits for a storage for which another item has just waited in vain."""

        def refuse(batch: list[str]) -> None:
            if len(batch) > 1:
                raise ValueError(batch)
            if "b" in batch:
                raise error

        storage = HeldStorage(refuse)
        group = GroupCommit(storage)
        futures = [group.commit_soon(item("first"))]
        storage.entered()
        futures += [group.commit_soon(item(name)) for name in "abcd"]
        storage.go(4)
        assert names([futures[1].result(PATIENCE)]) == ["a"]
        assert [future.exception(PATIENCE) for future in futures[2:]] == [error] * 3
        assert storage.batches == [["first"], ["a", "b", "c", "d"], ["a"], ["b"]]

    @pytest.mark.parametrize("outcomes", [[], [Stored(a_feedback())] * 3])
    def test_a_storage_that_miscounts(self, outcomes: list[Outcome]) -> None:
        """A storage must return one outcome for each item; otherwise all callers get an error."""
        storage = HeldStorage()

        def write(items: Sequence[Accepted]) -> Sequence[Outcome]:
            storage(items)
            return outcomes

        group = GroupCommit(write)
        futures = [group.commit_soon(item("a"))]
        storage.entered()
        futures += [group.commit_soon(item("b")), group.commit_soon(item("c"))]
        storage.go(100)
        for future in futures:
            assert isinstance(future.exception(PATIENCE), StorageError)
        with pytest.raises(StorageError, match=f"returned {len(outcomes)} outcomes for 1 items"):
            group.commit(item("d"))

    @pytest.mark.parametrize("waits", [True, False])
    def test_an_exit_during_a_shared_write(self, pool: ThreadPoolExecutor, *, waits: bool) -> None:
        """The outcome of an interrupted write is unknown to all its callers, and the next write has a leader."""

        def refuse(batch: list[str]) -> None:
            if "b" in batch:
                raise KeyboardInterrupt

        storage = HeldStorage(refuse)
        group = GroupCommit(storage)
        callers = [pool.submit(group.commit, item("a"))]
        storage.entered()
        callers += [group.commit_soon(item("b")), group.commit_soon(item("c"))]
        if waits:
            callers.append(pool.submit(group.commit, item("d")))
            queued(group, 3)
        storage.go(10)
        for caller in callers[1:3]:
            assert isinstance(caller.exception(PATIENCE), StorageUnavailable)
        assert all(isinstance(leader.exception(PATIENCE), KeyboardInterrupt) for leader in callers[3:])
        assert names([callers[0].result(PATIENCE), group.commit(item("next"))]) == ["a", "next"]

    def test_an_exit_during_a_single_write(self) -> None:
        """After an interrupted write of a single caller, the next caller can lead."""
        storage = FakeStorage(lambda batch: sys.exit() if batch == ["a"] else None)
        group = GroupCommit(storage)
        with pytest.raises(SystemExit):
            group.commit(item("a"))
        assert names([group.commit(item("b"))]) == ["b"]


class TestListening:
    """Listeners are called after each write, and do not affect its callers."""

    def test_each_write_is_reported(self, pool: ThreadPoolExecutor) -> None:
        """A listener gets the size of every write: of a single caller, a shared one, and one in the background."""
        storage = HeldStorage()
        group = GroupCommit(storage, max_batch=4)
        heard: list[int] = []
        group.on_write(heard.append)
        storage.go()
        group.commit(item("alone"))
        assert heard == [1]
        storage.entered()
        callers = [pool.submit(group.commit, item("first"))]
        storage.entered()
        callers += [pool.submit(group.commit, item(number)) for number in range(3)]
        queued(group, 3)
        futures = [group.commit_soon(item(f"soon {number}")) for number in range(2)]
        storage.go(3)
        names([one.result(PATIENCE) for one in (*callers, *futures)])
        eventually(lambda: len(heard) == len(storage.batches))
        assert sorted(heard) == sorted(len(batch) for batch in storage.batches) == [1, 1, 1, 4]

    def test_a_failed_write_is_reported_once(self) -> None:
        """A batch that is written item by item, or that fails, is one write for a listener."""

        def refuse(batch: list[str]) -> None:
            if "bad" in batch:
                raise ValueError(batch)

        storage = HeldStorage(refuse)
        group = GroupCommit(storage)
        heard: list[int] = []
        group.on_write(heard.append)
        first = group.commit_soon(item("first"))
        storage.entered()
        futures = [group.commit_soon(item("bad")), group.commit_soon(item("good"))]
        storage.go(10)
        assert isinstance(futures[0].exception(PATIENCE), ValueError)
        assert names([first.result(PATIENCE), futures[1].result(PATIENCE)]) == ["first", "good"]
        with pytest.raises(ValueError, match="bad"):
            group.commit(item("bad"))
        eventually(lambda: len(heard) == 3)
        assert sorted(heard) == [1, 1, 2]

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 4))
    def test_sizes_add_up(self, plans: list[int], max_batch: int) -> None:
        """The sum of the reported sizes is the number of submissions."""
        heard: list[int] = []
        with connect("memory://", max_batch=max_batch) as hk:
            hk.collection.on_write(heard.append)
            in_threads([lambda many=many: [hk.submit("s", "up") for _ in range(many)] for many in plans])
            assert hk.collection.waiting == 0
            eventually(lambda: sum(heard) >= sum(plans))
        assert sum(heard) == sum(plans)
        assert max(heard) <= max_batch

    def test_a_listener_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """The error is logged; the submission is answered, and all listeners are called again for the next write."""
        heard: list[int] = []

        def fail(size: int) -> None:
            raise ValueError(f"cannot count {size}")

        with connect("memory://") as hk:
            hk.collection.on_write(fail)
            hk.collection.on_write(heard.append)
            for _ in range(2):
                assert not hk.submit("s", "up").duplicate
            assert not hk.submit_soon("s", "up").result(PATIENCE).duplicate
            eventually(lambda: len(heard) == 3)
        assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["cannot count 1"] * 3

    def test_callers_are_answered_before_listeners_are_called(self, pool: ThreadPoolExecutor) -> None:
        """A slow listener delays neither the callers of its write nor the next write."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        release, entered = Event(), Event()

        def wait(size: int) -> None:
            if size == 2:
                entered.set()
                assert release.wait(PATIENCE)

        group.on_write(wait)
        first = group.commit_soon(item("first"))
        storage.entered()
        futures = [group.commit_soon(item("a")), group.commit_soon(item("b"))]
        storage.go(10)
        assert entered.wait(PATIENCE)
        assert names([future.result(PATIENCE) for future in (first, *futures)]) == ["first", "a", "b"]
        assert names([pool.submit(group.commit, item("next")).result(PATIENCE)]) == ["next"]
        release.set()
        group.close()

    @pytest.mark.parametrize("soon", [False, True])
    def test_a_listener_may_submit_and_close(self, *, soon: bool) -> None:
        """A listener runs outside the write: its submissions are written, and it can close without waiting."""
        storage = FakeStorage()
        group = GroupCommit(storage)
        done = Event()

        def again(_: int) -> None:
            if len(storage.batches) < 3:
                group.commit(item("again"))
            else:
                group.close()
                done.set()

        group.on_write(again)
        assert names([group.commit_soon(item("a")).result(PATIENCE) if soon else group.commit(item("a"))]) == ["a"]
        assert done.wait(PATIENCE)
        assert storage.written == ["a", "again", "again"]
        with pytest.raises(StorageClosed):
            group.commit(item("late"))

    def test_waiting(self, pool: ThreadPoolExecutor) -> None:
        """Queued items count as waiting; those that are being written, or are written, do not."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        assert group.waiting == 0
        callers = [pool.submit(group.commit, item("first"))]
        storage.entered()
        assert group.waiting == 0
        callers += [group.commit_soon(item(number)) for number in range(3)]
        assert group.waiting == 3
        callers.append(pool.submit(group.commit, item("waits")))
        eventually(lambda: group.waiting == 4)
        storage.go(10)
        assert len(names([caller.result(PATIENCE) for caller in callers])) == 5
        assert group.waiting == 0


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), CancelledError()])
class TestCallbacksThatExit:
    """A future catches only an ``Exception`` of a callback; other exceptions must not end a thread that others need."""

    @pytest.mark.parametrize("waiting", [0, 1, 3])
    def test_every_caller_of_the_batch_is_answered(
        self, error: BaseException, waiting: int, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, and all others are answered; no caller gets an exception of another one."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        first = pool.submit(group.commit, item("first"))
        storage.entered()
        bad = group.commit_soon(item("bad"))
        bad.add_done_callback(raising(error))
        futures = [first, bad, group.commit_soon(item("good"))]
        callers = [pool.submit(group.commit, item(number)) for number in range(waiting)]
        queued(group, 2 + waiting)
        storage.go(10)
        assert names([future.result(PATIENCE) for future in futures]) == ["first", "bad", "good"]
        assert names([caller.result(PATIENCE) for caller in callers]) == [str(number) for number in range(waiting)]
        eventually(lambda: "all submissions are answered" in caplog.text)
        assert names([group.commit(item("next"))]) == ["next"]
        group.close()
        assert len(storage.batches) == 3

    def test_a_listener_that_exits(self, error: BaseException, pool: ThreadPoolExecutor) -> None:
        """Every caller in the batch is answered, all other listeners are called, and then the leader raises the
        exception.
        """
        storage = HeldStorage()
        group = GroupCommit(storage)
        heard: list[int] = []

        def leave(size: int) -> None:
            if size == 2:
                raise error

        group.on_write(leave)
        group.on_write(heard.append)
        first = pool.submit(group.commit, item("first"))
        storage.entered()
        soon = group.commit_soon(item("soon"))
        leader = pool.submit(group.commit, item("leader"))
        queued(group, 2)
        storage.go(10)
        assert leader.exception(PATIENCE) is error
        assert names([first.result(PATIENCE), soon.result(PATIENCE)]) == ["first", "soon"]
        assert names([group.commit(item("next"))]) == ["next"]
        assert sorted(heard) == [1, 1, 2]
        assert storage.written == ["first", "soon", "leader", "next"]

    def test_a_listener_that_exits_after_a_single_write(self, error: BaseException) -> None:
        """The call raises the exception, as with Ctrl-C; the item is written, and so is the next one."""
        storage = FakeStorage()
        group = GroupCommit(storage)
        errors = [error]

        def leave(_: int) -> None:
            if errors:
                raise errors.pop()

        group.on_write(leave)
        with pytest.raises(type(error)):
            group.commit(item("a"))
        assert names([group.commit(item("b"))]) == ["b"]
        assert storage.written == ["a", "b"]

    def test_callers_do_not_wait_for_callbacks(self, error: BaseException, pool: ThreadPoolExecutor) -> None:
        """A callback may block: it runs in the background, and callers get their results."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        release = Event()

        def then(_: Future[Outcome]) -> None:
            assert release.wait(PATIENCE)
            raise error

        first = pool.submit(group.commit, item("first"))
        storage.entered()
        group.commit_soon(item("slow")).add_done_callback(then)
        callers = [pool.submit(group.commit, item(number)) for number in range(2)]
        queued(group, 3)
        storage.go(10)
        assert names([caller.result(PATIENCE) for caller in callers]) == ["0", "1"]
        release.set()
        assert names([first.result(PATIENCE)]) == ["first"]

    def test_without_threads_the_queue_is_written_first(
        self, error: BaseException, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If no other thread can lead, the leader writes all queued items and raises then."""
        storage = HeldStorage()
        group = GroupCommit(storage, max_batch=1)
        monkeypatch.setattr(group, "_poke", lambda: False)
        caller = pool.submit(group.commit, item("first"))
        storage.entered()
        futures = [group.commit_soon(item(name)) for name in ("bad", "good", "fine")]
        futures[0].add_done_callback(raising(error))
        storage.go(10)
        assert caller.exception(PATIENCE) is error
        assert names([future.result(PATIENCE) for future in futures]) == ["bad", "good", "fine"]
        assert names([group.commit(item("next"))]) == ["next"]

    def test_ctrl_c_before_a_future_is_done(self, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        """An interrupt while results are delivered does not lose a result."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        first = group.commit_soon(item("first"))
        storage.entered()
        futures = [group.commit_soon(item("a")), group.commit_soon(item("b"))]
        whole, errors = futures[0].set_result, [error]

        def interrupted(outcome: Outcome) -> None:
            if errors:
                raise errors.pop()
            whole(outcome)

        monkeypatch.setattr(futures[0], "set_result", interrupted)
        storage.go(10)
        assert names([future.result(PATIENCE) for future in (first, *futures)]) == ["first", "a", "b"]

    def test_a_whole_harken(self, error: BaseException) -> None:
        """Submissions are answered despite a callback that exits, and despite a middleware that exits."""

        def leave(submission: Submission) -> Generator[Submission, Receipt, None]:
            yield submission
            if submission.comment == "leave":
                raise error

        with connect("memory://", middleware=[leave]) as hk:
            futures = [hk.submit_soon("s", "up", comment) for comment in ("leave", "", "leave", "")]
            for future in futures:
                with suppress(type(error)):  # a callback that comes late runs here
                    future.add_done_callback(raising(error))
            assert all(future.result(PATIENCE).feedback for future in futures)


class TestClosingInACallback:
    """A callback often runs in the background thread, which cannot join itself."""

    @pytest.mark.parametrize("threads_left", [False, True])
    def test_what_is_queued_is_written(self, threads_left: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Closing writes the items that were queued for the closing thread; afterwards everything is refused."""
        storage = HeldStorage()
        group = GroupCommit(storage, max_batch=1)
        done: list[bool] = []
        closed = Event()

        def close(_: Future[Outcome]) -> None:
            group.close()
            done.extend(future.done() for future in futures)
            closed.set()

        first = group.commit_soon(item("first"))
        first.add_done_callback(close)
        storage.entered()
        futures = [group.commit_soon(item(name)) for name in "abc"]
        if not threads_left:
            monkeypatch.setattr(group, "_poke", lambda: False)
        storage.go(10)
        assert closed.wait(PATIENCE)
        assert done == [True, True, True]
        assert storage.written == ["first", "a", "b", "c"]
        for commit in (group.commit, group.commit_soon):
            with pytest.raises(StorageClosed, match="closed"):
                commit(item("late"))
        group.close()

    def test_a_whole_harken(self, tmp_path: Path) -> None:
        """Harken closes its storage too, and the submissions are stored when it is opened again."""
        url = f"sqlite:///{tmp_path / 'feedback.db'}"
        raised: list[BaseException | None] = []
        closed = Event()
        hold = Event()

        def watch(submission: Submission) -> Generator[Submission, Receipt, None]:
            yield submission
            assert hold.wait(PATIENCE)

        hk = connect(url, middleware=[watch])

        def close(_: Future[Receipt]) -> None:
            try:
                hk.close()
                raised.append(None)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                raised.append(error)
            closed.set()

        futures = [hk.submit_soon("s", "up") for _ in range(5)]
        futures[0].add_done_callback(close)
        hold.set()
        assert closed.wait(PATIENCE)
        assert raised == [None]
        assert len({future.result(PATIENCE).feedback.id for future in futures}) == 5
        assert isinstance(hk.submit_soon("s", "up").exception(PATIENCE), StorageClosed)
        hk.close()
        with connect(url) as again:
            assert len(again.feedback().items) == 5


class TestBounds:
    def test_a_full_queue_refuses(self) -> None:
        """An item above the limit is refused at once and not stored; the queued items are written."""
        storage = HeldStorage()
        group = GroupCommit(storage, max_queue=2)
        futures = [group.commit_soon(item("a"))]
        storage.entered()
        futures += [group.commit_soon(item("b")), group.commit_soon(item("c"))]
        with pytest.raises(Overloaded, match="2 submissions wait"):
            group.commit_soon(item("d"))
        with pytest.raises(Overloaded, match="nothing was stored"):
            group.commit(item("e"))
        storage.go(10)
        assert names([future.result(PATIENCE) for future in futures]) == ["a", "b", "c"]
        assert names([group.commit(item("f"))]) == ["f"]
        assert storage.written == ["a", "b", "c", "f"]

    def test_large_extras_fill_the_queue(self) -> None:
        """The queue refuses extras that would not fit into memory, also if few submissions wait, but no small ones."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        futures = [group.commit_soon(item("first"))]
        storage.entered()
        large = "x" * (MAX_WAITING_EXTRAS // 20)
        futures += [group.commit_soon(evolve(item(number), extras=large)) for number in range(20)]
        with pytest.raises(Overloaded, match="256 MB of extras would wait to be written; nothing was stored"):
            group.commit(evolve(item("more"), extras=large))
        futures.append(group.commit_soon(evolve(item("small"), extras="x")))
        storage.go(30)
        assert [future.result(PATIENCE) for future in futures]
        group.commit(evolve(item("more"), extras=large))
        assert len(storage.written) == 23

    def test_a_signal_handler_may_submit_or_close(self) -> None:
        """A signal handler that submits during its own thread's write is refused, and one that closes returns; the
        write continues.
        """
        seen: list[object] = []

        def write(items: Sequence[Accepted]) -> Sequence[Outcome]:
            # As a signal handler does, in the middle of a write.
            for call in (lambda: group.commit(item("b")), lambda: group.commit_soon(item("c"))):
                with pytest.raises(StorageUnavailable, match="signal handler"):
                    call()
            group.close()
            seen.append("closed")
            return [Stored(one.feedback) for one in items]

        group = GroupCommit(write)
        assert names([group.commit(item("a"))]) == ["a"]
        assert seen == ["closed"]
        with pytest.raises(StorageClosed):
            group.commit(item("d"))
        group.close()

    def test_slow_callbacks_fill_the_queue(self) -> None:
        """Items that wait for callbacks use memory like queued ones, and are limited together with them."""
        group = GroupCommit(FakeStorage(), max_queue=3)
        begun, end = Event(), Event()

        def hold(_: object) -> None:
            begun.set()
            assert end.wait(PATIENCE)

        group.commit_soon(item("slow"), hold)
        assert begun.wait(PATIENCE)
        for number in range(3):
            group.commit_soon(item(number))
            # Written by this caller, so that only their callbacks are pending.
            group.commit(item("mine"))
        with pytest.raises(Overloaded, match="3 submissions wait"):
            group.commit_soon(item("more"))
        end.set()
        group.close()

    def test_callbacks_take_turns(self, pool: ThreadPoolExecutor) -> None:
        """With any number of callers of an idle group, one thread completes their futures."""
        for _ in range(20):
            group = GroupCommit(FakeStorage())
            running, most = [0], [0]

            def call(_: object, running: list[int] = running, most: list[int] = most) -> None:
                running[0] += 1
                most[0] = max(most[0], running[0])
                # Lets other threads run.
                Event().wait(0.0001)
                running[0] -= 1

            barrier = Barrier(4)

            def commit(group: GroupCommit = group, barrier: Barrier = barrier, call: Any = call) -> None:
                barrier.wait(PATIENCE)
                for number in range(5):
                    group.commit_soon(item(number), call)

            for done in [pool.submit(commit) for _ in range(4)]:
                done.result(PATIENCE)
            group.close()
            assert most == [1]

    def test_closing_drains_and_then_refuses(self, pool: ThreadPoolExecutor) -> None:
        """Accepted callers are answered before close returns; later ones are refused; close may be called twice."""
        storage = HeldStorage()
        group = GroupCommit(storage, max_batch=2)
        futures = [group.commit_soon(item("a"))]
        storage.entered()
        futures += [group.commit_soon(item(name)) for name in "bcd"]
        closing = pool.submit(group.close)
        eventually(lambda: group._closed)
        for commit in (group.commit, group.commit_soon):
            with pytest.raises(StorageClosed, match="closed"):
                commit(item("late"))
        assert not closing.done()
        storage.go(10)
        closing.result(PATIENCE)
        assert all(future.done() for future in futures)
        assert storage.written == ["a", "b", "c", "d"]
        group.close()

    def test_the_caller_writes_if_no_thread_can_be_started(
        self, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If the interpreter is shutting down, the caller writes the queued items before the call returns."""
        storage = HeldStorage()
        group = GroupCommit(storage, max_batch=2)
        pool.submit(int).result()  # the pool's thread, before there are no more
        monkeypatch.setattr(group, "_poke", lambda: False)
        storage.go()
        alone = group.commit_soon(item("alone"))
        assert alone.done()
        storage.entered()
        caller = pool.submit(group.commit, item("a"))
        storage.entered()
        futures = [group.commit_soon(item(name)) for name in "bcd"]
        storage.go(3)
        assert names([caller.result(PATIENCE)]) == ["a"]
        assert all(future.done() for future in futures)
        assert storage.batches == [["alone"], ["a"], ["b", "c"], ["d"]]
        group.close()

    def test_nothing_is_lost_at_exit(self) -> None:
        """A program that ends right after its last call has all queued items written."""
        program = """
import sys
from concurrent.futures import thread
from threading import Barrier, Event
from harken.domain.feedback import Content, Feedback, Rating, Target
from harken.ports.repository import Accepted, Stored
from harken.services.feedback.group_commit import GroupCommit
from datetime import UTC, datetime

def write(items):
    while not thread._shutdown:
        Event().wait(0.001)
    sys.stdout.write("".join(item.feedback.id for item in items))
    return [Stored(item.feedback) for item in items]

group = GroupCommit(write, max_batch=1)
for name in "abcde":
    now = datetime.now(UTC)
    feedback = Feedback(id=name, target=Target("s"), content=Content(Rating.UP), created_at=now, updated_at=now)
    group.commit_soon(Accepted(feedback))
"""
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (ended.stdout, ended.stderr, ended.returncode) == ("abcde", "", 0)


def in_child(call: Callable[[], object]) -> str:
    """The outcome of a call in a forked child: the name of its result or exception."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - in another process, which leaves no traces
        signal.alarm(int(PATIENCE))
        try:
            result = repr(call())
        except BaseException as error:  # noqa: BLE001 - the parent looks at it
            result = type(error).__name__
        os.write(writer, result.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return result


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestForked:
    def test_a_child_is_refused(self) -> None:
        """A forked child shares no lock and no connection with its parent, and gets an error; the parent continues."""
        storage = FakeStorage()
        group = GroupCommit(storage)
        assert in_child(lambda: group.commit(item("a"))) == "StorageClosed"
        assert in_child(lambda: group.commit_soon(item("a"))) == "StorageClosed"
        assert names([group.commit(item("b"))]) == ["b"]
        assert storage.written == ["b"]

    def test_a_child_can_close(self) -> None:
        """A child may leave its with block, even if its parent was writing at the fork."""
        storage = HeldStorage()
        group = GroupCommit(storage)
        future = group.commit_soon(item("a"))
        storage.entered()
        assert in_child(group.close) == "None"
        assert in_child(lambda: group.commit(item("b"))) == "StorageClosed"
        storage.go()
        assert names([future.result(PATIENCE)]) == ["a"]

"""The facade for asyncio: nothing blocks the event loop, calls can be cancelled, and closing waits for them.

``test_facade.py`` runs the tests of the facade through it.
"""

import asyncio
import gc
import inspect
import logging
import os
import random
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from threading import Event, get_ident
from typing import Any, cast

import pytest

import harken
from driving import LOOPS, LoopFactory, run
from harken import (
    AsyncHarken,
    Change,
    ConfigurationError,
    Cursor,
    FeedbackNotFound,
    FeedbackRejected,
    Harken,
    InvalidQuery,
    Overloaded,
    Receipt,
    Sentiment,
    StorageClosed,
    StorageUnavailable,
    Submission,
)
from harken.asynchronous import AsyncEvents
from harken.ports.storage import Storage
from harken.services.feed import MAX_LISTENERS, Missed, News, Place
from harken.testing import Faults
from harken_adapters.storage.memory import open_storage
from services.test_forks import run_in_child
from support import PATIENCE, ManualClock, eventually

#: Methods of the facade that do not block, and one that ``submit`` replaces.
ONLY_SYNCHRONOUS = {"on_close", "query", "submit_soon"}
ONLY_ASYNCHRONOUS = {"iterate_sync", "run_sync"}


@pytest.fixture(params=LOOPS.values(), ids=LOOPS.keys())
def loop(request: pytest.FixtureRequest) -> LoopFactory:
    """Creates an event loop of each kind."""
    return cast("LoopFactory", request.param)


class Watched(Faults):
    """Calls a function before each call to a storage, in the thread of the call."""

    def __init__(self, before: Callable[[str], object]) -> None:
        super().__init__()
        self.before = before

    def call(self, name: str, work: Callable[[], Any]) -> Any:
        self.before(name)
        return super().call(name, work)


class Hanging:
    """Lets calls hang until they are released, and counts them."""

    def __init__(self) -> None:
        self.released = Event()
        self.begun = 0
        self._lock = threading.Lock()

    def __call__(self, *_: object) -> str:
        with self._lock:
            self.begun += 1
        assert self.released.wait(PATIENCE)
        return "done"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Calls that hang, until the end of the test at the latest."""
    calls = Hanging()
    yield calls
    calls.released.set()


@contextmanager
def watched(before: Callable[[str], object], **arguments: Any) -> Iterator[Harken]:
    """A Harken on a memory storage, with a function that is called before each call to the storage."""
    with open_storage() as storage:
        yield harken.connect(Watched(before).around(storage), **arguments)


def public_methods(kind: type) -> set[str]:
    """The names of the public methods of a class."""
    return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds, without blocking the event loop."""
    while not condition():
        await asyncio.sleep(0.001)


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


class TestTheSameFacade:
    def test_the_same_methods(self) -> None:
        """Each method of the facade is there under its name; new ones must be added to both, or listed above."""
        assert public_methods(AsyncHarken) - ONLY_ASYNCHRONOUS == public_methods(Harken) - ONLY_SYNCHRONOUS

    def test_the_same_parameters(self) -> None:
        """Each method takes the same parameters, with the same defaults, and is awaited or iterated over."""
        for name in public_methods(Harken) - ONLY_SYNCHRONOUS:
            method, original = getattr(AsyncHarken, name), getattr(Harken, name)
            assert _parameters(method) == _parameters(original), name
            assert inspect.iscoroutinefunction(method) or name in ("events", "export"), name
            assert method.__doc__

    def test_subclasses_of_the_facade(self) -> None:
        """Overridden methods of a subclass are called."""

        class Fixed(Harken):
            def votes(self, *_: Any, **__: Any) -> list[Any]:
                return ["mine"]

        with harken.connect("memory://") as hk:
            hk.__class__ = Fixed
            assert run(AsyncHarken(hk).votes("s", author="ann")) == ["mine"]


class TestTheLoopIsNotBlocked:
    def test_no_call_to_the_storage_is_made_in_the_loop(self, loop: LoopFactory) -> None:
        """Connecting, all methods, services and closing call the storage and all parts in other threads."""
        seen: dict[str, set[int]] = {}

        def note(name: str) -> None:
            seen.setdefault(name, set()).add(get_ident())

        class Parts:
            def sanitize(self, text: str) -> str:
                note("sanitize")
                return text

            def is_spam(self, submission: Submission) -> bool:
                note("is_spam")
                return False

            def analyze(self, text: str) -> Sentiment:
                note("analyze")
                return Sentiment(0.0, 0.0)

        def middleware(submission: Submission) -> Generator[Submission, Receipt, None]:
            note("middleware")
            yield submission
            note("middleware, after")

        async def main(storage: Storage) -> None:
            parts: Any = Parts()
            async with harken.connect_async(
                Watched(note).around(storage),
                sanitizer=parts,
                spam_filter=parts,
                sentiment_analyzer=parts,
                middleware=[middleware],
            ) as hk:
                hk.sync.on_close(lambda: note("close"))
                one = (await hk.submit("s", "down", "Slow", agent_id="a")).feedback
                await hk.vote("s", "up", "Good", author="ann")
                await hk.votes("s", author="ann")
                await hk.change(one.id, Change(comment="Very slow"))
                await hk.get(one.id)
                await hk.feedback()
                assert [entry.session_id async for entry in hk.export()] == ["s", "s"]
                await hk.summary()
                await hk.groups("agent")
                await hk.trend("day")
                await hk.themes()
                await hk.themes("slow")
                await hk.estimate()
                await hk.compare({"agent_id": "a"}, {"agent_id": "b"})
                await hk.compare_to_previous(since=one.created_at)
                await hk.compare_groups("agent")
                await hk.heat_map()
                await hk.headline()
                await hk.reasons()
                await hk.ranking()
                await hk.facets()
                await hk.changes()
                await hk.check()
                await hk.rebuild()
                await hk.index_comments()
                await hk.start_relay()
                await hk.withdraw(one.id)
                await hk.withdraw_vote("s", author="ann")
                await hk.run_sync(hk.sync.moderation.queue, hk.sync.query())
                assert [one async for one in hk.iterate_sync(hk.sync.conversations.stream, "default", "s", "a")] == []

        with open_storage() as storage:
            run(main(storage), loop)
        assert {"sanitize", "is_spam", "analyze", "middleware", "middleware, after", "close"} <= seen.keys()
        assert len(seen) > 20
        assert [name for name, threads in seen.items() if get_ident() in threads] == []

    @pytest.mark.parametrize("fast", ["submit", "vote", "votes", "feedback"])
    def test_a_thousand_slow_statistics(self, loop: LoopFactory, hanging: Hanging, fast: str) -> None:
        """While a thousand statistics hang, the same application submits and reads, and others have statistics."""
        calls: dict[str, Callable[[AsyncHarken], Any]] = {
            "submit": lambda hk: hk.submit("s", "up"),
            "vote": lambda hk: hk.vote("s", "up", author="ann"),
            "votes": lambda hk: hk.votes("s", author="ann"),
            "feedback": lambda hk: hk.feedback(),
        }

        async def main(hk: AsyncHarken) -> None:
            async with hk, asyncio.TaskGroup() as group:
                slow = [group.create_task(hk.run_sync(hanging)) for _ in range(1_000)]
                await until(lambda: hanging.begun)
                await asyncio.gather(*(calls[fast](hk) for _ in range(100)))
                assert (await hk.summary(application="other")).total == 0
                assert not any(one.done() for one in slow)
                hanging.released.set()

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        assert hanging.begun == 1_000

    def test_one_application_does_not_delay_others(self, loop: LoopFactory, hanging: Hanging) -> None:
        """While the storage hangs for all votes of one application, others vote."""

        def before(_: str) -> None:
            if greedy.get():
                hanging()

        greedy = ContextVar("greedy", default=False)

        async def vote_greedily(hk: AsyncHarken, number: int) -> None:
            greedy.set(True)
            await hk.votes("s", author=f"author-{number}", application="greedy")

        async def main(hk: AsyncHarken) -> None:
            async with hk, asyncio.TaskGroup() as group:
                slow = [group.create_task(vote_greedily(hk, number)) for number in range(100)]
                await until(lambda: hanging.begun)
                for _ in range(20):
                    assert await hk.votes("s", author="ann", application="modest") == []
                assert not any(one.done() for one in slow)
                hanging.released.set()

        with watched(before) as hk:
            run(main(AsyncHarken(hk)), loop)

    def test_submissions_share_writes(self, loop: LoopFactory) -> None:
        """Submissions that are awaited at the same time are written together, not one in each thread."""
        writes: list[int] = []

        async def main(hk: AsyncHarken) -> None:
            async with hk:
                await asyncio.gather(*(hk.submit(f"s{number}", "up") for number in range(1_000)))
                assert (await hk.summary()).total == 1_000

        hk = harken.connect("memory://")
        hk.collection.on_write(writes.append)
        run(main(AsyncHarken(hk)), loop)
        assert sum(writes) == 1_000
        assert len(writes) < 500


class TestCalls:
    def test_context_variables(self) -> None:
        """Middleware and functions see the context variables of the task, such as a request id or a trace."""
        request = ContextVar("request", default="none")
        seen: list[str] = []

        def middleware(submission: Submission) -> Generator[Submission, Receipt, None]:
            seen.append(request.get())
            yield submission

        async def handle(hk: AsyncHarken, name: str) -> None:
            request.set(name)
            await hk.submit("s", "up")
            await hk.vote("s", "up", author=name)
            assert await hk.run_sync(request.get) == name

        async def main() -> None:
            async with harken.connect_async("memory://", middleware=[middleware]) as hk:
                await asyncio.gather(handle(hk, "one"), handle(hk, "two"))

        run(main())
        assert sorted(seen) == ["one", "one", "two", "two"]

    def test_errors(self, loop: LoopFactory) -> None:
        """Errors have their type, their attributes, and the traceback of the call that raised them."""

        async def main() -> None:
            async with harken.connect_async("memory://") as hk:
                with pytest.raises(FeedbackRejected) as rejected:
                    await hk.submit("", "down")
                assert [one.field for one in rejected.value.violations] == ["session_id", "comment"]
                with pytest.raises(FeedbackNotFound) as missing:
                    await hk.get("nothing")
                assert "finding.py" in "".join(traceback.format_tb(missing.value.__traceback__))
                with pytest.raises(TypeError, match="unknown filter 'agent'"):
                    await hk.summary(agent="a")
                with pytest.raises(TypeError, match="unknown keyword 'agent'"):
                    await hk.submit("s", "up", agent="a")

        run(main(), loop)

    def test_stop_iteration(self, loop: LoopFactory) -> None:
        """A function that raises ``StopIteration`` raises a ``RuntimeError``; the caller does not wait for ever."""

        async def main() -> None:
            async with harken.connect_async("memory://") as hk:
                with pytest.raises(RuntimeError, match="StopIteration"):
                    await hk.run_sync(next, iter(()))

        run(main(), loop)

    def test_several_loops(self) -> None:
        """One object can be used in several event loops, at the same time and one after another."""
        hk = AsyncHarken(harken.connect("memory://"))

        async def submit(name: str) -> None:
            await asyncio.gather(*(hk.submit(f"{name}-{number}", "up") for number in range(200)))

        threads = [threading.Thread(target=run, args=(submit(name), LOOPS[name])) for name in LOOPS]
        for one in threads:
            one.start()
        for one in threads:
            one.join(PATIENCE)

        async def finish() -> None:
            assert (await hk.summary()).total == 400
            await hk.close()

        run(finish())

    def test_a_busy_default_executor(self, hanging: Hanging) -> None:
        """The host may use all threads of the default executor."""

        async def main() -> None:
            asyncio.get_running_loop().set_default_executor(executor := ThreadPoolExecutor(1))
            hung = executor.submit(hanging)
            async with harken.connect_async("memory://") as hk:
                await hk.submit("s", "up")
                assert (await hk.summary()).total == 1
            hanging.released.set()
            hung.result(PATIENCE)

        run(main())

    def test_after_a_fork(self) -> None:
        """In a child, calls are refused instead of waiting for threads that are not there."""
        hk = AsyncHarken(harken.connect("memory://"))
        run(hk.submit("s", "up"))

        def in_child() -> None:
            for call in (hk.submit("s", "up"), hk.summary(), hk.run_sync(int), anext(hk.export())):
                with pytest.raises(StorageClosed, match="another process"):
                    run(_awaited(call))
            run(hk.close())

        assert run_in_child(in_child)
        run(hk.close())


async def _awaited(call: Any) -> Any:
    return await call


class TestCancelling:
    def test_a_waiting_call_never_starts(self, loop: LoopFactory, hanging: Hanging) -> None:
        """A call that is cancelled while it waits for a thread is not made."""
        made: list[str] = []

        async def main(hk: AsyncHarken) -> None:
            async with hk:
                slow = [asyncio.ensure_future(hk.run_sync(hanging)) for _ in range(50)]
                await until(lambda: hanging.begun)
                waiting = asyncio.ensure_future(hk.run_sync(made.append, "cancelled"))
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                hanging.released.set()
                await asyncio.gather(*slow)
                await hk.run_sync(made.append, "later")

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        assert made == ["later"]

    @pytest.mark.parametrize("method", ["submit", "vote"])
    def test_a_write_in_progress_completes(self, loop: LoopFactory, hanging: Hanging, method: str) -> None:
        """A cancelled call returns at once, and what it had begun to write is written."""
        hangs = [True]

        def before(name: str) -> None:
            if name == "feedback.add" and hangs:
                hanging()

        async def main(hk: AsyncHarken) -> None:
            async with hk:
                writing = asyncio.ensure_future(getattr(hk, method)("s", "up", author="ann"))
                await until(lambda: hanging.begun)
                writing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await writing
                assert (await hk.summary()).total == 0
                hangs.clear()
                hanging.released.set()
                # Group commit is in order, so the first one is written now.
                await hk.submit("s", "down", "Slow")
                assert (await hk.summary()).total == 2

        with watched(before) as hk:
            run(main(AsyncHarken(hk)), loop)

    def test_a_time_limit(self, loop: LoopFactory, hanging: Hanging) -> None:
        """``asyncio.timeout`` ends a call that hangs."""

        async def main(hk: AsyncHarken) -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await hk.run_sync(hanging)
            hanging.released.set()
            await hk.close()

        run(main(AsyncHarken(harken.connect("memory://"))), loop)

    def test_an_error_that_nobody_waits_for_is_logged(self, hanging: Hanging, caplog: pytest.LogCaptureFixture) -> None:
        """If a call fails after it was cancelled, the error is logged with its traceback."""

        def fail() -> None:
            hanging()
            raise StorageUnavailable("The disk is full")

        async def main(hk: AsyncHarken) -> None:
            async with hk:
                failing = asyncio.ensure_future(hk.run_sync(fail))
                await until(lambda: hanging.begun)
                failing.cancel()
                await asyncio.wait([failing])
                hanging.released.set()

        with caplog.at_level(logging.WARNING, "harken"):
            run(main(AsyncHarken(harken.connect("memory://"))))
        (record,) = caplog.records
        assert record.message == "A call whose caller was cancelled failed: The disk is full"
        assert record.exc_info

    def test_storms(self, loop: LoopFactory, storage_url: str) -> None:
        """Of a thousand calls that are cancelled at any point, all that were acknowledged are stored, and once."""
        acknowledged: set[str | None] = set()
        chance = random.Random(7)

        async def storm(hk: AsyncHarken) -> None:
            tasks = [asyncio.ensure_future(_work(hk, number)) for number in range(100)]
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
            for one in chance.sample(tasks, 70):
                one.cancel()
                await asyncio.sleep(0)
            await asyncio.wait(tasks)
            acknowledged.update(one.result() for one in tasks if not one.cancelled())

        async def main() -> None:
            async with harken.connect_async(storage_url) as hk:
                for _ in range(10):
                    await storm(hk)
                stored = [one.id for one in hk.sync.export()]
                assert acknowledged - {None} <= set(stored)
                assert len(stored) == len(set(stored)) <= 75
                assert await hk.check() == []

        run(main(), loop)
        assert len(acknowledged) > 20
        _assert_no_thread_is_left()


async def _work(hk: AsyncHarken, number: int) -> str | None:
    """Submit, vote or export; returns the id of the feedback, if there is one."""
    session_id = f"s{number % 10}"
    if number % 4 == 0:
        _ = [one async for one in hk.export(session_id=session_id)]
        return None
    if number % 4 == 1:
        return (await hk.vote(session_id, "up", author=f"author-{number}")).feedback.id
    return (await hk.submit(session_id, "up", idempotency_key=f"key-{number}")).feedback.id


#: The threads of other tests in this process, which may not have ended yet.
_earlier: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def earlier_threads() -> None:
    """Remember the threads that ran before the test."""
    _earlier.clear()
    _earlier.update(threading.enumerate())


def _assert_no_thread_is_left() -> None:
    eventually(lambda: not {one for one in threading.enumerate() if one.name.startswith("harken-")} - _earlier)


class Stream:
    """A function that returns a stream of numbers, which records what was read, and whether it was closed."""

    def __init__(self, length: int, before: Callable[[int], object] = lambda _: None) -> None:
        self.read = 0
        self.closed = False
        self._length = length
        self._before = before

    def __call__(self) -> Iterator[int]:
        try:
            for number in range(self._length):
                self._before(number)
                self.read += 1
                yield number
        finally:
            self.closed = True


class TestIterating:
    @pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 1_234])
    def test_all_in_order(self, loop: LoopFactory, length: int) -> None:
        """Every item is there, in the order of the stream."""

        async def main(hk: AsyncHarken) -> None:
            async with hk:
                stream = Stream(length)
                assert [one async for one in hk.iterate_sync(stream)] == list(range(length))
                await until(lambda: stream.closed)

        run(main(AsyncHarken(harken.connect("memory://"))), loop)

    def test_exports(self, loop: LoopFactory, storage_url: str) -> None:
        """An export has all matching feedback, oldest first."""

        async def main() -> None:
            async with harken.connect_async(storage_url) as hk:
                await asyncio.gather(*(hk.submit("s", "up" if number % 2 else None) for number in range(500)))
                exported = [one async for one in hk.export(rating="up")]
                assert exported == list(hk.sync.export(rating="up"))
                assert len(exported) == 250

        run(main(), loop)

    def test_not_far_ahead(self, loop: LoopFactory) -> None:
        """Nothing is read before the first item is needed, and at most 200 items are read ahead."""

        async def main(hk: AsyncHarken) -> None:
            async with hk:
                stream = Stream(10_000)
                items = hk.iterate_sync(stream)
                assert not stream.read
                async with aclosing(items):
                    for taken in range(1, 1_001):
                        await anext(items)
                        assert taken <= stream.read <= taken + 200
                await until(lambda: stream.closed)
                assert stream.read <= 1_200

        run(main(AsyncHarken(harken.connect("memory://"))), loop)

    def test_the_next_page_is_read_ahead(self, loop: LoopFactory) -> None:
        """While the first page is processed, the second one is read."""

        async def main(hk: AsyncHarken) -> None:
            async with hk, aclosing(hk.iterate_sync(stream := Stream(1_000))) as items:
                await anext(items)
                await until(lambda: stream.read == 200)

        run(main(AsyncHarken(harken.connect("memory://"))), loop)

    @pytest.mark.parametrize("way", ["aclose", "cancelled", "collected", "error"])
    def test_an_abandoned_stream_is_closed(self, loop: LoopFactory, way: str) -> None:
        """The stream is closed when its iterator is closed, cancelled or garbage collected, or its loop body fails."""
        stream = Stream(1_000)

        async def consume(items: AsyncGenerator[int, None]) -> None:
            async for _ in items:
                if way == "error":
                    raise ZeroDivisionError
                await asyncio.sleep(PATIENCE)

        async def main(hk: AsyncHarken) -> None:
            async with hk:
                items = hk.iterate_sync(stream)
                if way == "aclose":
                    await anext(items)
                    await items.aclose()
                elif way == "collected":
                    await anext(items)
                    del items
                else:
                    task = asyncio.ensure_future(consume(items))
                    del items
                    await until(lambda: stream.read or task.done())
                    task.cancel()
                    await asyncio.wait([task])
                    del task
                gc.collect()
                await until(lambda: stream.closed)

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        assert stream.read <= 200

    def test_a_page_that_nobody_needs(self, loop: LoopFactory, hanging: Hanging) -> None:
        """If the iterator is closed while the next page waits for a thread, that page is not read."""
        first_page = Hanging()
        stream = Stream(1_000, before=lambda number: number == 0 and first_page())

        async def main(hk: AsyncHarken) -> None:
            async with hk, asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(hk.run_sync(hanging))
                items = hk.iterate_sync(stream)
                first = asyncio.ensure_future(anext(items))
                await until(lambda: first_page.begun and hanging.begun == 5)
                # The next page needs the thread of the first one, and this call is before it in the queue.
                group.create_task(hk.run_sync(hanging))
                await asyncio.sleep(0)
                first_page.released.set()
                await first
                await items.aclose()
                hanging.released.set()
                await until(lambda: stream.closed)

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        assert stream.read == 100

    def test_cancelling_while_a_page_is_read(self, loop: LoopFactory, hanging: Hanging) -> None:
        """The caller returns at once; the stream is closed when the page has been read."""
        stream = Stream(1_000, before=lambda number: number == 50 and hanging())

        async def main(hk: AsyncHarken) -> None:
            async with hk:
                first = asyncio.ensure_future(anext(hk.iterate_sync(stream)))
                await until(lambda: hanging.begun)
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
                assert not stream.closed
                hanging.released.set()
                await until(lambda: stream.closed)

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        assert stream.read == 100

    def test_errors(self, loop: LoopFactory) -> None:
        """An error of the stream is raised after the items of earlier pages."""
        stream = Stream(1_000, before=lambda number: 1 // (150 - number))
        seen: list[int] = []

        async def consume(hk: AsyncHarken) -> None:
            async for one in hk.iterate_sync(stream):
                seen.append(one)  # noqa: PERF401 - the error ends it

        async def main(hk: AsyncHarken) -> None:
            async with hk:
                with pytest.raises(ZeroDivisionError):
                    await consume(hk)

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        assert seen == list(range(100))
        assert stream.closed

    def test_after_closing(self, loop: LoopFactory) -> None:
        """Closing does not wait for iterators that are not finished; they are refused, and their streams are closed."""
        stream = Stream(1_000)

        async def main(hk: AsyncHarken) -> None:
            items = hk.iterate_sync(stream)
            await anext(items)
            await hk.close()
            with pytest.raises(StorageClosed):
                _ = [one async for one in items]
            await items.aclose()

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        gc.collect()
        assert stream.closed


class TestEvents:
    def test_events_as_they_happen(self, loop: LoopFactory, storage_url: str) -> None:
        """Each change of the application is an event, from the start of the block on."""

        async def main() -> None:
            async with harken.connect_async(storage_url) as hk:
                await hk.submit("before", "up")
                async with hk.events() as events:
                    first = await hk.submit("s", "up")
                    assert await _type(events) == "feedback.created"
                    await hk.submit("s", "up", application="other")
                    await hk.change(first.feedback.id, Change(comment="Good"))
                    assert await _type(events) == "feedback.updated"
                    await hk.withdraw(first.feedback.id)
                    event = await anext(events)
                    assert isinstance(event, News)
                    assert event.feedback == await hk.get(first.feedback.id)
                    assert (await hk.run_sync(hk.sync.feed.listen, "default", lambda: None)).close() is None
                async with hk.events(str(event.place)) as events:
                    await hk.submit("after", "up")
                    event = await anext(events)
                    assert isinstance(event, News)
                    assert event.feedback is not None
                    assert event.feedback.session_id == "after"

        run(main(), loop)

    def test_waiting_can_be_cancelled(self, loop: LoopFactory) -> None:
        """A cancelled wait loses no event, and can be repeated."""

        async def main() -> None:
            async with harken.connect_async("memory://") as hk, hk.events() as events:
                seen: set[str] = set()
                for number in range(30):
                    waiting = asyncio.ensure_future(anext(events))
                    submitting = asyncio.ensure_future(hk.submit(f"s{number}", "up"))
                    for _ in range(number % 7):
                        await asyncio.sleep(0.0005)
                    waiting.cancel()
                    await asyncio.wait([waiting, submitting])
                    if not waiting.cancelled():
                        seen.add(_session(waiting.result()))
                while len(seen) < 30:
                    seen.add(_session(await anext(events)))

        run(main(), loop)

    def test_hundreds_that_wait_occupy_no_thread(self, loop: LoopFactory) -> None:
        """With all 200 places in use, one event reaches all; a further one is refused, until one is closed."""

        async def main() -> None:
            async with harken.connect_async("memory://") as hk:
                events = [hk.events() for _ in range(MAX_LISTENERS)]
                await asyncio.gather(*(one.__aenter__() for one in events))
                waiting = [asyncio.ensure_future(anext(one)) for one in events]
                with pytest.raises(Overloaded):
                    await anext(hk.events())
                await hk.submit("s", "up")
                assert {_session(one) for one in await asyncio.gather(*waiting)} == {"s"}
                await events[0].close()
                await asyncio.sleep(0)
                async with hk.events():
                    pass
                await asyncio.gather(*(one.close() for one in events))

        run(main(), loop)

    @pytest.mark.parametrize("way", ["events", "harken"])
    def test_closing_ends_the_iteration(self, loop: LoopFactory, way: str) -> None:
        """Waiting tasks end when the iterator or the Harken is closed; nothing follows."""

        async def collect(events: AsyncEvents) -> list[object]:
            return [one async for one in events]

        async def main() -> None:
            hk = await harken.connect_async("memory://")
            events = hk.events()
            await events.__aenter__()
            waiting = [asyncio.ensure_future(collect(one)) for one in (events, events)]
            await asyncio.sleep(0)
            await (events if way == "events" else hk).close()
            assert await asyncio.gather(*waiting) == [[], []]
            assert [one async for one in events] == []
            await hk.close()
            with pytest.raises(StorageClosed):
                await anext(hk.events())

        run(main(), loop)
        _assert_no_thread_is_left()

    def test_cancelling_while_it_begins_to_listen(self, loop: LoopFactory, hanging: Hanging) -> None:
        """The place of a listener that begins late is given back when the iterator is closed."""

        async def main(hk: AsyncHarken) -> None:
            events = hk.events()
            listening = asyncio.ensure_future(anext(events))
            await until(lambda: hanging.begun)
            listening.cancel()
            await asyncio.wait([listening])
            await events.close()
            hanging.released.set()
            await until(lambda: hk.sync.feed._watches and not hk.sync.feed._listeners())
            await hk.close()

        with watched(lambda name: name == "feedback.changes" and hanging()) as hk:
            run(main(AsyncHarken(hk)), loop)

    def test_a_failing_storage(self, loop: LoopFactory) -> None:
        """An error of the storage is raised, and the iterator continues when the storage works again."""
        failing = Event()

        def before(name: str) -> None:
            if name == "feedback.get_many" and failing.is_set():
                raise StorageUnavailable("The disk is gone")

        async def main(hk: AsyncHarken) -> None:
            async with hk, hk.events() as events:
                failing.set()
                await hk.submit("s", "up")
                for _ in range(2):
                    with pytest.raises(StorageUnavailable):
                        await anext(events)
                failing.clear()
                assert _session(await anext(events)) == "s"

        with watched(before) as hk:
            run(main(AsyncHarken(hk)), loop)

    def test_missed_events(self, loop: LoopFactory, clock: ManualClock) -> None:
        """Where events were lost, because they are too long ago, the iterator says so."""
        place = Place(Cursor(clock() - timedelta(hours=2), "gone"))

        async def main() -> None:
            async with harken.connect_async("memory://", clock=clock) as hk, hk.events(place) as events:
                assert await anext(events) == Missed()
                await hk.submit("s", "up")
                assert _session(await anext(events)) == "s"

        run(main(), loop)

    def test_several_tasks(self, loop: LoopFactory) -> None:
        """Several tasks can take events from one iterator; each event goes to one of them."""

        async def main() -> None:
            async with harken.connect_async("memory://") as hk, hk.events() as events:
                waiting = [asyncio.ensure_future(anext(events)) for _ in range(20)]
                await asyncio.gather(*(hk.submit(f"s{number}", "up") for number in range(20)))
                assert {_session(one) for one in await asyncio.gather(*waiting)} == {f"s{n}" for n in range(20)}

        run(main(), loop)

    def test_an_invalid_place(self) -> None:
        """A text that is not a place is refused at once."""
        hk = AsyncHarken(harken.connect("memory://"))
        with pytest.raises(InvalidQuery):
            hk.events("nonsense")
        run(hk.close())


def _session(event: object) -> str:
    assert isinstance(event, News)
    assert event.feedback is not None
    return event.feedback.session_id


async def _type(events: AsyncEvents) -> str:
    event = await anext(events)
    assert isinstance(event, News)
    return event.type.value


class TestClosing:
    def test_waits_for_all_calls(self, loop: LoopFactory, hanging: Hanging) -> None:
        """Calls that run or wait for a thread complete before the storage is closed; later ones are refused."""
        closed: list[bool] = []

        async def main(hk: AsyncHarken) -> None:
            hk.sync.on_close(lambda: closed.append(True))
            calls = [asyncio.ensure_future(hk.run_sync(hanging)) for _ in range(50)]
            await until(lambda: hanging.begun)
            closing = [asyncio.ensure_future(hk.close()) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(StorageClosed, match="Harken is closed; connect again"):
                await hk.submit("s", "up")
            assert not closed
            hanging.released.set()
            assert await asyncio.gather(*calls) == ["done"] * 50
            await asyncio.gather(*closing)
            await hk.close()
            for refused in (hk.submit("s", "up"), hk.summary(), hk.run_sync(int)):
                with pytest.raises(StorageClosed):
                    await refused

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        assert closed == [True]
        _assert_no_thread_is_left()

    def test_a_cancelled_close_continues(self, loop: LoopFactory, hanging: Hanging) -> None:
        """If closing is cancelled, the storage is still closed when the calls in progress have ended."""
        closed = Event()

        async def main(hk: AsyncHarken) -> None:
            hk.sync.on_close(closed.set)
            call = asyncio.ensure_future(hk.run_sync(hanging))
            await until(lambda: hanging.begun)
            closing = asyncio.ensure_future(hk.close())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert not closed.is_set()
            hanging.released.set()
            await call
            await hk.close()
            assert closed.is_set()

        run(main(AsyncHarken(harken.connect("memory://"))), loop)

    def test_closing_the_wrapped_harken(self, loop: LoopFactory) -> None:
        """If only the Harken is closed, as by a fixture, the threads end too, and later calls are refused."""

        async def main(hk: AsyncHarken) -> None:
            await hk.submit("s", "up")
            await hk.summary()
            hk.sync.close()
            for refused in (hk.submit("s", "up"), hk.summary()):
                with pytest.raises(StorageClosed):
                    await refused
            await hk.close()

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        _assert_no_thread_is_left()

    def test_closing_the_wrapped_harken_in_a_thread(self, loop: LoopFactory) -> None:
        """The wrapped Harken can be closed by one of the threads that end with it."""

        async def main(hk: AsyncHarken) -> None:
            await hk.run_sync(hk.sync.close)
            with pytest.raises(StorageClosed):
                await hk.summary()

        run(main(AsyncHarken(harken.connect("memory://"))), loop)
        _assert_no_thread_is_left()

    def test_errors(self) -> None:
        """An error while closing is raised."""

        def fail() -> None:
            raise ZeroDivisionError

        hk = AsyncHarken(harken.connect("memory://"))
        hk.sync.on_close(fail)
        with pytest.raises(ZeroDivisionError):
            run(hk.close())
        _assert_no_thread_is_left()

    @pytest.mark.slow
    @pytest.mark.parametrize("loop_name", LOOPS)
    def test_a_program_that_does_not_close(self, loop_name: str, tmp_path: Path) -> None:
        """The program ends, even if a call hangs; what was acknowledged is stored, and no warnings are printed."""
        program = """
import asyncio, sys, harken
from threading import Event
from driving import LOOPS

async def main():
    hk = await harken.connect_async(sys.argv[1])
    await hk.submit("s", "up")
    await hk.vote("s", "up", author="ann")
    begun = Event()
    asyncio.ensure_future(hk.run_sync(lambda: begun.set() or Event().wait()))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    await anext(hk.export())

with asyncio.Runner(loop_factory=LOOPS[sys.argv[2]]) as runner:
    runner.run(main())
"""
        url = f"sqlite:///{tmp_path}/feedback.db"
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-X", "dev", "-c", program, url, loop_name],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        with harken.connect(url) as hk:
            assert hk.summary().total == 2


class TestConnecting:
    def test_both_forms(self, loop: LoopFactory, tmp_path: Path) -> None:
        """It can be awaited, or used in a block that closes it; it takes all arguments of ``connect``."""
        url = f"sqlite:///{tmp_path}/feedback.db"

        async def main() -> None:
            hk = await harken.connect_async(url, application="shop", max_comment_length=5)
            assert isinstance(hk, AsyncHarken)
            assert (await hk.submit("s", "up")).feedback.application == "shop"
            with pytest.raises(FeedbackRejected):
                await hk.submit("s", "up", "Too long")
            await hk.close()
            async with harken.connect_async(url, application="shop") as again:
                assert (await again.summary()).total == 1
            with pytest.raises(StorageClosed):
                await again.summary()

        run(main(), loop)
        _assert_no_thread_is_left()

    def test_closes_after_an_error(self) -> None:
        """The block closes it after an error inside."""
        closed: list[bool] = []

        async def main() -> None:
            async with harken.connect_async("memory://") as hk:
                hk.sync.on_close(lambda: closed.append(True))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run(main())
        assert closed == [True]

    def test_errors(self, loop: LoopFactory) -> None:
        """Errors are raised where it is awaited."""

        async def main() -> None:
            with pytest.raises(ConfigurationError, match="is not a storage URL"):
                await harken.connect_async("nonsense")
            with pytest.raises(TypeError, match="unexpected keyword"):
                async with harken.connect_async("memory://", pool=3):
                    pass

        run(main(), loop)
        _assert_no_thread_is_left()

    def test_cancelling(self, loop: LoopFactory, hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
        """If connecting is cancelled, it returns at once, and the storage is closed as soon as it is open."""
        closed = Event()

        @contextmanager
        def open_slowly(url: str) -> Iterator[Storage]:
            hanging()
            with open_storage() as storage:
                yield storage
            closed.set()

        monkeypatch.setattr("harken_adapters.storage.memory.open_storage", open_slowly)

        async def main() -> None:
            connecting = asyncio.ensure_future(_awaited(harken.connect_async("memory://")))
            await until(lambda: hanging.begun)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            assert not closed.is_set()
            hanging.released.set()
            await until(closed.is_set)

        run(main(), loop)
        _assert_no_thread_is_left()


def test_in_a_manual_clock(clock: ManualClock) -> None:
    """An existing Harken can be wrapped, for example one with a clock of a test."""

    async def main() -> None:
        async with AsyncHarken(harken.connect("memory://", clock=clock)) as hk:
            assert (await hk.submit("s", "up")).feedback.created_at == clock.now

    run(main())

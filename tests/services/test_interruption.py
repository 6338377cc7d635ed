"""Asynchronous exceptions: Ctrl-C, an alarm or a time limit is raised at any point of a call."""

import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, _base
from contextlib import suppress
from types import FrameType, NoneType
from typing import Any

import pytest

from harken import Harken, StorageUnavailable, Summary, connect
from harken.domain.feedback import Target
from harken.ports.repository import Accepted, Outcome, Stored
from harken.services import interruption
from harken.services.feedback import group_commit
from harken.services.feedback.group_commit import GroupCommit
from harken_adapters.storage.memory import data as memory_data
from support import PATIENCE, a_feedback, eventually

#: Where calls are interrupted.
PROTOCOL = {module.__file__ for module in (group_commit, interruption, _base)}


VOTED = Target("s", "message")


class TimeLimit(Exception):
    """The asynchronous exception; an ordinary exception, as Celery's is."""


class Interrupter:
    """Raises at the n-th step of the thread that enters it, and again after a number of steps."""

    def __init__(
        self, at: int, again_after: int | None = None, *, opcodes: bool = True, where: Collection[str | None] = PROTOCOL
    ) -> None:
        self.fired = 0
        self._where = where
        self._left: int | None = at
        self._again_after = again_after
        self._event = "opcode" if opcodes else "line"

    def __enter__(self) -> None:
        sys.setprofile(self._profile)
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in self._where:
            return None
        frame.f_trace_opcodes = True
        if event == self._event and self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._left, self._again_after = self._again_after, None
                self.fired += 1
                raise TimeLimit
        return self._trace

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        # An exception of a trace function ends the tracing: continue it, to interrupt cleanup as well.
        if self.fired and self._left is not None and sys.gettrace() is None:
            sys.settrace(self._trace)
            frame.f_trace = self._trace if frame.f_code.co_filename in self._where else None


class Scene:
    """A group commit whose first write is held until the call to interrupt waits or has ended."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.threads = threads
        self.stored: set[str] = set()
        self.entered, self.go = threading.Event(), threading.Event()
        self.group = GroupCommit(self._write)
        self.futures: dict[str, Future[Outcome]] = {}
        # Those whose futures belong to a thread, which may not have returned yet.
        self.waiting: set[str] = set()

    def _write(self, items: Sequence[Accepted]) -> Sequence[Outcome]:
        self.entered.set()
        assert self.go.wait(PATIENCE)
        self.stored |= {item.feedback.id for item in items}
        return [Stored(item.feedback) for item in items]

    def commits(self, name: str) -> None:
        """Another caller that waits."""
        self.waiting.add(name)
        self.futures[name] = self.threads.submit(self.group.commit, item(name))

    def commits_soon(self, name: str) -> None:
        """An item whose caller does not wait."""
        self.futures[name] = self.group.commit_soon(item(name))

    def busy(self) -> None:
        """Let the write continue."""
        self.commits("first")
        assert self.entered.wait(PATIENCE)

    def check(self) -> None:
        """Every caller is answered, acknowledged items are stored, others can submit, and close returns."""
        self.commits("next")
        self.commits_soon("soon")
        assert isinstance(self.futures["next"].result(PATIENCE), Stored)
        self.threads.submit(self.group.close).result(PATIENCE)
        for name, future in self.futures.items():
            assert future.done() or name in self.waiting, name
            if future.exception(PATIENCE) is None:
                assert name in self.stored
            else:
                assert isinstance(future.exception(), StorageUnavailable | TimeLimit)
        assert isinstance(self.futures["soon"].result(), Stored)
        assert self.group.waiting == 0


def item(name: str) -> Accepted:
    """An item, identified by its name."""
    return Accepted(a_feedback(name))


def lone(scene: Scene) -> Callable[[], object]:
    """There is no other caller."""
    scene.go.set()
    return lambda: scene.group.commit(item("mine"))


def leader(scene: Scene) -> Callable[[], object]:
    """Writes for others, who do not wait, when the first write has ended."""
    scene.busy()
    scene.commits_soon("a")
    scene.commits_soon("b")
    return lambda: scene.group.commit(item("mine"))


def follower(scene: Scene) -> Callable[[], object]:
    """Another caller writes for this one, or the other way round."""
    scene.busy()
    scene.commits("a")
    eventually(lambda: scene.group.waiting == 1)
    return lambda: scene.group.commit(item("mine"))


def soon(scene: Scene) -> Callable[[], object]:
    """Does not wait; the background thread is running."""
    scene.busy()
    scene.commits_soon("a")

    def call() -> None:
        scene.futures["mine"] = scene.group.commit_soon(item("mine"))

    return call


def closer(scene: Scene) -> Callable[[], object]:
    """Closes while others wait; if it is interrupted, it can be called again."""
    scene.busy()
    scene.commits("a")
    scene.commits_soon("b")
    eventually(lambda: scene.group.waiting == 2)
    return scene.group.close


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for callers, which are reused."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def interrupted(
    role: Callable[[Scene], Callable[[], object]],
    at: int,
    again_after: int | None,
    threads: ThreadPoolExecutor,
    *,
    opcodes: bool,
) -> bool:
    """Run a scene in which a call is interrupted at that step; whether it was."""
    scene = Scene(threads)
    call = role(scene)
    waiting = scene.group.waiting
    interrupter = Interrupter(at, again_after, opcodes=opcodes)

    def play() -> None:
        with interrupter:
            call()

    playing = threads.submit(play)
    eventually(lambda: playing.done() or scene.group.waiting > waiting or scene.group._closed)
    scene.go.set()
    error = playing.exception(PATIENCE)
    assert isinstance(error, TimeLimit) == bool(interrupter.fired), error
    assert error is None or isinstance(error, TimeLimit), error
    if error is None and role in (lone, leader, follower):
        assert "mine" in scene.stored
    if role is closer:
        threads.submit(scene.group.close).result(PATIENCE)
        assert all(future.done() or name in scene.waiting for name, future in scene.futures.items())
        assert all(
            isinstance(future.exception(PATIENCE), StorageUnavailable | NoneType) for future in scene.futures.values()
        )
        return bool(interrupter.fired)
    scene.check()
    return bool(interrupter.fired)


ROLES = [lone, leader, follower, soon, closer]


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("opcodes", [False, True], ids=["lines", "opcodes"])
def test_interrupted_at_every_step(
    role: Callable[[Scene], Callable[[], object]], *, opcodes: bool, threads: ThreadPoolExecutor
) -> None:
    """Interrupted at any step, a call raises that exception, all callers are answered, and others continue."""
    at = 1
    while interrupted(role, at, None, threads, opcodes=opcodes):
        at += 1
    assert at > 10


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("again_after", [1, 3])
def test_interrupted_while_it_cleans_up(
    role: Callable[[Scene], Callable[[], object]], again_after: int, threads: ThreadPoolExecutor
) -> None:
    """A second interruption, during the cleanup of the first, does not change that."""
    at = 1
    while interrupted(role, at, again_after, threads, opcodes=False):
        at += 1
    assert at > 10


@pytest.mark.slow
def test_memory_is_consistent_after_an_interruption() -> None:
    """Statistics, order and keys agree with the stored feedback, wherever a write to memory was interrupted."""
    at = 1
    fired = True
    while fired:
        with connect("memory://") as hk:
            hk.submit("s", "up", idempotency_key="before")
            fired = _interrupt(at, lambda hk=hk: hk.submit("s", "down", "Too slow", idempotency_key="mine"))
            fired |= _interrupt(at, lambda hk=hk: hk.collection.set_vote(VOTED, "ann", "up"))
            fired |= _interrupt(at, lambda hk=hk: hk.collection.set_vote(VOTED, "ann", "down", "Too slow"))
            hk.submit("s", "down", "Too slow", idempotency_key="mine")
            _agrees(hk, at_least=2)
            for one in list(hk.collection.stream(hk.query().in_any_state())):
                hk.collection.withdraw(one.application, one.id)
            assert hk.summary() == Summary()
            hk.collection.erase(hk.query().in_any_state())
            _agrees(hk, at_least=0)
        at += 1
    assert at > 10


def _interrupt(at: int, call: Callable[[], object]) -> bool:
    """Interrupt a call in the memory storage's data; whether it got that far."""
    interrupter = Interrupter(at, where={memory_data.__file__})
    with suppress(TimeLimit), interrupter:
        call()
    return bool(interrupter.fired)


def _agrees(hk: Harken, *, at_least: int) -> None:
    found = list(hk.collection.stream(hk.query().in_any_state()))
    assert len(found) >= at_least
    assert [one.id for one in reversed(found)] == [
        one.id for one in hk.collection.find(hk.query().in_any_state()).items
    ]
    assert len(found) == len({one.id for one in found})
    assert hk.summary() == sum((Summary.of(one) for one in found if one.is_counted), Summary())
    assert {one.subject_id for one in hk.outbox.events(limit=100)} >= {one.id for one in found}

"""The threads of an asynchronous host are shared fairly: slow calls of one tenant do not block the others."""

from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager
from threading import Event, Lock, Thread
from typing import Any

import pytest
from attrs import evolve

import harken
from harken import FeedbackQuery
from harken.services.fair_threads import FairThreads
from harken_adapters.storage import memory
from harken_adapters.storage.memory import MemoryFeedbackRepository, MemoryKeyRepository
from hosts.serving import served
from support import PATIENCE, eventually


class Hanging:
    """Calls that hang until they are released, with a counter."""

    def __init__(self) -> None:
        self.released = Event()
        self.begun = 0
        self._lock = Lock()

    def __call__(self) -> None:
        with self._lock:
            self.begun += 1
        assert self.released.wait(PATIENCE)


@contextmanager
def threads(number: int, share: int) -> Iterator[tuple[FairThreads, Hanging]]:
    """Fair threads, and calls to keep them busy; both end with the test."""
    found, hanging = FairThreads(number, share), Hanging()
    try:
        yield found, hanging
    finally:
        hanging.released.set()
        found.shutdown()


def test_one_tenant_does_not_occupy_all() -> None:
    """However many calls one tenant makes, calls of others start at once, and all of its own calls run in the end."""
    order: list[int] = []
    with threads(3, 2) as (fair, hanging):
        hung = [fair.submit("greedy", hanging) for _ in range(2)]
        waiting = [fair.submit("greedy", order.append, number) for number in range(50)]
        for _ in range(5):
            assert fair.submit("modest", lambda: "done").result(PATIENCE) == "done"
        assert (hanging.begun, order) == (2, [])
        hanging.released.set()
        for one in (*hung, *waiting):
            one.result(PATIENCE)
    assert sorted(order) == list(range(50))


def test_tenants_take_turns() -> None:
    """A tenant waits for at most one call of each other tenant, not for all their waiting calls."""
    order: list[str] = []
    with threads(1, 1) as (fair, hanging):
        calls = [fair.submit("first", hanging)]
        calls += [fair.submit(tenant, order.append, tenant) for tenant in ("a", "a", "a", "a", "b", "b", "c")]
        hanging.released.set()
        for one in calls:
            one.result(PATIENCE)
    assert order == ["a", "b", "c", "a", "b", "a", "a"]


def test_errors_and_cancellation() -> None:
    """An exception is raised where the result is awaited, and a cancelled call is not run."""
    ran: list[str] = []
    with threads(1, 1) as (fair, hanging):
        hung = fair.submit("a", hanging)
        failing: Future[Any] = fair.of("a").submit(int, "no number")
        cancelled = fair.submit("b", ran.append, "cancelled")
        assert cancelled.cancel()
        hanging.released.set()
        hung.result(PATIENCE)
        assert isinstance(failing.exception(PATIENCE), ValueError)
    assert ran == []


def test_shutting_down() -> None:
    """Running calls are awaited, waiting calls are cancelled, and new calls are rejected."""
    done: list[int] = []
    with threads(2, 1) as (fair, hanging):
        running = fair.submit("a", hanging)
        waiting = [fair.submit("a", done.append, number) for number in range(10)]
        ending = Thread(target=fair.shutdown)
        ending.start()
        for one in waiting:
            with pytest.raises(CancelledError):
                one.result(PATIENCE)
        assert (running.done(), fair.ended) == (False, False)
        hanging.released.set()
        ending.join(PATIENCE)
        assert (running.done(), fair.ended, done) == (True, True, [])
        running.result()
        with pytest.raises(RuntimeError):
            fair.submit("a", int)
        fair.shutdown()


class SlowForOne(MemoryFeedbackRepository):
    """Hangs when the feedback of one tenant is read."""

    hanging: Hanging

    def find(self, query: FeedbackQuery, **options: Any) -> Any:
        if query.application == "greedy":
            self.hanging()
        return super().find(query, **options)

    def stream(self, query: FeedbackQuery) -> Iterator[Any]:
        if query.application == "greedy":
            self.hanging()
        return super().stream(query)


@pytest.mark.parametrize("path", ["/api/feedback", "/api/export"])
def test_slow_responses_to_one_tenant_do_not_block_others(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a tenant has more slow queries or exports in progress than there are threads, another tenant is served."""
    hanging = Hanging()
    monkeypatch.setattr(SlowForOne, "hanging", hanging, raising=False)
    with ExitStack() as opened:
        storage = opened.enter_context(memory.open_storage())
        assert isinstance(storage.feedback, MemoryFeedbackRepository)
        hk = opened.enter_context(harken.connect(evolve(storage, feedback=SlowForOne(storage.feedback._data))))
        server = opened.enter_context(served(hk, access="keys"))
        greedy, modest = (
            {"Authorization": f"Bearer {hk.keys.create(name, ['read']).text}"} for name in ("greedy", "modest")
        )
        opened.callback(hanging.released.set)
        found: list[int] = []

        def ask() -> None:
            found.append(server.ask("GET", path, headers=greedy).status_code)

        asking = [Thread(target=ask, daemon=True) for _ in range(12)]
        for one in asking:
            one.start()
        eventually(lambda: hanging.begun >= 6)
        for theirs in ("/api/feedback", "/api/export", "/api/sessions/s/feedback/stats"):
            assert server.ask("GET", theirs, headers=modest).status_code == 200
        assert (hanging.begun, found) == (6, [])
        hanging.released.set()
        for one in asking:
            one.join(PATIENCE)
    assert found == [200] * 12


class SlowKeys(MemoryKeyRepository):
    """Hangs when a key that does not exist is read."""

    hanging: Hanging

    def get(self, key_id: str) -> Any:
        found = super().get(key_id)
        if found is None:
            self.hanging()
        return found


def test_slow_sign_ins_do_not_block_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an address tries to sign in more often than there are threads, other requests and ``/readyz`` are
    answered.
    """
    hanging = Hanging()
    monkeypatch.setattr(SlowKeys, "hanging", hanging, raising=False)
    with ExitStack() as opened:
        storage = opened.enter_context(memory.open_storage())
        assert isinstance(storage.keys, MemoryKeyRepository)
        hk = opened.enter_context(harken.connect(evolve(storage, keys=SlowKeys(storage.keys._data))))
        server = opened.enter_context(served(hk, access="keys"))
        key = {"Authorization": f"Bearer {hk.keys.create('default', ['read']).text}"}
        assert server.ask("GET", "/api/feedback", headers=key).ok
        opened.callback(hanging.released.set)
        found: list[int] = []

        def sign_in(number: int) -> None:
            found.append(server.ask("POST", "/sign-in", data={"key": f"hk_{number:016x}_{'x' * 43}"}).status_code)

        trying = [Thread(target=sign_in, args=(number,), daemon=True) for number in range(40)]
        for one in trying:
            one.start()
        eventually(lambda: hanging.begun >= 6)
        for path in ("/readyz", "/metrics", "/docs", "/api/feedback"):
            assert server.ask("GET", path, headers=key).status_code == 200
        assert (hanging.begun, found) == (6, [])
        hanging.released.set()
        for one in trying:
            one.join(PATIENCE)
    assert found == [401] * 40

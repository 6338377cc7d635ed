"""What a session costs: feedback in dictionaries against submitting, and the last messages against the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from strands import Agent
from tests import mongod
from tests.benchmarks.load import COMMENT
from tests.benchmarks.measure import Result, at_most, in_turn, seconds
from tests.local_model import LocalModel

import harken
from harken import Harken, Submission, Target
from harken_adapters.hosts.session_manager import MongoDBSessionManager
from harken_adapters.hosts.strands import HarkenSessionManager

ENTRIES = 10_000
MESSAGES = 5_000


def feedback_in_sessions(folder: Path) -> Iterator[Result]:
    """``add_feedback`` against ``submit`` on MongoDB, then up to ten thousand entries in one session."""
    with (
        mongod.replica_set(folder=folder) as started,
        harken.connect(mongod.with_database(started.url, "feedback")) as hk,
    ):
        manager = MongoDBSessionManager("session-1", harken=hk)
        yield _against_submit(manager, hk)
        yield _flat(manager)


def _against_submit(manager: MongoDBSessionManager, hk: Harken) -> Result:
    numbers = count()
    target = Target("session-1", agent_id="helper")

    def add() -> None:
        for _ in range(100):
            manager.add_feedback({"rating": "down", "comment": f"{COMMENT} {next(numbers)}", "agent_id": "helper"})

    def submit() -> None:
        for _ in range(100):
            hk.collection.submit(Submission(target=target, rating="down", comment=f"{COMMENT} {next(numbers)}"))

    ours, other, ratio = in_turn(add, submit, rounds=15)
    detail = f"{ours * 10:.2f} ms against {other * 10:.2f} ms"
    return at_most("mongodb: add_feedback, to submit", ratio, 1.3, detail=detail)


def _flat(manager: MongoDBSessionManager) -> Result:
    def add(number: int) -> float:
        feedback = {"rating": "up", "comment": f"{COMMENT} {number}"}
        return seconds(lambda: manager.add_feedback(feedback))

    times = [add(number) for number in range(ENTRIES)]
    return _last_to_first(f"mongodb: add_feedback, last 100 of {ENTRIES:,} in a session, to the first", times)


def messages_of_agents(folder: Path) -> Iterator[Result]:
    """An agent that talks until it has five thousand messages."""
    with mongod.replica_set(folder=folder) as started:
        for name, url in (
            ("sqlite", f"sqlite:///{folder / 'agents.db'}"),
            ("mongodb", mongod.with_database(started.url, "agents")),
        ):
            with harken.connect(url) as hk:
                yield _talking(name, hk)


def _talking(name: str, hk: Harken) -> Result:
    """The time of appending, so without what the agent itself does in a turn."""
    times: list[float] = []
    manager = _Timed(hk, times)
    agent = Agent(model=LocalModel(["An answer of some length. " * 20]), session_manager=manager, callback_handler=None)
    while len(times) < MESSAGES:
        agent("A question of some length. " * 5)
    return _last_to_first(f"{name}: appending a message, last 100 of {MESSAGES:,} in a session, to the first", times)


class _Timed(HarkenSessionManager):
    def __init__(self, hk: Harken, times: list[float]) -> None:
        super().__init__(hk, "session-1")
        self._times = times

    def append_message(self, *arguments: Any, **options: Any) -> None:
        append: Callable[..., None] = super().append_message
        self._times.append(seconds(lambda: append(*arguments, **options)))


def _last_to_first(name: str, times: list[float]) -> Result:
    first, last = median(times[:100]), median(times[-100:])
    return at_most(name, last / first, 1.2, detail=f"{last * 1e3:.2f} ms against {first * 1e3:.2f} ms, medians")


BENCHMARKS = (feedback_in_sessions, messages_of_agents)

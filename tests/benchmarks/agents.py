"""Sessions of agents: ``add_feedback`` compared to ``submit``, and long sessions compared to new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from strands import Agent
from strands.types.agent import LocalAgent
from strands.types.content import Message
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
    """``add_feedback`` compared to ``submit`` on MongoDB, and in a session with ten thousand entries."""
    with (
        mongod.replica_set(folder=folder) as started,
        harken.connect(mongod.with_database(started.url, "feedback")) as hk,
    ):
        manager = MongoDBSessionManager("session-1", harken=hk)
        yield _compare_to_submit(manager, hk)
        yield _measure_long_session(hk)


def _compare_to_submit(manager: MongoDBSessionManager, hk: Harken) -> Result:
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


def _measure_long_session(hk: Harken) -> Result:
    numbers = count()

    def adder(session: str) -> Callable[[], float]:
        manager = MongoDBSessionManager(session, harken=hk)

        def add() -> float:
            feedback = {"rating": "up", "comment": f"{COMMENT} {next(numbers)}"}
            return sum(seconds(lambda: manager.add_feedback(feedback)) for _ in range(20))

        return add

    full = adder("full")
    while next(numbers) < ENTRIES // 20:
        full()
    return _compare_to_new(f"mongodb: add_feedback after {ENTRIES:,} in a session, to the first ones", full, adder)


def messages_of_agents(folder: Path) -> Iterator[Result]:
    """An agent with five thousand messages compared to new agents."""
    with mongod.replica_set(folder=folder) as started:
        for name, url in (
            ("sqlite", f"sqlite:///{folder / 'agents.db'}"),
            ("mongodb", mongod.with_database(started.url, "agents")),
        ):
            with harken.connect(url) as hk:
                yield _measure_messages(name, hk)


def _measure_messages(name: str, hk: Harken) -> Result:
    def talker(session: str) -> Callable[[], float]:
        manager = _Timed(hk, session)
        model = LocalModel(["An answer of some length. " * 20])
        agent = Agent(model=model, session_manager=manager, callback_handler=None)

        def talk() -> float:
            before = manager.spent
            for _ in range(10):
                agent("A question of some length. " * 5)
            return manager.spent - before

        return talk

    full = talker("full")
    while hk.conversations.count(hk.application, "full") < MESSAGES:
        full()
    return _compare_to_new(
        f"{name}: appending a message after {MESSAGES:,} in a session, to the first ones", full, talker
    )


class _Timed(HarkenSessionManager):
    """Measures the time of appending messages, without the rest of a turn."""

    def __init__(self, hk: Harken, session: str) -> None:
        super().__init__(hk, session)
        self.spent = 0.0

    def append_message(self, message: Message, agent: LocalAgent, **options: Any) -> None:
        append = super().append_message
        self.spent += seconds(lambda: append(message, agent, **options))


def _compare_to_new(name: str, full: Callable[[], float], begin: Callable[[str], Callable[[], float]]) -> Result:
    """The next twenty entries of a full session compared to the first twenty of a new one, alternating."""
    pairs = [(full(), begin(f"new-{number}")()) for number in range(25)]
    ours, other = (median(times) / 20 * 1e3 for times in zip(*pairs, strict=True))
    ratio = median(mine / first for mine, first in pairs)
    return at_most(name, ratio, 1.2, detail=f"{ours:.2f} ms against {other:.2f} ms")


BENCHMARKS = (feedback_in_sessions, messages_of_agents)

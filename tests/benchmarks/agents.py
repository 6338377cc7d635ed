"""What a session costs: feedback in dictionaries against submitting, and the last messages against the first."""

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
    """``add_feedback`` against ``submit`` on MongoDB, then up to ten thousand entries in one session."""
    with (
        mongod.replica_set(folder=folder) as started,
        harken.connect(mongod.with_database(started.url, "feedback")) as hk,
    ):
        manager = MongoDBSessionManager("session-1", harken=hk)
        yield _against_submit(manager, hk)
        yield _flat(hk)


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


def _flat(hk: Harken) -> Result:
    numbers = count()

    def adding(session: str) -> Callable[[], float]:
        manager = MongoDBSessionManager(session, harken=hk)

        def add() -> float:
            feedback = {"rating": "up", "comment": f"{COMMENT} {next(numbers)}"}
            return sum(seconds(lambda: manager.add_feedback(feedback)) for _ in range(20))

        return add

    full = adding("full")
    while next(numbers) < ENTRIES // 20:
        full()
    return _beside_new(f"mongodb: add_feedback after {ENTRIES:,} in a session, to the first ones", full, adding)


def messages_of_agents(folder: Path) -> Iterator[Result]:
    """An agent that talks until it has five thousand messages, against agents that begin."""
    with mongod.replica_set(folder=folder) as started:
        for name, url in (
            ("sqlite", f"sqlite:///{folder / 'agents.db'}"),
            ("mongodb", mongod.with_database(started.url, "agents")),
        ):
            with harken.connect(url) as hk:
                yield _talking(name, hk)


def _talking(name: str, hk: Harken) -> Result:
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
    return _beside_new(f"{name}: appending a message after {MESSAGES:,} in a session, to the first ones", full, talker)


class _Timed(HarkenSessionManager):
    """Adds up the seconds that appending took, without what an agent itself does in a turn."""

    def __init__(self, hk: Harken, session: str) -> None:
        super().__init__(hk, session)
        self.spent = 0.0

    def append_message(self, message: Message, agent: LocalAgent, **options: Any) -> None:
        append = super().append_message
        self.spent += seconds(lambda: append(message, agent, **options))


def _beside_new(name: str, full: Callable[[], float], begin: Callable[[str], Callable[[], float]]) -> Result:
    """The next twenty of a full session against the first twenty of a new one, in turn."""
    pairs = [(full(), begin(f"new-{number}")()) for number in range(25)]
    ours, other = (median(times) / 20 * 1e3 for times in zip(*pairs, strict=True))
    ratio = median(mine / first for mine, first in pairs)
    return at_most(name, ratio, 1.2, detail=f"{ours:.2f} ms against {other:.2f} ms")


BENCHMARKS = (feedback_in_sessions, messages_of_agents)

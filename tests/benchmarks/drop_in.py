"""The replacement of mongodb_session_manager: ``add_feedback`` compared to ``submit``, and ``get_feedbacks`` to reading
one document with all feedback of a session, as that library stores it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from pymongo import MongoClient
from tests import mongod
from tests.benchmarks.load import COMMENT
from tests.benchmarks.measure import Result, at_most, in_turn, seconds

import harken
from harken import Harken
from harken_adapters.hosts.session_manager import MongoDBSessionManager

#: The length of a session whose feedback is added, and of one whose feedback is read.
ADDED = 10_000
READ = 5_000
#: Calls that are measured together.
BATCH = 50
EXTRAS: Mapping[str, Any] = {"browser": {"name": "Firefox", "version": 143}, "page": "/orders", "logged in": True}


def drop_in(folder: Path) -> Iterator[Result]:
    """On each storage, alternating with what they are compared to."""
    with ExitStack() as stack:
        started = stack.enter_context(mongod.replica_set(folder=folder))
        urls = {
            "memory": "memory://",
            "sqlite": f"sqlite:///{folder / 'drop-in.db'}",
            "mongodb": mongod.with_database(started.url, "drop_in"),
        }
        storages = {name: stack.enter_context(harken.connect(url)) for name, url in urls.items()}
        client = stack.enter_context(MongoClient[Any](started.url))
        for name, hk in storages.items():
            yield _add(name, hk)
            yield _add_to_a_long_session(name, hk)
        for kind, extras in (("", {}), (" with other names", EXTRAS)):
            yield from _read(storages, client, kind, extras)


def _add(name: str, hk: Harken) -> Result:
    numbers = count()
    manager = MongoDBSessionManager("added", harken=hk)

    def add() -> None:
        for _ in range(BATCH):
            manager.add_feedback({"rating": "down", "comment": f"{COMMENT} {next(numbers)}"})

    def submit() -> None:
        for _ in range(BATCH):
            hk.submit("submitted", "down", f"{COMMENT} {next(numbers)}")

    ours, other, ratio = in_turn(add, submit, rounds=41)
    return at_most(f"{name}: add_feedback, to submit", ratio, 1.3, detail=_milliseconds(ours / BATCH, other / BATCH))


def _add_to_a_long_session(name: str, hk: Harken) -> Result:
    """The last thousand of a long session compared to the first thousand of another one."""
    adders = [_adder(MongoDBSessionManager(session, harken=hk)) for session in ("long", "short")]
    for _ in range((ADDED - 1_000) // BATCH):
        adders[0]()
    pairs = [(seconds(adders[0]), seconds(adders[1])) for _ in range(1_000 // BATCH)]
    ours, other = (median(times) / BATCH for times in zip(*pairs, strict=True))
    ratio = median(last / first for last, first in pairs)
    title = f"{name}: add_feedback, the last thousand of {ADDED:,} in a session, to the first"
    return at_most(title, ratio, 1.2, detail=_milliseconds(ours, other))


def _adder(manager: MongoDBSessionManager, **extras: Any) -> Callable[[], None]:
    numbers = count()

    def add() -> None:
        for _ in range(BATCH):
            manager.add_feedback({"rating": "down", "comment": f"{COMMENT} {next(numbers)}", **extras})

    return add


def _read(
    storages: Mapping[str, Harken], client: MongoClient[Any], kind: str, extras: Mapping[str, Any]
) -> Iterator[Result]:
    """All storages and the document in turn, in each round."""
    session = f"read{kind}"
    managers = {name: MongoDBSessionManager(session, harken=hk) for name, hk in storages.items()}
    for manager in managers.values():
        add = _adder(manager, **extras)
        for _ in range(READ // BATCH):
            add()
    start = datetime(2026, 1, 26, 10, tzinfo=UTC)
    document = {
        "_id": session,
        "feedbacks": [
            {
                "rating": "down",
                "comment": f"{COMMENT} {number}",
                **extras,
                "created_at": start + timedelta(seconds=number),
            }
            for number in range(READ)
        ],
    }
    sessions = client["library"]["sessions"]
    sessions.insert_one(document)

    def read_document() -> list[dict[str, Any]]:
        found = sessions.find_one({"_id": session}, {"feedbacks": 1})
        assert found is not None
        return [{**entry, "created_at": entry["created_at"].isoformat()} for entry in found["feedbacks"]]

    ways: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "document": read_document,
        **{name: manager.get_feedbacks for name, manager in managers.items()},
    }
    for way in ways.values():
        assert [entry["comment"] for entry in way()] == [entry["comment"] for entry in document["feedbacks"]]
        assert all(way()[7][name] == value for name, value in extras.items())
    rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(31)]

    def compare(name: str, ours: str, other: str, bound: float) -> Result:
        ratio = median(one[ours] / one[other] for one in rounds)
        times = (median(one[way] for one in rounds) for way in (ours, other))
        return at_most(name, ratio, bound, detail=_milliseconds(*times))

    title = f"get_feedbacks of {READ:,}{kind}"
    for name in storages:
        yield compare(f"{name}: {title}, to one document", name, "document", 2)
    yield compare(f"sqlite: {title}, to mongodb", "sqlite", "mongodb", 1)


def _milliseconds(ours: float, other: float) -> str:
    return f"{ours * 1e3:.3f} ms against {other * 1e3:.3f} ms"


BENCHMARKS = (drop_in,)

"""The replacement of mongodb_session_manager: ``add_feedback`` compared to ``submit``, and ``get_feedbacks`` to reading
one document with all feedback of a session, as that library stores it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from pymongo import MongoClient
from tests import mongod
from tests.benchmarks.load import COMMENT
from tests.benchmarks.measure import Result, at_most, seconds

import harken
from harken import Harken
from harken_adapters.hosts.session_manager import MongoDBSessionManager

#: The length of a session whose feedback is added, and of one whose feedback is read.
ADDED = 10_000
READ = 5_000
#: Measured calls of ``add_feedback``, and of each call that it is compared to.
CALLS = 1_000
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
    ours, other = _alternate(
        lambda: manager.add_feedback({"rating": "down", "comment": f"{COMMENT} {next(numbers)}"}),
        lambda: hk.submit("submitted", "down", f"{COMMENT} {next(numbers)}"),
    )
    return at_most(f"{name}: add_feedback, to submit", ours / other, 1.3, detail=_milliseconds(ours, other))


def _add_to_a_long_session(name: str, hk: Harken) -> Result:
    """The last thousand of a long session compared to the first thousand of another one."""
    long, short = (_adder(MongoDBSessionManager(session, harken=hk)) for session in ("long", "short"))
    _run(long, ADDED - CALLS)
    last, first = _alternate(long, short)
    title = f"{name}: add_feedback, the last thousand of {ADDED:,} in a session, to the first"
    return at_most(title, last / first, 1.2, detail=_milliseconds(last, first))


def _adder(manager: MongoDBSessionManager, **extras: Any) -> Callable[[], object]:
    numbers = count()
    return lambda: manager.add_feedback({"rating": "down", "comment": f"{COMMENT} {next(numbers)}", **extras})


def _run(add: Callable[[], object], times: int) -> None:
    """Call in threads, so that calls share commits."""
    with ThreadPoolExecutor(16) as threads:
        for added in [threads.submit(add) for _ in range(times)]:
            added.result()


def _alternate(ours: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """The median seconds of a thousand calls of each, one at a time: a call that had to wait for others is left out."""
    pairs = [(seconds(ours), seconds(other)) for _ in range(CALLS)]
    return median(mine for mine, _ in pairs), median(theirs for _, theirs in pairs)


def _read(
    storages: Mapping[str, Harken], client: MongoClient[Any], kind: str, extras: Mapping[str, Any]
) -> Iterator[Result]:
    """All storages and the document in turn, in each round."""
    session = f"read{kind}"
    managers = {name: MongoDBSessionManager(session, harken=hk) for name, hk in storages.items()}
    for manager in managers.values():
        _run(_adder(manager, **extras), READ)
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
        found = way()
        assert {entry["comment"] for entry in found} == {entry["comment"] for entry in read_document()}
        assert all(entry[name] == value for entry in found for name, value in extras.items())
    rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(61)]
    times = {name: median(one[name] for one in rounds) for name in ways}

    def compare(name: str, ours: str, other: str, bound: float) -> Result:
        return at_most(name, times[ours] / times[other], bound, detail=_milliseconds(times[ours], times[other]))

    title = f"get_feedbacks of {READ:,}{kind}"
    for name in storages:
        yield compare(f"{name}: {title}, to one document", name, "document", 2)
    yield compare(f"sqlite: {title}, to mongodb", "sqlite", "mongodb", 1)


def _milliseconds(ours: float, other: float) -> str:
    return f"{ours * 1e3:.3f} ms against {other * 1e3:.3f} ms"


BENCHMARKS = (drop_in,)

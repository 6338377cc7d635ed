"""``make bench-large``: MongoDB's figures over ten million, which takes half an hour and some 20 GB of disk.

Loads a year of feedback, first one million and then ten, and looks at the same figures both times. The clock of whoever
looks is a few minutes ahead of that of whoever loads, so that nothing waits for the last marks to run out.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve
from pymongo import MongoClient
from tests import mongod
from tests.benchmarks import rows
from tests.benchmarks.measure import Result, at_least, at_most, in_turn, seconds

import harken
from harken import Feedback, Harken, Period
from harken.ports.repository import Accepted
from harken.ports.storage import Storage
from harken_adapters.storage.mongodb import mongo_storage
from harken_adapters.storage.mongodb.statistics.marks import Marks
from harken_adapters.storage.mongodb.statistics.sums import SUMS

DAYS = 365
BATCH = 1_000
CACHE_GB = 8.0
_SIZES = (1_000_000, 10_000_000)

_Client = MongoClient[dict[str, Any]]


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=3)


def _batches(made: Iterator[Feedback]) -> Iterator[list[Accepted]]:
    while batch := [Accepted(one) for one in islice(made, BATCH)]:
        yield batch


def _year(size: int) -> Iterator[Feedback]:
    """A year up to now, in order; ids that differ from those of any other size."""
    start = datetime.now(UTC) - timedelta(days=DAYS)
    for one in rows.feedback(size, start=start, days=DAYS):
        yield evolve(one, id=f"{size}-{one.id}")


def _load(storage: Storage, made: Iterator[Feedback]) -> None:
    """Two writes at a time, so that making the next batch costs nothing."""
    with ThreadPoolExecutor(2) as pool:
        writing: deque[Future[object]] = deque()
        for batch in _batches(made):
            writing.append(pool.submit(storage.feedback.add, batch))
            if len(writing) > 2:
                writing.popleft().result()
        for write in writing:
            write.result()


@contextmanager
def _without_marks() -> Iterator[None]:
    """As if there were no day documents that have to be kept true."""
    kept = Marks._mark
    Marks._mark = lambda *_: None
    try:
        yield
    finally:
        Marks._mark = kept


def insert_rate(client: _Client) -> Iterator[Result]:
    """Loading with and without the marks that keep figures true, in turn, in order of time and at random."""
    storages = [mongo_storage(client, name) for name in ("with", "without")]
    made = [_batches(_year(1_000_000)) for _ in storages]

    def load(number: int) -> None:
        for batch in islice(made[number], 20):
            storages[number].feedback.add(batch)

    def load_without() -> None:
        with _without_marks():
            load(1)

    ours, other, ratio = in_turn(lambda: load(0), load_without, rounds=24)
    detail = f"{20 * BATCH / ours:.0f}/s against {20 * BATCH / other:.0f}/s, a year in order"
    yield at_most("mongodb: loading, to loading without figures", ratio, 1.05, detail=detail)
    for name in ("with", "without"):
        client.drop_database(name)


def _looks(hk: Harken) -> dict[str, Callable[[], object]]:
    month = hk.query(since=datetime.now(UTC) - timedelta(days=30))
    return {
        "stats of all": hk.summary,
        "stats of one agent": lambda: hk.summary(agent_id="agent-1"),
        "trend of 30 days": lambda: hk.analytics.trend(month, Period.DAY, "America/New_York"),
    }


def figures(client: _Client) -> Iterator[Result]:
    """What people look at, at one million and at ten; against one ``$group`` over everything."""
    storage = mongo_storage(client, "large", clock=_later)
    times: dict[int, dict[str, float]] = {}
    loaded = 0
    with harken.connect(storage) as hk:
        for size in _SIZES:
            # Anew each time: it must not count on marks that, by the later clock, have run out.
            loading = mongo_storage(client, "large")
            took = seconds(lambda: _load(loading, _year(size - loaded)))  # noqa: B023 - used at once
            print(f"     {size - loaded:,} loaded in {took:.0f} s, {(size - loaded) / took:.0f}/s", flush=True)
            loaded = size
            first = seconds(hk.summary)
            print(f"     the first look at {size:,} counted everything, in {first:.1f} s", flush=True)
            assert hk.summary().total == size
            times[size] = {name: median(seconds(look) for _ in range(51)) for name, look in _looks(hk).items()}
            assert hk.summary().total == size
        group = [{"$match": {"application": "default"}}, {"$group": {"_id": None, **SUMS}}]
        collection = client["large"]["harken_feedback"]
        everything = min(seconds(lambda: list(collection.aggregate(group))) for _ in range(3))
    small, large = (times[size] for size in _SIZES)
    for name, took in large.items():
        yield at_most(f"mongodb: {name}, of 10,000,000", took * 1e3, 50, unit=" ms", detail="median of 51")
        detail = f"{took * 1e3:.1f} ms against {everything:.1f} s"
        yield at_least(f"mongodb: one $group over all, to {name}", everything / took, 50, detail=detail)
        detail = f"{took * 1e3:.1f} ms against {small[name] * 1e3:.1f} ms"
        yield at_most(f"mongodb: {name}, to that of 1,000,000", took / small[name], 1.5, detail=detail)


def main(chosen: list[str]) -> int:
    """Run the benchmarks that are named, or both, on a server of their own."""
    kept = True
    with (
        TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder,
        mongod.replica_set(cache_gb=CACHE_GB, folder=Path(folder)) as started,
        _Client(started.url) as client,
    ):
        for benchmark in (insert_rate, figures):
            if chosen and benchmark.__name__ not in chosen:
                continue
            for result in benchmark(client):
                print(result, flush=True)
                kept = kept and result.kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

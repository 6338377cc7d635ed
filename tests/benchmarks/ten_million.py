"""``make bench-large``: MongoDB's statistics with ten million entries. It takes half an hour and about 20 GB of disk.

Loads a year of feedback, first one million entries and then ten, and reads the same statistics both times. The clock of
the reader is a few minutes ahead of the writer's, so that no read has to wait until the last marks expire.
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


def _batches(entries: Iterator[Feedback]) -> Iterator[list[Accepted]]:
    while batch := [Accepted(one) for one in islice(entries, BATCH)]:
        yield batch


def _year(size: int) -> Iterator[Feedback]:
    """A year of feedback up to now, in order. The ids are different for each size."""
    start = datetime.now(UTC) - timedelta(days=DAYS)
    for one in rows.feedback(size, start=start, days=DAYS):
        yield evolve(one, id=f"{size}-{one.id}")


def _load(storage: Storage, entries: Iterator[Feedback]) -> None:
    """Load with two concurrent writes, so that generating the next batch does not delay them."""
    with ThreadPoolExecutor(2) as pool:
        writing: deque[Future[object]] = deque()
        for batch in _batches(entries):
            writing.append(pool.submit(storage.feedback.add, batch))
            if len(writing) > 2:
                writing.popleft().result()
        for write in writing:
            write.result()


@contextmanager
def _without_marks() -> Iterator[None]:
    """Disable the marks of day documents within the context."""
    original = Marks._mark
    Marks._mark = lambda *_: None
    try:
        yield
    finally:
        Marks._mark = original


def insert_rate(client: _Client) -> Iterator[Result]:
    """Loading with and without marks, alternating."""
    storages = [mongo_storage(client, name) for name in ("with", "without")]
    batches = [_batches(_year(1_000_000)) for _ in storages]

    def load(number: int) -> None:
        for batch in islice(batches[number], 20):
            storages[number].feedback.add(batch)

    def load_without() -> None:
        with _without_marks():
            load(1)

    ours, other, ratio = in_turn(lambda: load(0), load_without, rounds=24)
    detail = f"{20 * BATCH / ours:.0f}/s against {20 * BATCH / other:.0f}/s, a year in order"
    yield at_most("mongodb: loading, to loading without marks", ratio, 1.05, detail=detail)
    for name in ("with", "without"):
        client.drop_database(name)


def _reads(hk: Harken) -> dict[str, Callable[[], object]]:
    month = hk.query(since=datetime.now(UTC) - timedelta(days=30))
    return {
        "stats of all": hk.summary,
        "stats of one agent": lambda: hk.summary(agent_id="agent-1"),
        "trend of 30 days": lambda: hk.analytics.trend(month, Period.DAY, "America/New_York"),
    }


def statistics(client: _Client) -> Iterator[Result]:
    """Common statistics with one and ten million entries, compared to one ``$group`` over all."""
    storage = mongo_storage(client, "large", clock=_later)
    times: dict[int, dict[str, float]] = {}
    loaded = 0
    with harken.connect(storage) as hk:
        for size in _SIZES:
            # A new storage each time: it must not rely on marks that have expired by the reader's clock.
            loading = mongo_storage(client, "large")
            took = seconds(lambda: _load(loading, _year(size - loaded)))  # noqa: B023 - used at once
            print(f"     {size - loaded:,} loaded in {took:.0f} s, {(size - loaded) / took:.0f}/s", flush=True)
            loaded = size
            first = seconds(hk.summary)
            print(f"     the first read with {size:,} counted all entries, in {first:.1f} s", flush=True)
            assert hk.summary().total == size
            times[size] = {name: median(seconds(read) for _ in range(51)) for name, read in _reads(hk).items()}
            assert hk.summary().total == size
        group = [{"$match": {"application": "default"}}, {"$group": {"_id": None, **SUMS}}]
        collection = client["large"]["harken_feedback"]
        full_scan = min(seconds(lambda: list(collection.aggregate(group))) for _ in range(3))
    small, large = (times[size] for size in _SIZES)
    for name, took in large.items():
        yield at_most(f"mongodb: {name}, of 10,000,000", took * 1e3, 50, unit=" ms", detail="median of 51")
        detail = f"{took * 1e3:.1f} ms against {full_scan:.1f} s"
        yield at_least(f"mongodb: one $group over all, to {name}", full_scan / took, 50, detail=detail)
        detail = f"{took * 1e3:.1f} ms against {small[name] * 1e3:.1f} ms"
        yield at_most(f"mongodb: {name}, to that of 1,000,000", took / small[name], 1.5, detail=detail)


def main(chosen: list[str]) -> int:
    """Run the named benchmarks, or both, on a new server; returns the exit code."""
    ok = True
    with (
        TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder,
        mongod.replica_set(cache_gb=CACHE_GB, folder=Path(folder)) as started,
        _Client(started.url) as client,
    ):
        for benchmark in (insert_rate, statistics):
            if chosen and benchmark.__name__ not in chosen:
                continue
            for result in benchmark(client):
                print(result, flush=True)
                ok = ok and result.ok
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

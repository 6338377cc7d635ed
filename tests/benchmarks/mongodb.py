"""MongoDB compared to the bare driver: a replica set of one server, both with majority writes to the journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

from pymongo import MongoClient, WriteConcern
from pymongo.collection import Collection
from tests import mongod
from tests.benchmarks import rows
from tests.benchmarks.load import COMMENT, in_threads, submit, submit_soon
from tests.benchmarks.measure import Result, at_least, at_most, command, in_turn, seconds
from uuid_utils import uuid7

import harken
from harken.ports.repository import Accepted
from harken_adapters.storage.mongodb import mongo_storage

CACHE_GB = 2.0
IMPORTED = 300_000
DEEP = 1_000_000

_Document = dict[str, Any]


@contextmanager
def _server(folder: Path) -> Iterator[MongoClient[_Document]]:
    with (
        mongod.replica_set(cache_gb=CACHE_GB, folder=folder) as started,
        MongoClient[_Document](started.url) as client,
    ):
        yield client


def _bare(client: MongoClient[_Document], name: str) -> Collection[_Document]:
    """A collection with the same indexes and validation as Harken's."""
    mongo_storage(client, name)
    return client.get_database(name, write_concern=WriteConcern("majority", j=True))["harken_feedback"]


def _variants(document: _Document) -> Iterator[_Document]:
    """Copies of the document with different ids."""
    (event,) = document["events"]
    at, _, *rest = event["order"].split("\0")
    for number in count():
        feedback_id = str(uuid7())
        yield {
            **document,
            "_id": {"application": document["application"], "id": feedback_id},
            "id": feedback_id,
            "session_id": f"session-{number % 500}",
            "events": [{**event, "order": "\0".join((at, feedback_id, *rest))}],
        }


def submit_on_mongodb(folder: Path) -> Iterator[Result]:
    """One thread, sixteen threads that wait for each submission, and sixteen that do not."""
    with _server(folder) as client, harken.connect(mongo_storage(client, "ours")) as hk:
        hk.submit("session-0", "down", COMMENT, agent_id="helper")
        document = client["ours"]["harken_feedback"].find_one({})
        assert document is not None
        collection, others = _bare(client, "bare"), _variants(document)

        def insert(times: int) -> None:
            for _ in range(times):
                collection.insert_one(next(others))

        ours, other, ratio = in_turn(lambda: submit(hk, 100), lambda: insert(100), rounds=25)
        detail = f"{ours / 100 * 1e3:.2f} ms against {other / 100 * 1e3:.2f} ms"
        yield at_most("mongodb: submit, one thread, to bare insert_one", ratio, 1.2, detail=detail)

        many = [_variants(document) for _ in range(16)]

        def insert_from(number: int) -> None:
            for _ in range(100):
                collection.insert_one(next(many[number]))

        for name, way in (("that wait", submit), ("that do not wait", submit_soon)):
            ours, other, ratio = in_turn(
                lambda: in_threads(16, lambda _: way(hk, 100)),  # noqa: B023 - used at once
                lambda: in_threads(16, insert_from),
                rounds=7,
            )
            detail = f"{1_600 / ours:.0f}/s against {1_600 / other:.0f}/s, each with 16 threads"
            title = f"mongodb: 16 threads {name}, through group commit, to 16 bare threads"
            yield at_least(title, 1 / ratio, 3, detail=detail)


def import_into_mongodb(folder: Path) -> Iterator[Result]:
    """Parsing, validating and counting a CSV file compared to ``insert_many`` of the final documents in thousands."""
    table = folder / "table-mongodb.csv"
    rows.write_csv(table, IMPORTED)
    ratios, peaks = [], []
    with mongod.replica_set(cache_gb=CACHE_GB, folder=folder) as started:
        for number in range(3):
            url = mongod.with_database(started.url, f"import{number}")
            run = command(url, "import", str(table))
            assert run.report["added"] == IMPORTED, run
            peaks.append(run.peak)
            with MongoClient[_Document](started.url) as client:
                finished = list(client[f"import{number}"]["harken_feedback"].find({}))
                collection = _bare(client, f"bare{number}")
                parts = [finished[start : start + 1_000] for start in range(0, IMPORTED, 1_000)]
                other = seconds(lambda: [collection.insert_many(part) for part in parts])  # noqa: B023 - used at once
                for name in (f"import{number}", f"bare{number}"):
                    client.drop_database(name)
            ratios.append(other / run.report["seconds"])
    detail = f"{IMPORTED / run.report['seconds']:.0f} rows/s against {IMPORTED / other:.0f} rows/s; median of 3"
    yield at_least("mongodb: import of 300,000 rows, to bare insert_many", median(ratios), 0.5, detail=detail)
    yield at_most("mongodb: memory of that import", max(peaks), 200, unit=" MB", detail="largest peak of 3")


def page_at_depth(folder: Path) -> Iterator[Result]:
    """A page of a hundred entries after a million, compared to the second page."""
    with _server(folder) as client:
        storage = mongo_storage(client, "deep")
        entries = rows.feedback(DEEP + 1_000)
        while batch := [Accepted(one) for one in islice(entries, 5_000)]:
            storage.feedback.add(batch)
        with harken.connect(storage) as hk:
            query = hk.query()
            first = hk.collection.find(query, limit=100)
            oldest = list(islice(hk.collection.stream(query), 1_000))
            deep = harken.Cursor.of(oldest[-1])
            assert hk.collection.find(query, limit=100, after=deep).items[0] == oldest[-2]
            far, near, ratio = in_turn(
                partial(hk.collection.find, query, limit=100, after=deep),
                partial(hk.collection.find, query, limit=100, after=first.next),
                rounds=101,
            )
    detail = f"{far * 1e3:.2f} ms against {near * 1e3:.2f} ms for the second page"
    yield at_most("mongodb: a page at depth 1,000,000, to one at the start", ratio, 1.2, detail=detail)


BENCHMARKS = (submit_on_mongodb, import_into_mongodb, page_at_depth)

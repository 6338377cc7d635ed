"""Stored data of every earlier schema version reads the same as when it was written; see ``stored/README.md``."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import mongomock
import pytest
from attrs import asdict
from bson import json_util
from pymongo import MongoClient

from harken import FeedbackQuery
from harken.domain.events import Attempt, AttemptOutcome, EventType
from harken.domain.query import Dimension, GroupBy
from harken.ports.storage import Storage
from harken.testing import NOON
from harken_adapters.formats.record import to_record
from harken_adapters.storage.mongodb import mongo_storage
from harken_adapters.storage.mongodb.database import PREFIX, Database
from harken_adapters.storage.mongodb.schema import _MIGRATIONS
from harken_adapters.storage.sqlite import open_storage
from harken_adapters.storage.sqlite.schema import MIGRATIONS

STORED = Path(__file__).with_name("stored")
EXPECTED = json.loads((STORED / "feedback.json").read_text(encoding="utf-8"))
VERSIONS = [
    *(f"sqlite-{version}" for version in range(1, len(MIGRATIONS) + 1)),
    f"mongomock-{len(_MIGRATIONS)}",
    *(pytest.param(f"mongodb-{version}", marks=pytest.mark.slow) for version in range(1, len(_MIGRATIONS) + 1)),
]


def write_sqlite(path: Path, version: int) -> None:
    """Write the file that Harken left with that schema version."""
    connection = sqlite3.connect(path)
    connection.executescript((STORED / f"sqlite-{version}.sql").read_text(encoding="utf-8"))
    connection.close()


def write_mongodb(client: MongoClient[dict[str, Any]], name: str, version: int) -> None:
    """Write the collections that Harken left with that schema version, with their indexes and validation."""
    database = Database(client, name, timeout=60)
    for migration in _MIGRATIONS[:version]:
        migration(database)
    collections = json_util.loads((STORED / f"mongodb-{version}.json").read_text(encoding="utf-8"))
    for collection, documents in collections.items():
        database.collection(collection.removeprefix(PREFIX)).insert_many(documents)


@pytest.fixture(params=VERSIONS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """Stored data of each version, opened by this one."""
    kind, number = request.param.split("-")
    version = int(number)
    if kind == "sqlite":
        path = tmp_path / "feedback.db"
        write_sqlite(path, version)
        with open_storage(f"sqlite:///{path}") as storage:
            yield storage
    elif kind == "mongomock":
        client: MongoClient[dict[str, Any]] = mongomock.MongoClient()
        write_mongodb(client, "harken", version)
        yield mongo_storage(client)
    else:
        with MongoClient[dict[str, Any]](request.getfixturevalue("mongodb_url")) as client:
            name = client.get_default_database().name
            write_mongodb(client, name, version)
            yield mongo_storage(client, name)


def test_feedback_of_every_version_reads_the_same(stored: Storage) -> None:
    """Content, revisions, moderation, times and keys are those that were stored, in the order of creation."""
    for application, expected in EXPECTED.items():
        every = FeedbackQuery(application=application).in_any_state()
        found = list(stored.feedback.stream(every))
        assert [to_record(one) for one in found] == expected["feedback"]
        assert [to_record(stored.feedback.get(application, one.id)) for one in found] == expected["feedback"]
    assert stored.feedback.applications() == sorted(EXPECTED)


def test_statistics_of_every_version_read_the_same(stored: Storage) -> None:
    """Stored counters are those of the version that wrote them."""
    for application, expected in EXPECTED.items():
        by_agent = stored.feedback.summarize(FeedbackQuery(application=application), GroupBy(Dimension.AGENT))
        found = {agent or "": asdict(summary) for agent, summary in by_agent.items()}
        for summary in found.values():
            del summary["by_hour"]
        assert found == expected["statistics"]


def test_events_and_deliveries_of_every_version_read_the_same(stored: Storage) -> None:
    """Stored events wait in order, and stored deliveries are claimed in order, with the types that they have now."""
    waiting = [(event.subject_id, event.type) for event in stored.outbox.events(limit=99)]
    assert waiting == [
        ("plain", EventType.CREATED),
        ("full", EventType.CREATED),
        *[("full", EventType.UPDATED)] * 4,
        ("held", EventType.CREATED),
        ("judged", EventType.CREATED),
        *[("judged", EventType.MODERATED)] * 2,
        ("withdrawn-later", EventType.CREATED),
        ("withdrawn-later", EventType.WITHDRAWN),
        ("elsewhere", EventType.CREATED),
    ]
    later, delivered = NOON + timedelta(hours=1), []
    while claimed := stored.outbox.claim("log", now=later, until=later + timedelta(minutes=1), limit=9):
        delivered += [(delivery.event.subject_id, delivery.event.type) for delivery in claimed]
        stored.outbox.settle(claimed)
    assert delivered == [("withdrawn", EventType.CREATED), ("withdrawn", EventType.WITHDRAWN)]


def test_attempts_of_deliveries_read_the_same(stored: Storage) -> None:
    """The attempts that were stored with a delivery are those that were made."""
    later = NOON + timedelta(minutes=30)
    claimed = stored.outbox.claim("log", now=later, until=later + timedelta(minutes=1), limit=1)
    failed = Attempt(
        at=later,
        duration=timedelta(milliseconds=250),
        outcome=AttemptOutcome.FAILED,
        status="503 Service Unavailable",
        words="try later",
        error="The receiver answered 503 Service Unavailable",
    )
    # Earlier versions made no attempt.
    assert [one.history for one in claimed] == [() if one.attempts == 1 else (failed,) for one in claimed]


def test_searches_of_every_version_find_the_same(stored: Storage) -> None:
    """Comments are found before and after they are indexed, and a stored index fits the comments."""
    assert list(stored.check()) == []
    for application, expected in EXPECTED.items():
        query = FeedbackQuery(application=application, text="now").in_any_state()
        ids = [record["id"] for record in expected["feedback"] if "now" in record["comment"]]
        assert [one.id for one in stored.feedback.find(query, limit=9).items] == ids
        stored.index_comments(application)
        assert [one.id for one in stored.feedback.find(query, limit=9).items] == ids


def test_extras_of_every_version_read_the_same(stored: Storage, request: pytest.FixtureRequest) -> None:
    """Files of SQLite have extras from version 11 on; data of MongoDB may have them in any version."""
    kind, version = request.node.callspec.params["stored"].split("-")
    expected = {"elsewhere": '{"nested": ["é", 1.0]}'} if kind == "sqlite" and int(version) >= 11 else {}
    assert stored.feedback.extras("shop", ["elsewhere"]) == expected
    assert stored.feedback.extras("default", ["plain", "full"]) == {}


def test_stored_feedback_of_every_version_can_be_changed(stored: Storage) -> None:
    """A change of stored feedback appends a revision to those that it has."""
    before = stored.feedback.get("default", "full")
    after = before.revised(stored.feedback.get("default", "judged").content, at=NOON + timedelta(days=1))
    stored.feedback.replace(after, [])
    assert stored.feedback.get("default", "full") == after
    assert after.revisions[:-1] == before.revisions
    assert stored.feedback.summarize(FeedbackQuery(session_id="session-1"))[None].negative == 1

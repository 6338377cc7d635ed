"""Every storage of Harken passes the contract kit."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import mongomock
import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

import harken
from harken.ports.storage import Storage
from harken.testing import StorageContract, reference_storage
from harken.testing.alert_contract import AlertContract
from harken.testing.conversation_contract import ConversationContract
from harken.testing.key_contract import KeyContract
from harken.testing.order_contract import OrderContract
from harken.testing.outbox_contract import OutboxContract
from harken.testing.session_contract import SessionContract
from harken.testing.state_contract import StateContract

# Imported before any test runs: Hypothesis draws constants from the loaded modules, so a derandomized run does the same
# on every storage.
from harken_adapters.storage import comment_index, memory, sqlite
from harken_adapters.storage.mongodb import mongo_storage
from harken_adapters.storage.sqlite import terms


class TestMemory(StorageContract):
    def open_storage(self) -> AbstractContextManager[Storage]:
        return memory.open_storage("memory://")


class TestSqlite(StorageContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self._urls = (f"sqlite:///{tmp_path}/{number}.db" for number in count())

    def open_storage(self) -> AbstractContextManager[Storage]:
        return sqlite.open_storage(next(self._urls))


def distant_times() -> Iterator[datetime]:
    """Times that are so far apart that day documents are complete at each read."""
    start = datetime.now(UTC)
    return (start + number * timedelta(minutes=11) for number in count())


@pytest.mark.slow
class TestMongomock(StorageContract):
    def open_storage(self) -> AbstractContextManager[Storage]:
        return _without_closing(mongo_storage(mongomock.MongoClient()))


T = TypeVar("T", bound=type[StorageContract])

#: The parts of the contract that do not involve statistics.
_WITHOUT_STATISTICS = (
    SessionContract,
    OutboxContract,
    OrderContract,
    KeyContract,
    AlertContract,
    StateContract,
    ConversationContract,
)


def about_statistics(contract: T) -> T:
    """Omit the tests that do not involve statistics."""
    omitted = {name for part in _WITHOUT_STATISTICS for name in vars(part) if name.startswith("test_")}
    omitted |= {name for name in vars(StorageContract) if name.startswith("test_any_sequence_of_")}
    for name in omitted - {"test_any_sequence_of_operations_gives_what_the_reference_model_gives"}:
        setattr(contract, name, None)
    return contract


@about_statistics
@pytest.mark.slow
class TestMongomockDayDocuments(StorageContract):
    """As above, with statistics from day documents."""

    def open_storage(self) -> AbstractContextManager[Storage]:
        return _without_closing(mongo_storage(mongomock.MongoClient(), clock=distant_times().__next__))


@about_statistics
class TestSqliteCountingTermsAtOnce(TestSqlite):
    """As above, but with every term in the record, and every change a correction of it."""

    @pytest.fixture(autouse=True)
    def folding(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(terms, "_ENOUGH", 1)
        monkeypatch.setattr(terms, "_CHUNK", 2)


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets each search index what is not indexed, in segments of a few comments, and use them."""
    monkeypatch.setattr(comment_index, "ENTRIES", 3)
    monkeypatch.setattr(comment_index, "WALKED", 1)
    monkeypatch.setattr(comment_index, "_COST", 0)
    monkeypatch.setattr(comment_index.CommentIndexer, "wake", comment_index.CommentIndexer.fill)
    monkeypatch.setattr(sqlite.comment_index, "_NEWEST", 1)


@about_statistics
@pytest.mark.usefixtures("small_segments")
class TestSqliteIndexingComments(TestSqlite):
    """As above, but every search uses the index."""


@about_statistics
@pytest.mark.slow
@pytest.mark.usefixtures("small_segments")
class TestMongomockIndexingComments(TestMongomockDayDocuments):
    """As above, but every search uses the index."""


_WRITES = frozenset({"insert", "update", "delete", "findAndModify"})
_READS = frozenset({"find", "aggregate", "count", "distinct"})


class ConcernListener(CommandListener):
    """Records writes without majority and journal, and reads without majority."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Check the concerns of a command."""
        command, name = event.command, event.command_name
        write, read = command.get("writeConcern"), command.get("readConcern", {}).get("level")
        merges = name == "aggregate" and any({"$merge", "$out"} & set(stage) for stage in command["pipeline"])
        if (name in _WRITES or merges) and write != {"w": "majority", "j": True}:
            self.faults.append(f"{name} {command[name]} has the write concern {write}")
        if name in _READS and read != "majority" and "$changeStream" not in str(command.get("pipeline", ""))[:30]:
            self.faults.append(f"{name} {command[name]} has the read concern {read}")

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Ignored."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Ignored."""


@pytest.mark.slow
class TestMongoDB(StorageContract):
    """All commands are observed, so that every write of the contract, including future ones, is durable."""

    @pytest.fixture(autouse=True)
    def database(self, mongodb_url: str) -> Iterator[None]:
        concerns = ConcernListener()
        with (
            MongoClient[dict[str, Any]](mongodb_url) as self._own,
            MongoClient[dict[str, Any]](mongodb_url, event_listeners=[concerns]) as self._client,
        ):
            self._name = self._client.get_default_database().name
            yield
        assert concerns.faults == []

    def open_storage(self) -> AbstractContextManager[Storage]:
        return _without_closing(mongo_storage(self._empty(), self._name))

    def _empty(self) -> MongoClient[dict[str, Any]]:
        """Empty the collections, which is much faster than creating all indexes again; returns the client."""
        database = self._own[self._name]
        for name in database.list_collection_names():
            database[name].delete_many({"_id": {"$ne": "schema"}})
        return self._client


@about_statistics
@pytest.mark.slow
class TestMongoDBDayDocuments(TestMongoDB):
    """As above, with statistics from day documents."""

    def open_storage(self) -> AbstractContextManager[Storage]:
        return _without_closing(mongo_storage(self._empty(), self._name, clock=distant_times().__next__))


@about_statistics
@pytest.mark.slow
@pytest.mark.usefixtures("small_segments")
class TestMongoDBIndexingComments(TestMongoDBDayDocuments):
    """As above, but every search uses the index."""


@contextmanager
def _without_closing(storage: Storage) -> Iterator[Storage]:
    """The storage, whose client the caller closes."""
    yield storage


def test_the_kit_needs_no_more_than_the_ports() -> None:
    """A storage that passes the kit can be passed to ``connect``."""
    with harken.connect(reference_storage()) as hk:
        hk.submit("session", "up")
        assert hk.summary().positive == 1

"""Every storage that Harken ships keeps the same contract."""

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

# Imported before any test runs, as Hypothesis draws constants from the modules that are there: so, where it is told to
# do the same at every run, it does the same to every storage.
from harken_adapters.storage import memory, sqlite
from harken_adapters.storage.mongodb import mongo_storage


class TestMemory(StorageContract):
    def open_storage(self) -> AbstractContextManager[Storage]:
        return memory.open_storage("memory://")


class TestSqlite(StorageContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self._urls = (f"sqlite:///{tmp_path}/{number}.db" for number in count())

    def open_storage(self) -> AbstractContextManager[Storage]:
        return sqlite.open_storage(next(self._urls))


def in_leaps() -> Iterator[datetime]:
    """Moments that lie so far apart that figures are settled whenever somebody looks."""
    start = datetime.now(UTC)
    return (start + number * timedelta(minutes=11) for number in count())


@pytest.mark.slow
class TestMongomock(StorageContract):
    def open_storage(self) -> AbstractContextManager[Storage]:
        return _not_closed(mongo_storage(mongomock.MongoClient()))


T = TypeVar("T", bound=type[StorageContract])

#: What has nothing to do with figures.
_BESIDE_FIGURES = (
    SessionContract,
    OutboxContract,
    OrderContract,
    KeyContract,
    AlertContract,
    StateContract,
    ConversationContract,
)


def about_figures(contract: T) -> T:
    """Leaves out what has nothing to do with figures."""
    beside = {name for part in _BESIDE_FIGURES for name in vars(part) if name.startswith("test_")}
    beside |= {f"test_any_sequence_of_{what}_gives_what_the_reference_model_gives" for what in ("telling", "talking")}
    for name in beside:
        setattr(contract, name, None)
    return contract


@about_figures
@pytest.mark.slow
class TestMongomockSettlingAtOnce(StorageContract):
    """As above, but with figures that come from day documents."""

    def open_storage(self) -> AbstractContextManager[Storage]:
        return _not_closed(mongo_storage(mongomock.MongoClient(), clock=in_leaps().__next__))


_WRITES = frozenset({"insert", "update", "delete", "findAndModify"})
_READS = frozenset({"find", "aggregate", "count", "distinct"})


class Concerns(CommandListener):
    """Notes each write that a majority need not have in its journal, and each read of what a majority may not have."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        """A command is sent."""
        command, name = event.command, event.command_name
        write, read = command.get("writeConcern"), command.get("readConcern", {}).get("level")
        merges = name == "aggregate" and any({"$merge", "$out"} & set(stage) for stage in command["pipeline"])
        if (name in _WRITES or merges) and write != {"w": "majority", "j": True}:
            self.faults.append(f"{name} {command[name]} has the write concern {write}")
        if name in _READS and read != "majority" and "$changeStream" not in str(command.get("pipeline", ""))[:30]:
            self.faults.append(f"{name} {command[name]} has the read concern {read}")

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing more is to be known."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing more is to be known."""


@pytest.mark.slow
class TestMongoDB(StorageContract):
    """Every command is observed: what the contract has any adapter write is durable, also what is added to it later."""

    @pytest.fixture(autouse=True)
    def database(self, mongodb_url: str) -> Iterator[None]:
        concerns = Concerns()
        with (
            MongoClient[dict[str, Any]](mongodb_url) as self._own,
            MongoClient[dict[str, Any]](mongodb_url, event_listeners=[concerns]) as self._client,
        ):
            self._name = self._client.get_default_database().name
            yield
        assert concerns.faults == []

    def open_storage(self) -> AbstractContextManager[Storage]:
        return _not_closed(mongo_storage(self._emptied(), self._name))

    def _emptied(self) -> MongoClient[dict[str, Any]]:
        """The client, the database being as it was at first: that is much faster than to make all indexes again."""
        database = self._own[self._name]
        for name in database.list_collection_names():
            database[name].delete_many({"_id": {"$ne": "schema"}})
        return self._client


@about_figures
@pytest.mark.slow
class TestMongoDBSettlingAtOnce(TestMongoDB):
    """As above, but with figures that come from day documents."""

    def open_storage(self) -> AbstractContextManager[Storage]:
        return _not_closed(mongo_storage(self._emptied(), self._name, clock=in_leaps().__next__))


@contextmanager
def _not_closed(storage: Storage) -> Iterator[Storage]:
    """The client belongs to whoever made it."""
    yield storage


def test_the_kit_needs_no_more_than_the_ports() -> None:
    """A storage that passes the kit can be handed to ``connect`` as it is."""
    with harken.connect(reference_storage()) as hk:
        hk.submit("session", "up")
        assert hk.summary().positive == 1

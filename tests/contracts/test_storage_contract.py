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

import harken
from harken.ports.storage import Storage
from harken.testing import StorageContract, reference_storage
from harken.testing.alerts import AlertContract
from harken.testing.conversations import ConversationContract
from harken.testing.documents import DocumentContract
from harken.testing.keys import KeyContract
from harken.testing.outbox import OutboxContract
from harken.testing.sessions import SessionContract

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
_BESIDE_FIGURES = (SessionContract, OutboxContract, KeyContract, AlertContract, DocumentContract, ConversationContract)


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


@pytest.mark.slow
class TestMongoDB(StorageContract):
    @pytest.fixture(autouse=True)
    def database(self, mongodb_url: str) -> Iterator[None]:
        with MongoClient[dict[str, Any]](mongodb_url) as self._client:
            self._name = self._client.get_default_database().name
            yield

    def open_storage(self) -> AbstractContextManager[Storage]:
        return _not_closed(mongo_storage(self._emptied(), self._name))

    def _emptied(self) -> MongoClient[dict[str, Any]]:
        """The client, the database being as it was at first: that is much faster than to make all indexes anew."""
        database = self._client[self._name]
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

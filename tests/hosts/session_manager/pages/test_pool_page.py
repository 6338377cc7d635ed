"""The connection pool: one client for the process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import InvalidOperation
from pymongo.monitoring import ConnectionPoolListener

import harken
from harken import Harken
from harken_adapters.hosts.session_manager import (
    MongoDBConnectionPool,
    MongoDBSessionManager,
    MongoDBSessionManagerFactory,
)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Closes the pool at the end."""
    yield
    MongoDBConnectionPool.close()


class Connections(ConnectionPoolListener):
    """Counts the connections that a client opens and closes; other events are ignored."""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    def connection_created(self, event: object) -> None:
        """Count it."""
        self.opened += 1

    def connection_closed(self, event: object) -> None:
        """Count it."""
        self.closed += 1

    def _ignore(self, event: object) -> None:
        """Ignore it."""

    pool_created = pool_ready = pool_cleared = pool_closed = connection_ready = _ignore
    connection_check_out_started = connection_check_out_failed = connection_checked_out = connection_checked_in = (
        _ignore
    )


class TestClient:
    """The client of the pool."""

    def test_before_and_after(self, storage_url: str) -> None:
        """There is none before it is opened and after it is closed, which may be repeated."""
        assert MongoDBConnectionPool.get_client() is None
        opened = MongoDBConnectionPool.initialize(storage_url)
        assert MongoDBConnectionPool.get_client() is opened
        MongoDBConnectionPool.close()
        MongoDBConnectionPool.close()
        assert MongoDBConnectionPool.get_client() is None

    def test_equal_arguments(self, storage_url: str) -> None:
        """They return the same client, in any number of threads; others close and replace it."""
        with ThreadPoolExecutor(10) as threads:
            clients = list(threads.map(lambda _: MongoDBConnectionPool.initialize(storage_url), range(10)))
        first = clients[0]
        assert all(client is first for client in clients)
        manager = MongoDBSessionManager("s", client=first)
        manager.add_feedback({"rating": "up"})
        second = MongoDBConnectionPool.initialize(storage_url, maxPoolSize=5)
        assert second is MongoDBConnectionPool.get_client() is not first
        with pytest.raises(harken.StorageClosed):
            manager.add_feedback({"rating": "up"})
        MongoDBSessionManager("s", client=second).add_feedback({"rating": "up"})

    def test_the_instance(self, storage_url: str) -> None:
        """The class has one instance, with the same methods."""
        pool = MongoDBConnectionPool()
        assert pool is MongoDBConnectionPool()
        assert pool.initialize(storage_url) is MongoDBConnectionPool.get_client()
        pool.close()
        assert MongoDBConnectionPool.get_pool_stats() == {"status": "not_initialized"}

    def test_session_managers_of_requests(self, storage_url: str) -> None:
        """A hundred at once, and a factory, use the client, and leave it open."""
        client = MongoDBConnectionPool.initialize(storage_url)

        def request(number: int) -> None:
            manager = MongoDBSessionManager(f"session-{number}", client=client)
            manager.add_feedback({"rating": "up", "comment": str(number)})
            manager.close()

        with ThreadPoolExecutor(10) as threads:
            list(threads.map(request, range(100)))
        factory = MongoDBSessionManagerFactory(client=client)
        assert factory.get_connection_stats()["status"] == "external_client"
        factory.close()
        manager = MongoDBSessionManager("session-7", client=client)
        assert [one["comment"] for one in manager.get_feedbacks()] == ["7"]
        assert manager.harken.summary().total == 100

    def test_options_of_the_driver(self, storage_url: str) -> None:
        """All those of the pages are accepted; Harken's own durability stays."""
        options: dict[str, Any] = {
            "maxPoolSize": 20,
            "minPoolSize": 2,
            "maxIdleTimeMS": 45_000,
            "waitQueueTimeoutMS": 3_000,
            "serverSelectionTimeoutMS": 5_000,
            "connectTimeoutMS": 10_000,
            "socketTimeoutMS": 30_000,
            "retryWrites": True,
            "retryReads": True,
            "w": 1,
            "journal": False,
            "fsync": True,
            "wtimeoutMS": 5_000,
            "readConcernLevel": "local",
            "compressors": ["zlib"],
        }
        client = MongoDBConnectionPool.initialize(storage_url, **options)
        MongoDBSessionManager("s", client=client).add_feedback({"rating": "up"})
        with pytest.raises(ValueError, match="maxpool"):
            MongoDBConnectionPool.initialize(storage_url, maxpool=7)
        assert MongoDBConnectionPool.get_client() is client

    @pytest.mark.parametrize("url", [None, "", "nowhere://"])
    def test_an_invalid_url(self, url: str | None) -> None:
        """It is an error, and there is no client."""
        with pytest.raises(ValueError, match=r"connection_string must be given|nowhere"):
            MongoDBConnectionPool.initialize(url)
        assert MongoDBConnectionPool.get_client() is None


class TestStatistics:
    """The state of the pool."""

    def test_of_each_storage(self, storage_url: str) -> None:
        """It says whether there is a client, and never has the connection string."""
        assert MongoDBConnectionPool.get_pool_stats() == {"status": "not_initialized"}
        client = MongoDBConnectionPool.initialize(storage_url)
        stats = MongoDBConnectionPool.get_pool_stats()
        assert stats.pop("status") == "connected"
        if isinstance(client, Harken):
            assert stats == {}
        else:
            version = client.server_info()["version"]
            assert stats == {"server_version": version, "pool_config": {"maxPoolSize": 100, "minPoolSize": 10}}

    def test_after_the_client_was_closed(self, storage_url: str) -> None:
        """By the program: it does not respond, and the reason is given."""
        MongoDBConnectionPool.initialize(storage_url).close()
        stats = MongoDBConnectionPool.get_pool_stats()
        assert stats.pop("status") == "error"
        assert "closed" in stats.pop("error")
        assert stats == {}


@pytest.mark.slow
class TestServer:
    """The pool on a MongoDB server."""

    def test_defaults_and_overrides(self, mongodb_url: str) -> None:
        """They reach the client; the driver's types of addresses and durations are its own."""
        client = MongoDBConnectionPool.initialize(mongodb_url, maxPoolSize=200, minPoolSize=0, retryReads=False)
        assert isinstance(client, MongoClient)
        pool = client.options.pool_options
        assert (pool.max_pool_size, pool.min_pool_size, pool.wait_queue_timeout) == (200, 0, 5)
        assert (pool.connect_timeout, pool.max_idle_time_seconds) == (10, 30)
        assert (client.options.server_selection_timeout, client.options.retry_writes) == (5, True)
        assert client.options.retry_reads is False
        MongoDBConnectionPool.close()
        with pytest.raises(InvalidOperation):
            client.server_info()

    def test_compressors_that_are_not_installed(self, mongodb_url: str) -> None:
        """The driver warns, and goes on without them."""
        with pytest.warns(UserWarning, match="snappy is not available"):
            client = MongoDBConnectionPool.initialize(mongodb_url, compressors=["snappy", "zlib"])
        MongoDBSessionManager("s", client=client).add_feedback({"rating": "up"})

    def test_reads_from_secondaries(self, mongodb_url: str) -> None:
        """Options for them in a URL are accepted, and have no effect, as Harken reads what it has written."""
        url = f"{mongodb_url}&readPreference=primaryPreferred&maxStalenessSeconds=120&readPreferenceTags=dc:ny"
        client = MongoDBConnectionPool.initialize(url, readPreference="secondary", w=1, journal=False)
        manager = MongoDBSessionManager("s", client=client)
        manager.add_feedback({"rating": "up"})
        assert len(manager.get_feedbacks()) == 1

    def test_connections(self, mongodb_url: str) -> None:
        """Session managers for each request open no connection and close none."""
        connections = Connections()
        client = MongoDBConnectionPool.initialize(
            mongodb_url, maxPoolSize=5, minPoolSize=5, event_listeners=[connections], maxIdleTimeMS=600_000
        )

        def request(number: int) -> None:
            manager = MongoDBSessionManager(f"session-{number}", client=client)
            manager.add_feedback({"rating": "up"})
            manager.close()

        with ThreadPoolExecutor(20) as threads:
            list(threads.map(request, range(200)))
        assert connections.closed == 0
        assert 1 <= connections.opened <= 5

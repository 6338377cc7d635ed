"""Factories: session managers that share a connection, and the global factory of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from pymongo import MongoClient

import harken
from harken_adapters.hosts.session_manager import (
    MongoDBConnectionPool,
    MongoDBSessionManager,
    MongoDBSessionManagerFactory,
    MongoDBSessionRepository,
    close_global_factory,
    get_global_factory,
    initialize_global_factory,
)
from interference import Interference

OpenFactory = Callable[..., MongoDBSessionManagerFactory]


@pytest.fixture
def open_factory(storage_url: str) -> Iterator[OpenFactory]:
    """Opens factories on the storage, which are closed at the end."""
    opened: list[MongoDBSessionManagerFactory] = []

    def open_one(*arguments: Any, **options: Any) -> MongoDBSessionManagerFactory:
        opened.append(MongoDBSessionManagerFactory(storage_url, *arguments, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
    close_global_factory()


def comments(manager: MongoDBSessionManager) -> list[str]:
    """The comments of a session."""
    return [feedback["comment"] for feedback in manager.get_feedbacks()]


class TestSessionManagers:
    """What a factory creates."""

    def test_one_connection(self, open_factory: OpenFactory) -> None:
        """All share it; closing a session manager leaves it open for the others."""
        factory = open_factory()
        managers = [factory.create_session_manager(f"session-{number}") for number in range(5)]
        assert {id(manager.harken) for manager in managers} == {id(factory.harken)}
        for number, manager in enumerate(managers):
            manager.add_feedback({"rating": "up", "comment": str(number)})
            manager.close()
            manager.close()
        assert comments(factory.create_session_manager("session-3")) == ["3"]
        assert factory.harken.summary().total == 5

    def test_overrides(self, open_factory: OpenFactory) -> None:
        """Application, metadata fields and names replace those of the factory, by position too."""
        factory = open_factory(None, "sessions", metadata_fields=["topic"], application_name="web")
        one = factory.create_session_manager("s")
        other = factory.create_session_manager("s", None, "other_sessions", ["tier"], "app")
        one.add_feedback({"rating": "up", "comment": "web"})
        other.add_feedback({"rating": "up", "comment": "app"})
        assert (one.get_application_name(), comments(one)) == ("web", ["web"])
        assert (other.get_application_name(), comments(other)) == ("app", ["app"])
        fields = [
            manager.session_repository.metadata_fields
            for manager in (one, other)
            if isinstance(manager.session_repository, MongoDBSessionRepository)
        ]
        assert fields == [("topic",), ("tier",)]

    def test_hooks(self, open_factory: OpenFactory) -> None:
        """Each session manager has its own; camel case is deprecated."""
        seen: list[str] = []

        def hook(name: str, original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
            seen.append(f"{name} {action} {session_id}")
            return original_func(**kwargs)

        factory = open_factory()
        manager = factory.create_session_manager(
            "one", feedback_hook=partial(hook, "feedback"), metadata_hook=partial(hook, "metadata")
        )
        with pytest.warns(DeprecationWarning, match="feedbackHook is deprecated; use feedback_hook"):
            old = factory.create_session_manager("two", feedbackHook=partial(hook, "old"))
        with pytest.warns(DeprecationWarning, match="metadataHook is deprecated; use metadata_hook"):
            older = factory.create_session_manager("three", metadataHook=partial(hook, "older"))
        for each in (manager, old, older, factory.create_session_manager("four")):
            each.add_feedback({"rating": "up"})
            each.update_metadata({"topic": "invoices"})
        assert seen == ["feedback add one", "metadata update one", "old add two", "older update three"]

    def test_other_keywords(self, open_factory: OpenFactory) -> None:
        """Options of the driver are accepted, and have no effect; a misspelt argument is an error."""
        factory = open_factory()
        factory.create_session_manager("s", maxPoolSize=1).add_feedback({"rating": "up"})
        with pytest.raises(ValueError, match="'feedback_hok' is neither"):
            factory.create_session_manager("s", feedback_hok=print)

    def test_names(self, open_factory: OpenFactory) -> None:
        """The factory has them as attributes."""
        factory = open_factory("chat", "sessions", None, ["topic"], "web")
        assert (factory.database_name, factory.collection_name) == ("chat", "sessions")
        assert (factory.metadata_fields, factory.application_name) == (("topic",), "web")
        unnamed = open_factory()
        assert (unnamed.database_name, unnamed.collection_name, unnamed.metadata_fields) == (
            None,
            "collection_name",
            (),
        )
        assert unnamed.application_name is None

    def test_statistics(self, storage_url: str, open_factory: OpenFactory) -> None:
        """They say whether the storage is open; of a MongoDB server also version and pool sizes."""
        stats = open_factory(maxPoolSize=20).get_connection_stats()
        assert stats["status"] == "connected"
        if storage_url.startswith("mongodb"):
            assert stats["pool_config"] == {"maxPoolSize": 20, "minPoolSize": 10}
            assert stats["server_version"][0].isdecimal()
        assert storage_url not in str(stats)


class TestFactories:
    """Factories of a process."""

    def test_a_client_or_harken_of_the_program(self, storage_url: str) -> None:
        """It wins over a connection string, has its own statistics, and stays open."""
        with harken.connect(storage_url) as hk:
            factory = MongoDBSessionManagerFactory("nowhere://", client=hk)
            assert factory.get_connection_stats()["status"] == "external_client"
            factory.create_session_manager("s").add_feedback({"rating": "up"})
            factory.close()
            factory.close()
            assert hk.summary().total == 1
            assert MongoDBConnectionPool.get_client() is None

    def test_without_a_storage(self) -> None:
        """Neither a connection string nor a client is an error, as is a misspelt argument."""
        with pytest.raises(ValueError, match="Either connection_string or client must be given"):
            MongoDBSessionManagerFactory()
        with pytest.raises(ValueError, match="'conection_string' is neither"), harken.connect("memory://") as hk:
            MongoDBSessionManagerFactory(client=hk, conection_string="memory://")

    def test_the_global_factory(self, storage_url: str) -> None:
        """There is one for the process: before it is an error, another one closes it, and closing may be repeated."""
        with pytest.raises(RuntimeError, match="initialize_global_factory"):
            get_global_factory()
        first = initialize_global_factory(storage_url, "chat", "sessions", ["topic"], "web", maxPoolSize=5)
        assert (first.metadata_fields, first.application_name) == (("topic",), "web")
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(lambda _: get_global_factory(), range(16))) == {first}
        second = initialize_global_factory(storage_url)
        assert get_global_factory() is second
        assert second.collection_name == "virtualagent_sessions"
        with pytest.raises(harken.StorageClosed):
            first.create_session_manager("s")
        second.create_session_manager("s").add_feedback({"rating": "up"})
        close_global_factory()
        close_global_factory()
        with pytest.raises(RuntimeError):
            get_global_factory()

    def test_threads_that_replace_the_global_factory(self, storage_url: str) -> None:
        """One of theirs remains, and the others are closed."""
        with ThreadPoolExecutor(4) as threads:
            factories = list(threads.map(lambda _: initialize_global_factory(storage_url), range(4)))
        get_global_factory().create_session_manager("s").add_feedback({"rating": "up"})
        for factory in factories:
            if factory is not get_global_factory():
                with pytest.raises(harken.StorageClosed):
                    factory.create_session_manager("s")
        close_global_factory()

    def test_the_pool_has_their_client(self, storage_url: str, open_factory: OpenFactory) -> None:
        """Programs that ask the pool for statistics or the client get those of the factory, until it is closed."""
        assert MongoDBConnectionPool.get_pool_stats() == {"status": "not_initialized"}
        factory = open_factory()
        other = open_factory()
        assert MongoDBConnectionPool.get_pool_stats() == other.get_connection_stats()
        client = MongoDBConnectionPool.get_client()
        manager = MongoDBSessionManager("s", client=client)
        manager.add_feedback({"rating": "up"})
        other.close()
        assert MongoDBConnectionPool.get_client() is not client
        assert MongoDBConnectionPool.get_pool_stats() == factory.get_connection_stats()
        with pytest.raises(harken.StorageClosed):
            manager.add_feedback({"rating": "up"})
        factory.close()
        assert MongoDBConnectionPool.get_client() is None


@pytest.mark.slow
class TestServer:
    """Factories on a MongoDB server."""

    def test_driver_options(self, mongodb_url: str) -> None:
        """They reach the client, win over the URL, and otherwise have the defaults of the pool."""
        separator = "&" if "?" in mongodb_url else "?"
        for url, options, expected in (
            (mongodb_url, {}, (100, 10)),
            (mongodb_url, {"maxPoolSize": 7, "minPoolSize": 2}, (7, 2)),
            (mongodb_url, {"maxpoolsize": 7}, (7, 7)),
            (f"{mongodb_url}{separator}maxPoolSize=3", {}, (3, 3)),
            (f"{mongodb_url}{separator}maxPoolSize=3", {"maxPoolSize": 50}, (50, 10)),
        ):
            factory = MongoDBSessionManagerFactory(url, **options)  # type: ignore[arg-type]
            client = MongoDBConnectionPool.get_client()
            assert isinstance(client, MongoClient)
            pool = client.options.pool_options
            assert (pool.max_pool_size, pool.min_pool_size) == expected
            assert (pool.wait_queue_timeout, pool.connect_timeout, pool.max_idle_time_seconds) == (5, 10, 30)
            factory.close()

    def test_a_thousand_session_managers(self, mongodb_url: str) -> None:
        """None of them sends a command, with any number of metadata fields."""
        commands = Interference()
        factory = MongoDBSessionManagerFactory(
            mongodb_url, metadata_fields=["topic", "tier"], event_listeners=[commands], minPoolSize=0
        )
        factory.create_session_manager("first")
        before = commands.sent
        for number in range(1_000):
            factory.create_session_manager(f"session-{number}").close()
        assert commands.sent == before
        factory.close()

    def test_a_database_for_each_tenant(self, mongodb_url: str) -> None:
        """Factories, and session managers that override the database, see the sessions of theirs only."""
        with MongoClient[Any](mongodb_url) as client:
            prefix = client.get_default_database().name
            names = [f"{prefix}_{tenant}" for tenant in ("a", "b", "c")]
            factories = [MongoDBSessionManagerFactory(mongodb_url, name, "sessions", maxPoolSize=5) for name in names]
            for name, factory in zip(names, factories, strict=True):
                factory.create_session_manager("s").add_feedback({"rating": "up", "comment": name})
            assert [comments(factory.create_session_manager("s")) for factory in factories] == [
                [name] for name in names
            ]
            overriding = factories[0].create_session_manager("s", database_name=names[1])
            assert comments(overriding) == [names[1]]
            for name, factory in zip(names, factories, strict=True):
                factory.close()
                client.drop_database(name)

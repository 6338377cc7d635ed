"""``mongodb://host/database``: a standalone server, a replica set or a sharded cluster, for any number of processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

try:
    from pymongo import MongoClient
    from pymongo.errors import ConfigurationError as DriverConfigurationError
    from pymongo.errors import InvalidName, InvalidURI
except ModuleNotFoundError as error:
    from harken.domain.errors import MissingExtra

    raise MissingExtra("MongoDB needs the package 'pymongo'; try pip install \"harken[mongodb]\"") from error

from harken.domain.errors import ConfigurationError, MissingExtra, StorageUnavailable
from harken.ports.storage import Storage
from harken.ports.time import Clock
from harken_adapters.storage.mongodb.alerts import MongoAlertRepository
from harken_adapters.storage.mongodb.clock import server_clock
from harken_adapters.storage.mongodb.comment_index import MongoCommentIndex
from harken_adapters.storage.mongodb.conversations import MongoConversationRepository
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.erasures import Erasures
from harken_adapters.storage.mongodb.feedback import MongoFeedbackRepository
from harken_adapters.storage.mongodb.foreign import holds_library_sessions as holds_library_sessions
from harken_adapters.storage.mongodb.foreign import url_of as url_of
from harken_adapters.storage.mongodb.keys import MongoKeyRepository
from harken_adapters.storage.mongodb.outbox import MongoOutbox
from harken_adapters.storage.mongodb.schema import prepare
from harken_adapters.storage.mongodb.sessions import MongoSessionRepository
from harken_adapters.storage.mongodb.state import MongoStateRepository
from harken_adapters.storage.mongodb.statistics.editions import Editions
from harken_adapters.storage.mongodb.statistics.marks import Marks
from harken_adapters.storage.mongodb.statistics.terms import DailyTerms
from harken_adapters.storage.mongodb.url import (
    DEFAULT_DATABASE,
    DEFAULT_TIMEOUT,
    LONGEST_TIMEOUT,
    parse_timeout,
    parse_url,
    without_ours,
)
from harken_adapters.storage.mongodb.url import url_to_show as url_to_show


@contextmanager
def open_storage(url: str, *, existing: bool = False) -> Iterator[Storage]:
    """Open the storage in the database that ``url`` names, with its own client.

    Harken's collections are created if missing, unless ``existing`` is set.

    Raises:
        ConfigurationError: the URL is invalid.
        StorageIncompatible: the database was not created by Harken, or by a newer version; nothing was changed.
        StorageUnavailable: the server does not respond or refuses the user, or the collections are missing although
            they must exist.
    """
    location = parse_url(url)
    client = _client(url, timeout=location.timeout)
    database = Database(client, location.database, timeout=location.timeout)
    try:
        database.await_server()
        if existing:
            _must_exist(database)
        yield _storage(database, None)
    finally:
        database.close(client.close)


@contextmanager
def open_mongomock(url: str) -> Iterator[Storage]:
    """Open the storage in a new, empty mongomock database, for tests with ``mongomock://``.

    Raises:
        ConfigurationError: ``url`` contains more than the scheme.
        MissingExtra: mongomock is not installed.
    """
    if url.lower() != "mongomock://":
        raise ConfigurationError(f"mongomock:// must not be followed by anything, got {url!r}")
    try:
        import mongomock  # noqa: PLC0415 - only installed for tests
    except ModuleNotFoundError as error:
        remedy = 'try pip install "harken[mongodb]" mongomock'
        message = f"mongomock:// needs the package {error.name!r}, which is not installed; {remedy}"
        raise MissingExtra(message) from error
    client: MongoClient[Any] = mongomock.MongoClient()
    database = Database(client, DEFAULT_DATABASE, timeout=DEFAULT_TIMEOUT)
    try:
        yield _storage(database, None)
    finally:
        database.close(client.close)


def mongo_storage(
    client: MongoClient[Any],
    database: str = DEFAULT_DATABASE,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    clock: Clock | None = None,
) -> Storage:
    """Open the storage in a database of a client that the host owns and closes, such as ``mongomock.MongoClient()``.

    Args:
        client: a client of one server or of several.
        database: the database; the names of Harken's collections begin with ``harken_``, so it can be shared.
        timeout: the longest duration of one call in seconds, at most 60, regardless of the client's settings. Opening
            waits for the server no longer than ``serverSelectionTimeoutMS`` of the client.
        clock: decides which statistics are settled, and must agree with the clocks of other processes within a minute;
            by default the server's clock.

    Raises:
        ConfigurationError: the timeout or the name of the database is invalid.
        StorageIncompatible: the database was not created by Harken, or by a newer version; nothing was changed.
        StorageUnavailable: the server does not respond or refuses the user.
    """
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise ConfigurationError(f"timeout must be more than 0 and at most {LONGEST_TIMEOUT:g} seconds, got {timeout}")
    opening = Database(client, database, timeout=timeout)
    opening.await_server()
    return _storage(opening, clock)


def open_client(url: str, options: Mapping[str, object]) -> MongoClient[Any]:
    """A client for :func:`mongo_storage`, which connects when it is first used.

    Args:
        url: the URL, of which options of durability are ignored, as Harken sets them.
        options: options of the driver, by any spelling of their names. They win over those in the URL; options of
            durability are ignored.

    Raises:
        ConfigurationError: the URL or an option is invalid.
    """
    url, options = without_ours(url, options)
    given = options.pop("timeoutms", None)
    timeout = parse_url(url).timeout if given is None else parse_timeout(str(given))
    return _client(url, timeout=timeout, **options)


def time_limit(client: MongoClient[Any]) -> float:
    """How many seconds a call may take: as many as ``timeoutMS`` of the client says, at most 60, otherwise 20."""
    # A simulated server has no options.
    given = client.options.timeout if isinstance(client, MongoClient) else None
    return min(given or DEFAULT_TIMEOUT, LONGEST_TIMEOUT)


def server_version(client: MongoClient[Any], *, timeout: float = DEFAULT_TIMEOUT) -> str:
    """The version of the server of a client.

    Raises:
        StorageUnavailable: the server does not respond or refuses the user.
    """
    server = Database(client, "admin", timeout=timeout)
    server.name = "The MongoDB server"
    with server.reading():
        return str(client.server_info()["version"])


def _client(url: str, *, timeout: float, **options: Any) -> MongoClient[Any]:
    try:
        # The driver only warns about unknown options.
        with warnings.catch_warnings(action="error", category=UserWarning):
            # It works without a compressor whose package is not installed.
            warnings.filterwarnings("default", "Wire protocol compression", UserWarning)
            return MongoClient(url, timeoutMS=int(timeout * 1_000), **{"appname": "harken", **options})
    except (DriverConfigurationError, InvalidURI, InvalidName, TypeError, ValueError, UserWarning) as error:
        raise ConfigurationError(f"The MongoDB driver rejects the URL: {error}") from error


def _must_exist(database: Database) -> None:
    with database.reading():
        found = database.collection_names()
    if not found:
        raise StorageUnavailable(
            f"{database.name} does not exist or has no feedback storage; check the URL, or submit feedback "
            "first, which creates it"
        )


def _storage(database: Database, given: Clock | None) -> Storage:
    prepare(database)
    clock = given or server_clock(database)
    editions = Editions(database, clock)
    terms = DailyTerms(database, editions, clock)
    erasures = Erasures(database, clock)
    index = MongoCommentIndex(database, clock)
    index.drop_newer()
    return Storage(
        feedback=MongoFeedbackRepository(database, editions, terms, Marks(database, clock), erasures, index=index),
        sessions=MongoSessionRepository(database),
        outbox=MongoOutbox(database, erasures),
        keys=MongoKeyRepository(database),
        alerts=MongoAlertRepository(database),
        state=MongoStateRepository(database),
        conversations=MongoConversationRepository(database),
        check=lambda: [*terms.check(), *index.check()],
        rebuild=lambda: [*editions.rebuild(), *terms.rebuild(), *index.rebuild()],
        index_comments=index.fill,
        clock=partial(server_clock, database),
    )

"""``mongodb://host/database``: a standalone server, a replica set or a sharded cluster, for any number of processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import InvalidName, InvalidURI

from harken.domain.errors import ConfigurationError, MissingExtra, StorageUnavailable
from harken.ports.storage import Storage
from harken.ports.time import Clock
from harken_adapters.storage.mongodb.alerts import MongoAlertRepository
from harken_adapters.storage.mongodb.clock import server_clock
from harken_adapters.storage.mongodb.conversations import MongoConversationRepository
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.erasures import Erasures
from harken_adapters.storage.mongodb.feedback import MongoFeedbackRepository
from harken_adapters.storage.mongodb.keys import MongoKeyRepository
from harken_adapters.storage.mongodb.outbox import MongoOutbox
from harken_adapters.storage.mongodb.schema import prepare
from harken_adapters.storage.mongodb.sessions import MongoSessionRepository
from harken_adapters.storage.mongodb.state import MongoStateRepository
from harken_adapters.storage.mongodb.statistics.editions import Days
from harken_adapters.storage.mongodb.statistics.marks import Marks
from harken_adapters.storage.mongodb.statistics.terms import DailyTerms
from harken_adapters.storage.mongodb.url import DEFAULT_DATABASE, DEFAULT_TIMEOUT, LONGEST_TIMEOUT, parse_url


@contextmanager
def open_storage(url: str, *, existing: bool = False) -> Iterator[Storage]:
    """The storage in the database that ``url`` names, with a client of its own.

    Harken's collections are created if there are none, unless they must be ``existing``.

    Raises:
        ConfigurationError: the URL is invalid.
        StorageIncompatible: the database was not made by Harken, or by a newer one; it is left untouched.
        StorageUnavailable: the server does not answer, or refuses the user, or the collections must exist and do not.
    """
    location = parse_url(url)
    client = _client(url, timeout=location.timeout)
    database = Database(client, location.database, timeout=location.timeout)
    try:
        if existing:
            _must_exist(database)
        yield _storage(database, None)
    finally:
        database.close(client.close)


@contextmanager
def open_mongomock(url: str) -> Iterator[Storage]:
    """The storage in a new, empty mongomock, which is MongoDB as far as a test can tell; for ``mongomock://``.

    Raises:
        ConfigurationError: ``url`` says more than that, as nothing can be chosen.
        MissingExtra: mongomock is not installed.
    """
    if url.lower() != "mongomock://":
        raise ConfigurationError(f"mongomock:// takes nothing more, got {url!r}")
    try:
        import mongomock  # noqa: PLC0415 - only tests have it
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
    """The storage in a database of a client that the host owns, and closes; ``mongomock.MongoClient()`` will do.

    Args:
        client: connected to a server, or to several.
        database: Harken's collections in it begin with ``harken_``, so it can be shared.
        timeout: how many seconds one call may take, 60 at most, whatever the client's own settings are.
        clock: tells which figures are settled, and has to agree with those of other processes within a minute; the
            server's, if there is none.

    Raises:
        ConfigurationError: the timeout makes no sense.
        StorageIncompatible: the database was not made by Harken, or by a newer one; it is left untouched.
        StorageUnavailable: the server does not answer, or refuses the user.
    """
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise ConfigurationError(f"timeout must be more than 0 and at most {LONGEST_TIMEOUT:g} seconds, got {timeout}")
    return _storage(Database(client, database, timeout=timeout), clock)


def _client(url: str, *, timeout: float) -> MongoClient[Any]:
    try:
        # The driver only warns of options that it does not know.
        with warnings.catch_warnings(action="error", category=UserWarning):
            return MongoClient(url, appname="harken", timeoutMS=int(timeout * 1_000))
    except (DriverConfigurationError, InvalidURI, InvalidName, ValueError, UserWarning) as error:
        raise ConfigurationError(f"The driver makes no sense of the mongodb URL: {error}") from error


def _must_exist(database: Database) -> None:
    with database.calling():
        found = database.collection_names()
    if not found:
        raise StorageUnavailable(f"{database.name} does not exist or has no feedback storage; check the URL")


def _storage(database: Database, given: Clock | None) -> Storage:
    prepare(database)
    clock = given or server_clock(database)
    days = Days(database, clock)
    terms = DailyTerms(database, days)
    erasures = Erasures(database, clock)
    return Storage(
        feedback=MongoFeedbackRepository(database, days, terms, Marks(database, clock), erasures),
        sessions=MongoSessionRepository(database),
        outbox=MongoOutbox(database, erasures),
        keys=MongoKeyRepository(database),
        alerts=MongoAlertRepository(database),
        state=MongoStateRepository(database),
        conversations=MongoConversationRepository(database),
        rebuild=lambda: [*days.rebuild(), *terms.rebuild()],
        clock=partial(server_clock, database),
    )

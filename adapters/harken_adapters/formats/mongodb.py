"""Reads the documents of a MongoDB collection in order, from any position.

This is the only format with a driver. The types and errors of PyMongo are not part of its interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final

from harken import ConfigurationError, MissingExtra, StorageError, StorageUnavailable
from harken.domain.texts import no_such

if find_spec("pymongo") is None:
    raise MissingExtra("Reading from MongoDB needs the package 'pymongo'; try pip install \"harken[mongodb]\"")

import pymongo
from bson import json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo.collection import Collection
from pymongo.errors import ConfigurationError as WrongConfiguration
from pymongo.errors import ConnectionFailure, ExecutionTimeout, InvalidName, InvalidURI, OperationFailure, PyMongoError

Documents = dict[str, Any]

#: Server selection timeout in milliseconds, unless the URL sets one.
_SERVER_SELECTION_TIMEOUT: Final = 10_000
#: Seconds. The timeouts of a client that a program passes may be longer, or unlimited.
_PATIENCE: Final = 20.0
#: Documents per round trip. They may be large, and the cursor must not time out between two batches.
_BATCH: Final = 500
#: Decodes dates out of range and text that is not UTF-8, so that they do not prevent reading other documents.
_CODEC: Final[CodecOptions[Documents]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="surrogateescape",
)
_BY_ID: Final = [("_id", pymongo.ASCENDING)]
#: Extended JSON with the type of each number, as the order of ids depends on types.
_JSON: Final = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
#: The code of MongoDB for a command that the user may not run.
_UNAUTHORIZED: Final = 13
_LIKE_JSON = ("{", '"')


class DocumentSource:
    """A collection whose documents are read in the order of their ids."""

    def __init__(self, collection: Collection[Documents]) -> None:
        self._collection = collection

    @property
    def database(self) -> str:
        """The name of the database."""
        return self._collection.database.name

    @property
    def collection_id(self) -> str | None:
        """The id of the collection, see :func:`id_of`.

        Raises:
            StorageError: the database cannot be read.
        """
        return id_of(self._collection)

    def count(self) -> int:
        """The approximate number of documents.

        Raises:
            StorageError: the database cannot be read.
        """
        with _translate_errors():
            return self._collection.estimated_document_count()

    def documents(self, fields: Sequence[str], after: str | None = None) -> Iterator[Documents]:
        """These fields of all documents, or of those after the place that :func:`place_of` returned.

        They are read in constant memory.

        Raises:
            ConfigurationError: ``after`` is not a place.
            StorageError: the database cannot be read.
        """
        with _translate_errors():
            cursor = self._collection.find({}, list(fields)).sort(_BY_ID).batch_size(_BATCH)
            if after is None:
                yield from cursor
                return
            place = _parse(after)
            # Not {"_id": {"$gt": ...}}, which finds only ids of the same type.
            for document in cursor.min([("_id", place)]).hint(_BY_ID):
                if not (type(document["_id"]) is type(place) and document["_id"] == place):
                    yield document


@contextmanager
def open_collection(url: str, collection: str, *, database: str | None = None) -> Iterator[DocumentSource]:
    """Open a collection. ``database`` defaults to the database in the URL.

    Raises:
        ConfigurationError: the URL or a name is invalid, no database is named, or the collection does not exist.
        StorageError: the database cannot be read.
    """
    with _translate_errors():
        client = _connect(url)
    try:
        with _translate_errors():
            found = _database(client, database)
            named = found.get_collection(collection, codec_options=_CODEC)
            _check_exists(client, found, collection)
        yield DocumentSource(named)
    finally:
        client.close()


def id_of(collection: Collection[Any], *, timeout: float = _PATIENCE) -> str | None:
    """The UUID of a collection, which differs from server to server; ``None`` if the server does not return one.

    Args:
        collection: the collection.
        timeout: for how many seconds to wait for the server.

    Raises:
        StorageError: the database cannot be read, or not in time.
    """
    if not isinstance(collection.database.client, pymongo.MongoClient):
        # A simulated server.
        return None
    # The program's client may have other options.
    database: Any = collection.database.with_options(CodecOptions(uuid_representation=UuidRepresentation.STANDARD))
    with _translate_errors(), pymongo.timeout(timeout):
        try:
            found = list(database.list_collections(filter={"name": collection.name}))
        except OperationFailure as error:
            if error.code == _UNAUTHORIZED:
                # The user may read the collection, but not list all.
                return None
            raise
    # A view has none.
    uuid = found[0]["info"].get("uuid") if found else None
    return None if uuid is None else str(uuid)


def place_of(document_id: Any) -> str | None:
    """The ``after`` that continues with the next document; ``None`` for an id without a text form."""
    if isinstance(document_id, str) and not document_id.startswith(_LIKE_JSON):
        return document_id
    text = json_util.dumps(document_id, json_options=_JSON)
    return text if text.startswith(_LIKE_JSON) else None


def _parse(place: str) -> Any:
    if not place.startswith(_LIKE_JSON):
        return place
    try:
        return json_util.loads(place, json_options=_JSON)
    except (ValueError, TypeError, BSONError) as error:
        raise ConfigurationError(
            f"{place!r} is not a valid session to continue after: {error}; use the one that the earlier run printed"
        ) from None


def _connect(url: str) -> pymongo.MongoClient[Documents]:
    options: dict[str, Any] = {}
    if "serverselectiontimeoutms" not in url.lower():
        options["serverSelectionTimeoutMS"] = _SERVER_SELECTION_TIMEOUT
    try:
        return pymongo.MongoClient(
            url,
            appname="harken",
            **options,
        )
    except (ValueError, TypeError) as error:
        # Without the URL, which may contain a password.
        raise ConfigurationError(f"The URL of the database is invalid: {error}") from error


def _database(client: pymongo.MongoClient[Documents], name: str | None) -> Any:
    if name is not None:
        return client.get_database(name)
    try:
        return client.get_default_database()
    except WrongConfiguration:
        raise ConfigurationError(
            "The URL names no database; expected one such as mongodb://host/DATABASE, or the option --database"
        ) from None


def _check_exists(client: pymongo.MongoClient[Documents], database: Any, collection: str) -> None:
    try:
        names = sorted(database.list_collection_names())
        if collection in names:
            return
        databases = [] if names else sorted(client.list_database_names())
    except OperationFailure as error:
        if error.code == _UNAUTHORIZED:
            # The user may read the collection, but not list all.
            return
        raise
    if names:
        raise ConfigurationError(f"{no_such('collection', collection, names)} in the database {database.name!r}")
    raise ConfigurationError(no_such("database", database.name, databases))


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise the driver's errors as Harken's."""
    try:
        yield
    except (InvalidURI, InvalidName, WrongConfiguration) as error:
        raise ConfigurationError(f"Cannot read from MongoDB: {error}") from error
    except (ConnectionFailure, ExecutionTimeout) as error:
        # The driver adds the state of every server, or the response, to the reason.
        reason = str(error).partition(", Timeout:")[0].partition(", full error:")[0]
        raise StorageUnavailable(f"MongoDB does not answer: {reason}") from error
    except OperationFailure as error:
        reason = str(error).partition(", full error:")[0]
        raise StorageError(f"MongoDB rejected the request: {reason}") from error
    except (PyMongoError, BSONError) as error:
        raise StorageError(f"MongoDB cannot be read: {error}") from error

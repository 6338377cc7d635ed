"""Documents out of a collection of MongoDB, in order, and from anywhere in it.

The only one of the formats that knows a driver: nothing of PyMongo leaves it, its errors neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final

from harken import ConfigurationError, MissingExtra, StorageError, StorageUnavailable

if find_spec("pymongo") is None:
    raise MissingExtra("Reading from MongoDB needs the package 'pymongo'; try pip install \"harken[mongodb]\"")

import pymongo
from bson import json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo.collection import Collection
from pymongo.errors import ConfigurationError as WrongConfiguration
from pymongo.errors import ConnectionFailure, InvalidName, InvalidURI, OperationFailure, PyMongoError

Documents = dict[str, Any]

#: How many milliseconds to look for a server, unless the URL says otherwise: somebody is waiting.
_PATIENCE: Final = 10_000
#: How many documents come at a time. Each may be large, and the cursor must not time out between two.
_BATCH: Final = 500
#: One date that no calendar has, or one text that is no UTF-8, must not hide all other documents.
_CODEC: Final[CodecOptions[Documents]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="surrogateescape",
)
_BY_ID: Final = [("_id", pymongo.ASCENDING)]
#: Extended JSON that says of each number which type it has, as types come one behind the other in the order of ids.
_JSON: Final = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_LIKE_JSON = ("{", '"')


class DocumentSource:
    """A collection whose documents are read in the order of their ids."""

    def __init__(self, collection: Collection[Documents], fields: Sequence[str]) -> None:
        self._collection = collection
        self._fields = list(fields)

    def count(self) -> int:
        """About how many documents there are.

        Raises:
            StorageError: the database cannot be read.
        """
        with _translated():
            return self._collection.estimated_document_count()

    def documents(self, after: str | None = None) -> Iterator[Documents]:
        """All documents, or those behind that place, which :func:`place_of` gave; in memory that does not grow.

        Raises:
            ConfigurationError: ``after`` is no place.
            StorageError: the database cannot be read.
        """
        with _translated():
            cursor = self._collection.find({}, self._fields).sort(_BY_ID).batch_size(_BATCH)
            if after is None:
                yield from cursor
                return
            place = _parsed(after)
            # Not {"_id": {"$gt": ...}}, which finds only ids of the same type.
            for document in cursor.min([("_id", place)]).hint(_BY_ID):
                if not (type(document["_id"]) is type(place) and document["_id"] == place):
                    yield document


@contextmanager
def opened(
    url: str, collection: str, *, database: str | None = None, fields: Sequence[str]
) -> Iterator[DocumentSource]:
    """A collection, of the database in the URL if none is named, with these fields of its documents.

    Raises:
        ConfigurationError: the URL or a name makes no sense, or no database is named.
        StorageError: the database cannot be used.
    """
    with _translated():
        client = _connected(url)
    try:
        with _translated():
            named = _database(client, database).get_collection(collection, codec_options=_CODEC)
        yield DocumentSource(named, fields)
    finally:
        client.close()


def place_of(document_id: Any) -> str | None:
    """What to give as ``after`` to go on behind that document; ``None`` for an id that cannot be said."""
    if isinstance(document_id, str) and not document_id.startswith(_LIKE_JSON):
        return document_id
    text = json_util.dumps(document_id, json_options=_JSON)
    return text if text.startswith(_LIKE_JSON) else None


def _parsed(place: str) -> Any:
    if not place.startswith(_LIKE_JSON):
        return place
    try:
        return json_util.loads(place, json_options=_JSON)
    except (ValueError, TypeError, BSONError) as error:
        raise ConfigurationError(
            f"{place!r} is no place in a collection: {error}; expected a session, as it was told to go on behind it"
        ) from None


def _connected(url: str) -> pymongo.MongoClient[Documents]:
    options: dict[str, Any] = {}
    if "serverselectiontimeoutms" not in url.lower():
        options["serverSelectionTimeoutMS"] = _PATIENCE
    try:
        return pymongo.MongoClient(
            url,
            appname="harken",
            **options,
        )
    except (ValueError, TypeError) as error:
        # Not the URL, which may have a password in it.
        raise ConfigurationError(f"The URL of the database makes no sense: {error}") from error


def _database(client: pymongo.MongoClient[Documents], name: str | None) -> Any:
    if name is not None:
        return client.get_database(name)
    try:
        return client.get_default_database()
    except WrongConfiguration:
        raise ConfigurationError(
            "The URL names no database; expected something like mongodb://host/DATABASE, or name it by itself"
        ) from None


@contextmanager
def _translated() -> Iterator[None]:
    """Raise the driver's errors as Harken's."""
    try:
        yield
    except (InvalidURI, InvalidName, WrongConfiguration) as error:
        raise ConfigurationError(f"This cannot be read from MongoDB: {error}") from error
    except ConnectionFailure as error:
        # Behind the reason the driver tells all that it knows of every server.
        reason = str(error).partition(", Timeout:")[0]
        raise StorageUnavailable(f"MongoDB does not answer: {reason}") from error
    except OperationFailure as error:
        reason = str(error).partition(", full error:")[0]
        raise StorageError(f"MongoDB refuses: {reason}") from error
    except (PyMongoError, BSONError) as error:
        raise StorageError(f"MongoDB cannot be read: {error}") from error

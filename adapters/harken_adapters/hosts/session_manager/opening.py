"""Opens the Harken of a session manager, from a connection string or a MongoDB client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import harken
from harken import Harken
from harken_adapters.hosts.strands.errors import session_errors

if TYPE_CHECKING:
    from pymongo import MongoClient

_DATABASE: Final = "harken"


def open_harken(
    connection_string: str | None, database_name: str | None, client: MongoClient[Any] | None, application: str | None
) -> Harken:
    """Open a Harken, which the caller closes. A client wins over a connection string, and stays open.

    Raises:
        ConfigurationError: the URL scheme is unknown, or neither connection string nor client is given.
        StorageError: the storage cannot be opened.
    """
    if client is None:
        if not connection_string:
            # A default would create a file that the program did not name.
            raise harken.ConfigurationError(
                "Either connection_string or client must be given, "
                "such as connection_string='mongodb://localhost:27017/'; "
                "for the storage in the settings, pass harken=harken.connect()"
            )
        with session_errors():
            return harken.connect(storage_url(connection_string, database_name), application=application)
    # The only host that accepts a MongoDB client, for compatibility with mongodb_session_manager.
    from harken_adapters.storage.mongodb import mongo_storage  # noqa: PLC0415 - pymongo is an extra

    with session_errors():
        return harken.connect(mongo_storage(client, database_name or _DATABASE), application=application)


def storage_url(connection_string: str, database_name: str | None) -> str:
    """The URL of the storage, with ``database_name`` as its database. Storages other than MongoDB ignore it."""
    scheme, separator, rest = connection_string.partition("://")
    if database_name is None or scheme.lower() not in ("mongodb", "mongodb+srv", "mongomock"):
        return connection_string
    place, question_mark, options = rest.partition("?")
    hosts, _, _ = place.partition("/")
    return f"{scheme}{separator}{hosts}/{quote(database_name, safe='')}{question_mark}{options}"

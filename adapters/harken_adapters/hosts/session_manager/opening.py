"""Which Harken a session manager works on: that of a client, or of a connection string."""

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
    """A Harken of one's own, to be closed. A client stays open when it is closed.

    Raises:
        ConfigurationError: nothing serves that connection string, none is given, or both it and a client are.
        StorageError: the storage cannot be opened.
    """
    if client is None:
        if not connection_string:
            # A default would write to a file that the program never named.
            raise harken.ConfigurationError(
                "Either connection_string or client must be given, "
                "such as connection_string='mongodb://localhost:27017/'; "
                "for the storage that the settings name, give harken=harken.connect()"
            )
        with session_errors():
            return harken.connect(storage_url(connection_string, database_name), application=application)
    if connection_string is not None:
        raise harken.ConfigurationError("Give connection_string or client, not both")
    # The one host that takes a client of MongoDB, as that is what its callers have.
    from harken_adapters.storage.mongodb import mongo_storage  # noqa: PLC0415 - pymongo is an extra

    with session_errors():
        return harken.connect(mongo_storage(client, database_name or _DATABASE), application=application)


def storage_url(connection_string: str, database_name: str | None) -> str:
    """The URL of the storage. Only MongoDB has databases by name: elsewhere ``database_name`` says nothing."""
    scheme, separator, rest = connection_string.partition("://")
    if database_name is None or scheme.lower() not in ("mongodb", "mongodb+srv", "mongomock"):
        return connection_string
    place, question_mark, options = rest.partition("?")
    hosts, _, _ = place.partition("/")
    return f"{scheme}{separator}{hosts}/{quote(database_name, safe='')}{question_mark}{options}"

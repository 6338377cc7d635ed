"""Collections of another library, which may be in the same database: mongodb_session_manager stores sessions in one."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import InvalidName, OperationFailure

from harken.domain.errors import ConfigurationError
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.url import DEFAULT_TIMEOUT

#: Its documents have both, and since feedback exists an array of it. Other programs store such an array too.
_SESSION: Final = {
    "$or": [{"agents": {"$type": "object"}, "session_id": {"$exists": True}}, {"feedbacks": {"$type": "array"}}]
}
_UNAUTHORIZED: Final = 13


def holds_library_sessions(
    client: MongoClient[Any], database: str, collection: str, *, timeout: float = DEFAULT_TIMEOUT
) -> bool:
    """Whether a collection has sessions of mongodb_session_manager, each with its agents and feedback in one document.

    A collection that the user may not read has none, as the library could not read it either.

    Raises:
        ConfigurationError: a name is invalid.
        StorageUnavailable: the server does not respond.
    """
    try:
        found = client[database][collection]
    except InvalidName as error:
        raise ConfigurationError(f"The collection {database}.{collection} cannot exist: {error}") from error
    with Database(client, database, timeout=timeout).reading():
        try:
            # No document is read, as the settings of the client may not be able to decode it.
            return found.count_documents(_SESSION, limit=1) > 0
        except OperationFailure as error:
            if error.code == _UNAUTHORIZED:
                return False
            raise


def url_of(client: MongoClient[Any], database: str) -> str:
    """The URL of a database of a client that is connected, without user, password and options."""
    if not isinstance(client, MongoClient):
        # A simulated server.
        return f"mongodb://{client.HOST}/{quote(database, safe='')}"
    hosts = ",".join(sorted(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in client.nodes))
    replica_set = client.options.replica_set_name
    options = f"?replicaSet={quote(replica_set, safe='')}" if replica_set else ""
    return f"mongodb://{hosts}/{quote(database, safe='')}{options}"

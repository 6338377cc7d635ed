"""Which collections of mongodb_session_manager were migrated into a storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry, StateRepository, update

_KIND: Final = "migrated-collections"
_IDS: Final = "ids"


def mark_migrated(state: StateRepository, database: str, collection: str, collection_id: str | None) -> None:
    """Record that a collection was migrated into this storage, to its end; may be repeated.

    Args:
        state: the state of this storage.
        database: the name of the database of the collection.
        collection: the name of the collection.
        collection_id: the id of the collection, which others with these names do not have; ``None`` if it is unknown.

    Raises:
        StorageError: the storage fails.
    """

    def add(entry: StateEntry | None) -> Mapping[str, JsonValue]:
        ids = _ids(entry)
        return {_IDS: [*ids] if collection_id in ids else [*ids, collection_id]}

    update(state, _KIND, _name(database, collection), add)


def is_migrated(state: StateRepository, database: str, collection: str, collection_id: str | None) -> bool:
    """Whether a collection was migrated into this storage; names decide if the id is not known, now or then.

    Raises:
        StorageError: the storage fails.
    """
    ids = _ids(state.get(_KIND, _name(database, collection)))
    return bool(ids) and (collection_id is None or collection_id in ids or None in ids)


def _ids(entry: StateEntry | None) -> Sequence[JsonValue]:
    return cast("Sequence[JsonValue]", entry.value[_IDS]) if entry else ()


def _name(database: str, collection: str) -> str:
    """Return the name of an entry. Names of databases contain no dots."""
    return f"{database}.{collection}"

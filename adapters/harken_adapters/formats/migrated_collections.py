"""Which collections of mongodb_session_manager were migrated into a storage."""

from __future__ import annotations

from typing import Final

from harken.ports.state import StateRepository, update

_KIND: Final = "migrated-collections"


def mark_migrated(state: StateRepository, database: str, collection: str) -> None:
    """Record that a collection was migrated into this storage, to its end; may be repeated.

    Raises:
        StorageError: the storage fails.
    """
    update(state, _KIND, _name(database, collection), lambda _: {})


def is_migrated(state: StateRepository, database: str, collection: str) -> bool:
    """Whether a collection was migrated into this storage.

    Raises:
        StorageError: the storage fails.
    """
    return state.get(_KIND, _name(database, collection)) is not None


def _name(database: str, collection: str) -> str:
    """Return the name of an entry. Names of databases contain no dots."""
    return f"{database}.{collection}"

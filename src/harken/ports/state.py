"""Where routes that were added at run time, the state of channels, and what alerting has to remember are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from attrs import frozen

from harken.ports.sessions import JsonValue


@frozen
class StateEntry:
    """A small JSON object with a name, and how often it was written."""

    name: str
    value: Mapping[str, JsonValue]
    version: int = 1


class StateRepository(ABC):
    """Keeps small entries by kind and name. There are few: a kind is read as a whole.

    What was handed out or taken in is never shared. All methods may be called by any thread at any time. All raise
    ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def all(self, kind: str) -> Sequence[StateEntry]:
        """All entries of a kind, sorted by name by code point."""

    @abstractmethod
    def get(self, kind: str, name: str) -> StateEntry | None:
        """That entry; ``None`` if there is none."""

    @abstractmethod
    def put(self, kind: str, entry: StateEntry) -> bool:
        """Store an entry, durably, in the place of the version before it; version 1 is a new one.

        Says whether that was done: not if the stored version is not ``entry.version - 1`` (0 if there is none).
        """

    @abstractmethod
    def delete(self, kind: str, name: str) -> bool:
        """Remove an entry, durably, whatever its version; and say whether there was one."""
